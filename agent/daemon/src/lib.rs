//! The host agent: does what `loopback-agent-core` decides, on a real link, kernel, terminal and disk.
//!
//! It decides nothing that a policy or a coordinator could want differently, and opens no port: every connection is made by the agent.

pub mod cli;
pub mod clock;
pub mod config;
pub mod enroll;
pub mod eventloop;
pub mod host;
pub mod keystore;
pub mod limits;
pub mod nft;
pub mod pty;
pub mod spool;

mod doctor;
mod effects;
mod frames;
mod hostkey;
mod link;
mod observer;
mod pinned_ca;
mod quic;
mod status;
mod supervisor;
mod systemd;
mod telemetry;

#[cfg(test)]
mod fake_coordinator;
