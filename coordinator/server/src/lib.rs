//! The fleet coordinator
