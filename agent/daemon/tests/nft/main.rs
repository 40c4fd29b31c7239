//! The firewall against the real kernel: policies put in force in network namespaces of the test's own, and packets sent through them.

#![expect(clippy::unwrap_used, reason = "a test may panic, also in the functions its cases share")]

mod kernel;
mod net;
mod packets;
mod policy;

use std::net::SocketAddr;
use std::path::Path;

use loopback_agent::nft::{self, NftError};
use loopback_protocol::firewall::Policy;

use net::Namespace;

fn apply(host: &Namespace, policy: &Policy, coordinators: &[SocketAddr], state_dir: &Path) -> Result<(), NftError> {
    host.run_async(async || nft::apply(policy, coordinators, state_dir).await)
}

fn intact(host: &Namespace, policy: &Policy, coordinators: &[SocketAddr]) -> bool {
    host.run_async(async || nft::intact(policy, coordinators).await).unwrap()
}
