//! The host agent
