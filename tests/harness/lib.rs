//! The laboratory of the end-to-end tests and the demo: network namespaces that stand for machines, the real programs in them, and terminals to drive them.
//!
//! It judges nothing: tests and the demo do. Everything it makes is named after the process that made it and goes with it, also when that process is interrupted.

pub mod cli;
pub mod coordinator;
pub mod fleet;
pub mod host;
pub mod lab;
pub mod machine;
pub mod process;
pub mod program;
pub mod rules;
pub mod terminal;
pub mod wait;
