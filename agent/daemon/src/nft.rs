//! Puts a policy into the kernel, reads back whether the kernel holds it, and keeps the last good one on disk for the next boot.
//!
//! Works through the `nft` program on our own table and never touches another. Calls must not overlap: whoever owns the firewall module makes
//! them one after the other, each to its end. Speaks to no coordinator and decides nothing about rules; that is the core's part.

mod program;
mod store;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use loopback_agent_core::firewall::readback::{self, Hits};
use loopback_agent_core::firewall::{Ruleset, render};
use loopback_protocol::firewall::{DefaultAction, Mode, Policy};

use program::{listing, load, rehearse};
pub use store::stored;

/// Why the firewall is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum NftError {
    /// There is no `nft`.
    #[error("the nft program is not installed: `apt-get install nftables` (or your distribution's package of that name), then restart the agent")]
    Missing,
    /// It could not be run.
    #[error("cannot run {}", program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It did not end in time.
    #[error("nft did not answer within {0} s; look for a process that holds the ruleset (`ps aux | grep nft`)")]
    TimedOut(u64),
    /// It said more than is read.
    #[error("nft answered with more than {0} bytes")]
    TooLong(usize),
    /// The kernel or `nft` refused, in their own words. What was in force still is.
    #[error("nft refused: {0}")]
    Refused(String),
    /// What it is told or tells is not the JSON it should be.
    #[error("cannot write or read nft's JSON")]
    Json(#[source] serde_json::Error),
    /// The kernel holds something else than it was given.
    #[error("the kernel does not hold what was meant: {0}")]
    Mismatch(String),
    /// The policy cannot be kept on disk or read from it.
    #[error("cannot keep the policy in {}", path.display())]
    Store {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file is not what was written.
    #[error("{} is damaged; remove it, the coordinator sends the policy again", .0.display())]
    Damaged(PathBuf),
    /// Neither the new policy nor the one before it could be put in place.
    #[error("{failed}; putting the previous policy back failed too")]
    NotPutBack {
        /// What was wrong with the new one.
        failed: Box<NftError>,
        /// What was wrong with going back.
        source: Box<NftError>,
    },
}

/// Puts a policy in force in one transaction, reads it back, and keeps it in `state_dir` for [`restore`].
///
/// # Errors
/// It is not in force, and the one stored before it is again (or no table, if there was none), unless the error is [`NftError::NotPutBack`].
pub async fn apply(policy: &Policy, coordinators: &[SocketAddr], state_dir: &Path) -> Result<(), NftError> {
    let previous = store::read(state_dir).await.unwrap_or_else(|error| {
        tracing::warn!(error = %error, "previous firewall policy is unreadable; there is none to go back to");
        None
    });
    let ruleset = render(policy, coordinators);
    let failed = match load(&ruleset.transaction()).await {
        Err(untouched @ (NftError::Missing | NftError::Run { .. } | NftError::Refused(_))) => return Err(untouched),
        Err(unknown) => unknown,
        Ok(()) => match settle(&ruleset, policy, coordinators, state_dir).await {
            Ok(()) => return Ok(()),
            Err(failed) => failed,
        },
    };
    let back = previous.map(|(policy, coordinators)| render(&policy, &coordinators)).unwrap_or_default();
    match replace(&back).await {
        Ok(()) => Err(failed),
        Err(source) => Err(NftError::NotPutBack { failed: Box::new(failed), source: Box::new(source) }),
    }
}

async fn settle(ruleset: &Ruleset, policy: &Policy, coordinators: &[SocketAddr], state_dir: &Path) -> Result<(), NftError> {
    verify(ruleset).await?;
    store::write(state_dir, policy, coordinators).await
}

/// The kernel refuses or takes a transaction as a whole, so there is no rehearsal before it.
async fn replace(ruleset: &Ruleset) -> Result<(), NftError> {
    load(&ruleset.transaction()).await?;
    verify(ruleset).await
}

async fn verify(ruleset: &Ruleset) -> Result<(), NftError> {
    difference(ruleset).await?.map_or(Ok(()), |difference| Err(NftError::Mismatch(difference)))
}

async fn difference(ruleset: &Ruleset) -> Result<Option<String>, NftError> {
    readback::difference(ruleset, listing().await?.as_deref()).map_err(NftError::Json)
}

/// Puts the stored policy in force, if there is one, and returns it: at boot before the network is up, and when the agent starts. A kernel that
/// still holds it is left alone, with its counters.
///
/// # Errors
/// The stored policy is damaged, or not in force.
pub async fn restore(state_dir: &Path) -> Result<Option<Policy>, NftError> {
    let Some((policy, coordinators)) = store::read(state_dir).await? else { return Ok(None) };
    let ruleset = render(&policy, &coordinators);
    if difference(&ruleset).await?.is_some() {
        replace(&ruleset).await?;
    }
    Ok(Some(policy))
}

/// Whether the kernel still holds exactly this policy; false after an edit of our table by others.
///
/// # Errors
/// The table could not be listed.
pub async fn intact(policy: &Policy, coordinators: &[SocketAddr]) -> Result<bool, NftError> {
    Ok(difference(&render(policy, coordinators)).await?.is_none())
}

/// How often the rules in force have decided since they were put in place; none if there is no table.
///
/// # Errors
/// The table could not be listed.
pub async fn hits() -> Result<Vec<Hits>, NftError> {
    let listing = listing().await?;
    listing.as_deref().map(readback::hits).transpose().map(Option::unwrap_or_default).map_err(NftError::Json)
}

/// Whether this host can filter: `nft` is there, may change the ruleset, and the kernel knows the statements our rules are made of. Changes nothing.
///
/// # Errors
/// What is missing.
pub async fn check() -> Result<(), NftError> {
    let sample = |mode| Policy { generation: 0, mode, layers: Vec::new(), default_inbound: DefaultAction::Reject, default_outbound: DefaultAction::Deny };
    for mode in [Mode::Enforce, Mode::Observe] {
        rehearse(&render(&sample(mode), &[]).transaction()).await?;
    }
    Ok(())
}

/// What a policy becomes in the kernel, in `nft`'s own syntax.
#[must_use]
pub fn show(policy: &Policy, coordinators: &[SocketAddr]) -> String {
    match policy.mode {
        Mode::Off => "# mode off: no table\n".to_owned(),
        Mode::Observe | Mode::Enforce => render(policy, coordinators).to_text(),
    }
}
