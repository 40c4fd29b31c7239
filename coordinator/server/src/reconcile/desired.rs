//! Desired state: from an organization's firewalls to a policy for each of its hosts, pushed to those that enforce something else.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use loopback_core::firewall::{self, Addresses, CompileError, Firewall};
use loopback_protocol::control::CoordinatorMessage;
use loopback_protocol::firewall::{Mode, Policy, PolicyDigest};
use loopback_protocol::id::{HostId, OrganizationId, WorkspaceId};
use tokio::sync::Notify;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use crate::clock::now_ms;
use crate::link::Registry;
use crate::observed::Observed;
use crate::storage::host::{self, HostRow};
use crate::storage::observed::{self, HostObservation};
use crate::storage::policy::{self, PlacedFirewall};
use crate::storage::{Storage, StorageError};

/// Every organization with a linked host is looked at this often, signal or not.
const PERIOD: Duration = Duration::from_secs(30);

/// After a round the reconciler rests this many times as long as the round took, so that signals gather.
const REST_FACTOR: u32 = 3;
/// The longest rest.
const REST_MAX: Duration = Duration::from_secs(1);

/// The reconciler of firewalls. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Desired(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    storage: Storage,
    observed: Observed,
    registry: Registry,
    dirty: Mutex<HashSet<OrganizationId>>,
    next_expiry_ms: Mutex<Option<u64>>,
    wake: Notify,
}

/// A host's policy and the firewalls it was compiled from.
#[derive(Debug)]
pub struct HostPolicySource {
    /// The policy; its generation is 0.
    pub policy: Policy,
    /// What is in force for the host.
    pub firewalls: Vec<Firewall>,
}

/// A policy and what it is told apart by, which costs more than a glance.
struct Digested {
    policy: Policy,
    digest: PolicyDigest,
}

/// What a policy is compiled from, for a whole organization.
struct Sources {
    firewalls: Vec<PlacedFirewall>,
    addresses: Addresses,
}

impl Desired {
    /// A reconciler; it must be run.
    #[must_use]
    pub fn new(storage: Storage, observed: Observed, registry: Registry) -> Self {
        let inner = Inner { storage, observed, registry, dirty: Mutex::default(), next_expiry_ms: Mutex::default(), wake: Notify::new() };
        Self(Arc::new(inner))
    }

    /// Has an organization looked at soon.
    pub fn wake(&self, organization: OrganizationId) {
        self.0.dirty.lock().unwrap_or_else(PoisonError::into_inner).insert(organization);
        self.0.wake.notify_one();
    }

    /// The policy meant for a host now, and where it comes from.
    ///
    /// # Errors
    /// The database fails, or the firewalls cannot be compiled.
    pub async fn source(&self, row: &HostRow) -> Result<Result<HostPolicySource, CompileError>, StorageError> {
        let organization = row.scope.organization();
        let hosts = host::of_organization(self.0.storage.reader(), organization).await?;
        let sources = self.sources(organization, &hosts).await?;
        let firewalls = sources.in_force(row.scope.workspace());
        let compiled = firewall::compile(&firewalls, &sources.addresses, Mode::Enforce, 0, now_ms());
        Ok(compiled.map(|policy| HostPolicySource { policy, firewalls }))
    }

