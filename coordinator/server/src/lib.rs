//! The fleet coordinator: it does what `loopback-core` decides – HTTPS, QUIC, storage, certificates – and decides nothing itself.

pub mod authority;
pub mod ca;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod coordinator;
pub mod doctor;
pub mod http;
pub mod ids;
pub mod limits;
pub mod link;
pub mod login_limit;
pub mod observed;
pub mod password;
pub mod queries;
pub mod reconcile;
pub mod series;
pub mod shell;
pub mod state_lock;
pub mod storage;
pub mod supervisor;
pub mod telemetry;

pub use coordinator::Coordinator;
