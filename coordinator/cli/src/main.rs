//! The `loopback` binary: hands over to the library and leaves with its exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    loopback_cli::run()
}
