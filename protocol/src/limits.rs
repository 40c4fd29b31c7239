//! Every bound of the conversation between an agent and a coordinator. The unit is the last word of the name.

/// A control-stream frame; a policy of 10,000 rules fits with room to spare.
pub const CONTROL_FRAME_MAX_BYTES: usize = 4 * 1024 * 1024;
/// A shell-stream frame.
pub const SHELL_FRAME_MAX_BYTES: usize = 64 * 1024;
/// The bytes of terminal input or output in one shell frame.
pub const SHELL_CHUNK_MAX_BYTES: usize = 32 * 1024;
/// A first-contact frame.
pub const ENROLL_FRAME_MAX_BYTES: usize = 64 * 1024;
/// A short text: a host name, a kernel release, a module's name.
pub const NAME_MAX_BYTES: usize = 255;
/// A longer text: an error of a module, a kernel's message.
pub const TEXT_MAX_BYTES: usize = 8 * 1024;
/// Addresses a host reports.
pub const FACT_ADDRESSES_MAX: usize = 256;
/// Modules an agent reports.
pub const MODULES_MAX: usize = 32;
/// Rules of one host's effective policy.
pub const POLICY_RULES_MAX: usize = 50_000;
/// Address ranges of one selector.
pub const RULE_RANGES_MAX: usize = 10_000;
/// Port ranges of one rule.
pub const RULE_PORTS_MAX: usize = 256;
/// ICMP types of one rule.
pub const RULE_ICMP_TYPES_MAX: usize = 64;
/// Series of one host.
pub const SERIES_MAX: usize = 4_096;
/// Labels of one series.
pub const SERIES_LABELS_MAX: usize = 16;
/// Columns or rows of a terminal.
pub const TERMINAL_SIDE_MAX: u16 = 2_000;
/// The command line of a shell session that runs one.
pub const COMMAND_MAX_BYTES: usize = 16 * 1024;
/// A certificate signing request or certificate.
pub const CERTIFICATE_MAX_BYTES: usize = 8 * 1024;
/// Heartbeats that may be missed before a host counts as offline.
pub const HEARTBEATS_MISSED_MAX: u32 = 3;

const _: () = assert!(SHELL_CHUNK_MAX_BYTES < SHELL_FRAME_MAX_BYTES);
const _: () = assert!(COMMAND_MAX_BYTES < SHELL_FRAME_MAX_BYTES);
const _: () = assert!(2 * CERTIFICATE_MAX_BYTES + TEXT_MAX_BYTES < ENROLL_FRAME_MAX_BYTES);
