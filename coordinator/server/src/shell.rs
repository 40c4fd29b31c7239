//! Shell sessions: the broker that relays them between operators and hosts, and the recordings it writes.
//!
//! Who may open one, on which terms and why one ends is decided by `loopback_core`; here it is done.

mod agent;
mod broker;
mod lease;
mod operator;
mod recorder;
mod relay;
#[cfg(test)]
mod tests;

pub use broker::Broker;
pub(crate) use broker::target;
pub(crate) use recorder::StoredRecording;
