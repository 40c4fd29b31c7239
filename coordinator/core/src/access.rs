//! Access control: whether an actor may do something somewhere, and the proof that it may.
//!
//! Allow only. A request is allowed if some unexpired binding whose scope is the target or an ancestor of it carries the permission.
//! [`Grant`] can be made by this module alone; storage and commands demand one, so forgetting a check is a type error.

mod actor;
mod binding;
mod grant;
mod permission;
mod role;
mod scope;
mod snapshot;

pub use actor::Actor;
pub use binding::Binding;
pub use grant::{Denied, Grant, Target};
pub use permission::{Key, Permission, PermissionSet, UnknownPermission, Verb};
pub use role::{BuiltInRole, OWNER, built_in_roles};
pub use scope::{ScopeKind, ScopePath};
pub use snapshot::{Escalation, Snapshot};
