//! Firewalls: what a rule may say, how layers combine into one host's policy, and which rule decides a packet.

pub mod rule;
