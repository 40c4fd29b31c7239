//! The coordinator's HTTP vocabulary: one noun per file, and every operation once.
//!
//! An [`Operation`] names its method, path, permission, audit key, input and output in one place. The server's routes, the OpenAPI document, the typed
//! client and the access tests are all made from it.

mod operation;
mod page;
mod problem;
mod time;

pub mod account;
pub mod audit;
pub mod binding;
pub mod firewall;
pub mod host;
pub mod key;
pub mod member;
pub mod metrics;
pub mod organization;
pub mod permission;
pub mod project;
pub mod role;
pub mod session;
pub mod token;
pub mod workspace;

pub use operation::{Access, Described, Method, Nothing, Operation, Spec, Visitor, described, visit};
pub use page::{Page, PageQuery};
pub use problem::{FieldError, Problem, ProblemKind};
pub use time::Time;
