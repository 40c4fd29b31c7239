//! The handlers, one noun per file: from a call to a command or a query, and nothing in between.

pub mod account;
pub mod audit;
pub mod binding;
pub mod firewall;
pub mod key;
pub mod member;
pub mod metrics;
pub mod organization;
pub mod permission;
pub mod project;
pub mod role;
pub mod session;
pub mod token;
pub mod workspace;
