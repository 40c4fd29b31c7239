//! Tells systemd how far the agent is, when systemd asks for it (`Type=notify`).

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The loop runs.
pub const READY: &str = "READY=1";
/// The agent ends.
pub const STOPPING: &str = "STOPPING=1";

/// Sends a state to `$NOTIFY_SOCKET`; without one nobody asked.
pub fn notify(state: &str) {
    if let Some(path) = std::env::var_os("NOTIFY_SOCKET")
        && let Err(error) = send(path.as_encoded_bytes(), state)
    {
        tracing::warn!(%error, state, "cannot notify systemd");
    }
}

fn send(path: &[u8], state: &str) -> io::Result<()> {
    // `@` stands for the leading zero byte of an abstract socket.
    let address = match path.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(std::str::from_utf8(path).map_err(io::Error::other)?)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::{READY, send};

    #[test]
    fn a_state_arrives_at_the_socket() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        send(path.as_os_str().as_encoded_bytes(), READY).unwrap();
        let mut buffer = [0; 32];
        let length = socket.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"READY=1");
    }
}
