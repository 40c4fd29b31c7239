//! Which hosts are linked, how they are, and the way to reach them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use loopback_protocol::control::{CoordinatorMessage, ModuleHealth, ModuleState};
use loopback_protocol::firewall::PolicyDigest;
use loopback_protocol::id::{HostId, OrganizationId};
use loopback_protocol::limits::HEARTBEATS_MISSED_MAX;
use quinn::{Connection, RecvStream, SendStream, VarInt};
use tokio::sync::mpsc;

use crate::clock::now_ms;
use crate::observed::HostKey;

/// Application error codes of a connection the coordinator closes.
pub(super) mod code {
    /// The coordinator stops.
    pub(crate) const STOPPING: u32 = 0;
    /// The agent said something it may not say.
    pub(crate) const MALFORMED: u32 = 1;
    /// The host was removed.
    pub(crate) const REMOVED: u32 = 2;
    /// Another machine is linked with the same identity.
    pub(crate) const DUPLICATE: u32 = 3;
    /// The same machine has opened a newer link.
    pub(crate) const REPLACED: u32 = 4;
    /// The agent did not say in time what it had to.
    pub(crate) const SILENT: u32 = 5;
}

/// The hosts that have a link. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Registry {
    links: Arc<Mutex<HashMap<HostId, Linked>>>,
    heartbeat_interval_ms: u64,
}

/// There is no link to the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the host has no link to this coordinator now; `loopback host show` tells since when")]
pub struct NotLinked;

/// How a linked host is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostHealth {
    /// When it was last heard of.
    pub last_heard_ms: u64,
    /// What is wrong, in sentences; empty when nothing is.
    pub problems: Vec<String>,
}

/// One host's link.
#[derive(Debug)]
struct Linked {
    organization: OrganizationId,
    connection: Connection,
    messages: mpsc::Sender<CoordinatorMessage>,
    machine: Machine,
    last_heard_ms: u64,
    modules: Vec<ModuleHealth>,
    policy: Option<PolicyDigest>,
    refused: Option<String>,
}

/// What tells two machines with one identity apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Machine {
    pub(super) machine_id: String,
    pub(super) boot_id: String,
    pub(super) hostname: String,
}

/// A host's place in the registry; dropping it takes the host out.
#[derive(Debug)]
pub(super) struct Place {
    registry: Registry,
    host: HostId,
    connection: usize,
}

/// Another machine holds the identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("another machine, `{0}`, is linked with this identity")]
pub(super) struct Duplicate(String);

impl Registry {
    /// An empty registry.
    #[must_use]
    pub fn new(heartbeat_interval_ms: u32) -> Self {
        Self { links: Arc::default(), heartbeat_interval_ms: heartbeat_interval_ms.into() }
    }

    /// How a host is, if it is linked and was heard of within three heartbeats.
    #[must_use]
    pub fn health(&self, host: HostId) -> Option<HostHealth> {
        let links = self.lock();
        let linked = links.get(&host)?;
        let silence_ms = now_ms().saturating_sub(linked.last_heard_ms);
        (silence_ms <= self.heartbeat_interval_ms * u64::from(HEARTBEATS_MISSED_MAX)).then(|| linked.health())
    }

    /// Opens a stream to a host.
    ///
    /// # Errors
    /// It has no link, or loses it.
    pub async fn open_stream(&self, host: HostId) -> Result<(SendStream, RecvStream), NotLinked> {
        let connection = self.lock().get(&host).map(|linked| linked.connection.clone()).ok_or(NotLinked)?;
        connection.open_bi().await.map_err(|_| NotLinked)
    }

    /// Closes a removed host's link.
    pub fn disconnect_removed(&self, host: HostId) {
        if let Some(linked) = self.lock().get(&host) {
            linked.connection.close(VarInt::from_u32(code::REMOVED), b"this host was removed");
        }
    }

    /// The organizations that have linked hosts.
    #[must_use]
    pub fn organizations(&self) -> Vec<OrganizationId> {
        let mut organizations: Vec<_> = self.lock().values().map(|linked| linked.organization).collect();
        organizations.sort_unstable();
        organizations.dedup();
        organizations
    }

