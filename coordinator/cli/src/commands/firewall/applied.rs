//! Watches how a scope's hosts take a change of their policy.
//!
//! What the coordinator says of a host is about the policy that is meant for it now: a host that has not answered to it yet is pending, whatever it has
//! applied before.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use loopback_api::firewall::{ApplyStatus, GetHostFirewall, HostFirewall};
use loopback_api::host::{Host, HostState};
use loopback_api::{Nothing, ProblemKind, Time};
use tokio::time::{Instant, sleep};

use crate::client::{CallError, Client};
use crate::commands::host::list_hosts;
use crate::limits::{APPLY_POLL_MS, APPLY_WAIT_MS, APPLY_WATCHED_HOSTS, CALLS_AT_ONCE};
use crate::listing::ListArgs;
use crate::scope::ScopeArg;
use crate::when;

/// How hosts took a change.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) sentence: String,
    pub(super) failed: bool,
}

struct Watched {
    path: String,
    progress: Progress,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Progress {
    Applied,
    Failed(String),
    /// It is there and has not answered yet.
    Pending,
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

/// Waits until every host of the scope that is there has answered to its policy, or the time is over.
pub(super) async fn watch(client: &Client, scope: &ScopeArg) -> Result<Told, CallError> {
    match follow(client, scope).await {
        Err(CallError::Problem(problem)) if matches!(problem.kind, ProblemKind::Forbidden | ProblemKind::NotFound) => {
            Ok(Told { sentence: "How far the hosts are with it is not yours to see.".to_owned(), failed: false })
        }
        told => told,
    }
}

async fn follow(client: &Client, scope: &ScopeArg) -> Result<Told, CallError> {
    let deadline = Instant::now() + Duration::from_millis(APPLY_WAIT_MS);
    let page = list_hosts(client, scope, ListArgs::first(APPLY_WATCHED_HOSTS)).await?;
    let mut hosts: Vec<Watched> = page.items.iter().map(Watched::new).collect();
    loop {
        let awaited = hosts.iter_mut().filter(|host| matches!(host.progress, Progress::Pending | Progress::Offline));
        let asked = awaited.map(|host| async move {
            let answer = of_host(client, &host.path.split('/').collect::<Vec<_>>()).await?;
            host.learn(answer);
            Ok::<_, CallError>(())
        });
        stream::iter(asked).buffer_unordered(CALLS_AT_ONCE).try_collect::<()>().await?;
        if hosts.iter().all(|host| host.progress != Progress::Pending) || Instant::now() >= deadline {
            return Ok(told(&hosts, page.next.is_some()));
        }
        sleep(Duration::from_millis(APPLY_POLL_MS)).await;
    }
}

impl Watched {
    fn new(host: &Host) -> Self {
        Self { path: host.path.clone(), progress: if host.state == HostState::Offline { Progress::Offline } else { Progress::Pending } }
    }

    fn learn(&mut self, firewall: HostFirewall) {
        match firewall.status {
            ApplyStatus::Pending => {}
            ApplyStatus::Applied { .. } => self.progress = Progress::Applied,
            ApplyStatus::Failed { error, .. } => self.progress = Progress::Failed(error),
            ApplyStatus::RolledBack { reason, .. } => self.progress = Progress::Failed(format!("taken back: {reason}")),
        }
    }

    fn failure(&self) -> Option<String> {
        if let Progress::Failed(error) = &self.progress { Some(format!("{}: {error}", self.path)) } else { None }
    }
}

/// `more` hosts than these are in the scope.
fn told(hosts: &[Watched], more: bool) -> Told {
    if hosts.is_empty() {
        return Told { sentence: "no host is in its scope yet".to_owned(), failed: false };
    }
    let count = |progress: &Progress| hosts.iter().filter(|host| host.progress == *progress).count();
    let failures: Vec<String> = hosts.iter().filter_map(Watched::failure).collect();
    let rest = [(failures.len(), "failed"), (count(&Progress::Pending), "pending"), (count(&Progress::Offline), "offline and due when back")];
    let mut sentence = format!("applied on {} of {} hosts", count(&Progress::Applied), hosts.len());
    for (number, what) in rest.iter().filter(|(number, _)| *number > 0) {
        sentence.push_str(&format!(", {number} {what}"));
    }
    if more {
        sentence.push_str("; the scope has more hosts, which were not watched");
    }
    let failed = !failures.is_empty();
    Told { sentence: std::iter::once(sentence).chain(failures).collect::<Vec<_>>().join("\n"), failed }
}

#[cfg(test)]
mod tests {
    use super::{Progress, Told, Watched, told};

    fn check(hosts: &[Progress], sentence: &str, failed: bool) {
        let watched = |(number, progress): (usize, &Progress)| Watched { path: format!("acme/prod/web/host-{number}"), progress: progress.clone() };
        let hosts: Vec<Watched> = hosts.iter().enumerate().map(watched).collect();
        assert_eq!(told(&hosts, false), Told { sentence: sentence.to_owned(), failed });
    }

    #[test]
    fn every_host_is_counted_by_how_it_is() {
        check(&[Progress::Applied, Progress::Applied], "applied on 2 of 2 hosts", false);
        check(&[Progress::Applied, Progress::Pending, Progress::Offline], "applied on 1 of 3 hosts, 1 pending, 1 offline and due when back", false);
        check(&[], "no host is in its scope yet", false);
    }

    #[test]
    fn a_host_that_failed_is_named_with_the_kernels_words() {
        let hosts = [Progress::Applied, Progress::Failed("Error: No such file or directory".to_owned())];
        check(&hosts, "applied on 1 of 2 hosts, 1 failed\nacme/prod/web/host-1: Error: No such file or directory", true);
    }
}
