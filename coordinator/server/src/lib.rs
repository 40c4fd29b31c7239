//! The fleet coordinator: it does what `loopback-core` decides – HTTPS, QUIC, storage, certificates – and decides nothing itself.

pub mod clock;
pub mod ids;
pub mod storage;
