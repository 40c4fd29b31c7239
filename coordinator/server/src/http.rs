//! The HTTPS side: operations, their handlers, and how what goes wrong is told.

pub mod api;
mod body;
pub mod error;
pub mod identity;
pub mod install;
pub mod openapi;
pub mod routes;
pub mod socket;
