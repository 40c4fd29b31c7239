//! Up to where the coordinator has stored the frames. It is a hint for a restart, written in place and not flushed: forgotten, it costs frames sent twice.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

#[derive(Debug)]
pub(super) struct Acknowledged {
    file: File,
    sequence: u64,
}

impl Acknowledged {
    /// Reads the note; one that is missing or not whole is a zero.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut note = [0; 12];
        let sequence = match file.read_exact_at(&mut note, 0) {
            Ok(()) => parse(&note).unwrap_or(0),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
            Err(error) => return Err(error),
        };
        Ok(Self { file, sequence })
    }

    pub(super) const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Takes note. It holds for this run even if it cannot be written.
    pub(super) fn note(&mut self, sequence: u64) -> io::Result<()> {
        self.sequence = sequence;
        let mut note = sequence.to_le_bytes().to_vec();
        note.extend(crc32fast::hash(&note).to_le_bytes());
        self.file.write_all_at(&note, 0)
    }
}

fn parse(note: &[u8]) -> Option<u64> {
    let (sequence, crc) = note.split_first_chunk()?;
    (crc == crc32fast::hash(sequence).to_le_bytes()).then(|| u64::from_le_bytes(*sequence))
}
