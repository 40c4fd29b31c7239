//! Recordings on the disk: `<organization>/<session>.cast` and beside it `.manifest`, written in batches away from the session's task, at least once a second.
//!
//! A recording that cannot be written says so once, and its session ends. What a recording proves is decided by `loopback_core::shell`.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use loopback_core::shell::{Chain, EndReason, Full, Header, Recorder, RecordingHash, Verdict, Verifier};
use loopback_protocol::id::{OrganizationId, SessionId};
use loopback_protocol::shell::WindowSize;
use tokio::task::{JoinError, JoinHandle, spawn_blocking};
use tokio::time::Instant;

use crate::clock::now_ms;

/// How long a line may wait to be written; with the writing itself it stays under the second a crash may cost.
const FLUSH_INTERVAL: Duration = Duration::from_millis(500);
/// Lines that are written without waiting.
const BATCH_BYTES: usize = 64 * 1024;
/// Lines that wait for a slow disk; beyond it the terminal waits.
const PENDING_MAX_BYTES: usize = 256 * 1024;
/// What is read at a time for a verdict.
const READ_BYTES: usize = 64 * 1024;
/// A manifest: a line for each chunk of the largest recording, with room to spare.
const MANIFEST_MAX_BYTES: u64 = 64 * 1024 * 1024;

/// Where recordings are kept.
#[derive(Debug, Clone)]
pub(crate) struct Recordings {
    directory: PathBuf,
}

/// A recording in the making.
#[derive(Debug)]
pub(super) struct Recording {
    encoder: Recorder,
    began_at: Instant,
    /// Lines that are not handed to the writer yet, and when they have to be.
    pending: Vec<u8>,
    due: Instant,
    writer: Writer,
}

/// A recording that was made, and what it proves.
#[derive(Debug)]
pub(crate) struct StoredRecording {
    /// The asciicast, at its beginning.
    pub file: File,
    /// How many bytes of it make sense.
    pub bytes: u64,
    /// What it proves.
    pub verdict: Verdict,
}

