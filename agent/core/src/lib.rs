//! What an agent decides: when to connect, what to send, which policy belongs into the kernel, when to go back, which certificate to ask for.
//!
//! It has no clock, no randomness, no sockets, files, threads or async: the time and every observation are arguments, what must be done comes back as
//! [`Output`] values. `agent/daemon` does it.

pub mod agent;
pub mod firewall;
pub mod limits;
pub mod link;
pub mod modules;
pub mod renewal;

mod delivery;
mod enforcement;
mod wording;

pub use agent::{Agent, Event, LinkLoss, Now, Observation, Output, Setup};
