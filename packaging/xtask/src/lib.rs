//! The project's chores
