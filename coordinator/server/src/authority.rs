//! Access decisions on live data: snapshots kept as long as their organization's revision stands, and whether what was granted is granted still.
//!
//! The decisions themselves are `loopback_core::access`'s.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use loopback_core::access::{Actor, Grant, Snapshot};
use loopback_protocol::id::OrganizationId;
use sqlx::Acquire;

use crate::limits::SNAPSHOTS_MAX;
use crate::storage::{Storage, StorageError, access, key};

/// Decides on what the storage says now.
#[derive(Debug)]
pub struct Authority {
    storage: Storage,
    snapshots: Mutex<HashMap<OrganizationId, Arc<Snapshot>>>,
}

impl Authority {
    /// Nothing is read before it is asked for.
    #[must_use]
    pub fn new(storage: Storage) -> Arc<Self> {
        Arc::new(Self { storage, snapshots: Mutex::default() })
    }

    /// Members and bindings of an organization at its present revision. One that is deleted or never was has no members.
    ///
    /// # Errors
    /// The database fails.
    pub async fn snapshot(&self, organization: OrganizationId) -> Result<Arc<Snapshot>, StorageError> {
        let Some(revision) = access::revision(self.storage.reader(), organization).await? else {
            self.cache().remove(&organization);
            return Ok(Arc::new(Snapshot::new(organization, 0, Default::default(), Vec::new())));
        };
        if let Some(cached) = self.cache().get(&organization).filter(|cached| cached.revision() == revision) {
            return Ok(Arc::clone(cached));
        }
        let mut connection = self.storage.reader().acquire().await?;
        // One read transaction, so that revision, members and bindings are of one moment.
        let mut moment = connection.begin().await?;
        let snapshot = Arc::new(access::snapshot(&mut moment, organization).await?);
        let mut cache = self.cache();
        if cache.len() >= SNAPSHOTS_MAX {
            cache.clear();
        }
        cache.insert(organization, Arc::clone(&snapshot));
        Ok(snapshot)
    }

    /// Whether what was granted would be granted again: for leases, on every change of the organization and each second.
    ///
    /// # Errors
    /// The database fails.
    pub async fn still_holds(&self, grant: &Grant, now_ms: u64) -> Result<bool, StorageError> {
        let (account, key_id) = match grant.actor() {
            Actor::Account { account, key } => (account, key),
            // Their right does not come from bindings: possession of the machine, or the coordinator's own duty.
            Actor::Console | Actor::System | Actor::Token { .. } | Actor::Host { .. } => return Ok(true),
            Actor::Anonymous => return Ok(false),
        };
        if !key::is_live(self.storage.reader(), account, key_id, now_ms).await? {
            return Ok(false);
        }
        let snapshot = self.snapshot(grant.scope().organization()).await?;
        if !snapshot.is_member(account) {
            return Ok(false);
        }
        let covers_its_scope = grant.reaches(grant.scope());
        Ok(if covers_its_scope {
            snapshot.allows(account, grant.permission(), grant.scope(), now_ms)
        } else {
            !snapshot.reach(account, grant.permission(), grant.scope(), now_ms).is_empty()
        })
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, HashMap<OrganizationId, Arc<Snapshot>>> {
        self.snapshots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
