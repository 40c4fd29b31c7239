//! /proc/meminfo, every line of it: `Active(anon)` becomes `node_memory_Active_anon_bytes`, and counts of pages keep their bare names.

use super::samples::Samples;
use super::{Failure, number};

const KIB: f64 = 1024.0;

pub(super) fn read(text: &str, samples: &mut Samples) -> Result<(), Failure> {
    for line in text.lines().filter(|line| !line.is_empty()) {
        let (key, rest) = line.split_once(':').ok_or_else(|| Failure::unexpected(line))?;
        let mut tokens = rest.split_ascii_whitespace();
        let value = tokens.next().and_then(number).ok_or_else(|| Failure::unexpected(line))?;
        let name = format!("node_memory_{}", key.replace('(', "_").replace(')', ""));
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err(Failure::unexpected(line));
        }
        match tokens.next() {
            None => samples.push(&name, &[], value),
            Some("kB") => samples.push(&(name + "_bytes"), &[], value * KIB),
            Some(_) => return Err(Failure::unexpected(line)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check, golden};

    #[test]
    fn it_agrees_with_proc_meminfo() {
        check(
            "memory",
            r#"awk '{ name = $1; sub(":", "", name); sub(/\(/, "_", name); sub(/\)/, "", name)
                if ($3 == "kB") printf "node_memory_%s_bytes %.0f\n", name, $2 * 1024; else printf "node_memory_%s %.0f\n", name, $2 }' /proc/meminfo"#,
        );
    }

    #[test]
    fn names_units_and_odd_lines() {
        golden(
            super::read,
            "MemTotal:  24684092 kB\nActive(anon):  3 kB\nHugePages_Total: 4\nVmallocTotal: 34359738367 kB\nHuge: 18446744073709551615 kB\n",
            Some(
                "node_memory_MemTotal_bytes 25276510208\nnode_memory_Active_anon_bytes 3072\nnode_memory_HugePages_Total 4\n\
                 node_memory_VmallocTotal_bytes 35184372087808\nnode_memory_Huge_bytes 18889465931478580000000\n",
            ),
        );
        for odd in ["MemTotal 1 kB", "MemTotal: kB", "MemTotal: 1 MB", "Mem-Total: 1 kB", "MemTotal: -1 kB"] {
            golden(super::read, odd, None);
        }
    }
}
