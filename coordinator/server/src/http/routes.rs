//! The handlers, one noun per file: each reads a call, asks the command or query, and answers.

pub mod metrics;
pub mod session;
