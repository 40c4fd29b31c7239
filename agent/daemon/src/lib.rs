//! The host agent

pub mod nft;
