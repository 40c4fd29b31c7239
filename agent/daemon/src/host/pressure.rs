//! /proc/pressure/*: how long tasks waited for a resource ("some") and how long none got on ("full").

use super::samples::Samples;
use super::{Failure, number};

const MICROSECONDS: f64 = 1_000_000.0;

/// Reads the file of one resource: `cpu`, `io`, `memory` or `irq`.
pub(super) fn read(resource: &str, text: &str, samples: &mut Samples) -> Result<(), Failure> {
    for line in text.lines() {
        let mut tokens = line.split_ascii_whitespace();
        let kind = match (resource, tokens.next()) {
            // For the whole host the kernel has no such thing as everything waiting for the CPU; the line is there for shape.
            ("cpu", Some("full")) => continue,
            (_, Some("some")) => "waiting",
            (_, Some("full")) => "stalled",
            _ => return Err(Failure::unexpected(line)),
        };
        let total = tokens.find_map(|token| token.strip_prefix("total=")).and_then(number).ok_or_else(|| Failure::unexpected(line))?;
        samples.push(&format!("node_pressure_{resource}_{kind}_seconds_total"), &[], total / MICROSECONDS);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check, golden};

    #[test]
    fn it_agrees_with_proc_pressure() {
        check(
            "pressure",
            r#"for r in cpu io memory irq; do [ -r /proc/pressure/$r ] && awk -v r=$r '{ sub("total=", "", $5) }
                $1 == "some" { printf "node_pressure_%s_waiting_seconds_total %.6f\n", r, $5 / 1000000 }
                $1 == "full" && r != "cpu" { printf "node_pressure_%s_stalled_seconds_total %.6f\n", r, $5 / 1000000 }' /proc/pressure/$r; done; true"#,
        );
    }

    #[test]
    fn odd_lines_are_refused() {
        let io = |text: &str, samples: &mut _| super::read("io", text, samples);
        golden(
            io,
            "some avg10=0.02 avg60=0.23 avg300=0.75 total=21286329\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
            Some("node_pressure_io_waiting_seconds_total 21.286329\nnode_pressure_io_stalled_seconds_total 0\n"),
        );
        golden(io, "some avg10=0.02\n", None);
        golden(io, "most total=1\n", None);
    }
}
