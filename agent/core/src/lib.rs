//! What an agent decides, without a clock or IO

pub mod firewall;
