//! Tenancy: what an organization may do while it has its present status, what it may hold, and how its parts are named.

mod limit;
mod slug;
mod standing;

pub use limit::{LimitKind, LimitReached, Limits};
pub use slug::{InvalidSlug, Slug};
pub use standing::{EntityStatus, Standing, State, Verification};
