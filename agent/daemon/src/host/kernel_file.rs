//! A file of /proc or /sys that stays open and is read in place, into a buffer that is kept.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use super::Failure;

const FIRST_READ_BYTES: usize = 4 * 1024;
/// The largest seen in the wild is /proc/stat of a host with thousands of interrupts: some 100 KiB.
const FILE_MAX_BYTES: usize = 4 * 1024 * 1024;

pub(super) struct KernelFile {
    path: &'static str,
    file: Option<File>,
    buffer: Vec<u8>,
}

impl KernelFile {
    pub(super) const fn new(path: &'static str) -> Self {
        Self { path, file: None, buffer: Vec::new() }
    }

    /// What the file says now.
    pub(super) fn bytes(&mut self) -> Result<&[u8], Failure> {
        match self.read() {
            Ok(length) => Ok(self.buffer.get(..length).unwrap_or_default()),
            Err(error) => {
                // The file may have been another kernel object's that is gone: look it up again next time.
                self.file = None;
                Err(Failure::Unreadable { path: self.path, error })
            }
        }
    }

    /// What the file says now; what is no UTF-8 is replaced.
    pub(super) fn text(&mut self) -> Result<Cow<'_, str>, Failure> {
        self.bytes().map(String::from_utf8_lossy)
    }

    fn read(&mut self) -> io::Result<usize> {
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(File::open(self.path)?),
        };
        let mut length = 0;
        loop {
            if length == self.buffer.len() {
                if length >= FILE_MAX_BYTES {
                    return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the file is larger than any the kernel should have"));
                }
                self.buffer.resize(FIRST_READ_BYTES.max(2 * length), 0);
            }
            // The kernel hands out a page or so at a time, so one read is not enough even if the buffer is.
            match file.read_at(self.buffer.get_mut(length..).unwrap_or_default(), u64::try_from(length).unwrap_or(u64::MAX)) {
                Ok(0) => return Ok(length),
                Ok(count) => length += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{FILE_MAX_BYTES, FIRST_READ_BYTES, KernelFile};

    #[test]
    fn a_file_is_read_whole_in_place_whatever_its_length_becomes() {
        let directory = tempfile::tempdir().unwrap();
        let path: &'static str = directory.path().join("file").to_str().unwrap().to_owned().leak();
        let mut file = KernelFile::new(path);
        assert!(file.bytes().is_err(), "not there yet");
        for length in [0, 1, FIRST_READ_BYTES - 1, FIRST_READ_BYTES, FIRST_READ_BYTES + 1, 5 * FIRST_READ_BYTES, 7] {
            std::fs::write(path, vec![b'x'; length]).unwrap();
            assert_eq!(file.bytes().unwrap(), vec![b'x'; length], "{length}");
        }
        std::fs::write(path, vec![b'x'; FILE_MAX_BYTES]).unwrap();
        assert!(file.bytes().unwrap_err().to_string().contains("larger than any"));
    }
}
