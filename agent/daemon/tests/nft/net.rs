//! Two network namespaces joined by a veth pair, and the packets sent between them. Both are deleted when the value goes, also when a test fails.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};

pub const HOST_V4: &str = "10.77.0.1";
pub const HOST_V6: &str = "fd77::1";
pub const PEER_V4: &str = "10.77.0.2";
pub const PEER_V6: &str = "fd77::2";

/// How long silence has to last before it counts as a drop. What passes or is refused answers in microseconds.
const SILENCE: Duration = Duration::from_millis(600);

/// A namespace.
pub struct Namespace(String);

/// The host, which has the firewall, and a peer.
pub struct Pair {
    pub host: Namespace,
    pub peer: Namespace,
}

/// What became of a packet, as its sender sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Passed,
    Dropped,
    Rejected,
}

impl Namespace {
    pub fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let namespace = Self(format!("loopback-nft-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
        run("ip", &["netns", "add", &namespace.0]);
        namespace.run("ip", &["link", "set", "lo", "up"]);
        namespace
    }

    /// Does something on a thread of its own that is in the namespace, as are its sockets and child processes.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let file = File::open(format!("/run/netns/{}", self.0)).unwrap();
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(file, CloneFlags::CLONE_NEWNET).unwrap();
                work()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// [`Self::enter`] with a runtime whose one thread is that thread.
    pub fn run_async<T: Send>(&self, work: impl AsyncFnOnce() -> T + Send) -> T {
        self.enter(|| tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work()))
    }

    pub fn run(&self, program: &str, arguments: &[&str]) -> String {
        run("ip", &[&["netns", "exec", &self.0, program], arguments].concat())
    }

    pub fn try_run(&self, program: &str, arguments: &[&str]) -> Output {
        Command::new("ip").args(["netns", "exec", &self.0, program]).args(arguments).output().unwrap()
    }

    pub fn listen(&self, port: u16) -> TcpListener {
        self.enter(|| TcpListener::bind(("::", port)).unwrap())
    }

    pub fn udp(&self, address: &str, port: u16) -> UdpSocket {
        let socket = self.enter(|| UdpSocket::bind((address.parse::<IpAddr>().unwrap(), port)).unwrap());
        socket.set_read_timeout(Some(SILENCE)).unwrap();
        socket
    }

    /// Opens a connection from here.
    pub fn connect(&self, to: &str, port: u16) -> io::Result<TcpStream> {
        let address = SocketAddr::new(to.parse().unwrap(), port);
        self.enter(|| TcpStream::connect_timeout(&address, SILENCE))
    }

    /// What becomes of a connection from here. The port listens.
    pub fn tcp(&self, to: &str, port: u16) -> Fate {
        match self.connect(to, port) {
            Ok(_) => Fate::Passed,
            Err(error) if error.kind() == ErrorKind::TimedOut => Fate::Dropped,
            Err(_) => Fate::Rejected,
        }
    }

    /// Whether this host answers an echo request.
    pub fn ping(&self, to: &str) -> bool {
        self.try_run("ping", &["-c", "1", "-W", "1", to]).status.success()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let deleted = Command::new("ip").args(["netns", "del", &self.0]).status();
        assert!(deleted.is_ok_and(|status| status.success()) || std::thread::panicking(), "{} is left behind", self.0);
    }
}

impl Pair {
    pub fn new() -> Self {
        let pair = Self { host: Namespace::new(), peer: Namespace::new() };
        pair.host.run("ip", &["link", "add", "veth0", "type", "veth", "peer", "name", "veth0", "netns", &pair.peer.0]);
        for (namespace, v4, v6) in [(&pair.host, HOST_V4, HOST_V6), (&pair.peer, PEER_V4, PEER_V6)] {
            namespace.run("ip", &["address", "add", &format!("{v4}/24"), "dev", "veth0"]);
            namespace.run("ip", &["address", "add", &format!("{v6}/64"), "dev", "veth0", "nodad"]);
            namespace.run("ip", &["link", "set", "veth0", "up"]);
        }
        // A link that has just come up loses its first neighbour solicitation, which is sent again only after a second.
        eventually("the peer answers", || pair.host.ping(PEER_V4) && pair.host.ping(PEER_V6));
        pair
    }
}

/// What becomes of a datagram between two sockets; the receiver's must be in time for the sender's error to be seen too.
pub fn udp(from: &UdpSocket, to: &UdpSocket) -> Fate {
    from.connect(to.local_addr().unwrap()).unwrap();
    let text = b"datagram";
    from.send(text).unwrap();
    let mut buffer = [0; 16];
    match to.recv(&mut buffer) {
        Ok(length) => {
            assert_eq!(buffer.get(..length), Some(text.as_slice()));
            Fate::Passed
        }
        Err(_) => match from.take_error().unwrap() {
            Some(_) => Fate::Rejected,
            None => Fate::Dropped,
        },
    }
}

/// Whether a byte written at one end arrives at the other before the silence is over.
pub fn carries(mut from: &TcpStream, mut to: &TcpStream) -> bool {
    to.set_read_timeout(Some(SILENCE)).unwrap();
    from.write_all(b"x").unwrap();
    to.read_exact(&mut [0]).is_ok()
}

/// Waits until something holds, with a deadline.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "not within 10 s: {what}");
    }
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
