//! The coordinator's HTTP vocabulary
