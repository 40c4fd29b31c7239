//! Watches how a scope's hosts take a change of their policy.
//!
//! A host counts as done when it has answered to a policy newer than the one before the change: the answer to an older one says nothing about this change.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use loopback_api::firewall::{ApplyStatus, GetHostFirewall, HostFirewall};
use loopback_api::host::HostState;
use loopback_api::{Nothing, ProblemKind, Time};
use tokio::time::{Instant, sleep};

use crate::client::{CallError, Client};
use crate::commands::host::list_hosts;
use crate::limits::{APPLY_POLL_MS, APPLY_WAIT_MS, APPLY_WATCHED_HOSTS, CALLS_AT_ONCE};
use crate::listing::ListArgs;
use crate::scope::ScopeArg;
use crate::when;

/// The hosts of a scope as they were before a change.
pub(super) struct Watch {
    hosts: Vec<Watched>,
    /// There are more than are watched.
    more: bool,
    /// The caller may not see how hosts are.
    blind: bool,
}

struct Watched {
    path: String,
    offline: bool,
    before: HostFirewall,
    now: HostFirewall,
}

/// How hosts took a change.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) sentence: String,
    pub(super) failed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Progress {
    Applied,
    Failed(String),
    /// It has not answered to the policy meant for it.
    Pending,
    /// No newer policy is meant for it, as far as the coordinator has told.
    Untouched,
    /// It cannot answer.
    Offline,
}

/// The policy meant for a host, and how far it is.
pub(super) async fn of_host(client: &Client, segments: &[&str]) -> Result<HostFirewall, CallError> {
    client.call::<GetHostFirewall>(segments, None, &Nothing {}, &Nothing {}).await
}

/// A status in words.
pub(super) fn details(status: &ApplyStatus, now: Time) -> String {
    match status {
        ApplyStatus::Pending => "the host has not told yet".to_owned(),
        ApplyStatus::Applied { generation, at } => format!("generation {generation} is in the kernel since {}", when::full(*at, now)),
        ApplyStatus::Failed { generation, error } => format!("the kernel refused generation {generation}: {error}"),
        ApplyStatus::RolledBack { generation, reason } => format!("generation {generation} was taken back: {reason}"),
    }
}

impl Watch {
    /// Remembers how the scope's hosts are. Call it before the change.
    pub(super) async fn begin(client: &Client, scope: &ScopeArg) -> Result<Self, CallError> {
        let blind = |error| match error {
            CallError::Problem(problem) if matches!(problem.kind, ProblemKind::Forbidden | ProblemKind::NotFound) => {
                Ok(Self { hosts: Vec::new(), more: false, blind: true })
            }
            error => Err(error),
        };
        Self::look(client, scope).await.or_else(blind)
    }

    async fn look(client: &Client, scope: &ScopeArg) -> Result<Self, CallError> {
        let page = list_hosts(client, scope, ListArgs::first(APPLY_WATCHED_HOSTS)).await?;
        let watched = page.items.into_iter().map(|host| async move {
            let before = of_host(client, &host.path.split('/').collect::<Vec<_>>()).await?;
            Ok::<_, CallError>(Watched { path: host.path, offline: host.state == HostState::Offline, now: before.clone(), before })
        });
        let hosts = stream::iter(watched).buffered(CALLS_AT_ONCE).try_collect().await?;
        Ok(Self { hosts, more: page.next.is_some(), blind: false })
    }

    /// Waits until every host that is there has answered, or the time is over.
    pub(super) async fn finish(mut self, client: &Client) -> Result<Told, CallError> {
        let deadline = Instant::now() + Duration::from_millis(APPLY_WAIT_MS);
        loop {
            let awaited = self.hosts.iter_mut().filter(|host| host.is_awaited());
            let asked = awaited.map(|host| async move {
                host.now = of_host(client, &host.path.split('/').collect::<Vec<_>>()).await?;
                Ok::<_, CallError>(())
            });
            stream::iter(asked).buffer_unordered(CALLS_AT_ONCE).try_collect::<()>().await?;
            if !self.hosts.iter().any(Watched::is_awaited) || Instant::now() >= deadline {
                return Ok(self.told());
            }
            sleep(Duration::from_millis(APPLY_POLL_MS)).await;
        }
    }