    /// Reconciles until stopped.
    ///
    /// # Errors
    /// The database fails.
    pub async fn run(self, stop: CancellationToken) -> Result<(), StorageError> {
        let mut changes = self.0.storage.subscribe();
        let mut period = tokio::time::interval(PERIOD);
        loop {
            let expiry = self.until_next_expiry();
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = self.0.wake.notified() => {}
                _ = period.tick() => self.mark_all(),
                () = tokio::time::sleep(expiry) => self.mark_all(),
                change = changes.recv() => match change {
                    Ok(organization) => self.wake(organization),
                    Err(RecvError::Lagged(_)) => self.mark_all(),
                    Err(RecvError::Closed) => return Ok(()),
                },
            }
            let dirty: Vec<_> = self.0.dirty.lock().unwrap_or_else(PoisonError::into_inner).drain().collect();
            let begun = Instant::now();
            for organization in dirty {
                self.reconcile(organization).await?;
            }
            // The first signal is answered at once; a storm of them, such as a whole fleet joining, costs at most a part of the time.
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep((begun.elapsed() * REST_FACTOR).min(REST_MAX)) => {}
            }
        }
    }

    fn mark_all(&self) {
        let organizations = self.0.registry.organizations();
        self.0.dirty.lock().unwrap_or_else(PoisonError::into_inner).extend(organizations);
        *self.0.next_expiry_ms.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn until_next_expiry(&self) -> Duration {
        let next = *self.0.next_expiry_ms.lock().unwrap_or_else(PoisonError::into_inner);
        next.map_or(PERIOD, |at_ms| Duration::from_millis(at_ms.saturating_sub(now_ms())).min(PERIOD))
    }

    async fn reconcile(&self, organization: OrganizationId) -> Result<(), StorageError> {
        let hosts = host::of_organization(self.0.storage.reader(), organization).await?;
        if hosts.is_empty() {
            return Ok(());
        }
        let sources = self.sources(organization, &hosts).await?;
        let policies = self.compile_workspaces(&sources, &hosts);
        let digests: Vec<_> = hosts.iter().filter_map(|row| Some((row.id, hex::encode(policies.get(&row.scope.workspace()?)?.digest.0)))).collect();
        let generations = observed::assign_generations(self.0.observed.writer(), organization, &digests).await?;
        for row in &hosts {
            let policy = row.scope.workspace().and_then(|workspace| policies.get(&workspace));
            if let (Some(policy), Some(generation)) = (policy, generations.get(&row.id)) {
                self.push(row.id, policy, *generation);
            }
        }
        Ok(())
    }

    /// One policy for each workspace: what differs between its hosts is the generation alone.
    fn compile_workspaces(&self, sources: &Sources, hosts: &[HostRow]) -> BTreeMap<WorkspaceId, Digested> {
        let workspaces: HashSet<_> = hosts.iter().filter_map(|row| row.scope.workspace()).collect();
        let mut policies = BTreeMap::new();
        for workspace in workspaces {
            let firewalls = sources.in_force(Some(workspace));
            self.note_expiry(firewall::next_expiry(&firewalls, now_ms()));
            match firewall::compile(&firewalls, &sources.addresses, Mode::Enforce, 0, now_ms()) {
                Ok(policy) => {
                    policies.insert(workspace, Digested { digest: policy.digest(), policy });
                }
                Err(error) => tracing::warn!(%workspace, %error, "firewalls cannot be compiled; the hosts keep what they have"),
            }
        }
        policies
    }

    fn note_expiry(&self, expiry: Option<u64>) {
        let mut next = self.0.next_expiry_ms.lock().unwrap_or_else(PoisonError::into_inner);
        *next = [*next, expiry].into_iter().flatten().min();
    }

    fn push(&self, host: HostId, Digested { policy, digest }: &Digested, generation: u64) {
        if !self.0.registry.lacks_policy(host, *digest) {
            return;
        }
        let message = CoordinatorMessage::Policy(Policy { generation, ..policy.clone() });
        if self.0.registry.push_policy(host, *digest, message) {
            tracing::debug!(%host, generation, "policy pushed");
        } else {
            tracing::warn!(%host, generation, "policy not taken by the link; the next round tries again");
        }
    }

    async fn sources(&self, organization: OrganizationId, hosts: &[HostRow]) -> Result<Sources, StorageError> {
        let firewalls = policy::firewalls(self.0.storage.reader(), organization).await?;
        let observations = observed::hosts(self.0.observed.reader(), organization).await?;
        let addresses = resolve(&firewalls, hosts, &observations);
        Ok(Sources { firewalls, addresses })
    }
}

impl Sources {
    fn in_force(&self, workspace: Option<WorkspaceId>) -> Vec<Firewall> {
        let in_force = self.firewalls.iter().filter(|placed| placed.workspace.is_none() || placed.workspace == workspace);
        in_force.map(|placed| placed.firewall.clone()).collect()
    }
}

/// What the references of all rules stand for: the addresses their hosts reported last.
fn resolve(firewalls: &[PlacedFirewall], hosts: &[HostRow], observations: &HashMap<HostId, HostObservation>) -> Addresses {
    let specs = firewalls.iter().flat_map(|placed| &placed.firewall.rules).map(|rule| &rule.spec);
    let references: HashSet<&str> = firewall::references(specs).collect();
    let mut addresses = Addresses::default();
    for reference in references {
        let meant = hosts.iter().filter(|row| row.is_meant_by(reference)).filter_map(|row| observations.get(&row.id));
        addresses.insert(reference.to_owned(), meant.flat_map(|observation| observation.facts.addresses.iter().copied()));
    }
    addresses
}
