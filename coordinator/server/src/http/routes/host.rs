//! Hosts: what they said of themselves, and how their links are.

use std::sync::Arc;

use loopback_api::host::{GetHost, Host, HostState, ListHosts, ListOrganizationHosts, RemoveHost};
use loopback_api::{Nothing, Operation, Page, PageQuery, Problem, ProblemKind, Time};
use loopback_protocol::id::HostId;

use crate::ca::Ca;
use crate::clock::now_ms;
use crate::http::api::{Api, Call, with};
use crate::http::error::not_found;
use crate::link::Registry;
use crate::observed::Observed;
use crate::storage::Storage;
use crate::storage::host::{self, HostRow};
use crate::storage::observed::{self, HostObservation};

/// What the operations on hosts touch.
#[derive(Debug, Clone)]
pub struct Hosts {
    /// The rows.
    pub storage: Storage,
    /// What they reported.
    pub observed: Observed,
    /// Their links.
    pub registry: Registry,
    /// Where a removed host's certificate is refused.
    pub ca: Arc<Ca>,
}

/// Adds the operations on hosts.
pub fn register(api: &mut Api, hosts: &Hosts) {
    api.operation::<ListOrganizationHosts, _, _>(with(hosts, async |hosts: Hosts, call: Call<ListOrganizationHosts>| hosts.list(&call, &call.query).await));
    api.operation::<ListHosts, _, _>(with(hosts, async |hosts: Hosts, call: Call<ListHosts>| hosts.list(&call, &call.query).await));
    api.operation::<GetHost, _, _>(with(hosts, Hosts::get));
    api.operation::<RemoveHost, _, _>(with(hosts, Hosts::remove));
}

impl Hosts {
    async fn list<O: Operation>(&self, call: &Call<O>, query: &PageQuery) -> Result<Page<Host>, Problem> {
        let before =
            query.cursor.as_deref().map(str::parse::<HostId>).transpose().map_err(|_| Problem::field("/cursor", "it is not one this coordinator gave"))?;
        let mut rows = host::list(self.storage.reader(), &call.grant, before).await?;
        let size = usize::try_from(query.size()).unwrap_or(usize::MAX);
        let more = rows.len() > size;
        rows.truncate(size);
        let next = rows.last().filter(|_| more).map(|row| row.id.to_string());
        let mut observations = observed::hosts(self.observed.reader(), call.grant.scope().organization()).await?;
        let items = rows.iter().map(|row| self.show(row, observations.remove(&row.id))).collect();
        Ok(Page { items, next })
    }

    async fn get(self, call: Call<GetHost>) -> Result<Host, Problem> {
        let row = self.row(&call).await?;
        let mut observations = observed::hosts(self.observed.reader(), call.grant.scope().organization()).await?;
        Ok(self.show(&row, observations.remove(&row.id)))
    }

    async fn remove(self, call: Call<RemoveHost>) -> Result<Nothing, Problem> {
        let row = self.row(&call).await?;
        // In a task of its own, which goes on when the caller hangs up: what is written down as removed must lose its link too.
        let removal = tokio::spawn(async move {
            let mut tx = self.storage.begin().await?;
            host::remove(&mut tx, &call.grant, now_ms()).await?;
            tx.commit(call.entry(&row.path)).await?;
            self.ca.removed().insert(row.id);
            self.registry.disconnect_removed(row.id);
            Ok(Nothing {})
        });
        removal.await.unwrap_or_else(|_| Err(Problem::new(ProblemKind::Unavailable, "the removal did not end; look whether the host is still there")))
    }

    async fn row<O: Operation>(&self, call: &Call<O>) -> Result<HostRow, Problem> {
        host::get(self.storage.reader(), &call.grant).await?.ok_or_else(not_found)
    }

    fn show(&self, row: &HostRow, observation: Option<HostObservation>) -> Host {
        let health = self.registry.health(row.id);
        let state = match &health {
            None => HostState::Offline,
            Some(health) if health.problems.is_empty() => HostState::Online,
            Some(_) => HostState::Degraded,
        };
        let last_seen_ms = health.as_ref().map(|health| health.last_heard_ms).or_else(|| observation.as_ref().map(|observation| observation.last_seen_at_ms));
        let (facts, agent_version) = observation.map(|observation| (observation.facts, observation.agent_version)).unwrap_or_default();
        Host {
            id: row.id,
            path: row.path.clone(),
            state,
            problems: health.map(|health| health.problems).unwrap_or_default(),
            last_seen_at: last_seen_ms.map(Time),
            hostname: facts.hostname,
            os: facts.os,
            kernel: facts.kernel,
            architecture: facts.architecture,
            addresses: facts.addresses,
            agent_version,
            created_at: Time(row.created_at_ms),
        }
    }
}
