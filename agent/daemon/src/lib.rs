//! The host agent

pub mod host;
pub mod spool;
