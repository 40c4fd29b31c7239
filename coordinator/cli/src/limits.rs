//! Every bound the command line knows. The unit is the last word of the name.

/// Reaching the coordinator: TCP and TLS.
pub(crate) const CONNECT_TIMEOUT_MS: u64 = 10_000;
/// A call, from its first byte to the last of its answer.
pub(crate) const CALL_TIMEOUT_MS: u64 = 30_000;
/// Silence in the middle of an answer.
pub(crate) const READ_TIMEOUT_MS: u64 = 20_000;
/// An answer, but for recordings.
pub(crate) const ANSWER_MAX_BYTES: usize = 32 << 20;
/// A recording.
pub(crate) const RECORDING_MAX_BYTES: usize = 512 << 20;
/// A file of firewall rules, or of certificates.
pub(crate) const FILE_MAX_BYTES: u64 = 16 << 20;
/// A password on standard input.
pub(crate) const PASSWORD_MAX_BYTES: u64 = 4_096;

/// Items of one page.
pub(crate) const PAGE_ITEMS: u32 = 200;
/// Items of a list when `--limit` is not given.
pub(crate) const LIST_DEFAULT_ITEMS: u32 = 1_000;
/// Items of a list at most.
pub(crate) const LIST_MAX_ITEMS: u32 = 100_000;

/// Details of an audit event in a table.
pub(crate) const DETAILS_MAX_CHARS: usize = 80;

/// How long to wait for hosts to apply a firewall.
pub(crate) const APPLY_WAIT_MS: u64 = 10_000;
/// How often to ask them.
pub(crate) const APPLY_POLL_MS: u64 = 250;
/// How many hosts to watch.
pub(crate) const APPLY_WATCHED_HOSTS: u32 = 200;
/// Calls under way at once.
pub(crate) const CALLS_AT_ONCE: usize = 8;

/// Columns of a sparkline.
pub(crate) const SPARKLINE_COLUMNS: u32 = 40;
/// Seconds between the points of a sparkline, at least: what agents sample.
pub(crate) const SPARKLINE_STEP_MIN_SECONDS: u64 = 1;

/// Input read from the terminal at once.
pub(crate) const INPUT_CHUNK_BYTES: usize = 16 << 10;
/// Chunks of input waiting for the link.
pub(crate) const INPUT_QUEUE_CHUNKS: usize = 8;
/// A WebSocket message.
pub(crate) const MESSAGE_MAX_BYTES: usize = 1 << 20;
/// How often an attached terminal asks for a sign of life.
pub(crate) const PING_PERIOD_MS: u64 = 15_000;
/// Silence after which the link counts as lost: three of those.
pub(crate) const SILENCE_MAX_MS: u64 = 3 * PING_PERIOD_MS;
/// How often the end of a pipe is told to the terminal on the host.
pub(crate) const END_OF_INPUT_PERIOD_MS: u64 = 1_000;
/// How long the end of a session is awaited after it was asked for.
pub(crate) const CLOSE_WAIT_MS: u64 = 5_000;

const _: () = assert!(CONNECT_TIMEOUT_MS < CALL_TIMEOUT_MS && LIST_DEFAULT_ITEMS <= LIST_MAX_ITEMS && PAGE_ITEMS <= LIST_DEFAULT_ITEMS);
