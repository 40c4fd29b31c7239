//! The fleet coordinator: it does what `loopback-core` decides – HTTPS, QUIC, storage, certificates – and decides nothing itself.

pub mod ca;
pub mod clock;
pub mod commands;
pub mod ids;
pub mod link;
pub mod observed;
pub mod reconcile;
pub mod storage;
