//! Every bound of an agent's decisions. The unit is the last word of the name.

/// The first pause between two attempts to connect; it doubles from here.
pub const BACKOFF_FIRST_MS: u64 = 500;
/// The longest pause between two attempts to connect.
pub const BACKOFF_MAX_MS: u64 = 30_000;
/// A link that lived this long is healthy: when it is lost the agent comes back at once. A younger one goes on with the backoff, or a coordinator that
/// welcomes and closes would be dialled in a hot loop.
pub const LINK_STABLE_MS: u64 = 10_000;
/// Between an open link and its welcome.
pub const WELCOME_TIMEOUT_MS: u64 = 10_000;
/// The shortest interval a coordinator may ask for.
pub const INTERVAL_MIN_MS: u64 = 100;
/// Between observations as long as no coordinator has named an interval.
pub const METRICS_INTERVAL_MS: u64 = 10_000;
/// Between two looks at the host's facts.
pub const FACTS_INTERVAL_MS: u64 = 60_000;
/// Frames sent and not yet acknowledged.
pub const FRAMES_IN_FLIGHT_MAX: usize = 64;
/// Between two looks at a policy that awaits its confirmation.
pub const CONFIRM_POLL_MS: u64 = 500;
/// Between two requests for the same certificate.
pub const RENEWAL_RETRY_MS: u64 = 60_000;

const _: () = assert!(BACKOFF_FIRST_MS < BACKOFF_MAX_MS);
const _: () = assert!(RENEWAL_RETRY_MS > WELCOME_TIMEOUT_MS);
