//! Frames on their way to the coordinator, on disk until it has stored them, with the times at which they were observed.
//!
//! A frame that was pushed survives the agent's end, however it comes: it is in the kernel's hands before `push` returns. Power loss may take the frames since
//! the last flush, of which there are at most 16 – and none of their sequence numbers is used again. When the bound is reached the oldest frames go, counted.
//! It never waits for the network, keeps no frame in memory and knows no clock.
//!
//! The frames lie in segments, files that are only ever appended to and dropped whole. See `segment` for their form.

mod acknowledged;
mod segment;

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use loopback_protocol::control::AgentMessage;
use loopback_protocol::metrics::{Frame, Schema};

use crate::host::boot_id;
use acknowledged::Acknowledged;
use segment::{HEADER_BYTES, Records, Segment, Writer, length, record};

/// A segment is dropped whole, so it is a small part of the bound.
const SEGMENTS_MIN: u64 = 8;
/// More would only make a restart read longer.
const SEGMENT_MAX_BYTES: u64 = 1024 * 1024;
/// Frames that power loss may take. At ten seconds a frame, a flush every few minutes.
const UNFLUSHED_FRAMES_MAX: u64 = 16;

/// A bounded queue of frames on disk. One process at a time may have it open.
#[derive(Debug)]
pub struct Spool {
    directory: PathBuf,
    max_bytes: u64,
    boot: String,
    /// Oldest first. The newest is kept even when all of it is acknowledged: it remembers the last sequence.
    segments: VecDeque<Segment>,
    /// Appends to the newest segment. None until the first push: what an earlier run wrote is never appended to.
    writer: Option<Writer>,
    acknowledged: Acknowledged,
    last_sequence: u64,
    dropped: u64,
    cursor: Cursor,
}

/// Where the next frames are read: every frame before it has a sequence of at most `after`.
#[derive(Debug, Default)]
struct Cursor {
    segment: u64,
    offset: u64,
    schema: Option<Arc<Schema>>,
    after: u64,
}

impl Spool {
    /// Opens the queue in a directory of its own, which is made if need be. What a crash left half written is cut off.
    ///
    /// # Errors
    /// The directory cannot be made, listed or read.
    pub fn open(directory: &Path, max_bytes: u64) -> io::Result<Self> {
        Self::open_in_boot(directory, max_bytes, boot_id())
    }

