//! Which policy belongs into the kernel, and what the coordinator is told of it. One apply at a time, the newest policy next, and back to the last
//! confirmed one when the coordinator was not heard through the new one in time. It renders and applies nothing.

use std::sync::Arc;

use loopback_protocol::firewall::{Policy, PolicyDigest, PolicyOutcome, PolicyStatus};

use crate::agent::{Now, Output};
use crate::firewall::confirm::Confirm;
use crate::wording::sayable;

/// The host's firewall as the agent means it.
#[derive(Debug)]
pub struct Enforcement {
    /// In the kernel.
    enforced: Option<Arc<Policy>>,
    /// The last one through which the coordinator was heard: what a roll back returns to.
    confirmed: Option<Arc<Policy>>,
    work: Work,
    confirm: Confirm,
    /// Of the newest policy dealt with.
    status: Option<PolicyStatus>,
    reported: bool,
    /// The coordinator is at other addresses than those the enforced policy lets through.
    coordinator_moved: bool,
}

/// What runs beside the loop.
#[derive(Debug)]
enum Work {
    Idle,
    Applying(Applying),
    RollingBack(RollingBack),
    Refreshing(Refreshing),
}

/// What is enforced, applied again.
#[derive(Debug)]
struct Refreshing {
    next: Option<Arc<Policy>>,
}

#[derive(Debug)]
struct Applying {
    policy: Arc<Policy>,
    next: Option<Arc<Policy>>,
}

#[derive(Debug)]
struct RollingBack {
    to: Arc<Policy>,
    from: Arc<Policy>,
    next: Option<Arc<Policy>>,
}

impl Enforcement {
    /// Begins with what the kernel already enforces.
    pub fn new(enforced: Option<Arc<Policy>>) -> Self {
        Self { confirmed: enforced.clone(), enforced, work: Work::Idle, confirm: Confirm::new(), status: None, reported: true, coordinator_moved: false }
    }

    /// The digest of what the kernel enforces.
    pub fn digest(&self) -> Option<PolicyDigest> {
        self.enforced.as_ref().map(|policy| policy.digest())
    }

    /// The coordinator wants this policy. Only the newest of those that wait is kept; one older than what is in the kernel is answered, not applied.
    pub fn wanted(&mut self, policy: Policy, outputs: &mut Vec<Output>) {
        if let Some(newer) = self.newest_generation().filter(|newest| policy.generation < *newest) {
            let reason = format!(
                "generation {} is older than generation {newer}, which this host already has; the coordinator's data may be older than its hosts",
                policy.generation
            );
            let digest = policy.digest();
            outputs.push(Output::send_status(PolicyStatus { generation: policy.generation, digest, outcome: PolicyOutcome::Failed(reason) }));
            return;
        }
        let policy = Arc::new(policy);
        match &mut self.work {
            Work::Idle => self.apply(policy, outputs),
            Work::Applying(Applying { next, .. }) | Work::RollingBack(RollingBack { next, .. }) | Work::Refreshing(Refreshing { next }) => *next = Some(policy),
        }
    }

    /// The apply or the roll back ended.
    pub fn finished(&mut self, result: Result<(), String>, now: Now, outputs: &mut Vec<Output>) {
        let next = match std::mem::replace(&mut self.work, Work::Idle) {
            Work::Idle => None,
            Work::Refreshing(Refreshing { next }) => next,
            Work::Applying(Applying { policy, next }) => {
                self.applied(policy, result, now);
                next
            }
            Work::RollingBack(RollingBack { to, from, next }) => {
                self.rolled_back(to, &from, result);
                next
            }
        };
        if let Some(next) = next {
            self.apply(next, outputs);
        }
    }

    /// The coordinator has the status of this generation.
    pub fn confirmed(&mut self, generation: u64) {
        if let Some(enforced) = self.enforced.as_ref().filter(|enforced| enforced.generation == generation) {
            self.confirmed = Some(Arc::clone(enforced));
            self.confirm.confirmed(generation);
        }
    }

    /// What is enforced must be applied again, so that it lets the coordinator through where it is now.
    pub const fn coordinator_moved(&mut self) {
        self.coordinator_moved = true;
    }

