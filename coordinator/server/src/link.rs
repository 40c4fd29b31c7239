//! The agents' side of the coordinator: one QUIC listener for enrolment and for links, a session for each linked host, and the registry of them.

mod endpoint;
mod enroll;
mod listener;
mod registry;
mod session;

pub use endpoint::EndpointError;
pub use listener::Listener;
pub use registry::{HostHealth, NotLinked, Registry};
pub use session::Terms;
