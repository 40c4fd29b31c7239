//! Every bound of the coordinator's doing. The unit is the last word of the name.

/// A request's body.
pub const BODY_MAX_BYTES: usize = 1024 * 1024;
/// The body of a request that carries a whole list of rules.
pub const BULK_BODY_MAX_BYTES: usize = 8 * 1024 * 1024;
/// A request, from its head to the head of its answer.
pub const REQUEST_TIMEOUT_MS: u64 = 30_000;
/// What is kept of a client's `User-Agent`.
pub const USER_AGENT_MAX_CHARS: usize = 200;
/// A segment of a path or an item's name.
pub const SEGMENT_MAX_BYTES: usize = 255;
/// A message of a terminal's WebSocket.
pub const WEBSOCKET_MESSAGE_MAX_BYTES: usize = loopback_protocol::limits::SHELL_FRAME_MAX_BYTES;
/// Organizations whose access snapshot is kept in memory.
pub const SNAPSHOTS_MAX: usize = 1_024;
/// Owners named to somebody who lacks a permission.
pub const OWNERS_NAMED_MAX: i64 = 3;
/// A session's life.
pub const SESSION_LIFE_MS: u64 = 12 * 60 * 60 * 1_000;
/// Sessions of one account; one more ends the oldest.
pub const SESSIONS_PER_ACCOUNT_MAX: i64 = 50;
/// An API key's life when none is asked for.
pub const API_KEY_LIFE_DEFAULT_MS: u64 = 90 * 24 * 60 * 60 * 1_000;
/// An API key's longest life.
pub const API_KEY_LIFE_MAX_MS: u64 = 365 * 24 * 60 * 60 * 1_000;
/// An e-mail address, as RFC 5321 bounds it.
pub const EMAIL_MAX_CHARS: usize = 254;
/// Passwords hashed at a time; each takes 19 MiB.
pub const PASSWORD_HASHES_MAX: usize = 2;
/// Failed logins of one account in a window.
pub const LOGIN_FAILURES_PER_ACCOUNT_MAX: u32 = 10;
/// Failed logins from one address in a window.
pub const LOGIN_FAILURES_PER_ADDRESS_MAX: u32 = 50;
/// The window in which failed logins are counted.
pub const LOGIN_WINDOW_MS: u64 = 15 * 60 * 1_000;
/// Accounts and addresses whose failed logins are counted; when full, logins of others wait.
pub const LOGIN_COUNTERS_MAX: usize = 20_000;
/// Audit events read at a time while a trail is verified.
pub const AUDIT_BATCH_EVENTS: i64 = 1_000;
/// How long a stop waits for requests under way.
pub const STOP_GRACE_MS: u64 = 5_000;
/// From telling a host to end a shell to its word that no process is left; also what a late audit entry may take.
pub const SHELL_CLOSE_TIMEOUT_MS: u64 = 5_000;
/// How long the last message may take to reach an operator who does not read.
pub const SHELL_FAREWELL_TIMEOUT_MS: u64 = 5_000;
/// How long a stop waits for shells to end.
pub const SHELLS_STOP_MAX_MS: u64 = 16_000;
/// `TimeoutStopSec` of the coordinator's systemd unit.
const STOP_MAX_MS: u64 = 30_000;
/// A TLS handshake.
pub const HANDSHAKE_TIMEOUT_MS: u64 = 10_000;
/// A connection on which no request arrives, or no sign of life.
pub const IDLE_TIMEOUT_MS: u64 = 60_000;

const _: () = assert!(SHELLS_STOP_MAX_MS > 2 * SHELL_CLOSE_TIMEOUT_MS + SHELL_FAREWELL_TIMEOUT_MS);
const _: () = assert!(STOP_MAX_MS > SHELLS_STOP_MAX_MS + 2 * STOP_GRACE_MS);

#[cfg(test)]
mod tests {
    #[test]
    fn a_stop_is_over_before_systemd_ends_it() {
        let unit = include_str!("../../../packaging/systemd/loopback-coordinator.service");
        assert!(unit.lines().any(|line| line == format!("TimeoutStopSec={}", super::STOP_MAX_MS / 1_000)), "{unit}");
    }
}
