//! The host firewall as the kernel shall hold it: a policy becomes the content of one nftables table of our own, `inet loopback`.
//!
//! It decides what the table says, whether a listing of the kernel says the same, and when an unconfirmed policy has to go back.
//! It never runs `nft`, reads no clock, and never names another table.

pub mod confirm;
pub mod readback;
pub mod render;
pub mod ruleset;
mod selector;
mod statement;
mod text;

pub use confirm::Confirm;
pub use render::render;
pub use ruleset::Ruleset;
