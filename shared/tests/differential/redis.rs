//! A redis-server of this test's own, on loopback, and the few lines of RESP2 that it takes to talk to it.

use bytes::Bytes;
use headwater::command::Reply;
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

/// Killed when dropped.
pub(super) struct Redis {
    server: Child,
    stream: BufReader<TcpStream>,
}

impl Redis {
    pub(super) fn start() -> Self {
        let port = free_port();
        let port_text = port.to_string();
        let arguments = ["--bind", "127.0.0.1", "--port", &port_text, "--save", "", "--appendonly", "no"];
        let mut server = Command::new("redis-server")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        let deadline = Instant::now() + Duration::from_secs(120);
        let stream = loop {
            match TcpStream::connect(("127.0.0.1", port)) {
                Ok(stream) => break stream,
                Err(error) => {
                    assert!(server.try_wait().expect("a child").is_none(), "redis-server ended");
                    assert!(Instant::now() < deadline, "redis-server does not listen: {error}");
                    std::thread::yield_now();
                }
            }
        };
        stream.set_nodelay(true).expect("a socket");
        Self { server, stream: BufReader::new(stream) }
    }

    pub(super) fn run(&mut self, argv: &[Bytes]) -> Result<Reply, String> {
        let mut request = format!("*{}\r\n", argv.len()).into_bytes();
        for argument in argv {
            request.extend(format!("${}\r\n", argument.len()).into_bytes());
            request.extend_from_slice(argument);
            request.extend_from_slice(b"\r\n");
        }
        self.stream.get_mut().write_all(&request).expect("redis-server reads");
        self.reply()
    }

    fn reply(&mut self) -> Result<Reply, String> {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("redis-server answers");
        let (kind, rest) = line.trim_end_matches("\r\n").split_at(1);
        let count = || rest.parse::<i64>().expect("a number");
        match kind {
            "-" => Err(rest.to_owned()),
            "+" if rest == "OK" => Ok(Reply::Ok),
            "+" => Ok(Reply::Simple(rest.to_owned().into())),
            ":" => Ok(Reply::Int(count())),
            "$" | "*" if count() < 0 => Ok(Reply::Nil),
            "$" => {
                let mut bytes = vec![0; usize::try_from(count()).expect("a length") + 2];
                self.stream.read_exact(&mut bytes).expect("the whole string");
                bytes.truncate(bytes.len() - 2);
                Ok(Reply::Bulk(bytes.into()))
            }
            "*" => (0..count()).map(|_| self.reply()).collect(),
            _ => panic!("{line:?} is no RESP2"),
        }
    }
}

/// Nobody listens there now. Systems choose ports by themselves from 32768 on (Linux), so that none of these is the near end of
/// a connection by the time the server asks for it.
fn free_port() -> u16 {
    static TRIED: AtomicU32 = AtomicU32::new(0);
    // Processes that run side by side begin far from each other.
    let first = std::process::id().wrapping_mul(997);
    loop {
        let at = first.wrapping_add(TRIED.fetch_add(1, Ordering::Relaxed)) % 21_900;
        let port = u16::try_from(10_100 + at).expect("a port");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
