//! What proves that a recording is whole. The recording's file holds asciicast lines alone; beside it a manifest holds one line of JSON for each chunk that was
//! appended, chained by hash from the session's id on, and a closing line with why the session ended.
//!
//! The recording is written first and the manifest after it, so that a crash leaves at most a tail the manifest does not know. Whoever can write both files can
//! forge both: the closing hash belongs into the audit trail, and a verdict is worth what comparing it with that hash says.

use std::fmt;

use loopback_protocol::id::SessionId;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::end::EndReason;
use crate::limits::RECORDING_MAX_BYTES;

/// A link of the chain: over the link before it and the chunk's time and bytes, or over the last link and the closing line.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RecordingHash(pub [u8; 32]);

/// A recording in the making.
#[derive(Debug)]
pub struct Chain {
    head: RecordingHash,
    offset: u64,
}

/// The recording cannot take more; the session ends with [`EndReason::RecordingFailed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the recording has reached its {RECORDING_MAX_BYTES} bytes: open another session")]
pub struct Full;

/// What a recording and its manifest prove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Closed, and every byte is what was appended.
    Whole {
        /// How long it is.
        bytes: u64,
        /// The closing hash.
        hash: RecordingHash,
        /// Why the session ended.
        ended: String,
    },
    /// What is there is what was appended, and its end is missing.
    Truncated {
        /// How much is there and proven.
        bytes: u64,
    },
    /// Bytes or lines of the manifest were changed, moved, added or taken out.
    Altered {
        /// The first chunk that does not fit, from 0; the number of chunks if it is the close.
        chunk: usize,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Line {
    Chunk(Chunk),
    Close(Close),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Chunk {
    offset: u64,
    length: u64,
    time_ms: u64,
    hash: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Close {
    total: u64,
    ended: String,
    time_ms: u64,
    hash: String,
}

impl Chain {
    /// The chain of a session's recording, which no other session's recording fits.
    #[must_use]
    pub fn new(session: SessionId) -> Self {
        Self { head: RecordingHash::of_session(session), offset: 0 }
    }

    /// Takes the bytes that were appended to the recording at a time (milliseconds since 1970). The manifest's next line; none for no bytes.
    ///
    /// # Errors
    /// The recording is over its bound: end the session.
    pub fn append(&mut self, bytes: &[u8], time_ms: u64) -> Result<Vec<u8>, Full> {
        let length = bytes.len() as u64;
        if self.offset.saturating_add(length) > RECORDING_MAX_BYTES {
            return Err(Full);
        }
        if bytes.is_empty() {
            return Ok(Vec::new());
        }
        let mut hasher = self.head.chunk_hasher(time_ms);
        hasher.update(bytes);
        self.head = RecordingHash::of(hasher);
        let line = Line::Chunk(Chunk { offset: self.offset, length, time_ms, hash: self.head.to_string() });
        self.offset += length;
        Ok(line.to_bytes())
    }

    /// The manifest's last line, and the hash for the audit trail.
    #[must_use]
    pub fn close(self, ended: &EndReason, time_ms: u64) -> (Vec<u8>, RecordingHash) {
        let ended = ended.to_string();
        let hash = self.head.closing(self.offset, time_ms, &ended);
        let line = Line::Close(Close { total: self.offset, ended, time_ms, hash: hash.to_string() });
        (line.to_bytes(), hash)
    }
}

/// Reads a recording once, in pieces of any size, beside its manifest.
#[derive(Debug)]
pub struct Verifier {
    manifest: Manifest,
    head: RecordingHash,
    hasher: Sha256,
    /// Chunks that were proven, and their bytes.
    proven: usize,
    proven_bytes: u64,
    /// Bytes of the chunk in hand, and of what follows the last chunk.
    taken_bytes: u64,
    is_altered: bool,
}

#[derive(Debug, Default)]
struct Manifest {
    chunks: Vec<Chunk>,
    close: Option<Close>,
    /// A complete line follows that has no place there.
    is_damaged: bool,
}

impl Verifier {
    /// A verifier of this session's recording with this manifest.
    #[must_use]
    pub fn new(session: SessionId, manifest: &[u8]) -> Self {
        let manifest = Manifest::read(manifest);
        let head = RecordingHash::of_session(session);
        let mut verifier = Self { manifest, head, hasher: Sha256::new(), proven: 0, proven_bytes: 0, taken_bytes: 0, is_altered: false };
        verifier.begin();
        verifier
    }

    /// The recording's next bytes.
    pub fn take(&mut self, mut bytes: &[u8]) {
        while let Some(chunk) = self.manifest.chunks.get(self.proven).filter(|_| !self.is_altered) {
            let missing = usize::try_from(chunk.length - self.taken_bytes).unwrap_or(usize::MAX);
            let (of_chunk, rest) = bytes.split_at(missing.min(bytes.len()));
            self.hasher.update(of_chunk);
            self.taken_bytes += of_chunk.len() as u64;
            if self.taken_bytes < chunk.length {
                return;
            }
            self.finish_chunk();
            bytes = rest;
        }
        self.taken_bytes += bytes.len() as u64;
    }

    /// The recording has no more bytes.
    #[must_use]
    pub fn finish(self) -> Verdict {
        let altered = Verdict::Altered { chunk: self.proven };
        if self.is_altered {
            return altered;
        }
        let truncated = Verdict::Truncated { bytes: self.proven_bytes };
        if self.proven < self.manifest.chunks.len() {
            return truncated;
        }
        match self.manifest.close {
            _ if self.manifest.is_damaged => altered,
            None => truncated,
            Some(close) => {
                let hash = self.head.closing(close.total, close.time_ms, &close.ended);
                let fits = close.total == self.proven_bytes && self.taken_bytes == 0 && close.hash == hash.to_string();
                if fits { Verdict::Whole { bytes: close.total, hash, ended: close.ended } } else { altered }
            }
        }
    }

    fn finish_chunk(&mut self) {
        let hash = RecordingHash::of(std::mem::take(&mut self.hasher));
        match self.manifest.chunks.get(self.proven) {
            Some(chunk) if chunk.hash == hash.to_string() => {
                (self.head, self.taken_bytes) = (hash, 0);
                self.proven += 1;
                self.proven_bytes += chunk.length;
                self.begin();
            }
            _ => self.is_altered = true,
        }
    }

    fn begin(&mut self) {
        if let Some(chunk) = self.manifest.chunks.get(self.proven) {
            self.hasher = self.head.chunk_hasher(chunk.time_ms);
            self.is_altered = chunk.offset != self.proven_bytes || chunk.length == 0;
        }
    }
}

impl Manifest {
    /// Reads complete lines; what follows the last newline was cut off while it was written.
    fn read(bytes: &[u8]) -> Self {
        let mut manifest = Self::default();
        for line in bytes.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n")) {
            match serde_json::from_slice(line) {
                Ok(Line::Chunk(chunk)) if manifest.close.is_none() => manifest.chunks.push(chunk),
                Ok(Line::Close(close)) if manifest.close.is_none() => manifest.close = Some(close),
                _ => {
                    manifest.is_damaged = true;
                    break;
                }
            }
        }
        manifest
    }
}

impl Line {
    fn to_bytes(&self) -> Vec<u8> {
        // Texts and numbers always have a JSON form.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

impl RecordingHash {
    fn of_session(session: SessionId) -> Self {
        Self::of(Sha256::new_with_prefix(b"loopback-recording-begin-1").chain_update(session.to_string()))
    }

    fn of(hasher: Sha256) -> Self {
        Self(hasher.finalize().into())
    }

    /// For the bytes of the chunk that follows.
    fn chunk_hasher(&self, time_ms: u64) -> Sha256 {
        Sha256::new_with_prefix(b"loopback-recording-chunk-1").chain_update(self.0).chain_update(time_ms.to_be_bytes())
    }

    fn closing(&self, total: u64, time_ms: u64, ended: &str) -> Self {
        let hasher = Sha256::new_with_prefix(b"loopback-recording-close-1").chain_update(self.0);
        Self::of(hasher.chain_update(total.to_be_bytes()).chain_update(time_ms.to_be_bytes()).chain_update(ended))
    }
}

impl fmt::Display for RecordingHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for RecordingHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use loopback_protocol::id::{Id, SessionId};

    use super::{Chain, Full, RecordingHash, Verdict, Verifier};
    use crate::limits::RECORDING_MAX_BYTES;
    use crate::shell::EndReason;

    const CHUNKS: [&str; 4] = ["{\"version\":2}\n", "[0.100,\"o\",\"a\"]\n", "[0.200,\"o\",\"b\"]\n", "[0.300,\"o\",\"cc\"]\n"];

    fn session() -> SessionId {
        Id::new(1, [1; 10])
    }

    fn recording() -> (Vec<u8>, Vec<u8>, RecordingHash) {
        let mut chain = Chain::new(session());
        let mut manifest = Vec::new();
        for (second, chunk) in CHUNKS.iter().enumerate() {
            manifest.extend(chain.append(chunk.as_bytes(), second as u64 * 1_000).unwrap());
        }
        let (close, hash) = chain.close(&EndReason::Exit(0), 9_000);
        manifest.extend(close);
        (CHUNKS.concat().into_bytes(), manifest, hash)
    }

    fn verify(file: &[u8], manifest: &[u8]) -> Verdict {
        let verdict = |piece: usize| {
            let mut verifier = Verifier::new(session(), manifest);
            file.chunks(piece).for_each(|bytes| verifier.take(bytes));
            verifier.finish()
        };
        let (small, large) = (verdict(7), verdict(1_000));
        assert_eq!(small, large);
        small
    }

    fn lines(manifest: &[u8]) -> Vec<String> {
        String::from_utf8(manifest.to_vec()).unwrap().split_inclusive('\n').map(str::to_owned).collect()
    }

    #[test]
    fn a_closed_recording_is_whole_and_its_hash_is_the_one_for_the_audit_trail() {
        let (file, manifest, hash) = recording();
        assert_eq!(verify(&file, &manifest), Verdict::Whole { bytes: file.len() as u64, hash, ended: "exit(0)".into() });
    }

    #[test]
    fn a_session_without_a_byte_is_whole_too() {
        let mut chain = Chain::new(session());
        assert_eq!(chain.append(b"", 1), Ok(Vec::new()));
        let (manifest, hash) = chain.close(&EndReason::HostLost, 2);
        assert_eq!(verify(b"", &manifest), Verdict::Whole { bytes: 0, hash, ended: "host lost".into() });
    }

    #[test]
    fn cut_anywhere_it_is_truncated_and_what_is_proven_is_counted() {
        let (file, manifest, _) = recording();
        let starts: Vec<usize> = (0..=CHUNKS.len()).map(|count| CHUNKS[..count].concat().len()).collect();
        let line_ends: Vec<usize> = (0..=CHUNKS.len()).map(|count| lines(&manifest)[..count].concat().len()).collect();
        for file_cut in 0..=file.len() {
            for manifest_cut in 0..=manifest.len() {
                if (file_cut, manifest_cut) == (file.len(), manifest.len()) {
                    continue;
                }
                let proven = (0..=CHUNKS.len()).rev().find(|count| starts[*count] <= file_cut && line_ends[*count] <= manifest_cut).unwrap();
                let expected = Verdict::Truncated { bytes: starts[proven] as u64 };
                let mut verifier = Verifier::new(session(), &manifest[..manifest_cut]);
                verifier.take(&file[..file_cut]);
                assert_eq!(verifier.finish(), expected, "cut at {file_cut} and {manifest_cut}");
            }
        }
    }

    #[test]
    fn any_changed_byte_of_the_file_is_found_in_its_chunk() {
        let (file, manifest, _) = recording();
        for place in 0..file.len() {
            let mut changed = file.clone();
            changed[place] ^= 1;
            let chunk = (0..CHUNKS.len()).find(|chunk| place < CHUNKS[..=*chunk].concat().len()).unwrap();
            assert_eq!(verify(&changed, &manifest), Verdict::Altered { chunk }, "byte {place}");
        }
    }

    #[test]
    fn what_was_moved_added_or_taken_out_is_found() {
        let (file, manifest, _) = recording();
        let moved = [CHUNKS[0], CHUNKS[2], CHUNKS[1], CHUNKS[3]].concat();
        assert_eq!(verify(moved.as_bytes(), &manifest), Verdict::Altered { chunk: 1 });
        let edited = |edit: fn(&mut Vec<String>)| {
            let mut lines = lines(&manifest);
            edit(&mut lines);
            lines.concat().into_bytes()
        };
        let check = |edit: fn(&mut Vec<String>), file: &[u8], chunk: usize| assert_eq!(verify(file, &edited(edit)), Verdict::Altered { chunk });
        check(|lines| lines.swap(1, 2), moved.as_bytes(), 1);
        check(|lines| drop(lines.remove(1)), &[CHUNKS[0], CHUNKS[2], CHUNKS[3]].concat().into_bytes(), 1);
        check(|lines| drop(lines.remove(3)), CHUNKS[..3].concat().as_bytes(), 3);
        check(|lines| lines[4] = lines[4].replace("exit(0)", "exit(1)"), &file, 4);
        check(|lines| lines[1] = lines[1].replace("1000", "1001"), &file, 1);
        check(|lines| lines[1] = "{}\n".into(), &file, 1);
        check(|lines| lines.push(lines[3].clone()), &file, 4);
        check(|_| (), &[&file[..], b"x"].concat(), 4);
    }

    #[test]
    fn another_sessions_recording_does_not_fit() {
        let (file, manifest, _) = recording();
        let mut verifier = Verifier::new(Id::new(2, [1; 10]), &manifest);
        verifier.take(&file);
        assert_eq!(verifier.finish(), Verdict::Altered { chunk: 0 });
    }

    #[test]
    fn a_recording_is_bounded() {
        let mut chain = Chain { head: RecordingHash([0; 32]), offset: RECORDING_MAX_BYTES - 1 };
        assert!(chain.append(b"x", 0).is_ok());
        assert_eq!(chain.append(b"x", 0), Err(Full));
    }
}
