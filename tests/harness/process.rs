//! Programs that run to their end within a limit, and daemons that run until they are stopped. Every one leads a process group of its own, and none outlives its guard.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::wait::{interrupted, wait_until};

/// What a daemon may take to end in order.
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// What it may take to end when its guard goes; then it is killed.
const DROP_LIMIT: Duration = Duration::from_secs(4);
/// Of a daemon's log, when a test shows it.
const TAIL_LINES: usize = 80;

/// How a program ended.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What was run, for messages.
    pub command: String,
    /// Its exit code; 128 + signal if one killed it.
    pub code: i32,
    /// What it wrote.
    pub stdout: String,
    /// What it complained.
    pub stderr: String,
}

impl Outcome {
    /// Its output, if it ended well.
    ///
    /// # Errors
    /// It did not; the error holds what it complained.
    pub fn ok(self) -> Result<String> {
        ensure!(self.code == 0, "`{}` ended with {}: {}{}", self.command, self.code, self.stdout, self.stderr);
        Ok(self.stdout)
    }

    /// What it complained, if it ended with this code.
    ///
    /// # Errors
    /// It ended with another.
    pub fn refused(self, code: i32) -> Result<String> {
        ensure!(self.code == code, "`{}` ended with {} instead of {code}: {}{}", self.command, self.code, self.stdout, self.stderr);
        Ok(self.stderr)
    }
}

/// Runs a program with `input` to its end.
///
/// # Errors
/// It cannot be started or does not end within `limit`; its group is killed then.
pub fn run(mut command: Command, input: &str, limit: Duration) -> Result<Outcome> {
    let words = std::iter::once(command.get_program()).chain(command.get_args()).map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ");
    // Files, not pipes: a program that leaves a daemon behind does not keep us reading.
    let (mut stdin, mut stdout, mut stderr) = (tempfile::tempfile()?, tempfile::tempfile()?, tempfile::tempfile()?);
    stdin.write_all(input.as_bytes())?;
    stdin.rewind()?;
    command.stdin(stdin).stdout(stdout.try_clone()?).stderr(stderr.try_clone()?).process_group(0);
    let mut guard = Group(command.spawn().with_context(|| format!("cannot run `{words}`"))?);
    let status = wait_until(limit, format!("`{words}` to end"), || Ok(guard.0.try_wait()?))?;
    Ok(Outcome { command: words, code: code(status), stdout: read_back(&mut stdout)?, stderr: read_back(&mut stderr)? })
}

fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

fn read_back(file: &mut File) -> Result<String> {
    file.rewind()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A child that leads its group and goes with its guard: asked first, then killed with its group.
struct Group(Child);

impl Group {
    fn pid(&self) -> Pid {
        // A pid fits: the kernel's limit is 2^22.
        Pid::from_raw(i32::try_from(self.0.id()).unwrap_or(i32::MAX))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Asked first, so that agents take their sessions and control groups with them. Once waited for, the number may belong to somebody else.
        let deadline = Instant::now() + DROP_LIMIT;
        if matches!(self.0.try_wait(), Ok(None)) {
            let _gone = kill(self.pid(), Signal::SIGTERM);
        }
        while matches!(self.0.try_wait(), Ok(None)) {
            if Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(10));
                continue;
            }
            let _gone = killpg(self.pid(), Signal::SIGKILL);
            let _status = self.0.wait();
        }
    }
}

/// A program that runs until it is stopped, with its output in a file.
pub struct Daemon {
    name: String,
    group: Group,
    log: PathBuf,
}

impl Daemon {
    /// Starts it; `log` grows over restarts.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let output = File::options().create(true).append(true).open(log).with_context(|| format!("cannot open {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).process_group(0);
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name: name.to_owned(), group: Group(child), log: log.to_owned() })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.group.0.id()
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// It is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(self.group.pid(), signal).with_context(|| format!("cannot signal {}", self.name))
    }

    /// Fails if it has ended by itself.
    ///
    /// # Errors
    /// It has; the end of its log says why.
    pub fn check_alive(&mut self) -> Result<()> {
        match self.group.0.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended with {}:\n{}", self.name, code(status), self.tail()),
        }
    }

    /// Asks it to end, and gives its exit code.
    ///
    /// # Errors
    /// It does not end in time.
    pub fn stop(mut self) -> Result<i32> {
        self.signal(Signal::SIGTERM)?;
        self.wait(STOP_LIMIT)
    }

    /// Waits until it ends by itself, and gives its exit code.
    ///
    /// # Errors
    /// It does not end in time.
    pub fn wait(&mut self, within: Duration) -> Result<i32> {
        wait_until(within, format!("{} to end", self.name), || Ok(self.group.0.try_wait()?)).map(code)
    }

    /// Ends it as a power cut would: only the program itself, not what it started.
    ///
    /// # Errors
    /// It was gone already.
    pub fn kill(mut self) -> Result<()> {
        self.check_alive()?;
        self.signal(Signal::SIGKILL)?;
        self.group.0.wait()?;
        Ok(())
    }

    /// All it wrote.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    fn tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines.iter().skip(lines.len().saturating_sub(TAIL_LINES)).map(|line| format!("{} | {line}\n", self.name)).collect()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // nextest shows this only of a test that failed.
        if std::env::var_os("NEXTEST").is_some() && !interrupted() {
            eprint!("{}", self.tail());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use nix::sys::signal::kill;
    use nix::unistd::Pid;

    use super::{Daemon, run};
    use crate::wait::wait_for;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_program_tells_its_code_and_output() {
        let outcome = run(shell("cat; echo no >&2; exit 3"), "yes", Duration::from_secs(5)).unwrap();
        assert_eq!((outcome.code, outcome.stdout.as_str(), outcome.stderr.as_str()), (3, "yes", "no\n"));
        assert!(outcome.clone().ok().is_err());
        assert_eq!(outcome.refused(3).unwrap(), "no\n");
        assert_eq!(run(shell("kill -9 $$"), "", Duration::from_secs(5)).unwrap().code, 137);
    }

    #[test]
    fn a_group_that_does_not_listen_is_killed_with_its_guard() {
        let directory = tempfile::tempdir().unwrap();
        let daemon = Daemon::start("sleeper", shell("trap '' TERM; sleep 600 & echo $!; while :; do wait; done"), &directory.path().join("log")).unwrap();
        wait_for(Duration::from_secs(5), "the child's pid", || Ok(daemon.log().ends_with('\n'))).unwrap();
        let child = Pid::from_raw(daemon.log().trim().parse().unwrap());
        drop(daemon);
        wait_for(Duration::from_secs(5), "the child to go", || Ok(kill(child, None).is_err() || is_zombie(child))).unwrap();
    }

    fn is_zombie(pid: Pid) -> bool {
        std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "))
    }
}
