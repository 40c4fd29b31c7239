//! Every bound of the daemon. The unit is the last word of the name.

use std::time::Duration;

/// Events that wait for the loop; tasks that make more wait with them.
pub const EVENTS_MAX: usize = 256;
/// Messages that wait for the link. The core has at most a window of frames under way; a link that lets more pile up is as good as dead.
pub const OUTBOX_MAX: usize = 512;
/// Orders that wait for the observer.
pub const ORDERS_MAX: usize = 1_024;
/// Addresses of the coordinator that are tried and let through the firewall.
pub const COORDINATOR_ADDRESSES_MAX: usize = 16;
/// Shell sessions on one host.
pub const SESSIONS_MAX: u32 = 1_024;
/// What is read of a file that should hold a token.
pub const TOKEN_FILE_MAX_BYTES: u64 = 4 * 1024;
/// For one handshake.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For the answer to a first contact; argon2 is not involved, a database is.
pub const FIRST_ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// For sessions to end when their link or the agent ends: their processes are killed, and their farewell may take five seconds.
pub const SESSIONS_END_TIMEOUT: Duration = Duration::from_secs(10);
/// For the last frame of a session to be acknowledged.
pub const LAST_WORDS_TIMEOUT: Duration = Duration::from_secs(2);
/// For everything to end when the agent ends; systemd waits a little longer before it kills (`TimeoutStopSec`).
pub const STOP_TIMEOUT: Duration = Duration::from_secs(12);
/// The receive buffer of the UDP socket, where the kernel permits: the default lost datagrams in bulk.
pub const UDP_RECEIVE_BUFFER_BYTES: usize = 1024 * 1024;
/// The longest sleep of the loop.
pub const SLEEP_MAX: Duration = Duration::from_secs(3_600);

const _: () = assert!(SESSIONS_END_TIMEOUT.as_secs() < STOP_TIMEOUT.as_secs());
