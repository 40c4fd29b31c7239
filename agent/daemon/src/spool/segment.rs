//! One file of the spool: a header, then records. It decides what of a file is whole; a record that is not ends it.
//!
//! Header: eight bytes of magic, the boot's id in 36, the last sequence before this segment in eight (little endian), and the CRC-32 of those in four.
//! Record: the CRC-32 of a frame in four bytes (little endian), then the frame, which is the protocol's: length and message. A segment's first record is a schema, and a
//! schema comes before every frame it names, so that each segment can be read alone.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use loopback_protocol::control::AgentMessage;
use loopback_protocol::frame;
use loopback_protocol::limits::CONTROL_FRAME_MAX_BYTES;
use loopback_protocol::metrics::Schema;

const MAGIC: &[u8; 8] = b"LBSPOOL1";
const BOOT_BYTES: usize = 36;
/// Where records begin.
pub(super) const HEADER_BYTES: u64 = 56;
const EXTENSION: &str = "frames";

/// What is known of a segment without reading it.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    /// Counts segments; the file's name.
    pub(super) number: u64,
    /// The boot in which it was written.
    pub(super) boot: String,
    /// Up to the end of the last whole record.
    pub(super) bytes: u64,
    pub(super) frames: u64,
    /// The sequence of its last frame; of the last one before it while it has none.
    pub(super) last: u64,
}

/// The segments of a directory, oldest first. What is not whole at the end of each is cut off.
pub(super) fn find(directory: &Path) -> io::Result<VecDeque<Segment>> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
        let Some(number) = number.filter(|_| path.extension().is_some_and(|extension| extension == EXTENSION)) else { continue };
        match Segment::read(path.clone(), number)? {
            Some(segment) => segments.push(segment),
            // The header is flushed before anything relies on the segment, so nothing is lost with it.
            None => fs::remove_file(path)?,
        }
    }
    segments.sort_unstable_by_key(|segment| segment.number);
    Ok(segments.into())
}

impl Segment {
    fn read(path: PathBuf, number: u64) -> io::Result<Option<Self>> {
        let file = File::options().read(true).write(true).open(&path)?;
        let length = file.metadata()?.len();
        let Some((boot, last)) = read_header(&file)? else { return Ok(None) };
        let mut segment = Self { path, number, boot, bytes: HEADER_BYTES, frames: 0, last };
        let mut records = Records::new(file.try_clone()?, HEADER_BYTES, length)?;
        while let Some(message) = records.next()? {
            if let AgentMessage::MetricsFrame(frame) = message {
                segment.frames += 1;
                segment.last = segment.last.max(frame.sequence);
            }
        }
        segment.bytes = records.offset();
        if segment.bytes < length {
            file.set_len(segment.bytes)?;
        }
        // An earlier run may have left its last frames with the kernel.
        file.sync_data()?;
        Ok(Some(segment))
    }

    /// How many of its frames come after a sequence. If it cannot be read, they count as all.
    pub(super) fn frames_after(&self, sequence: u64) -> u64 {
        let count = || {
            let mut records = Records::new(File::open(&self.path)?, HEADER_BYTES, self.bytes)?;
            let mut count = 0;
            while let Some(message) = records.next()? {
                count += u64::from(matches!(message, AgentMessage::MetricsFrame(frame) if frame.sequence > sequence));
            }
            Ok::<_, io::Error>(count)
        };
        count().unwrap_or(self.frames)
    }
}

/// Appends to a new segment.
#[derive(Debug)]
pub(super) struct Writer {
    file: File,
    schema: Option<Schema>,
    /// Frames that only the kernel has.
    pub(super) unflushed_frames: u64,
}

