//! The spool against a plain list of frames, against every way a file can end, and against a full disk.

use std::path::Path;
use std::sync::Arc;

use loopback_protocol::metrics::{Frame, Schema, Series};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::{Spool, UNFLUSHED_FRAMES_MAX};

const ROOMY_BYTES: u64 = 64 * 1024 * 1024;

/// These tests flush thousands of times, which only tells something of the disk.
fn memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap()
}

fn schema(id: u32) -> Schema {
    Schema { id, series: (0..=id % 3).map(|index| Series::new("node_load1", &[("cpu", &index.to_string())])).collect() }
}

fn frame(schema: &Schema, sequence: u64) -> Frame {
    #[expect(clippy::cast_precision_loss, reason = "sequences are small here")]
    let values = vec![sequence as f64 / 3.0; schema.series.len()];
    Frame { schema: schema.id, sequence, time_ms: 1_000_000 + sequence * 10_000, values }
}

fn push(spool: &mut Spool, id: u32, sequence: u64) -> std::io::Result<()> {
    spool.push(&schema(id), &frame(&schema(id), sequence))
}

fn all(spool: &mut Spool) -> Vec<u64> {
    sequences(&spool.pending(0, usize::MAX).unwrap())
}

/// Checks that each frame is whole and has its own schema.
#[track_caller]
fn sequences(pending: &[(Arc<Schema>, Frame)]) -> Vec<u64> {
    for (named, pending) in pending {
        assert_eq!(**named, schema(named.id));
        assert_eq!(*pending, frame(named, pending.sequence));
    }
    pending.iter().map(|(_, frame)| frame.sequence).collect()
}

fn stored_bytes(directory: &Path) -> u64 {
    std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().extension().is_some())
        .map(|entry| entry.metadata().unwrap().len())
        .sum()
}

#[test]
fn frames_wait_in_order_until_they_are_acknowledged_and_the_sequence_outlives_them() {
    let directory = memory();
    let path = directory.path().join("state/spool");
    let mut spool = Spool::open(&path, ROOMY_BYTES).unwrap();
    assert_eq!((spool.last_sequence(), spool.dropped(), all(&mut spool)), (0, 0, vec![]));
    for (sequence, id) in [(1, 1), (2, 1), (5, 2), (6, 1)] {
        push(&mut spool, id, sequence).unwrap();
    }
    assert_eq!(all(&mut spool), [1, 2, 5, 6]);
    assert_eq!(sequences(&spool.pending(1, 2).unwrap()), [2, 5]);
    assert_eq!(sequences(&spool.pending(5, 2).unwrap()), [6]);
    assert_eq!(sequences(&spool.pending(6, 2).unwrap()), [0; 0]);
    assert_eq!(sequences(&spool.pending(0, 0).unwrap()), [0; 0]);

    spool.acknowledge(2).unwrap();
    spool.acknowledge(2).unwrap();
    spool.acknowledge(1).unwrap();
    assert_eq!(all(&mut spool), [5, 6]);
    // No end is announced: as after SIGKILL.
    let mut spool = Spool::open(&path, ROOMY_BYTES).unwrap();
    assert_eq!((spool.last_sequence(), all(&mut spool)), (6, vec![5, 6]));
    spool.acknowledge(u64::MAX).unwrap();
    assert_eq!(all(&mut spool), [0; 0]);
    for _ in 0..3 {
        let mut spool = Spool::open(&path, ROOMY_BYTES).unwrap();
        assert_eq!((spool.last_sequence(), all(&mut spool)), (6, vec![]));
    }
    let mut spool = Spool::open(&path, ROOMY_BYTES).unwrap();
    push(&mut spool, 3, 7).unwrap();
    assert_eq!(all(&mut Spool::open(&path, ROOMY_BYTES).unwrap()), [7]);
}

#[test]
fn a_frame_that_cannot_be_right_is_refused() {
    let directory = memory();
    let mut spool = Spool::open(directory.path(), 512).unwrap();
    push(&mut spool, 1, 3).unwrap();
    assert!(push(&mut spool, 1, 3).is_err() && push(&mut spool, 1, 2).is_err(), "a sequence twice");
    assert!(spool.push(&schema(1), &frame(&schema(2), 4)).is_err(), "another schema's frame");
    let large = Schema { id: 9, series: vec![Series::new("node_load1", &[]); 100] };
    for _ in 0..2 {
        assert!(spool.push(&large, &frame(&large, 4)).unwrap_err().to_string().contains("smaller than one frame"));
    }
    assert_eq!((all(&mut spool), spool.dropped()), (vec![3], 0));
    push(&mut spool, 2, 4).unwrap();
    assert_eq!(all(&mut spool), [3, 4]);
}

/// A spool of four frames with a change of schema among them, and where each ends in the one segment.
fn written(directory: &Path) -> (std::path::PathBuf, Vec<u64>) {
    let mut spool = Spool::open(directory, ROOMY_BYTES).unwrap();
    let ends = [(1, 1), (2, 1), (3, 2), (4, 2)].map(|(sequence, id)| {
        push(&mut spool, id, sequence).unwrap();
        spool.segments[0].bytes
    });
    (spool.segments[0].path.clone(), ends.into())
}

