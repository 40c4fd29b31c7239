//! Asks file systems how full they are, from threads that may hang in their place.
//!
//! A dead NFS server holds whoever looks at its mount for minutes or for ever. So worker threads look; while none of them answers another one is started for
//! the mounts still waiting; and a mount that has not answered is not asked again until it does. It never waits for a thread that hangs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::statvfs::statvfs;

use super::Failure;

/// A worker that has been silent for this long is taken to hang, for as long as mounts wait: a healthy file system answers in microseconds.
const STALL: Duration = Duration::from_millis(100);
/// What one round may take.
const ROUND: Duration = Duration::from_millis(1_000);
/// Threads that may hang at once. With this many dead mounts the others go without figures too.
const WORKERS_MAX: usize = 64;
/// A worker calls one system call.
const STACK_BYTES: usize = 64 * 1024;

/// How full a file system is.
pub(super) struct Usage {
    pub(super) size_bytes: f64,
    pub(super) free_bytes: f64,
    pub(super) available_bytes: f64,
    pub(super) files: f64,
    pub(super) files_free: f64,
}

type Answer = Result<Usage, nix::Error>;

pub(super) struct Probes {
    questions: Sender<PathBuf>,
    queue: Arc<Mutex<Receiver<PathBuf>>>,
    answers: Receiver<(PathBuf, Answer)>,
    answer: Sender<(PathBuf, Answer)>,
    /// Questions no worker has taken up.
    queued: Arc<AtomicUsize>,
    /// Asked and not answered: of this round, or hanging since an earlier one.
    waiting: BTreeSet<PathBuf>,
    /// They end when the questions do. They are not joined: one that hangs would hold the agent's own end.
    workers: Vec<JoinHandle<()>>,
}

impl Probes {
    pub(super) fn new() -> Self {
        let (questions, queue) = channel();
        let (answer, answers) = channel();
        let (queue, queued) = (Arc::new(Mutex::new(queue)), Arc::default());
        Self { questions, queue, answers, answer, queued, waiting: BTreeSet::new(), workers: Vec::new() }
    }

    /// The answers of those mount points that answer within the round.
    pub(super) fn ask(&mut self, points: impl Iterator<Item = PathBuf>) -> Result<BTreeMap<PathBuf, Answer>, Failure> {
        while let Ok((point, _)) = self.answers.try_recv() {
            // It hung and is well again: ask it afresh.
            self.waiting.remove(&point);
        }
        let mut asked = BTreeSet::new();
        for point in points {
            if self.waiting.insert(point.clone()) {
                asked.insert(point.clone());
                self.queued.fetch_add(1, Ordering::Relaxed);
                // The queue's end is ours as well, so it cannot be closed.
                let _ = self.questions.send(point);
            }
        }
        if self.workers.is_empty() {
            self.start_worker()?;
        }
        self.gather(asked)
    }

    fn gather(&mut self, mut asked: BTreeSet<PathBuf>) -> Result<BTreeMap<PathBuf, Answer>, Failure> {
        let mut answers = BTreeMap::new();
        let end = Instant::now() + ROUND;
        while !asked.is_empty() {
            let left = end.saturating_duration_since(Instant::now());
            match self.answers.recv_timeout(STALL.min(left)) {
                Ok((point, answer)) => {
                    self.waiting.remove(&point);
                    asked.remove(&point);
                    answers.insert(point, answer);
                }
                Err(_) if left <= STALL => break,
                Err(_) if self.queued.load(Ordering::Relaxed) > 0 && self.workers.len() < WORKERS_MAX => self.start_worker()?,
                Err(_) => {}
            }
        }
        Ok(answers)
    }

    fn start_worker(&mut self) -> Result<(), Failure> {
        let (queue, queued, answer) = (Arc::clone(&self.queue), Arc::clone(&self.queued), self.answer.clone());
        let work = move || {
            loop {
                let question = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                let Ok(point) = question else { return };
                queued.fetch_sub(1, Ordering::Relaxed);
                let usage = look(&point);
                if answer.send((point, usage)).is_err() {
                    return;
                }
            }
        };
        let worker = std::thread::Builder::new().name("statvfs".to_owned()).stack_size(STACK_BYTES).spawn(work);
        self.workers.push(worker.map_err(|error| Failure::Unreadable { path: "file systems, for want of a thread", error })?);
        Ok(())
    }
}

fn look(point: &PathBuf) -> Answer {
    let found = statvfs(point)?;
    // Blocks are counted in fragments. node_exporter multiplies by the block size, which is the same but on some FUSE mounts, where it is wrong.
    let bytes = |blocks: u64| blocks as f64 * found.fragment_size() as f64;
    Ok(Usage {
        size_bytes: bytes(found.blocks()),
        free_bytes: bytes(found.blocks_free()),
        available_bytes: bytes(found.blocks_available()),
        files: found.files() as f64,
        files_free: found.files_free() as f64,
    })
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsRawFd as _;
    use std::path::{Path, PathBuf};
    use std::time::{Duration, Instant};

    use nix::mount::{MntFlags, MsFlags, mount, umount2};
    use nix::sched::{CloneFlags, unshare};

    use super::{Probes, ROUND, STALL};

    /// A FUSE mount whose server never answers, in a mount namespace of this test's thread alone.
    struct Hung {
        point: PathBuf,
        server: Option<File>,
    }

    impl Hung {
        fn mount(directory: &Path, name: &str) -> Self {
            let point = directory.join(name);
            std::fs::create_dir(&point).unwrap();
            let server = File::options().read(true).write(true).open("/dev/fuse").unwrap();
            let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", server.as_raw_fd());
            mount(Some("loopback-hung"), &point, Some("fuse"), MsFlags::empty(), Some(options.as_str())).unwrap();
            Self { point, server: Some(server) }
        }
    }

    impl Drop for Hung {
        fn drop(&mut self) {
            drop(self.server.take());
            let _ = umount2(&self.point, MntFlags::MNT_DETACH);
        }
    }

    #[test]
    fn hung_mounts_hold_up_nobody_and_come_back_when_they_answer() {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let mut hung: Vec<_> = ["a", "b", "c"].map(|name| Hung::mount(directory.path(), name)).into();
        let missing = directory.path().join("missing");
        let points: Vec<_> = hung.iter().map(|hung| hung.point.clone()).chain([PathBuf::from("/"), missing.clone()]).collect();
        let mut probes = Probes::new();

        let start = Instant::now();
        let answers = probes.ask(points.iter().cloned()).unwrap();
        assert!(start.elapsed() < ROUND + Duration::from_secs(1), "{:?}", start.elapsed());
        assert_eq!(answers.keys().collect::<Vec<_>>(), [Path::new("/"), &missing]);
        assert!(answers[Path::new("/")].is_ok() && answers[&missing].is_err());

        let start = Instant::now();
        assert_eq!(probes.ask(points.iter().cloned()).unwrap().len(), 2);
        assert!(start.elapsed() < ROUND - STALL, "the hung ones are no longer waited for: {:?}", start.elapsed());
        assert!(probes.workers.len() <= 8, "a thread for each that hangs, not for each round");

        let well = hung.remove(1);
        let point = well.point.clone();
        drop(well);
        let deadline = Instant::now() + Duration::from_secs(10);
        while !probes.ask(points.iter().cloned()).unwrap().contains_key(&point) {
            assert!(Instant::now() < deadline, "it answers again and is still left out");
        }
        drop(hung);
    }
}
