//! End to end: the real programs on machines of a laboratory, driven as people drive them. Each test is a small world of its own and skips nothing.

mod audit;
mod demo;
mod enroll;
mod faults;
mod firewall;
mod hostile;
mod install;
mod json;
mod metrics;
mod packets;
mod sessions;
mod shell;