#[test]
fn a_file_cut_anywhere_keeps_every_whole_frame_and_goes_on() {
    let directory = memory();
    let (path, ends) = written(directory.path());
    let whole = std::fs::read(&path).unwrap();
    for length in 0..=whole.len() {
        let directory = memory();
        std::fs::write(directory.path().join(path.file_name().unwrap()), &whole[..length]).unwrap();
        let mut expected: Vec<u64> = (1..=4).zip(&ends).filter(|(_, end)| **end <= length as u64).map(|(sequence, _)| sequence).collect();
        let mut spool = Spool::open(directory.path(), ROOMY_BYTES).unwrap();
        assert_eq!(all(&mut spool), expected, "cut at {length}");
        push(&mut spool, 1, 10).unwrap();
        expected.push(10);
        assert_eq!(all(&mut Spool::open(directory.path(), ROOMY_BYTES).unwrap()), expected, "cut at {length}");
    }
}

#[test]
fn a_byte_gone_bad_anywhere_costs_at_most_what_follows_it() {
    let directory = memory();
    let (path, ends) = written(directory.path());
    let whole = std::fs::read(&path).unwrap();
    for position in 0..whole.len() {
        let directory = memory();
        let mut bytes = whole.clone();
        bytes[position] ^= 0x55;
        std::fs::write(directory.path().join(path.file_name().unwrap()), bytes).unwrap();
        let expected: Vec<u64> = (1..=4).zip(&ends).filter(|(_, end)| **end <= position as u64).map(|(sequence, _)| sequence).collect();
        let mut spool = Spool::open(directory.path(), ROOMY_BYTES).unwrap();
        let header = position < 56;
        assert_eq!(all(&mut spool), if header { vec![] } else { expected }, "bad at {position}");
        push(&mut spool, 1, 10).unwrap();
    }
}

#[test]
fn foreign_files_and_a_torn_note_do_no_harm() {
    let directory = memory();
    written(directory.path());
    Spool::open(directory.path(), ROOMY_BYTES).unwrap().acknowledge(2).unwrap();
    for name in ["README", "x.frames", "3.tmp", ".frames"] {
        std::fs::write(directory.path().join(name), "x").unwrap();
    }
    assert_eq!(all(&mut Spool::open(directory.path(), ROOMY_BYTES).unwrap()), [3, 4]);
    for note in [&[][..], &[1; 5], &[1; 12], &[1; 40]] {
        std::fs::write(directory.path().join("acknowledged"), note).unwrap();
        assert_eq!(all(&mut Spool::open(directory.path(), ROOMY_BYTES).unwrap()), [1, 2, 3, 4], "frames are offered again rather than lost");
    }
}

#[test]
fn after_a_power_loss_no_sequence_is_used_twice() {
    for lost in 0..=UNFLUSHED_FRAMES_MAX {
        let directory = memory();
        let mut spool = Spool::open_in_boot(directory.path(), ROOMY_BYTES, "first".into()).unwrap();
        let mut ends = vec![];
        for sequence in 1..=40 {
            push(&mut spool, 1, sequence).unwrap();
            ends.push(spool.segments[0].bytes);
        }
        let survivors = 40 - lost;
        let file = std::fs::File::options().write(true).open(&spool.segments[0].path).unwrap();
        file.set_len(ends[usize::try_from(survivors).unwrap() - 1] + 3).unwrap();
        for boot in ["second", "second", "third"] {
            let mut spool = Spool::open_in_boot(directory.path(), ROOMY_BYTES, boot.into()).unwrap();
            assert!(spool.last_sequence() >= 40, "{lost} lost, {} next", spool.last_sequence());
            assert_eq!(all(&mut spool), (1..=survivors).collect::<Vec<_>>());
        }
    }
}

#[test]
fn what_is_not_flushed_is_never_more_than_the_bound_says() {
    let directory = memory();
    let mut spool = Spool::open(directory.path(), ROOMY_BYTES).unwrap();
    for sequence in 1..=100 {
        push(&mut spool, 1, sequence).unwrap();
        assert!(spool.writer.as_ref().unwrap().unflushed_frames <= UNFLUSHED_FRAMES_MAX);
    }
}

