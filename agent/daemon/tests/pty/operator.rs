//! The coordinator's end of a session, as a test drives it: it types, looks at the screen and waits, always with a deadline.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use loopback_agent::pty::{SessionError, ShellConfig, serve_through};
use loopback_protocol::frame::{self, Decoder};
use loopback_protocol::id::Id;
use loopback_protocol::limits::SHELL_FRAME_MAX_BYTES;
use loopback_protocol::shell::{Exit, ShellEvent, ShellOpen, ShellRequest, WindowSize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const DEADLINE: Duration = Duration::from_secs(60);
/// A stream as narrow as a careful link's.
const STREAM_BYTES: usize = 64 * 1024;

static COUNT: AtomicU32 = AtomicU32::new(0);

pub struct Operator {
    to_agent: Option<DuplexStream>,
    from_agent: Option<DuplexStream>,
    decoder: Decoder,
    events: Vec<ShellEvent>,
    output: Vec<u8>,
    cancel: CancellationToken,
    session: JoinHandle<Result<(), SessionError>>,
}

impl Operator {
    pub async fn open(command: Option<&str>) -> Self {
        Self::start(&open_request(command)).await
    }

    pub async fn open_as(user: &str, command: Option<&str>) -> Self {
        let ShellRequest::Open(open) = open_request(command) else { unreachable!() };
        Self::start(&ShellRequest::Open(ShellOpen { run_as: user.into(), ..open })).await
    }

    pub async fn start(first: &ShellRequest) -> Self {
        let (to_agent, recv) = tokio::io::duplex(STREAM_BYTES);
        let (send, from_agent) = tokio::io::duplex(STREAM_BYTES);
        let cancel = CancellationToken::new();
        let token = cancel.clone();
        let session = tokio::spawn(async move {
            let config = ShellConfig { login_user: "root".into() };
            serve_through(Path::new(env!("CARGO_BIN_EXE_loopback-agent")), send, recv, &config, token).await
        });
        let decoder = Decoder::new(SHELL_FRAME_MAX_BYTES);
        let mut operator = Self { to_agent: Some(to_agent), from_agent: Some(from_agent), decoder, events: Vec::new(), output: Vec::new(), cancel, session };
        operator.request(first).await;
        operator
    }

    pub async fn request(&mut self, request: &ShellRequest) {
        self.raw(&frame::encode(&request.encode(), SHELL_FRAME_MAX_BYTES).unwrap()).await;
    }

    pub async fn raw(&mut self, bytes: &[u8]) {
        let stream = self.to_agent.as_mut().unwrap();
        // The session may have ended: then its own result tells.
        let _ended = in_time("the agent to take input", stream.write_all(bytes)).await;
    }

    pub async fn type_in(&mut self, text: &str) {
        self.request(&ShellRequest::Input(text.as_bytes().to_vec())).await;
    }

    pub async fn sees(&mut self, text: &str) {
        self.waits_for(|operator| operator.screen().contains(text)).await;
    }

    /// Reads until the condition holds for what has come.
    pub async fn waits_for(&mut self, mut condition: impl FnMut(&Self) -> bool) {
        while !condition(self) {
            match self.next().await {
                Some(event) => self.keep(event),
                None => panic!("the session ended: {:?} {}", self.events, self.screen()),
            }
        }
    }

    /// Waits until a program with this command line is a child of the session's shell.
    pub async fn runs(&mut self, command: &str) {
        self.waits_for(|operator| operator.events.iter().any(|event| matches!(event, ShellEvent::Opened(_)))).await;
        let shell = self.pid();
        wait_for(command, || processes_with(&command.replace(' ', "\0")).into_iter().any(|pid| stat_field(pid, 1) == Some(shell))).await;
    }

    pub async fn exit(&mut self) -> Exit {
        self.waits_for(|operator| matches!(operator.events.last(), Some(ShellEvent::Exited(_)))).await;
        match self.events.last() {
            Some(ShellEvent::Exited(exit)) => *exit,
            other => panic!("{other:?}"),
        }
    }

    pub async fn close(mut self) {
        self.request(&ShellRequest::Close("the test is over".into())).await;
        let (events, result) = self.end().await;
        assert!(result.is_ok() && matches!(events.last(), Some(ShellEvent::Exited(_))), "{result:?} {events:?}");
    }

    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    /// Drops the future that serves the session.
    pub async fn drop_session(self) {
        self.session.abort();
        assert!(in_time("the task to stop", self.session).await.unwrap_err().is_cancelled());
    }

    pub async fn finish_input(&mut self) {
        self.to_agent.take().unwrap().shutdown().await.unwrap();
    }

    pub fn hang_up(&mut self) {
        self.to_agent = None;
        self.from_agent = None;
    }

    /// All that came, and how the session ended.
    pub async fn end(mut self) -> (Vec<ShellEvent>, Result<(), SessionError>) {
        while let Some(event) = self.next().await {
            self.keep(event);
        }
        let result = in_time("the session to end", &mut self.session).await.unwrap();
        (self.events, result)
    }

    /// Reads output and forgets it.
    pub async fn discard(&mut self, bytes: usize) {
        let mut seen = 0;
        while seen < bytes {
            if let Some(ShellEvent::Output(output)) = self.next().await {
                seen += output.len();
            }
        }
    }

    /// Reads and forgets until the end: how many bytes came before it.
    pub async fn discard_to_exit(&mut self) -> (usize, Exit) {
        let mut seen = 0;
        loop {
            match self.next().await {
                Some(ShellEvent::Output(output)) => seen += output.len(),
                Some(ShellEvent::Exited(exit)) => return (seen, exit),
                Some(_) => {}
                None => panic!("the session ended without a word"),
            }
        }
    }

    pub fn screen(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }

    pub fn echo(&self) -> Vec<bool> {
        self.events.iter().filter_map(|event| if let ShellEvent::Echo(on) = event { Some(*on) } else { None }).collect()
    }

    pub fn pid(&self) -> i32 {
        self.events.iter().find_map(|event| if let ShellEvent::Opened(pid) = event { i32::try_from(*pid).ok() } else { None }).unwrap()
    }

    async fn next(&mut self) -> Option<ShellEvent> {
        let mut bytes = [0; 4096];
        loop {
            if let Some(payload) = self.decoder.next_frame().unwrap() {
                return Some(ShellEvent::decode(&payload).unwrap());
            }
            let stream = self.from_agent.as_mut()?;
            let count = in_time("the agent to say something", stream.read(&mut bytes)).await.unwrap();
            if count == 0 {
                return None;
            }
            self.decoder.push(&bytes[..count]);
        }
    }

    fn keep(&mut self, event: ShellEvent) {
        match event {
            ShellEvent::Output(output) => self.output.extend(output),
            event => self.events.push(event),
        }
    }
}

pub fn open_request(command: Option<&str>) -> ShellRequest {
    let now_ms = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis().try_into().unwrap();
    let mut unique = [0; 10];
    unique[..4].copy_from_slice(&std::process::id().to_be_bytes());
    unique[4..8].copy_from_slice(&COUNT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    ShellRequest::Open(ShellOpen {
        session: Id::new(now_ms, unique),
        run_as: String::new(),
        term: "xterm-256color".into(),
        size: WindowSize { columns: 80, rows: 24 },
        command: command.map(str::to_owned),
        lang: "C.UTF-8".into(),
    })
}

/// A duration for `sleep` that no other test uses.
pub fn marker() -> String {
    format!("1000.{}{:04}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// The living `sleep` processes with the text in their command line.
pub fn processes_with(text: &str) -> Vec<i32> {
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            arguments.starts_with(b"sleep\0") && arguments.windows(text.len()).any(|window| window == text.as_bytes())
        })
        .collect()
}

/// How many control groups of sessions this process has made and not removed.
pub fn session_cgroups() -> usize {
    let own = format!("loopback-agent-{}-", std::process::id());
    let agents =
        ["/sys/fs/cgroup/loopback", "/sys/fs/cgroup/unified/loopback"].into_iter().filter_map(|parent| std::fs::read_dir(parent).ok()).flatten().flatten();
    let own_agents = agents.filter(|agent| agent.file_name().to_string_lossy().starts_with(&own));
    own_agents
        .filter_map(|agent| std::fs::read_dir(agent.path()).ok())
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("ses_"))
        .count()
}

/// Terminals that this process holds open.
pub fn terminals() -> usize {
    let is_terminal = |path: PathBuf| path.to_str().is_some_and(|path| path.starts_with("/dev/ptmx") || path.starts_with("/dev/pts/ptmx"));
    std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok()).filter(|path| is_terminal(path.clone())).count()
}

