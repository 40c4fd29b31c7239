//! /proc/loadavg.

use super::Failure;
use super::samples::Samples;

pub(super) fn read(text: &str, samples: &mut Samples) -> Result<(), Failure> {
    let mut tokens = text.split_ascii_whitespace();
    for name in ["node_load1", "node_load5", "node_load15"] {
        let load = tokens.next().and_then(|token| token.parse::<f64>().ok()).filter(|load| load.is_finite());
        samples.push(name, &[], load.ok_or_else(|| Failure::unexpected(text))?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check, golden};

    #[test]
    fn it_agrees_with_proc_loadavg() {
        check("load", r#"awk '{ print "node_load1 " $1; print "node_load5 " $2; print "node_load15 " $3 }' /proc/loadavg"#);
    }

    #[test]
    fn odd_files_are_refused() {
        golden(super::read, "0.21 12.00 1e3 5/89 1\n", Some("node_load1 0.21\nnode_load5 12\nnode_load15 1000\n"));
        for odd in ["", "0.1 0.2", "0.1 nan 0.3", "0.1 x 0.3"] {
            golden(super::read, odd, None);
        }
    }
}
