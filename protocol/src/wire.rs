//! The generated protobuf types. They never leave this crate.

#![expect(clippy::doc_markdown, reason = "generated from proto/*.proto, which carries the comments")]

include!(concat!(env!("OUT_DIR"), "/loopback.v1.rs"));
