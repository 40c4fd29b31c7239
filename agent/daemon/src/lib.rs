//! The host agent

pub mod pty;
