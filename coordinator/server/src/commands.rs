//! What changes something: each command takes a grant, decides by the core, and commits one unit with its audit entry.

pub mod enroll;
