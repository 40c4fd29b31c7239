//! /proc/sys/fs/file-nr: open files of the whole host, and how many there may be.

use super::samples::Samples;
use super::{Failure, number};

pub(super) fn read(text: &str, samples: &mut Samples) -> Result<(), Failure> {
    // The middle one has been zero since Linux 2.6.
    let mut tokens = text.split_ascii_whitespace().step_by(2);
    for name in ["node_filefd_allocated", "node_filefd_maximum"] {
        samples.push(name, &[], tokens.next().and_then(number).ok_or_else(|| Failure::unexpected(text))?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check, golden};

    #[test]
    fn it_agrees_with_file_nr() {
        check("descriptors", r#"awk '{ printf "node_filefd_allocated %.0f\nnode_filefd_maximum %.0f\n", $1, $3 }' /proc/sys/fs/file-nr"#);
    }

    #[test]
    fn odd_files_are_refused() {
        golden(super::read, "468\t0\t9223372036854775807\n", Some("node_filefd_allocated 468\nnode_filefd_maximum 9223372036854776000\n"));
        golden(super::read, "468\t0\n", None);
    }
}
