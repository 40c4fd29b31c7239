//! Reconcilers: idempotent, without input, run on a signal and on a period.

mod desired;

pub use desired::{Desired, HostPolicySource};