/// Bytes a process has written so far.
pub fn flooded_bytes(pid: i32) -> u64 {
    let io = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
    io.lines().find_map(|line| line.strip_prefix("wchar: ")).unwrap().parse().unwrap()
}

pub fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let kib: usize = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap().trim().trim_end_matches(" kB").parse().unwrap();
    kib * 1024
}

/// Looks until it holds.
pub async fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let mut looks = tokio::time::interval(Duration::from_millis(5));
    in_time(what, async {
        while !holds() {
            looks.tick().await;
        }
    })
    .await;
}

async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("waited {DEADLINE:?} for {what}"))
}

/// A field of /proc/PID/stat after the name.
fn stat_field(pid: i32, field: usize) -> Option<i32> {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?.rsplit_once(')')?.1.split_ascii_whitespace().nth(field)?.parse().ok()
}

/// An account with `/bin/sh` and no home, for as long as the value lives.
pub struct TemporaryUser {
    pub name: String,
}

impl TemporaryUser {
    pub fn create() -> Self {
        let user = Self { name: format!("loopback-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)) };
        let status = Command::new("useradd").args(["--no-create-home", "--home-dir", "/nonexistent", "--shell", "/bin/sh", &user.name]).status().unwrap();
        assert!(status.success());
        user
    }

    /// The number of its only group.
    pub fn group(&self) -> String {
        String::from_utf8(Command::new("id").args(["-g", &self.name]).output().unwrap().stdout).unwrap().trim().to_owned()
    }
}

impl Drop for TemporaryUser {
    fn drop(&mut self) {
        let _gone = Command::new("userdel").arg(&self.name).output();
    }
}
