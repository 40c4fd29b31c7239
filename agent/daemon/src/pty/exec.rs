//! The way into a session: a short-lived run of this program inside the new terminal, which joins the control group, becomes the user and turns into the login shell. All of it happens between
//! the agent and the shell, in a process of one thread, so that the agent itself never changes who it is.

use std::convert::Infallible;
use std::ffi::{CString, OsString};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use nix::sys::signal::{SigHandler, Signal, signal};
use nix::unistd::User;
use rustix::fs::Mode;

use super::account::{self, AccountError};
use super::tree::{AGENT_VARIABLE, SESSION_VARIABLE};

/// The hidden subcommand that [`session_exec`] serves.
pub const SESSION_EXEC: &str = "session-exec";

/// What a login sets before a profile has its say.
const PATH_OF_ROOT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const PATH_OF_USERS: &str = "/usr/local/bin:/usr/bin:/bin";
const FILE_MODE_MASK: u32 = 0o022;

/// Why a session's shell does not run. It is also printed on the session's terminal.
#[derive(Debug, thiserror::Error)]
pub enum SessionExecError {
    /// Somebody called the subcommand who is not the agent.
    #[error("`session-exec` is the agent's own and takes no part in a command line")]
    Arguments,
    /// The account is unfit.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The kernel refused a step.
    #[error("cannot {step}: {source}")]
    Kernel {
        /// What was attempted.
        step: &'static str,
        /// What the kernel says.
        source: io::Error,
    },
    /// The shell itself cannot run.
    #[error("cannot run the login shell {}: {source}", shell.display())]
    Shell {
        /// The shell.
        shell: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
}

impl From<SessionExecError> for ExitCode {
    /// As shells say it: 127 not found, 126 found and not run.
    fn from(error: SessionExecError) -> Self {
        match error {
            SessionExecError::Shell { source, .. } if source.kind() == io::ErrorKind::NotFound => Self::from(127),
            _ => Self::from(126),
        }
    }
}

/// Turns this process into a session's login shell. It returns only when it cannot, having said so on the terminal.
pub fn session_exec(arguments: Vec<OsString>) -> SessionExecError {
    let Err(error) = Entry::from_arguments(arguments).ok_or(SessionExecError::Arguments).and_then(|entry| entry.enter());
    eprintln!("loopback: {error}");
    error
}

/// What the agent tells the process that becomes the shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) user: String,
    pub(super) session: String,
    pub(super) agent: String,
    pub(super) term: String,
    pub(super) lang: String,
    pub(super) cgroup: Option<PathBuf>,
    pub(super) command: Option<String>,
}

impl Entry {
    pub(super) fn to_arguments(&self) -> Vec<OsString> {
        let Self { user, session, agent, term, lang, cgroup, command } = self.clone();
        let cgroup = cgroup.unwrap_or_default().into_os_string();
        [user.into(), session.into(), agent.into(), term.into(), lang.into(), cgroup].into_iter().chain(command.map(OsString::from)).collect()
    }

    fn from_arguments(arguments: Vec<OsString>) -> Option<Self> {
        let mut arguments = arguments.into_iter();
        let entry = Self {
            user: arguments.next()?.into_string().ok()?,
            session: arguments.next()?.into_string().ok()?,
            agent: arguments.next()?.into_string().ok()?,
            term: arguments.next()?.into_string().ok()?,
            lang: arguments.next()?.into_string().ok()?,
            cgroup: arguments.next().map(PathBuf::from).map(|path| (!path.as_os_str().is_empty()).then_some(path))?,
            command: arguments.next().map(OsString::into_string).transpose().ok()?,
        };
        arguments.next().is_none().then_some(entry)
    }

