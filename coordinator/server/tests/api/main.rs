//! The coordinator's HTTPS side, in process: real TLS on port 0, a real database in a temporary directory, and nothing simulated.

#[cfg(test)]
mod access;
#[cfg(test)]
mod audit;
#[cfg(test)]
mod credentials;
#[cfg(test)]
mod firewalls;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod http;
#[cfg(test)]
mod rows;
#[cfg(test)]
mod tenancy;
