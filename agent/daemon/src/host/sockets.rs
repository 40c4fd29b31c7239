//! /proc/net/sockstat and sockstat6 of the agent's network namespace.

use super::agent::page_bytes;
use super::samples::Samples;
use super::{Failure, number};

pub(super) fn read(text: &str, samples: &mut Samples) -> Result<(), Failure> {
    for line in text.lines() {
        let (protocol, rest) = line.split_once(':').ok_or_else(|| Failure::unexpected(line))?;
        let mut tokens = rest.split_ascii_whitespace();
        while let Some(key) = tokens.next() {
            let value = tokens.next().and_then(number).ok_or_else(|| Failure::unexpected(line))?;
            let name = format!("node_sockstat_{protocol}_{key}");
            if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
                return Err(Failure::unexpected(line));
            }
            samples.push(&name, &[], value);
            if key == "mem" {
                samples.push(&(name + "_bytes"), &[], value * page_bytes());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check, golden};

    #[test]
    fn it_agrees_with_proc_net_sockstat() {
        check(
            "sockets",
            r#"cat /proc/net/sockstat /proc/net/sockstat6 2>/dev/null | awk -v page=$(getconf PAGESIZE) '{ sub(":", "", $1)
                for (i = 2; i < NF; i += 2) { printf "node_sockstat_%s_%s %.0f\n", $1, $i, $(i + 1)
                    if ($i == "mem") printf "node_sockstat_%s_mem_bytes %.0f\n", $1, $(i + 1) * page } }'"#,
        );
    }

    #[test]
    fn odd_lines_are_refused() {
        golden(
            super::read,
            "sockets: used 13\nTCP: inuse 1 tw 0\nFRAG6: inuse 0 memory 7\n",
            Some(
                "node_sockstat_sockets_used 13\nnode_sockstat_TCP_inuse 1\nnode_sockstat_TCP_tw 0\nnode_sockstat_FRAG6_inuse 0\nnode_sockstat_FRAG6_memory 7\n",
            ),
        );
        for odd in ["TCP inuse 1", "TCP: inuse", "TCP: inuse -1", "T-P: inuse 1"] {
            golden(super::read, odd, None);
        }
    }
}