    /// Goes back if the confirmation is overdue. A newer policy under way takes the place of the overdue one, so it waits for that.
    pub fn run_due(&mut self, now_ms: u64, outputs: &mut Vec<Output>) {
        let (Work::Idle, Some(enforced)) = (&self.work, &self.enforced) else { return };
        if self.confirm.expired(now_ms) == Some(enforced.generation) {
            let to = self.confirmed.clone().unwrap_or_else(|| Arc::new(Policy::unfiltered(0)));
            outputs.push(Output::ApplyPolicy(Arc::clone(&to)));
            self.work = Work::RollingBack(RollingBack { to, from: Arc::clone(enforced), next: None });
        } else if std::mem::take(&mut self.coordinator_moved) {
            outputs.push(Output::ApplyPolicy(Arc::clone(enforced)));
            self.work = Work::Refreshing(Refreshing { next: None });
        }
    }

    /// Whether a policy awaits its confirmation.
    pub fn is_unconfirmed(&self) -> bool {
        let generation = |policy: &Option<Arc<Policy>>| policy.as_ref().map(|policy| policy.generation);
        generation(&self.enforced) != generation(&self.confirmed)
    }

    /// A new link has not heard the status yet.
    pub const fn link_is_new(&mut self) {
        self.reported = self.status.is_none();
    }

    /// Says what there is to say; only on a live link.
    pub fn report(&mut self, outputs: &mut Vec<Output>) {
        if let Some(status) = self.status.as_ref().filter(|_| !self.reported) {
            outputs.push(Output::send_status(status.clone()));
            self.reported = true;
        }
    }

    fn newest_generation(&self) -> Option<u64> {
        let under_way = match &self.work {
            Work::Applying(applying) => Some(applying.next.as_ref().unwrap_or(&applying.policy)),
            Work::RollingBack(rolling_back) => rolling_back.next.as_ref(),
            Work::Refreshing(refreshing) => refreshing.next.as_ref(),
            Work::Idle => None,
        };
        // What is being taken back may be wanted again.
        let enforced = if matches!(self.work, Work::RollingBack(_)) { self.confirmed.as_ref() } else { self.enforced.as_ref() };
        under_way.into_iter().chain(enforced).map(|policy| policy.generation).max()
    }

    fn apply(&mut self, policy: Arc<Policy>, outputs: &mut Vec<Output>) {
        self.coordinator_moved = false;
        outputs.push(Output::ApplyPolicy(Arc::clone(&policy)));
        self.work = Work::Applying(Applying { policy, next: None });
    }

    fn applied(&mut self, policy: Arc<Policy>, result: Result<(), String>, now: Now) {
        let outcome = match result {
            Ok(()) => {
                self.confirm.applied(policy.generation, now.monotonic_ms);
                self.enforced = Some(Arc::clone(&policy));
                PolicyOutcome::Applied { at_ms: now.unix_ms }
            }
            Err(error) => PolicyOutcome::Failed(sayable(&error)),
        };
        self.conclude(&policy, outcome);
    }

    fn rolled_back(&mut self, to: Arc<Policy>, from: &Policy, result: Result<(), String>) {
        let outcome = match result {
            Ok(()) => {
                let outcome = PolicyOutcome::RolledBack(format!("the coordinator was not heard through it in time; back to generation {}", to.generation));
                self.enforced = self.confirmed.clone();
                outcome
            }
            Err(error) => {
                // It stays in the kernel; that it does is now known, and not to be tried for ever.
                self.confirmed = self.enforced.clone();
                PolicyOutcome::Failed(sayable(&format!("it was not confirmed, and going back to generation {} failed: {error}", to.generation)))
            }
        };
        self.conclude(from, outcome);
    }

    fn conclude(&mut self, policy: &Policy, outcome: PolicyOutcome) {
        self.status = Some(PolicyStatus { generation: policy.generation, digest: policy.digest(), outcome });
        self.reported = false;
    }
}

#[cfg(test)]
mod tests {
    use loopback_protocol::control::AgentMessage;
    use loopback_protocol::firewall::{Policy, PolicyOutcome};

    use super::Enforcement;
    use crate::agent::{Now, Output};

    const fn at(monotonic_ms: u64) -> Now {
        Now { monotonic_ms, unix_ms: 1_000_000 + monotonic_ms }
    }

    /// What it asks for: `apply G` or `G applied|failed|rolled back`.
    fn words(outputs: &mut Vec<Output>) -> Vec<String> {
        let word = |output| match output {
            Output::ApplyPolicy(policy) => format!("apply {}", policy.generation),
            Output::Send(AgentMessage::PolicyStatus(status)) => match status.outcome {
                PolicyOutcome::Applied { .. } => format!("{} applied", status.generation),
                PolicyOutcome::Failed(_) => format!("{} failed", status.generation),
                PolicyOutcome::RolledBack(_) => format!("{} rolled back", status.generation),
            },
            other => panic!("{other:?}"),
        };
        outputs.drain(..).map(word).collect()
    }

