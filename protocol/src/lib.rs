//! What agents and coordinators say to each other: identifiers, bounds, frames and messages.
//!
//! Wire types are private; every message that leaves this crate has been checked. Nothing here opens a socket, reads a clock or makes a random number.

pub mod control;
pub mod enroll;
pub mod error;
pub mod firewall;
pub mod frame;
pub mod id;
pub mod limits;
pub mod metrics;
pub mod secret;
pub mod shell;
pub mod version;

mod wire;
