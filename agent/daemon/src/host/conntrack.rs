//! How full the connection table is. The files are there once the kernel tracks connections.

use super::samples::Samples;
use super::{Failure, number};

pub(super) fn read_entries(text: &str, samples: &mut Samples) -> Result<(), Failure> {
    read("node_nf_conntrack_entries", text, samples)
}

pub(super) fn read_limit(text: &str, samples: &mut Samples) -> Result<(), Failure> {
    read("node_nf_conntrack_entries_limit", text, samples)
}

fn read(name: &str, text: &str, samples: &mut Samples) -> Result<(), Failure> {
    samples.push(name, &[], number(text.trim_ascii()).ok_or_else(|| Failure::unexpected(text))?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check, golden};

    #[test]
    fn it_agrees_with_the_kernel() {
        check(
            "conntrack",
            "cd /proc/sys/net/netfilter && [ -r nf_conntrack_count ] && echo node_nf_conntrack_entries $(cat nf_conntrack_count) && echo node_nf_conntrack_entries_limit $(cat nf_conntrack_max); true",
        );
    }

    #[test]
    fn odd_files_are_refused() {
        golden(super::read_limit, "262144\n", Some("node_nf_conntrack_entries_limit 262144\n"));
        golden(super::read_entries, "\n", None);
    }
}