    fn enter(self) -> Result<Infallible, SessionExecError> {
        let user = account::look_up(&self.user)?;
        lead_session(&user)?;
        if let Some(cgroup) = &self.cgroup {
            step("join the session's control group", std::fs::write(cgroup.join("cgroup.procs"), "0"))?;
        }
        reset_inherited();
        become_user(&user)?;
        if std::env::set_current_dir(&user.dir).is_err() {
            eprintln!("loopback: no home directory {}, starting in /", user.dir.display());
            step("enter the directory /", std::env::set_current_dir("/"))?;
        }
        Err(SessionExecError::Shell { source: self.login_shell(&user).exec(), shell: user.shell })
    }

    /// The login shell with nothing of the agent's environment.
    fn login_shell(&self, user: &User) -> Command {
        let path = if user.uid.is_root() { PATH_OF_ROOT } else { PATH_OF_USERS };
        let mut shell = Command::new(&user.shell);
        shell.arg0(account::login_name(&user.shell)).env_clear();
        shell.env("HOME", &user.dir).env("USER", &user.name).env("LOGNAME", &user.name).env("SHELL", &user.shell).env("PATH", path);
        shell.env(SESSION_VARIABLE, &self.session).env(AGENT_VARIABLE, &self.agent);
        for (name, value) in [("TERM", &self.term), ("LANG", &self.lang)] {
            if !value.is_empty() {
                shell.env(name, value);
            }
        }
        if let Some(command) = &self.command {
            // The dash in the name is not enough: most shells read their profile only when interactive or told so.
            shell.args(["-l", "-c"]).arg(command);
        }
        shell
    }
}

/// Makes this process lead a new session whose controlling terminal is the one it was given, and gives the terminal to the user.
fn lead_session(user: &User) -> Result<(), SessionExecError> {
    step("lead a session", rustix::process::setsid())?;
    step("take the terminal", rustix::process::ioctl_tiocsctty(rustix::stdio::stdin()))?;
    step("give the terminal away", std::os::unix::fs::fchown(rustix::stdio::stdin(), Some(user.uid.as_raw()), None))
}

/// An agent started with `nohup`, in the background or by a strict unit must not pass that on: Ctrl-C and a hang-up have to work.
fn reset_inherited() {
    for number in Signal::iterator() {
        #[expect(unsafe_code, reason = "the default action runs no code of ours, and this process has one thread")]
        // SIGKILL and SIGSTOP cannot be set, and are always at their default.
        let _fixed = unsafe { signal(number, SigHandler::SigDfl) };
    }
    rustix::process::umask(Mode::from_raw_mode(FILE_MODE_MASK));
}

/// Gives up root: groups first, while that is still allowed.
fn become_user(user: &User) -> Result<(), SessionExecError> {
    let name = step("read the user's name", CString::new(user.name.as_bytes()))?;
    step("take the user's groups", nix::unistd::initgroups(&name, user.gid))?;
    step("take the user's group", nix::unistd::setgid(user.gid))?;
    step("become the user", nix::unistd::setuid(user.uid))
}

fn step<T, E: Into<io::Error>>(step: &'static str, result: Result<T, E>) -> Result<T, SessionExecError> {
    result.map_err(|error| SessionExecError::Kernel { step, source: error.into() })
}

#[cfg(test)]
mod tests {
    use super::Entry;

    #[test]
    fn an_entry_reads_back() {
        let full = Entry {
            user: "root".into(),
            session: "ses_1".into(),
            agent: "1-2".into(),
            term: "xterm".into(),
            lang: String::new(),
            cgroup: Some("/sys/fs/cgroup/x".into()),
            command: Some("id -u".into()),
        };
        let bare = Entry { cgroup: None, command: None, ..full.clone() };
        for entry in [full, bare] {
            assert_eq!(Entry::from_arguments(entry.to_arguments()), Some(entry));
        }
    }

    #[test]
    fn too_few_and_too_many_arguments_are_refused() {
        assert_eq!(Entry::from_arguments(vec!["root".into()]), None);
        assert_eq!(Entry::from_arguments(vec!["x".into(); 8]), None);
    }
}
