//! The kernel's pseudo-terminal, from the side that stands for the screen and the keyboard. It moves bytes, sizes and signals and tells whether the terminal echoes; it never waits for a
//! program to read or write, and starts none.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use loopback_protocol::limits::SHELL_CHUNK_MAX_BYTES;
use loopback_protocol::shell::WindowSize;
use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::process::{Signal, kill_process_group};
use rustix::pty::OpenptFlags;
use rustix::termios::{InputModes, LocalModes, OptionalActions, Winsize};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The kernel gives at most this much in one read.
const KERNEL_READ_MAX_BYTES: usize = 4096;

/// The master side.
#[derive(Debug)]
pub(super) struct Terminal {
    master: AsyncFd<OwnedFd>,
}

/// What a read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// Bytes were appended.
    Bytes,
    /// No process has the terminal open.
    HungUp,
}

impl Terminal {
    /// Opens a terminal and the side a shell gets. Both close when another program starts.
    pub(super) fn open(size: WindowSize) -> io::Result<(Self, OwnedFd)> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = rustix::pty::openpt(flags)?;
        rustix::pty::grantpt(&master)?;
        rustix::pty::unlockpt(&master)?;
        let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
        let mut modes = rustix::termios::tcgetattr(&slave)?;
        // The line editor of the kernel erases whole characters.
        modes.input_modes |= InputModes::IUTF8;
        rustix::termios::tcsetattr(&slave, OptionalActions::Now, &modes)?;
        rustix::io::ioctl_fionbio(&master, true)?;
        #[expect(unsafe_code, reason = "the AsyncFd owns the descriptor, which nothing closes or replaces before it goes")]
        let master = unsafe { AsyncFd::register(master) }?;
        let terminal = Self { master };
        terminal.resize(size)?;
        Ok((terminal, slave))
    }

    /// Waits for output and appends all that is there, up to a chunk. It is safe to cancel.
    pub(super) async fn read(&self, output: &mut Vec<u8>) -> io::Result<Reading> {
        self.master.async_io(Interest::READABLE, |master| read_available(master, output)).await
    }

    /// Appends what is there now, up to a chunk; none if nothing is.
    pub(super) fn read_now(&self, output: &mut Vec<u8>) -> io::Result<Option<Reading>> {
        match read_available(self.master.get_ref(), output) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            reading => reading.map(Some),
        }
    }

    /// Waits until the terminal takes input, and says how much it took. It is safe to cancel.
    pub(super) async fn write(&self, input: &[u8]) -> io::Result<usize> {
        let write = |master: &OwnedFd| match rustix::io::write(master, input) {
            // No process has the terminal open: what is typed falls away.
            Err(Errno::IO) => Ok(input.len()),
            written => Ok(written?),
        };
        self.master.async_io(Interest::WRITABLE, write).await
    }

    /// Tells the programs of a new window size, by SIGWINCH.
    pub(super) fn resize(&self, size: WindowSize) -> io::Result<()> {
        let size = Winsize { ws_col: size.columns, ws_row: size.rows, ws_xpixel: 0, ws_ypixel: 0 };
        Ok(rustix::termios::tcsetwinsize(self.master.as_fd(), size)?)
    }

    /// Whether the kernel echoes what is typed. Password prompts turn that off; so do programs that draw their own echo, such as an editor or a shell's line editor.
    pub(super) fn echoes(&self) -> io::Result<bool> {
        Ok(rustix::termios::tcgetattr(self.master.as_fd())?.local_modes.contains(LocalModes::ECHO))
    }

    /// Signals the foreground process group only.
    pub(super) fn signal_foreground(&self, signal: Signal) -> io::Result<()> {
        Ok(kill_process_group(rustix::termios::tcgetpgrp(self.master.as_fd())?, signal)?)
    }
}

/// Reads until there is nothing more or a chunk is full: fewer, larger frames in a flood, and no delay for an echo.
fn read_available(master: &OwnedFd, output: &mut Vec<u8>) -> io::Result<Reading> {
    let before = output.len();
    while output.len() + KERNEL_READ_MAX_BYTES <= SHELL_CHUNK_MAX_BYTES {
        output.reserve(KERNEL_READ_MAX_BYTES);
        match rustix::io::read(master, spare_capacity(output)) {
            // A terminal that nobody has open any more says EIO.
            Ok(0) | Err(Errno::IO) if output.len() == before => return Ok(Reading::HungUp),
            Ok(0) | Err(Errno::IO) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::AGAIN) if output.len() > before => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Reading::Bytes)
}