    enum Step {
        Want(u64),
        Finish(Result<(), &'static str>, u64),
        Confirm(u64),
        At(u64),
        NewLink,
        Move,
    }
    use Step::{At, Confirm, Finish, Move, NewLink, Want};

    fn check(steps: &[(Step, &[&str])]) {
        let mut enforcement = Enforcement::new(None);
        let mut outputs = Vec::new();
        for (number, (step, expected)) in steps.iter().enumerate() {
            match step {
                Want(generation) => enforcement.wanted(Policy::unfiltered(*generation), &mut outputs),
                Finish(result, ms) => enforcement.finished(result.map_err(str::to_owned), at(*ms), &mut outputs),
                Confirm(generation) => enforcement.confirmed(*generation),
                At(ms) => enforcement.run_due(*ms, &mut outputs),
                NewLink => enforcement.link_is_new(),
                Move => enforcement.coordinator_moved(),
            }
            enforcement.report(&mut outputs);
            assert_eq!(words(&mut outputs), *expected, "step {number}");
        }
    }

    #[test]
    fn a_confirmed_policy_stays() {
        check(&[(Want(1), &["apply 1"]), (Finish(Ok(()), 5), &["1 applied"]), (Confirm(1), &[]), (At(1_000_000), &[])]);
    }

    #[test]
    fn an_unconfirmed_policy_goes_back_to_the_last_confirmed_one() {
        check(&[
            (Want(1), &["apply 1"]),
            (Finish(Ok(()), 0), &["1 applied"]),
            (Confirm(1), &[]),
            (Want(2), &["apply 2"]),
            (Finish(Ok(()), 100), &["2 applied"]),
            (At(15_099), &[]),
            (At(15_101), &["apply 1"]),
            (At(99_000), &[]),
            (Finish(Ok(()), 99_001), &["2 rolled back"]),
            (At(999_000), &[]),
            (Want(2), &["apply 2"]),
        ]);
    }

    #[test]
    fn the_first_policy_ever_goes_back_to_no_filter() {
        check(&[
            (Want(9), &["apply 9"]),
            (Finish(Ok(()), 0), &["9 applied"]),
            (Confirm(8), &[]),
            (At(15_001), &["apply 0"]),
            (Finish(Ok(()), 0), &["9 rolled back"]),
        ]);
    }

    #[test]
    fn only_the_newest_of_waiting_policies_is_applied() {
        check(&[
            (Want(1), &["apply 1"]),
            (Want(2), &[]),
            (Want(3), &[]),
            (Want(2), &["2 failed"]),
            (Finish(Err("netlink"), 5), &["apply 3", "1 failed"]),
            (Finish(Ok(()), 6), &["3 applied"]),
            (Want(1), &["1 failed"]),
        ]);
    }

    #[test]
    fn a_newer_policy_under_way_takes_the_place_of_the_overdue_one() {
        check(&[
            (Want(1), &["apply 1"]),
            (Finish(Ok(()), 0), &["1 applied"]),
            (Want(2), &["apply 2"]),
            (At(20_000), &[]),
            (Finish(Ok(()), 20_000), &["2 applied"]),
            (At(20_001), &[]),
            (Confirm(2), &[]),
            (At(90_000), &[]),
        ]);
    }

    #[test]
    fn a_new_link_hears_the_last_status_again() {
        check(&[(NewLink, &[]), (Want(1), &["apply 1"]), (Finish(Ok(()), 0), &["1 applied"]), (NewLink, &["1 applied"]), (At(1), &[])]);
    }

    #[test]
    fn a_coordinator_that_moved_is_let_through_where_it_is() {
        check(&[
            (Move, &[]),
            (At(0), &[]),
            (Want(1), &["apply 1"]),
            (Move, &[]),
            (Finish(Ok(()), 0), &["1 applied"]),
            (At(1), &["apply 1"]),
            (Want(2), &[]),
            (Finish(Ok(()), 2), &["apply 2"]),
            (At(3), &[]),
        ]);
    }

    #[test]
    fn a_failed_way_back_is_told_and_not_repeated() {
        check(&[
            (Want(1), &["apply 1"]),
            (Finish(Ok(()), 0), &["1 applied"]),
            (At(15_001), &["apply 0"]),
            (Finish(Err("netlink"), 1), &["1 failed"]),
            (At(900_000), &[]),
        ]);
    }
}