    fn told(&self) -> Told {
        if self.blind {
            return Told { sentence: "How far the hosts are with it is not yours to see.".to_owned(), failed: false };
        }
        if self.hosts.is_empty() {
            return Told { sentence: "No host is in its scope yet.".to_owned(), failed: false };
        }
        let count = |progress: &Progress| self.hosts.iter().filter(|host| host.progress() == *progress).count();
        let failures: Vec<String> = self.hosts.iter().filter_map(Watched::failure).collect();
        let rest = [
            (failures.len(), "failed"),
            (count(&Progress::Pending), "pending"),
            (count(&Progress::Untouched), "unchanged"),
            (count(&Progress::Offline), "offline and due when back"),
        ];
        let mut sentence = format!("applied on {} of {} hosts", count(&Progress::Applied), self.hosts.len());
        for (number, what) in rest.iter().filter(|(number, _)| *number > 0) {
            sentence.push_str(&format!(", {number} {what}"));
        }
        if self.more {
            sentence.push_str(&format!("; only the newest {} were watched", self.hosts.len()));
        }
        let failed = !failures.is_empty();
        Told { sentence: std::iter::once(sentence).chain(failures).collect::<Vec<_>>().join("\n"), failed }
    }
}

impl Watched {
    fn is_awaited(&self) -> bool {
        matches!(self.progress(), Progress::Pending | Progress::Untouched)
    }

    fn failure(&self) -> Option<String> {
        if let Progress::Failed(error) = self.progress() { Some(format!("{}: {error}", self.path)) } else { None }
    }

    fn progress(&self) -> Progress {
        let meant = self.now.generation;
        let newer = meant > self.before.generation;
        match &self.now.status {
            ApplyStatus::Applied { generation, .. } if newer && *generation >= meant => Progress::Applied,
            ApplyStatus::Failed { generation, error } if newer && *generation >= meant => Progress::Failed(error.clone()),
            ApplyStatus::RolledBack { generation, reason } if newer && *generation >= meant => Progress::Failed(format!("taken back: {reason}")),
            _ if self.offline => Progress::Offline,
            _ if newer => Progress::Pending,
            _ => Progress::Untouched,
        }
    }
}

#[cfg(test)]
mod tests {
    use loopback_api::Time;
    use loopback_api::firewall::{ApplyStatus, HostFirewall};
    use loopback_core::firewall::rule::DefaultVerdict;

    use super::{Told, Watch, Watched};

    fn firewall(generation: u64, status: ApplyStatus) -> HostFirewall {
        let (default_inbound, default_outbound) = (DefaultVerdict::Deny, DefaultVerdict::Allow);
        HostFirewall { generation, status, filtered: true, default_inbound, default_outbound, rules: Vec::new() }
    }

    fn watched(name: &str, offline: bool, generation: u64, status: ApplyStatus) -> Watched {
        let before = firewall(1, ApplyStatus::Applied { generation: 1, at: Time(0) });
        Watched { path: format!("acme/prod/web/{name}"), offline, before, now: firewall(generation, status) }
    }

    fn told(hosts: Vec<Watched>) -> Told {
        Watch { hosts, more: false, blind: false }.told()
    }

    fn applied(generation: u64) -> ApplyStatus {
        ApplyStatus::Applied { generation, at: Time(0) }
    }

    #[test]
    fn hosts_that_answered_to_the_new_policy_are_done() {
        let hosts = || vec![watched("host-1", false, 2, applied(2)), watched("host-2", false, 2, applied(3))];
        assert!(hosts().iter().all(|host| !host.is_awaited()));
        assert_eq!(told(hosts()), Told { sentence: "applied on 2 of 2 hosts".to_owned(), failed: false });
    }

    #[test]
    fn an_answer_to_the_policy_before_is_no_answer() {
        let hosts = vec![watched("host-1", false, 2, applied(1)), watched("host-2", false, 1, applied(1)), watched("host-3", true, 2, applied(1))];
        assert_eq!(hosts.iter().map(Watched::is_awaited).collect::<Vec<_>>(), [true, true, false]);
        assert_eq!(told(hosts).sentence, "applied on 0 of 3 hosts, 1 pending, 1 unchanged, 1 offline and due when back");
    }

    #[test]
    fn a_host_that_failed_is_named_with_the_kernels_words() {
        let failed = ApplyStatus::Failed { generation: 2, error: "Error: No such file or directory".to_owned() };
        let told = told(vec![watched("host-1", false, 2, applied(2)), watched("host-2", false, 2, failed)]);
        assert_eq!(told.sentence, "applied on 1 of 2 hosts, 1 failed\nacme/prod/web/host-2: Error: No such file or directory");
        assert!(told.failed);
    }
}