/// A recording that cannot be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum RecordingError {
    #[error("the recording cannot be written: {0}")]
    File(#[from] io::Error),
    #[error(transparent)]
    Full(#[from] Full),
    #[error("the recording's writer ended: {0}")]
    Writer(#[from] JoinError),
}

#[derive(Debug)]
enum Writer {
    Idle(Box<Files>),
    Busy(JoinHandle<Result<Box<Files>, RecordingError>>),
    Failed,
}

#[derive(Debug)]
struct Files {
    cast: File,
    manifest: File,
    chain: Chain,
    synced_at: Instant,
}

impl Recordings {
    pub(crate) const fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Begins a session's recording; its header is on the disk when this returns.
    pub(super) async fn begin(&self, organization: OrganizationId, session: SessionId, header: &Header) -> Result<Recording, RecordingError> {
        let (encoder, first) = Recorder::new(header);
        let (parent, cast, manifest) = (self.parent(organization), self.cast(organization, session), self.manifest(organization, session));
        let opened = spawn_blocking(move || {
            DirBuilder::new().recursive(true).mode(0o700).create(&parent)?;
            let mut files = Box::new(Files { cast: create(&cast)?, manifest: create(&manifest)?, chain: Chain::new(session), synced_at: Instant::now() });
            files.append(&first)?;
            files.sync()?;
            File::open(&parent)?.sync_all()?;
            Ok::<_, RecordingError>(files)
        });
        let files = opened.await??;
        Ok(Recording { encoder, began_at: Instant::now(), pending: Vec::new(), due: Instant::now(), writer: Writer::Idle(files) })
    }

    /// Reads and judges a recording; `None` if there is none. It blocks.
    ///
    /// # Errors
    /// The files cannot be read.
    pub(crate) fn open(&self, organization: OrganizationId, session: SessionId) -> io::Result<Option<StoredRecording>> {
        let mut file = match File::open(self.cast(organization, session)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        // The manifest first: a session that still runs appends to both, the recording before the manifest.
        let mut manifest = Vec::new();
        match File::open(self.manifest(organization, session)) {
            Ok(file) => _ = file.take(MANIFEST_MAX_BYTES).read_to_end(&mut manifest)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let mut verifier = Verifier::new(session, &manifest);
        let mut buffer = vec![0; READ_BYTES];
        let mut length = 0;
        loop {
            let count = file.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            verifier.take(buffer.get(..count).unwrap_or_default());
            length += count as u64;
        }
        file.rewind()?;
        let verdict = verifier.finish();
        // Of one that was cut off, the tail behind the last proven line may be half a line that no player reads.
        let bytes = if let Verdict::Truncated { bytes } = verdict { bytes } else { length };
        Ok(Some(StoredRecording { file, bytes, verdict }))
    }

    fn parent(&self, organization: OrganizationId) -> PathBuf {
        self.directory.join(organization.to_string())
    }

    fn cast(&self, organization: OrganizationId, session: SessionId) -> PathBuf {
        self.parent(organization).join(format!("{session}.cast"))
    }

    fn manifest(&self, organization: OrganizationId, session: SessionId) -> PathBuf {
        self.parent(organization).join(format!("{session}.manifest"))
    }
}

impl Recording {
    /// The terminal shows this.
    pub(super) fn output(&mut self, bytes: &[u8]) {
        let lines = self.encoder.output(self.elapsed_ms(), bytes);
        self.push(lines);
    }

    /// The operator typed this.
    pub(super) fn input(&mut self, bytes: &[u8]) {
        let lines = self.encoder.input(self.elapsed_ms(), bytes);
        self.push(lines);
    }

    /// The window has another size.
    pub(super) fn resize(&mut self, size: WindowSize) {
        let lines = self.encoder.resize(self.elapsed_ms(), size);
        self.push(lines);
    }

    /// Whether the terminal echoes from now on.
    pub(super) fn echo(&mut self, on: bool) {
        self.encoder.echo(on);
    }

    /// Whether more may pass through the terminal.
    pub(super) const fn has_room(&self) -> bool {
        self.pending.len() < PENDING_MAX_BYTES
    }

    /// Writes what is due. May be dropped half-way, and is to be called again and again; never returns while there is nothing to do.
    pub(super) async fn work(&mut self) -> Result<(), RecordingError> {
        match &mut self.writer {
            Writer::Idle(_) if !self.pending.is_empty() => {
                if self.pending.len() < BATCH_BYTES {
                    tokio::time::sleep_until(self.due).await;
                }
                self.start_writing();
                Ok(())
            }
            Writer::Busy(_) => self.written().await,
            Writer::Idle(_) | Writer::Failed => std::future::pending().await,
        }
    }

    /// Closes the recording with why the session ended; all of it is on the disk when this returns. The hash is for the audit trail.
    pub(super) async fn close(mut self, reason: &EndReason) -> Result<RecordingHash, RecordingError> {
        self.written().await?;
        let Writer::Idle(mut files) = self.writer else { return Err(io::Error::other("it failed before").into()) };
        let elapsed_ms = elapsed_ms(self.began_at);
        let (mut last, reason) = (self.pending, reason.clone());
        last.extend(self.encoder.finish(elapsed_ms));
        let closed = spawn_blocking(move || {
            files.append(&last)?;
            let Files { cast, mut manifest, chain, .. } = *files;
            let (line, hash) = chain.close(&reason, now_ms());
            // The recording before what vouches for it.
            cast.sync_all()?;
            manifest.write_all(&line)?;
            manifest.sync_all()?;
            Ok(hash)
        });
        closed.await?
    }

    fn push(&mut self, lines: Vec<u8>) {
        if self.pending.is_empty() {
            self.due = Instant::now() + FLUSH_INTERVAL;
        }
        self.pending.extend_from_slice(&lines);
    }

    fn start_writing(&mut self) {
        self.writer = match std::mem::replace(&mut self.writer, Writer::Failed) {
            Writer::Idle(mut files) => {
                let lines = std::mem::take(&mut self.pending);
                Writer::Busy(spawn_blocking(move || {
                    files.append(&lines)?;
                    if files.synced_at.elapsed() >= FLUSH_INTERVAL {
                        files.sync()?;
                    }
                    Ok(files)
                }))
            }
            other => other,
        };
    }

    /// Waits for what is being written.
    async fn written(&mut self) -> Result<(), RecordingError> {
        let Writer::Busy(handle) = &mut self.writer else { return Ok(()) };
        let done = handle.await;
        self.writer = Writer::Failed;
        self.writer = Writer::Idle(done??);
        Ok(())
    }

    fn elapsed_ms(&self) -> u64 {
        elapsed_ms(self.began_at)
    }
}

impl Files {
    fn append(&mut self, lines: &[u8]) -> Result<(), RecordingError> {
        let line = self.chain.append(lines, now_ms())?;
        self.cast.write_all(lines)?;
        self.manifest.write_all(&line)?;
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.cast.sync_data()?;
        self.manifest.sync_data()?;
        self.synced_at = Instant::now();
        Ok(())
    }
}

fn elapsed_ms(began_at: Instant) -> u64 {
    u64::try_from(began_at.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::Command;
    use std::time::Duration;

    use loopback_core::shell::{EndReason, Header, Verdict};
    use loopback_protocol::id::{Id, OrganizationId, SessionId};
    use loopback_protocol::shell::WindowSize;

    use super::{Recording, RecordingError, Recordings};

    fn ids() -> (OrganizationId, SessionId) {
        (Id::new(1, [1; 10]), Id::new(2, [2; 10]))
    }

    fn header() -> Header {
        Header { size: WindowSize { columns: 80, rows: 24 }, timestamp_s: 1, term: "xterm".into(), title: "acme".into(), command: None }
    }

    async fn begin(recordings: &Recordings) -> Recording {
        let (organization, session) = ids();
        recordings.begin(organization, session, &header()).await.unwrap()
    }

    fn verdict(recordings: &Recordings) -> Verdict {
        let (organization, session) = ids();
        recordings.open(organization, session).unwrap().unwrap().verdict
    }

    async fn until_written(recording: &mut Recording) -> Result<(), RecordingError> {
        tokio::time::timeout(Duration::from_secs(10), async {
            recording.work().await?;
            recording.work().await
        })
        .await
        .unwrap()
    }

    #[tokio::test]
    async fn a_closed_recording_is_whole_and_private() {
        let directory = tempfile::tempdir().unwrap();
        let recordings = Recordings::new(directory.path().join("recordings"));
        let mut recording = begin(&recordings).await;
        recording.output(b"$ ");
        recording.input(b"id\r");
        until_written(&mut recording).await.unwrap();
        recording.output(b"uid=0\r\n");
        let closing = recording.close(&EndReason::Exit(0)).await.unwrap();
        assert!(matches!(verdict(&recordings), Verdict::Whole { hash, .. } if hash == closing));
        let (organization, session) = ids();
        let text = std::fs::read_to_string(recordings.cast(organization, session)).unwrap();
        assert_eq!(text.lines().count(), 4);
        let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&recordings.parent(organization)), 0o700);
        assert_eq!(mode(&recordings.cast(organization, session)), 0o600);
        assert_eq!(mode(&recordings.manifest(organization, session)), 0o600);
    }

    #[tokio::test]
    async fn a_coordinator_that_dies_loses_at_most_the_last_second() {
        let directory = tempfile::tempdir().unwrap();
        let recordings = Recordings::new(directory.path().to_owned());
        let mut recording = begin(&recordings).await;
        recording.output(b"written");
        until_written(&mut recording).await.unwrap();
        recording.output(b"lost");
        drop(recording);
        let (organization, session) = ids();
        let stored = recordings.open(organization, session).unwrap().unwrap();
        assert_eq!(stored.verdict, Verdict::Truncated { bytes: stored.bytes });
        assert!(std::fs::read_to_string(recordings.cast(organization, session)).unwrap().contains("written"));
    }

    #[tokio::test]
    async fn cut_in_the_middle_of_a_line_the_rest_is_whole_lines() {
        let directory = tempfile::tempdir().unwrap();
        let recordings = Recordings::new(directory.path().to_owned());
        let mut recording = begin(&recordings).await;
        recording.output(b"one");
        until_written(&mut recording).await.unwrap();
        recording.output(b"two");
        recording.close(&EndReason::Exit(0)).await.unwrap();
        let (organization, session) = ids();
        let cast = recordings.cast(organization, session);
        let length = std::fs::metadata(&cast).unwrap().len();
        std::fs::File::options().write(true).open(&cast).unwrap().set_len(length - 3).unwrap();
        let stored = recordings.open(organization, session).unwrap().unwrap();
        let proven = usize::try_from(stored.bytes).unwrap();
        assert!(matches!(stored.verdict, Verdict::Truncated { .. }));
        assert!(std::fs::read(&cast).unwrap()[..proven].ends_with(b"\"one\"]\n"));
        std::fs::write(&cast, "changed\n".repeat(100)).unwrap();
        assert!(matches!(verdict(&recordings), Verdict::Altered { .. }));
    }

    #[tokio::test]
    async fn a_session_is_never_recorded_over_another() {
        let directory = tempfile::tempdir().unwrap();
        let recordings = Recordings::new(directory.path().to_owned());
        begin(&recordings).await;
        let (organization, session) = ids();
        assert!(matches!(recordings.begin(organization, session, &header()).await, Err(RecordingError::File(_))));
    }

    /// A small file system of its own, unmounted whatever happens.
    struct SmallDisk(tempfile::TempDir);

    impl SmallDisk {
        fn mount() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let status = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "loopback-small"]).arg(directory.path()).status().unwrap();
            assert!(status.success(), "a tmpfs can be mounted (the tests run as root)");
            Self(directory)
        }
    }

    impl Drop for SmallDisk {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
        }
    }

    #[tokio::test]
    async fn a_full_disk_fails_the_recording() {
        let disk = SmallDisk::mount();
        let recordings = Recordings::new(disk.0.path().to_owned());
        let mut recording = begin(&recordings).await;
        recording.output(&[b'x'; 100_000]);
        assert!(matches!(until_written(&mut recording).await, Err(RecordingError::File(_))));
        assert!(recording.close(&EndReason::RecordingFailed).await.is_err());
    }
}
