//! The built `loopback`, run against a coordinator in this process that speaks real TLS and remembers everything it was asked.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod calls;
mod coordinator;
mod login;
mod operator;
mod shell;
mod usage;
