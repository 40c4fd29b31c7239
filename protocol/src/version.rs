//! The dated history of the protocol.
//!
//! | version | since | what changed |
//! |---|---|---|
//! | 1 | 2026-11 | enrolment, control stream, policy, metrics, shell |

/// The version this build speaks.
pub const PROTOCOL_VERSION: u32 = 1;

/// The application protocol of an enrolled agent's connection; the client certificate is mandatory.
pub const ALPN_LINK: &[u8] = b"loopback/1";

/// The application protocol of a first contact; there is no client certificate yet.
pub const ALPN_ENROLL: &[u8] = b"loopback-enroll/1";
