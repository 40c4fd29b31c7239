//! The coordinator's HTTPS side, in process: real TLS on port 0, a real database in a temporary directory, and nothing simulated.

mod access;
mod audit;
mod credentials;
mod firewalls;
mod harness;
mod http;
mod rows;
mod tenancy;
