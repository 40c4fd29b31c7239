//! /proc/net/dev of the agent's network namespace, and whether each device is up.

use std::fs;

use super::samples::Samples;
use super::{Failure, number};

/// The columns of a device, in the kernel's order.
const COLUMNS: [&str; 16] = [
    "node_network_receive_bytes_total",
    "node_network_receive_packets_total",
    "node_network_receive_errs_total",
    "node_network_receive_drop_total",
    "node_network_receive_fifo_total",
    "node_network_receive_frame_total",
    "node_network_receive_compressed_total",
    "node_network_receive_multicast_total",
    "node_network_transmit_bytes_total",
    "node_network_transmit_packets_total",
    "node_network_transmit_errs_total",
    "node_network_transmit_drop_total",
    "node_network_transmit_fifo_total",
    "node_network_transmit_colls_total",
    "node_network_transmit_carrier_total",
    "node_network_transmit_compressed_total",
];

pub(super) fn read(text: &str, samples: &mut Samples) -> Result<(), Failure> {
    // Two lines of headings come first; they hold no colon.
    for line in text.lines().skip(2) {
        let (device, columns) = line.rsplit_once(':').ok_or_else(|| Failure::unexpected(line))?;
        let device = device.trim_ascii();
        let mut tokens = columns.split_ascii_whitespace();
        for name in COLUMNS {
            samples.push(name, &[("device", device)], tokens.next().and_then(number).ok_or_else(|| Failure::unexpected(line))?);
        }
        push_up(device, samples);
    }
    Ok(())
}

/// Not kept open: a host may have a thousand devices, and descriptors are for links and shells.
fn push_up(device: &str, samples: &mut Samples) {
    // /sys may be another network namespace's, or not mounted: then the device is not there.
    if let Ok(state) = fs::read(format!("/sys/class/net/{device}/operstate")) {
        samples.push("node_network_up", &[("device", device)], if state.trim_ascii() == b"up" { 1.0 } else { 0.0 });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::tests::{between, check, collected, golden, shell};

    #[test]
    fn it_agrees_with_proc_net_dev() {
        check(
            "network",
            r#"awk 'NR > 2 { sub(":", " "); n = split("receive_bytes receive_packets receive_errs receive_drop receive_fifo receive_frame receive_compressed receive_multicast transmit_bytes transmit_packets transmit_errs transmit_drop transmit_fifo transmit_colls transmit_carrier transmit_compressed", name, " ")
                for (i = 1; i <= n; i++) printf "node_network_%s_total{device=%s} %.0f\n", name[i], $1, $(i + 1)
                ("cat /sys/class/net/" $1 "/operstate") | getline state
                printf "node_network_up{device=%s} %d\n", $1, state == "up" }' /proc/net/dev"#,
        );
    }

    #[test]
    fn it_agrees_with_ip() {
        let ip = || -> BTreeMap<String, f64> {
            let links: serde_json::Value = serde_json::from_str(&shell("ip -s -j link")).unwrap();
            let figures = |link: &serde_json::Value| {
                let figure = |name: &str, way: &str, field: &str| {
                    (format!("node_network_{name}_total{{device={}}}", link["ifname"].as_str().unwrap()), link["stats64"][way][field].as_f64().unwrap())
                };
                [
                    figure("receive_bytes", "rx", "bytes"),
                    figure("receive_packets", "rx", "packets"),
                    figure("receive_errs", "rx", "errors"),
                    figure("receive_multicast", "rx", "multicast"),
                    figure("transmit_bytes", "tx", "bytes"),
                    figure("transmit_packets", "tx", "packets"),
                    figure("transmit_errs", "tx", "errors"),
                    figure("transmit_drop", "tx", "dropped"),
                ]
            };
            links.as_array().unwrap().iter().flat_map(figures).collect()
        };
        let (before, observed, after) = (ip(), collected("network"), ip());
        assert!(before.contains_key("node_network_receive_bytes_total{device=lo}"));
        // Other tests' devices come and go meanwhile.
        for (name, low) in before {
            if let (Some(value), Some(high)) = (observed.get(&name), after.get(&name)) {
                assert!(between(low, *value, *high), "{name}: {low} <= {value} <= {high}");
            }
        }
    }

    #[test]
    fn odd_lines() {
        let headings = "Inter-|   Receive\n face |bytes\n";
        golden(super::read, headings, Some(""));
        golden(super::read, &format!("{headings}  x0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15\n"), None);
        golden(super::read, &format!("{headings}  no device\n"), None);
        let mut samples = super::Samples::default();
        super::read(&format!("{headings}none0:18446744073709551615 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"), &mut samples).unwrap();
        let text = samples.text();
        assert!(text.starts_with("node_network_receive_bytes_total{device=none0} 18446744073709552000\n"), "glued to the name: {text}");
        assert!(text.ends_with("node_network_transmit_compressed_total{device=none0} 16\n"), "no state for a device that /sys does not have: {text}");
    }
}
