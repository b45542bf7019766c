//! Loopback ports: finding a free one, and asking over one whether a server answers.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// More than any status line or short answer; a page is not wanted here.
const ANSWER_BYTES_MAX: u64 = 16 * 1024;

/// Below the ports that systems choose by themselves (Linux from 32768 on): one of those could be the near end of anybody's
/// connection by the time a server asks for it, above all while that server is killed and about to come back. And above 10080,
/// the last of the ports to which `fetch` refuses to connect, in browsers as in Node.
const PORTS: Range<u16> = 10_100..32_000;

/// A port of 127.0.0.1 on which nothing listens now, and that this function has not returned before in this process.
///
/// # Errors
/// When no port is left to give.
pub fn free_port() -> io::Result<u16> {
    static TRIED: AtomicUsize = AtomicUsize::new(0);
    // Processes that run side by side begin far from each other.
    let first = std::process::id() as usize * 997 % PORTS.len();
    loop {
        let tried = TRIED.fetch_add(1, Ordering::Relaxed);
        if tried >= PORTS.len() {
            return Err(io::Error::other("every port has been handed out or is taken"));
        }
        let Some(port) = PORTS.clone().nth((first + tried) % PORTS.len()) else { continue };
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => return Ok(port),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(error),
        }
    }
}

/// Sends `request` to a port of 127.0.0.1 and returns what comes back before the server closes the connection; of a
/// long answer, the beginning.
pub(super) async fn exchange(port: u16, request: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The status of `GET path` on a port of 127.0.0.1, or nothing while no HTTP server answers there.
pub(super) async fn http_status(port: u16, path: &str) -> Option<u16> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
    let answer = exchange(port, &request).await.ok()?;
    answer.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::BTreeSet;

    #[test]
    fn a_port_is_handed_out_once() {
        let ports: Vec<u16> = (0..50).map(|_| free_port().expect("a free port")).collect();
        let distinct: BTreeSet<u16> = ports.iter().copied().collect();
        assert_eq!(distinct.len(), ports.len());
        assert!(ports.iter().all(|port| PORTS.contains(port)), "{ports:?}");
    }
}
