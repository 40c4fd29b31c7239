//! How accepted connections behave: what is written goes out at once, and what cannot go out yet stays where it can still be overtaken.

use std::future::{Ready, ready};
use std::io;

use axum_server::accept::Accept;
use tokio::net::TcpStream;

/// What may wait in the kernel that was not sent yet. Without it the kernel takes megabytes of a flooding terminal, all of which Ctrl-C would have to wait
/// for; what is under way is not bounded by it, so that downloads stay fast.
const UNSENT_MAX_BYTES: u32 = 16 * 1024;

/// Accepts connections that [`make_prompt`] was applied to.
#[derive(Debug, Clone, Copy)]
pub struct PromptAcceptor;

impl<S> Accept<TcpStream, S> for PromptAcceptor {
    type Stream = TcpStream;
    type Service = S;
    type Future = Ready<io::Result<(TcpStream, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        ready(make_prompt(&stream).map(|()| (stream, service)))
    }
}

/// No waiting for more to send, and little that waits unsent.
///
/// # Errors
/// The kernel refuses; the connection is gone.
pub fn make_prompt(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_MAX_BYTES)
}