impl Writer {
    /// Makes a segment without records. Its header and its name are on disk when this returns.
    pub(super) fn create(directory: &Path, number: u64, boot: &str, last: u64) -> io::Result<(Segment, Self)> {
        let path = directory.join(format!("{number:020}.{EXTENSION}"));
        let file = File::options().write(true).create_new(true).open(&path)?;
        let prepared = file.write_all_at(&header(boot, last), 0).and_then(|()| file.sync_data()).and_then(|()| File::open(directory)?.sync_all());
        if let Err(error) = prepared {
            // Most likely the disk is full: leave no half of a segment where the next one must be made.
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        let segment = Segment { path, number, boot: boot.to_owned(), bytes: HEADER_BYTES, frames: 0, last };
        Ok((segment, Self { file, schema: None, unflushed_frames: 0 }))
    }

    pub(super) fn knows(&self, schema: &Schema) -> bool {
        self.schema.as_ref() == Some(schema)
    }

    /// Appends whole records, ending in the frame of `sequence`. What a failed attempt wrote is overwritten by the next.
    pub(super) fn append(&mut self, segment: &mut Segment, records: &[u8], schema: &Schema, sequence: u64) -> io::Result<()> {
        if let Err(error) = self.file.write_all_at(records, segment.bytes) {
            // Give the space back; readers stop at the segment's known end either way.
            let _ = self.file.set_len(segment.bytes);
            return Err(error);
        }
        if !self.knows(schema) {
            self.schema = Some(schema.clone());
        }
        self.unflushed_frames += 1;
        segment.bytes += length(records);
        segment.frames += 1;
        segment.last = sequence;
        Ok(())
    }

    /// Waits until the disk has everything.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        self.unflushed_frames = 0;
        Ok(())
    }
}

/// A message as it stands in a segment.
pub(super) fn record(message: &AgentMessage) -> io::Result<Vec<u8>> {
    let frame = frame::encode(&message.encode(), CONTROL_FRAME_MAX_BYTES).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let mut record = crc32fast::hash(&frame).to_le_bytes().to_vec();
    record.extend_from_slice(&frame);
    Ok(record)
}

pub(super) fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// Reads the records of a segment in order.
pub(super) struct Records {
    reader: io::Take<BufReader<File>>,
    offset: u64,
}

impl Records {
    /// Reads from `offset`, which must be a record's, up to `end`.
    pub(super) fn new(file: File, offset: u64, end: u64) -> io::Result<Self> {
        let mut reader = BufReader::new(file);
        reader.seek(SeekFrom::Start(offset))?;
        Ok(Self { reader: reader.take(end.saturating_sub(offset)), offset })
    }

    /// The end of the last whole record.
    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }

    /// The next message; none at the end, and where a record is not whole.
    pub(super) fn next(&mut self) -> io::Result<Option<AgentMessage>> {
        let (Some(crc), Some(announced)) = (self.array()?, self.array()?) else { return Ok(None) };
        let length = u32::from_be_bytes(announced);
        if u64::from(length) > self.reader.limit() {
            return Ok(None);
        }
        let mut payload = Vec::new();
        self.reader.by_ref().take(u64::from(length)).read_to_end(&mut payload)?;
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&announced);
        hasher.update(&payload);
        if hasher.finalize() != u32::from_le_bytes(crc) {
            return Ok(None);
        }
        let Ok(message) = AgentMessage::decode(&payload) else { return Ok(None) };
        self.offset += 8 + u64::from(length);
        Ok(Some(message))
    }

    fn array(&mut self) -> io::Result<Option<[u8; 4]>> {
        let mut bytes = [0; 4];
        match self.reader.read_exact(&mut bytes) {
            Ok(()) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn header(boot: &str, last: u64) -> Vec<u8> {
    let mut header = MAGIC.to_vec();
    header.extend(boot.bytes().chain(std::iter::repeat(0)).take(BOOT_BYTES));
    header.extend(last.to_le_bytes());
    header.extend(crc32fast::hash(&header).to_le_bytes());
    header
}

/// The boot and the last sequence before the segment; none if the header is not whole.
fn read_header(file: &File) -> io::Result<Option<(String, u64)>> {
    let mut bytes = [0; HEADER_BYTES as usize];
    match file.read_exact_at(&mut bytes, 0) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    Ok(parse_header(&bytes))
}

fn parse_header(bytes: &[u8]) -> Option<(String, u64)> {
    let (covered, crc) = bytes.split_last_chunk()?;
    let (covered_but_last, last) = covered.split_last_chunk()?;
    let boot = covered_but_last.strip_prefix(MAGIC)?;
    let is_whole = u32::from_le_bytes(*crc) == crc32fast::hash(covered);
    is_whole.then(|| (String::from_utf8_lossy(boot).trim_end_matches('\0').to_owned(), u64::from_le_bytes(*last)))
}