    fn open_in_boot(directory: &Path, max_bytes: u64, boot: String) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let segments = segment::find(directory)?;
        let acknowledged = Acknowledged::open(&directory.join("acknowledged"))?;
        // After another boot the disk may have forgotten the last frames, but the coordinator may not.
        let forgotten = |newest: &Segment| if newest.boot == boot { 0 } else { UNFLUSHED_FRAMES_MAX };
        let last_sequence = segments.back().map_or(0, |newest| newest.last + forgotten(newest)).max(acknowledged.sequence());
        let mut spool = Self {
            directory: directory.to_owned(),
            max_bytes,
            boot,
            segments,
            writer: None,
            acknowledged,
            last_sequence,
            dropped: 0,
            cursor: Cursor::default(),
        };
        spool.remove_acknowledged()?;
        spool.make_room(0)?;
        Ok(spool)
    }

    /// Adds a frame and, where it is new, the schema that names its values. The kernel has them when this returns.
    ///
    /// # Errors
    /// The disk is full or fails: nothing stored is lost, and the same frame may be pushed again. Or the frame is not of this schema, not later than the last one,
    /// or larger than the whole queue may be.
    pub fn push(&mut self, schema: &Schema, frame: &Frame) -> io::Result<()> {
        if frame.schema != schema.id {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the frame is of another schema"));
        }
        if frame.sequence <= self.last_sequence {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the frame's sequence was used before"));
        }
        let mut bytes = record(&AgentMessage::MetricsFrame(frame.clone()))?;
        let is_named = self.writer.as_ref().is_some_and(|writer| writer.knows(schema));
        if !is_named {
            bytes = with_schema(schema, &bytes)?;
        }
        if self.is_new_segment_due(length(&bytes)) {
            self.start_segment()?;
            if is_named {
                bytes = with_schema(schema, &bytes)?;
            }
        }
        self.make_room(length(&bytes))?;
        let (Some(writer), Some(newest)) = (&mut self.writer, self.segments.back_mut()) else { return Err(io::ErrorKind::NotFound.into()) };
        if writer.unflushed_frames >= UNFLUSHED_FRAMES_MAX {
            writer.flush()?;
        }
        writer.append(newest, &bytes, schema, frame.sequence)?;
        self.last_sequence = frame.sequence;
        Ok(())
    }

    /// The next frames after a sequence that are not acknowledged, oldest first, each with its schema. Reading on from where the last call ended is cheap.
    ///
    /// # Errors
    /// The disk fails.
    pub fn pending(&mut self, after_sequence: u64, max: usize) -> io::Result<Vec<(Arc<Schema>, Frame)>> {
        let after = after_sequence.max(self.acknowledged.sequence());
        let mut cursor = std::mem::take(&mut self.cursor);
        if after < cursor.after {
            cursor = Cursor::default();
        }
        let mut found = Vec::new();
        for segment in &self.segments {
            if segment.number < cursor.segment || segment.last <= after {
                continue;
            }
            if segment.number > cursor.segment {
                cursor = Cursor { segment: segment.number, offset: HEADER_BYTES, schema: None, after: cursor.after.max(after) };
            }
            cursor.read(segment, after, max, &mut found)?;
            if found.len() >= max {
                break;
            }
        }
        self.cursor = cursor;
        Ok(found)
    }

    /// Everything up to a sequence is stored by the coordinator. Acknowledging again, or less, changes nothing.
    ///
    /// # Errors
    /// The disk fails: the frames may be offered once more after a restart.
    pub fn acknowledge(&mut self, sequence: u64) -> io::Result<()> {
        let sequence = sequence.min(self.last_sequence);
        if sequence <= self.acknowledged.sequence() {
            return Ok(());
        }
        let noted = self.acknowledged.note(sequence);
        self.remove_acknowledged()?;
        noted
    }

    /// Frames lost to the bound before they were acknowledged, since the queue was opened.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The highest sequence ever pushed, in this run or an earlier one; zero at the very first. After a power loss it may be a few higher. The next frame's must be higher.
    #[must_use]
    pub const fn last_sequence(&self) -> u64 {
        self.last_sequence
    }

    fn is_new_segment_due(&self, bytes: u64) -> bool {
        let limit = (self.max_bytes / SEGMENTS_MIN).min(SEGMENT_MAX_BYTES);
        let is_full = |newest: &Segment| newest.frames > 0 && newest.bytes + bytes > limit;
        self.writer.is_none() || self.segments.back().is_none_or(is_full)
    }

    fn start_segment(&mut self) -> io::Result<()> {
        if let Some(writer) = &mut self.writer {
            writer.flush()?;
        }
        let number = self.segments.back().map_or(1, |newest| newest.number + 1);
        let (segment, writer) = Writer::create(&self.directory, number, &self.boot, self.last_sequence)?;
        self.writer = Some(writer);
        self.segments.push_back(segment);
        self.remove_acknowledged()
    }

    /// Removes what has no frame to offer any more, but for the newest.
    fn remove_acknowledged(&mut self) -> io::Result<()> {
        while self.segments.len() > 1 && self.segments.front().is_some_and(|oldest| oldest.frames == 0 || oldest.last <= self.acknowledged.sequence()) {
            self.remove_oldest()?;
        }
        Ok(())
    }

    /// Drops the oldest segments until `bytes` more are within the bound.
    fn make_room(&mut self, bytes: u64) -> io::Result<()> {
        let newest = self.segments.back().map_or(0, |newest| newest.bytes);
        if bytes > 0 && newest + bytes > self.max_bytes {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the spool's bound is smaller than one frame and its schema"));
        }
        while self.segments.len() > 1 && self.segments.iter().map(|segment| segment.bytes).sum::<u64>() + bytes > self.max_bytes {
            let oldest = self.segments.front().map_or(0, |oldest| oldest.frames_after(self.acknowledged.sequence()));
            self.remove_oldest()?;
            self.dropped += oldest;
        }
        Ok(())
    }

    fn remove_oldest(&mut self) -> io::Result<()> {
        if let Some(oldest) = self.segments.front() {
            match fs::remove_file(&oldest.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => self.segments.pop_front(),
            };
        }
        Ok(())
    }
}

impl Cursor {
    /// Reads on in its segment until there are `max` frames or no more. Where it fails it stays at the last whole record.
    fn read(&mut self, segment: &Segment, after: u64, max: usize, found: &mut Vec<(Arc<Schema>, Frame)>) -> io::Result<()> {
        let mut records = Records::new(File::open(&segment.path)?, self.offset, segment.bytes)?;
        while found.len() < max {
            match records.next()? {
                Some(AgentMessage::MetricsSchema(schema)) => self.schema = Some(Arc::new(schema)),
                Some(AgentMessage::MetricsFrame(frame)) => {
                    self.after = self.after.max(frame.sequence);
                    if let Some(schema) = self.schema.as_ref().filter(|_| frame.sequence > after) {
                        found.push((Arc::clone(schema), frame));
                    }
                }
                Some(_) => {}
                None => break,
            }
            self.offset = records.offset();
        }
        Ok(())
    }
}

fn with_schema(schema: &Schema, body: &[u8]) -> io::Result<Vec<u8>> {
    let mut bytes = record(&AgentMessage::MetricsSchema(schema.clone()))?;
    bytes.extend_from_slice(body);
    Ok(bytes)
}

#[cfg(test)]
mod tests;