    /// Whether a host is linked and enforces something else than this content, as far as is known.
    pub(crate) fn lacks_policy(&self, host: HostId, digest: PolicyDigest) -> bool {
        self.lock().get(&host).is_some_and(|linked| linked.policy != Some(digest))
    }

    /// Hands a policy to the host's link; `false` if there is none or its queue is full (the next round tries again).
    pub(crate) fn push_policy(&self, host: HostId, digest: PolicyDigest, message: CoordinatorMessage) -> bool {
        let mut links = self.lock();
        let Some(linked) = links.get_mut(&host) else { return false };
        let sent = linked.messages.try_send(message).is_ok();
        if sent {
            linked.policy = Some(digest);
        }
        sent
    }

    /// Gives a link its place. A link of the same machine that is already there is the older one and is closed; one of another machine that is alive
    /// keeps the place, and both are shown.
    pub(super) fn admit(
        &self,
        key: HostKey,
        connection: &Connection,
        machine: Machine,
        modules: Vec<ModuleHealth>,
        policy: Option<PolicyDigest>,
        messages: mpsc::Sender<CoordinatorMessage>,
    ) -> Result<Place, Duplicate> {
        let mut links = self.lock();
        if let Some(present) = links.get_mut(&key.host) {
            let alive = now_ms().saturating_sub(present.last_heard_ms) <= self.heartbeat_interval_ms * 3 / 2 && present.connection.close_reason().is_none();
            if alive && !present.machine.is_same(&machine) {
                present.refused = Some(machine.hostname);
                return Err(Duplicate(present.machine.hostname.clone()));
            }
            present.connection.close(VarInt::from_u32(code::REPLACED), b"this host has opened a newer link");
        }
        let linked = Linked {
            organization: key.organization,
            connection: connection.clone(),
            messages,
            machine,
            last_heard_ms: now_ms(),
            modules,
            policy,
            refused: None,
        };
        links.insert(key.host, linked);
        Ok(Place { registry: self.clone(), host: key.host, connection: connection.stable_id() })
    }

    /// A link without a session behind it; it lasts as long as what is returned.
    #[cfg(test)]
    pub(crate) fn link(&self, key: HostKey, connection: &Connection) -> impl Drop + use<> {
        let machine = Machine { machine_id: "m".into(), boot_id: "b".into(), hostname: "h".into() };
        self.admit(key, connection, machine, Vec::new(), None, mpsc::channel(1).0).unwrap()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<HostId, Linked>> {
        // Nothing panics while holding it, and what it holds stays valid at every step.
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The host was heard of.
    pub(super) fn heard(&self, modules: Option<Vec<ModuleHealth>>) {
        if let Some(linked) = self.registry.lock().get_mut(&self.host).filter(|linked| linked.connection.stable_id() == self.connection) {
            linked.last_heard_ms = now_ms();
            if let Some(modules) = modules {
                linked.modules = modules;
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut links = self.registry.lock();
        if links.get(&self.host).is_some_and(|linked| linked.connection.stable_id() == self.connection) {
            links.remove(&self.host);
        }
    }
}

impl Linked {
    fn health(&self) -> HostHealth {
        let failing = self.modules.iter().filter_map(|health| match &health.state {
            ModuleState::Failed(error) => Some(format!("module {} fails: {error}", health.module)),
            ModuleState::Healthy | ModuleState::Forbidden => None,
        });
        let refused = self.refused.iter().map(|other| {
            format!(
                "two machines claim this identity: `{}` is linked, `{other}` was refused; remove the copy's state and let it join anew",
                self.machine.hostname
            )
        });
        HostHealth { last_heard_ms: self.last_heard_ms, problems: failing.chain(refused).collect() }
    }
}

impl Machine {
    fn is_same(&self, other: &Self) -> bool {
        self.machine_id == other.machine_id && self.boot_id == other.boot_id
    }
}
