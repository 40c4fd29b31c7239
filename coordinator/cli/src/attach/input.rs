//! Standard input, read by a thread that can be told to stop.
//!
//! The runtime's own standard input would hold the process until the next key is pressed. The file is left in its mode: it may be shared with the shell
//! that started us.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::AsFd;
use std::thread::{self, JoinHandle};

use rustix::event::{PollFd, PollFlags, poll};
use tokio::sync::mpsc;

use crate::limits::{INPUT_CHUNK_BYTES, INPUT_QUEUE_CHUNKS};

/// What is typed, or what a pipe brings.
pub(super) struct Input {
    chunks: mpsc::Receiver<Vec<u8>>,
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Input {
    pub(super) fn start() -> io::Result<Self> {
        Self::of(File::from(io::stdin().as_fd().try_clone_to_owned()?))
    }

    fn of(file: File) -> io::Result<Self> {
        let (stopped, stop) = io::pipe()?;
        let (sender, chunks) = mpsc::channel(INPUT_QUEUE_CHUNKS);
        let thread = thread::Builder::new().name("input".to_owned()).spawn(move || read(file, &stopped, &sender))?;
        Ok(Self { chunks, stop: Some(stop), thread: Some(thread) })
    }

    /// The next bytes; nothing at the end.
    pub(super) async fn next(&mut self) -> Option<Vec<u8>> {
        self.chunks.recv().await
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        // Wakes the thread wherever it waits: for room in the queue, or for input.
        self.chunks.close();
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Reads until the end, an error, or the other side of `stopped` is closed.
fn read(mut file: File, stopped: &PipeReader, sender: &mpsc::Sender<Vec<u8>>) {
    let mut buffer = vec![0; INPUT_CHUNK_BYTES];
    loop {
        let mut ready = [PollFd::new(&file, PollFlags::IN), PollFd::new(stopped, PollFlags::IN)];
        match poll(&mut ready, None) {
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => return,
            Ok(_) if ready.get(1).is_some_and(|stopped| !stopped.revents().is_empty()) => return,
            Ok(_) => {}
        }
        let chunk = match file.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Ok(0) | Err(_) => return,
            Ok(length) => buffer.get(..length).unwrap_or_default().to_vec(),
        };
        if sender.blocking_send(chunk).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{self, Write};
    use std::os::fd::OwnedFd;

    use super::Input;
    use crate::limits::{INPUT_CHUNK_BYTES, INPUT_QUEUE_CHUNKS};

    fn pipe() -> (Input, io::PipeWriter) {
        let (reader, writer) = io::pipe().unwrap();
        (Input::of(File::from(OwnedFd::from(reader))).unwrap(), writer)
    }

    #[tokio::test]
    async fn input_arrives_unchanged_up_to_its_end() {
        let (mut input, mut writer) = pipe();
        writer.write_all(b"\x00\xff\r\n\x03").unwrap();
        drop(writer);
        let mut all = Vec::new();
        while let Some(chunk) = input.next().await {
            all.extend(chunk);
        }
        assert_eq!(all, b"\x00\xff\r\n\x03");
    }

    #[tokio::test]
    async fn the_thread_stops_while_it_waits_for_input_that_never_comes() {
        let (input, _writer) = pipe();
        drop(input);
    }

    #[tokio::test]
    async fn the_thread_stops_while_nobody_takes_what_it_has_read() {
        let file = tempfile::tempfile().unwrap();
        file.set_len((INPUT_CHUNK_BYTES * INPUT_QUEUE_CHUNKS * 4) as u64).unwrap();
        let mut input = Input::of(file).unwrap();
        input.next().await.unwrap();
        drop(input);
    }
}
