//! What the coordinator decides: who may do what, what a tenant may hold, which host is admitted, what a firewall means, what the audit trail proves.
//!
//! Pure: no clock, no randomness, no IO, no async, no SQL. Times, ids and rows are arguments; decisions are values.

pub mod access;
pub mod audit;
pub mod enroll;
pub mod firewall;
pub mod limits;
pub mod shell;
pub mod tenancy;