#[test]
fn the_bound_holds_and_what_it_costs_is_counted() {
    for max_bytes in [512, 1_000, 4_096, 20_000] {
        let directory = memory();
        let mut spool = Spool::open(directory.path(), max_bytes).unwrap();
        let mut dropped_before = 0;
        for sequence in 1..=400 {
            push(&mut spool, u32::try_from(sequence / 50).unwrap(), sequence).unwrap();
            assert!(stored_bytes(directory.path()) <= max_bytes, "{max_bytes} at {sequence}");
            if sequence == 300 {
                spool.acknowledge(150).unwrap();
            }
            if sequence % 90 == 0 {
                dropped_before += spool.dropped();
                spool = Spool::open(directory.path(), max_bytes).unwrap();
            }
        }
        let waiting = all(&mut spool);
        assert_eq!(waiting, (401 - waiting.len() as u64..=400).collect::<Vec<_>>(), "the newest, without a gap");
        assert!(!waiting.is_empty());
        assert!(dropped_before + spool.dropped() >= 400 - 150 - waiting.len() as u64);
        assert!(dropped_before + spool.dropped() <= 400 - waiting.len() as u64);

        let mut smaller = Spool::open(directory.path(), 300).unwrap();
        assert!(smaller.dropped() > 0 || max_bytes == 512);
        assert_eq!(all(&mut smaller).last(), Some(&400));
    }
}

#[test]
fn random_lives_are_those_of_a_plain_list() {
    for seed in 0..60 {
        let mut random = StdRng::seed_from_u64(seed);
        let max_bytes = if seed % 3 == 0 { 2_000 } else { ROOMY_BYTES };
        let directory = memory();
        let mut spool = Spool::open(directory.path(), max_bytes).unwrap();
        let (mut list, mut last, mut acknowledged, mut dropped) = (Vec::new(), 0, 0_u64, 0);
        let mut lost = 0;
        for step in 0..200 {
            match random.random_range(0..10) {
                0..=5 => {
                    last += random.random_range(1..3);
                    push(&mut spool, random.random_range(0..4) / 3, last).unwrap();
                    list.push(last);
                }
                6 => {
                    acknowledged = acknowledged.max(random.random_range(acknowledged.saturating_sub(3)..=last.min(acknowledged + 6)));
                    spool.acknowledge(acknowledged).unwrap();
                }
                7 => {
                    dropped += spool.dropped();
                    spool = Spool::open(directory.path(), max_bytes).unwrap();
                }
                _ => {}
            }
            list.retain(|sequence| *sequence > acknowledged);
            assert!(max_bytes < ROOMY_BYTES || spool.dropped() == 0);
            let (after, max) = (random.random_range(0..=last), random.random_range(0..20));
            let expected: Vec<u64> = list.iter().copied().filter(|sequence| *sequence > after).collect();
            let found = sequences(&spool.pending(after, max).unwrap());
            if max_bytes == ROOMY_BYTES {
                assert_eq!(found, expected[..max.min(expected.len())], "seed {seed}, step {step}");
            } else {
                let waiting = all(&mut spool);
                assert!(list.ends_with(&waiting), "seed {seed}, step {step}: {waiting:?} of {list:?}");
                lost += list.len() - waiting.len();
                assert_eq!(dropped + spool.dropped(), lost as u64, "seed {seed}, step {step}");
                list = waiting;
            }
            assert_eq!(spool.last_sequence(), last);
        }
        if max_bytes < ROOMY_BYTES {
            assert!(dropped + spool.dropped() > 0, "seed {seed}: the bound was never reached");
        }
    }
}

/// A file system of its own, in a mount namespace of this test's thread alone.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(options: &str) -> Self {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
        let point = memory();
        mount(Some("loopback-small"), point.path(), Some("tmpfs"), MsFlags::empty(), Some(options)).unwrap();
        Self(point)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = umount2(self.0.path(), MntFlags::MNT_DETACH);
    }
}

#[test]
fn a_full_disk_is_told_loses_nothing_and_is_forgotten_when_there_is_space() {
    let disk = SmallDisk::mount("size=128k");
    let directory = disk.0.path().join("spool");
    // Segments of some 3 KiB, so that both a frame and a new segment meet the full disk.
    let mut spool = Spool::open(&directory, 24 * 1024).unwrap();
    let mut last = 0;
    let mut refusals = 0;
    for round in 0..6 {
        let ballast = disk.0.path().join("ballast");
        if round % 2 == 0 {
            let mut file = std::fs::File::create(&ballast).unwrap();
            while std::io::Write::write(&mut file, &[0; 1024]).is_ok() {}
        } else {
            std::fs::remove_file(&ballast).unwrap();
        }
        for _ in 0..150 {
            match push(&mut spool, 1, last + 1) {
                Ok(()) => last += 1,
                Err(error) => {
                    assert!(round % 2 == 0 && error.kind() == std::io::ErrorKind::StorageFull, "{error}");
                    refusals += 1;
                }
            }
            let waiting = all(&mut spool);
            assert_eq!(waiting, (last + 1 - waiting.len() as u64..=last).collect::<Vec<_>>());
            assert_eq!(waiting.len() as u64 + spool.dropped(), last, "lost to nothing but the bound");
        }
        if round % 2 == 1 {
            assert!(last >= 150, "it goes on once there is space");
        }
    }
    assert!(refusals > 0);
    let waiting = all(&mut spool);
    assert_eq!(all(&mut Spool::open(&directory, 24 * 1024).unwrap()), waiting);
}
