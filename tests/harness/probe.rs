//! A service to test firewalls against: answers each TCP connection and UDP datagram by echoing it, and HTTP by a greeting. It listens on the port it is told, on both families.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv6Addr, TcpListener, TcpStream, UdpSocket};
use std::process::ExitCode;
use std::thread;

const BUFFER_BYTES: usize = 4096;

fn main() -> ExitCode {
    let Some(port) = std::env::args().nth(1).and_then(|port| port.parse().ok()) else {
        eprintln!("usage: probe PORT");
        return ExitCode::from(2);
    };
    match serve(port) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("probe: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(port: u16) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))?;
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port))?;
    println!("listening on {port}");
    thread::scope(|scope| {
        let datagrams = scope.spawn(move || echo_datagrams(&socket));
        for stream in listener.incoming() {
            let stream = stream?;
            // A client that goes away is none of our business.
            scope.spawn(move || answer(stream).unwrap_or_default());
        }
        datagrams.join().unwrap_or(Ok(()))
    })
}

fn echo_datagrams(socket: &UdpSocket) -> io::Result<()> {
    let mut buffer = [0; BUFFER_BYTES];
    loop {
        let (count, from) = socket.recv_from(&mut buffer)?;
        // An answer that a firewall refuses to let out is what is being tested.
        let _refused = socket.send_to(buffer.get(..count).unwrap_or_default(), from);
    }
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; BUFFER_BYTES];
    loop {
        let count = stream.read(&mut buffer)?;
        let received = buffer.get(..count).unwrap_or_default();
        if received.is_empty() {
            return Ok(());
        }
        if received.starts_with(b"GET ") {
            let body = format!("hello from {}", std::fs::read_to_string("/proc/sys/kernel/hostname")?);
            return write!(stream, "HTTP/1.0 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
        }
        stream.write_all(received)?;
    }
}
