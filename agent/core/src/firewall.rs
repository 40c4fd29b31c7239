//! stand-in
pub mod confirm;
