//! The coordinator in process: real TLS and QUIC on port 0, a real database in a temporary directory, and nothing simulated but the machines.

#[cfg(test)]
mod access;
#[cfg(test)]
mod audit;
#[cfg(test)]
mod credentials;
#[cfg(test)]
mod enrolment;
#[cfg(test)]
mod firewalls;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod http;
#[cfg(test)]
mod links;
#[cfg(test)]
mod machine;
#[cfg(test)]
mod operator;
#[cfg(test)]
mod rows;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod stop;
#[cfg(test)]
mod tenancy;
