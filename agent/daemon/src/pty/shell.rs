//! Opening a session's shell: the account, the terminal, the control group, and the process that becomes the shell. It says in words an operator understands why it cannot.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::process::Stdio;

use loopback_protocol::shell::ShellOpen;
use rustix::io::Errno;
use tokio::process::{Child, Command};

use super::account::{self, AccountError};
use super::exec::{Entry, SESSION_EXEC};
use super::procfs::ProcessKey;
use super::terminal::Terminal;
use super::tree::{ProcessTree, SessionCgroup};

/// A running shell.
pub(super) struct Shell {
    pub(super) terminal: Terminal,
    pub(super) child: Child,
    pub(super) pid: u32,
    pub(super) tree: ProcessTree,
}

/// Why there is no shell.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error("this host has no terminal left; end other sessions or raise kernel.pty.max")]
    TerminalsExhausted,
    #[error("this host gives no terminal: {0}")]
    Terminal(io::Error),
    #[error("this host starts no process: {0}")]
    Process(io::Error),
}

impl Shell {
    /// Starts the shell an operator asked for, through `program`.
    pub(super) async fn open(open: &ShellOpen, login_user: &str, program: &OsStr) -> Result<Self, Refusal> {
        let user = if open.run_as.is_empty() { login_user } else { &open.run_as }.to_owned();
        let name = user.clone();
        tokio::task::spawn_blocking(move || account::look_up(&name)).await.map_err(|panic| Refusal::Process(io::Error::other(panic)))??;

        let (terminal, slave) = Terminal::open(open.size).map_err(terminal_refusal)?;
        let agent = ProcessKey::current().ok_or_else(no_proc)?;
        let cgroup = SessionCgroup::create(agent, open.session);
        let entry = Entry {
            user,
            session: open.session.to_string(),
            agent: agent.to_string(),
            term: open.term.clone(),
            lang: open.lang.clone(),
            cgroup: cgroup.as_ref().map(|cgroup| cgroup.path().to_owned()),
            command: open.command.clone(),
        };
        let child = spawn(program, &entry, slave).map_err(Refusal::Process)?;
        // Not reaped yet, so it has a pid and an entry in /proc.
        let pid = child.id().ok_or_else(no_proc)?;
        let leader = i32::try_from(pid).ok().and_then(ProcessKey::of).ok_or_else(no_proc)?;
        Ok(Self { terminal, child, pid, tree: ProcessTree::new(open.session, leader, cgroup) })
    }
}

fn spawn(program: &OsStr, entry: &Entry, slave: OwnedFd) -> io::Result<Child> {
    Command::new(program)
        .arg(SESSION_EXEC)
        .args(entry.to_arguments())
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(slave.try_clone()?))
        .stdout(Stdio::from(slave.try_clone()?))
        .stderr(Stdio::from(slave))
        .kill_on_drop(true)
        .spawn()
}

fn terminal_refusal(error: io::Error) -> Refusal {
    // The kernel says ENOSPC, which reaches us as EAGAIN.
    match Errno::from_io_error(&error) {
        Some(Errno::NOSPC | Errno::AGAIN) => Refusal::TerminalsExhausted,
        _ => Refusal::Terminal(error),
    }
}

fn no_proc() -> Refusal {
    Refusal::Process(io::Error::new(io::ErrorKind::NotFound, "/proc does not show it; is it mounted?"))
}
