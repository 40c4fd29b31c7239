//! Firewalls: what a rule may say, how layers combine into one host's policy, and which rule decides a packet.

#[cfg(test)]
mod cases;
mod compile;
mod evaluate;
#[cfg(test)]
mod oracle;
pub mod rule;
mod selector;
mod transport;
mod validate;

pub use compile::{Addresses, CompileError, Firewall, Placement, StoredRule, compile, next_expiry, references};
pub use evaluate::{DecidedBy, Decision, Packet, evaluate};
pub use selector::{InvalidSelector, Selector};
pub use transport::{InvalidPorts, UnknownProtocol, read_ports, read_protocol};
pub use validate::{FieldFault, validate};
