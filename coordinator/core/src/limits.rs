//! Every bound the coordinator's decisions know. The unit is the last word of the name.

/// A name people give to something.
pub const NAME_MAX_CHARS: usize = 100;
/// A slug.
pub const SLUG_MAX_CHARS: usize = 63;
/// A description or reason.
pub const DESCRIPTION_MAX_CHARS: usize = 1_000;
/// An agent token's life when none is asked for.
pub const TOKEN_LIFE_DEFAULT_MS: u64 = 60 * 60 * 1_000;
/// An agent token's longest life.
pub const TOKEN_LIFE_MAX_MS: u64 = 365 * 24 * 60 * 60 * 1_000;
/// Uses of one agent token.
pub const TOKEN_USES_MAX: u32 = 10_000;
/// A host certificate's life.
pub const CERTIFICATE_LIFE_MS: u64 = 24 * 60 * 60 * 1_000;
/// How long after its expiry a certificate may still be renewed with proof of its key.
pub const CERTIFICATE_GRACE_MS: u64 = 30 * 24 * 60 * 60 * 1_000;
/// A password, in characters: long enough to resist guessing, short enough to hash.
pub const PASSWORD_MIN_CHARS: usize = 12;
/// A password, in characters.
pub const PASSWORD_MAX_CHARS: usize = 256;
/// Addresses, ranges and references in one selector.
pub const SELECTOR_ENTRIES_MAX: usize = 1_000;
/// Rules of one firewall.
pub const FIREWALL_RULES_MAX: usize = 10_000;
/// A shell session's longest life when its policy names none.
pub const SHELL_DURATION_DEFAULT_MS: u64 = 60 * 60 * 1_000;
/// A shell session without input.
pub const SHELL_IDLE_DEFAULT_MS: u64 = 15 * 60 * 1_000;
/// Faults named in one answer: enough to mend a list in one go.
pub const FIELD_FAULTS_MAX: usize = 100;
/// One host's policy as it is sent: a control frame, less room for what is around it.
pub const POLICY_MAX_BYTES: usize = loopback_protocol::limits::CONTROL_FRAME_MAX_BYTES - 64 * 1024;
/// From asking a host for a shell to its answer.
pub const SHELL_OPENING_MAX_MS: u64 = 15 * 1_000;
/// One session's recording.
pub const RECORDING_MAX_BYTES: u64 = 1024 * 1024 * 1024;
