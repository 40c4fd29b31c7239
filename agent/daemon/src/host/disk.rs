//! /proc/diskstats of whole disks. Partitions, loop devices and memory disks are left out, as node_exporter does.

use super::samples::Samples;
use super::{Failure, number};

/// The kernel counts sectors of this size whatever the disk's own.
const SECTOR_BYTES: f64 = 512.0;
const MILLISECOND: f64 = 0.001;

/// The columns after the device's name. Kernels before 4.18 stop after the eleventh, those before 5.5 after the fifteenth.
const COLUMNS: [(&str, f64); 17] = [
    ("node_disk_reads_completed_total", 1.0),
    ("node_disk_reads_merged_total", 1.0),
    ("node_disk_read_bytes_total", SECTOR_BYTES),
    ("node_disk_read_time_seconds_total", MILLISECOND),
    ("node_disk_writes_completed_total", 1.0),
    ("node_disk_writes_merged_total", 1.0),
    ("node_disk_written_bytes_total", SECTOR_BYTES),
    ("node_disk_write_time_seconds_total", MILLISECOND),
    ("node_disk_io_now", 1.0),
    ("node_disk_io_time_seconds_total", MILLISECOND),
    ("node_disk_io_time_weighted_seconds_total", MILLISECOND),
    ("node_disk_discards_completed_total", 1.0),
    ("node_disk_discards_merged_total", 1.0),
    ("node_disk_discarded_sectors_total", 1.0),
    ("node_disk_discard_time_seconds_total", MILLISECOND),
    ("node_disk_flush_requests_total", 1.0),
    ("node_disk_flush_requests_time_seconds_total", MILLISECOND),
];

pub(super) fn read(text: &str, samples: &mut Samples) -> Result<(), Failure> {
    for line in text.lines() {
        let mut tokens = line.split_ascii_whitespace().skip(2);
        let device = tokens.next().ok_or_else(|| Failure::unexpected(line))?;
        if is_left_out(device) {
            continue;
        }
        for ((name, unit), token) in COLUMNS.iter().zip(tokens) {
            samples.push(name, &[("device", device)], unit * number(token).ok_or_else(|| Failure::unexpected(line))?);
        }
    }
    Ok(())
}

/// node_exporter's `^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$`.
fn is_left_out(device: &str) -> bool {
    let stem = device.trim_end_matches(|c: char| c.is_ascii_digit());
    if stem == device {
        return false;
    }
    let disk_of_partition = ["hd", "sd", "vd", "xvd"].iter().find_map(|prefix| stem.strip_prefix(prefix));
    matches!(stem, "ram" | "zram" | "loop" | "fd")
        || disk_of_partition.is_some_and(|letter| letter.len() == 1 && letter.bytes().all(|byte| byte.is_ascii_lowercase()))
        || stem
            .strip_prefix("nvme")
            .and_then(|rest| rest.strip_suffix('p'))
            .and_then(|rest| rest.split_once('n'))
            .is_some_and(|(one, other)| number(one).is_some() && number(other).is_some())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check, golden};
    use super::is_left_out;

    #[test]
    fn it_agrees_with_proc_diskstats() {
        check(
            "disk",
            r#"awk '$3 !~ /^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme[0-9]+n[0-9]+p)[0-9]+$/ {
                n = split("reads_completed_total reads_merged_total read_bytes_total read_time_seconds_total writes_completed_total writes_merged_total written_bytes_total write_time_seconds_total io_now io_time_seconds_total io_time_weighted_seconds_total discards_completed_total discards_merged_total discarded_sectors_total discard_time_seconds_total flush_requests_total flush_requests_time_seconds_total", name, " ")
                for (i = 1; i <= n && i + 3 <= NF; i++) {
                    value = $(i + 3); if (name[i] ~ /bytes/) value *= 512; if (name[i] ~ /seconds/) value /= 1000
                    printf "node_disk_%s{device=%s} %.3f\n", name[i], $3, value } }' /proc/diskstats"#,
        );
    }

    #[test]
    fn the_columns_of_old_kernels_are_enough_and_wrapped_counters_are_as_they_are() {
        let text = "   8       0 sda 4294967295 1 2 3 4 5 6 7 8 9 10\n   8       1 sda1 x\n 7 0 loop0 1\n";
        golden(
            super::read,
            text,
            Some(
                "node_disk_reads_completed_total{device=sda} 4294967295\nnode_disk_reads_merged_total{device=sda} 1\nnode_disk_read_bytes_total{device=sda} 1024\n\
                 node_disk_read_time_seconds_total{device=sda} 0.003\nnode_disk_writes_completed_total{device=sda} 4\nnode_disk_writes_merged_total{device=sda} 5\n\
                 node_disk_written_bytes_total{device=sda} 3072\nnode_disk_write_time_seconds_total{device=sda} 0.007\nnode_disk_io_now{device=sda} 8\n\
                 node_disk_io_time_seconds_total{device=sda} 0.009000000000000001\nnode_disk_io_time_weighted_seconds_total{device=sda} 0.01\n",
            ),
        );
        golden(super::read, "8 0 sda 1 x 3", None);
        golden(super::read, "8 0", None);
    }

    #[test]
    fn partitions_and_memory_disks_are_left_out() {
        for device in ["ram0", "zram12", "loop7", "fd0", "hda1", "sda15", "vdb2", "xvdz9", "nvme0n1p1", "nvme10n12p33"] {
            assert!(is_left_out(device), "{device}");
        }
        for device in ["sda", "sdaa1", "vda", "nvme0n1", "nvme0n1p", "nvmen1p1", "md0", "dm-0", "mmcblk0p1", "sr0", "sdA1", "zram", "nbd3"] {
            assert!(!is_left_out(device), "{device}");
        }
    }
}
