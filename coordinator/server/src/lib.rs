//! The fleet coordinator: it does what `loopback-core` decides – HTTPS, QUIC, storage, certificates – and decides nothing itself.

pub mod ca;
pub mod clock;
pub mod ids;
pub mod observed;
pub mod storage;
