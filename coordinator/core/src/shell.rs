//! Shell sessions: who may open one and for how long, where one stands and why it ended, and the recording that proves what was seen.

mod chain;
mod end;
mod policy;
mod recording;
mod session;

pub use chain::{Chain, Full, RecordingHash, Verdict, Verifier};
pub use end::EndReason;
pub use policy::{Refused, ShellPolicy, ShellRequest, Terms, admit};
pub use recording::{Header, Recorder};
pub use session::{Active, Ended, Opening, Session};
