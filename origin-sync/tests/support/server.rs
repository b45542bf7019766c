//! A `redis-server` or `valkey-server` of our own: its own directory and ports, only on loopback, killed when dropped.
//!
//! It runs under a shell that kills it when its input ends, so it also ends with a test that is killed, and with one that
//! keeps it in a `static`, of which nothing is ever dropped.

use std::{
    io::ErrorKind,
    net::TcpListener,
    ops::Range,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};
use tempfile::TempDir;

const START_DEADLINE: Duration = Duration::from_secs(120);

/// A server that is silent for so long is taken for dead by its sentinels and by the other nodes of its cluster. On a machine
/// that does much else a server that lives may say nothing for a second or two.
pub const DOWN_AFTER_MS: u32 = 6_000;

/// Runs the arguments, and ends them when the input ends or they end by themselves.
const KEEPER: &str = r#"exec 3<&0
"$@" 0</dev/null 3<&- & server=$!
(read -r _ <&3; kill -9 $server) 2>/dev/null & keeper=$!
exec 3<&-
wait $server
kill -9 $keeper 2>/dev/null"#;

/// What is started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Program {
    Redis,
    /// The machine's, or the one that `cargo xtask setup` has unpacked.
    Valkey,
}

impl Program {
    /// How many there are.
    pub const COUNT: usize = 2;

    fn path(self) -> PathBuf {
        match self {
            Self::Redis => "redis-server".into(),
            Self::Valkey => {
                let unpacked =
                    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("tools/valkey/usr/bin/valkey-server");
                if unpacked.is_file() { unpacked } else { "valkey-server".into() }
            }
        }
    }
}

pub struct RedisServer {
    program: Program,
    child: Child,
    port: u16,
    directory: TempDir,
    arguments: Vec<String>,
}

impl RedisServer {
    pub async fn start() -> Self {
        Self::start_with(|_directory| Vec::new()).await
    }

    /// With further arguments, which may name files in its directory.
    pub async fn start_with(arguments: impl Fn(&Path) -> Vec<String>) -> Self {
        Self::start_program(Program::Redis, arguments).await
    }

    /// A Valkey, with further arguments.
    pub async fn start_valkey(arguments: &[&str]) -> Self {
        Self::start_program(Program::Valkey, |_| arguments.iter().map(|&word| word.to_owned()).collect()).await
    }

    /// Either of them, with further arguments.
    pub async fn start_program(program: Program, arguments: impl Fn(&Path) -> Vec<String>) -> Self {
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            let port = free_port();
            let directory = tempfile::tempdir().unwrap();
            let arguments = arguments(directory.path());
            let child = spawn(program, port, directory.path(), &arguments);
            let mut server = Self { program, child, port, directory, arguments };
            if server.answers(deadline).await {
                return server;
            }
            // Somebody else took the port between our look and its start.
            assert!(Instant::now() < deadline, "{} ends at once; try it by hand", program.path().display());
        }
    }

    /// A sentinel of the master at that port, which two must take for dead.
    pub async fn start_sentinel(program: Program, master: u16, epoch: u64) -> Self {
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            let (port, directory) = (free_port(), tempfile::tempdir().unwrap());
            let file = directory.path().join("sentinel.conf");
            let lines = [
                format!("bind 127.0.0.1\nport {port}\npidfile pid\ndir {}", directory.path().display()),
                format!("sentinel monitor mine 127.0.0.1 {master} 2"),
                format!("sentinel down-after-milliseconds mine {DOWN_AFTER_MS}\nsentinel failover-timeout mine 5000"),
                format!("sentinel config-epoch mine {epoch}\n"),
            ];
            std::fs::write(&file, lines.join("\n")).unwrap();
            let arguments = vec![file.to_str().unwrap().to_owned(), "--sentinel".to_owned()];
            let child = keep(program, &arguments);
            let mut server = Self { program, child, port, directory, arguments };
            if server.answers(deadline).await {
                return server;
            }
            assert!(
                Instant::now() < deadline,
                "{} ends at once as a sentinel; try it by hand",
                program.path().display()
            );
        }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The process of the server itself, as it wrote it down.
    pub fn pid(&self) -> Option<u32> {
        std::fs::read_to_string(self.directory.path().join("pid")).ok()?.trim().parse().ok()
    }

    /// Kills it, and starts it again on its port, under a new run id and with no more than is in its log, if it keeps one.
    pub async fn restart(&mut self) {
        self.kill();
        self.child = spawn(self.program, self.port, self.directory.path(), &self.arguments);
        assert!(self.answers(Instant::now() + START_DEADLINE).await, "redis-server does not come back");
    }

    pub fn kill(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }

    /// Whether it answers before it ends.
    async fn answers(&mut self, deadline: Instant) -> bool {
        while self.child.try_wait().unwrap().is_none() {
            if self.is_ours().await {
                return true;
            }
            assert!(Instant::now() < deadline, "redis-server does not answer on port {}", self.port);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        false
    }

    /// Another server may answer on the port before ours has failed, and ours while it reads its log.
    async fn is_ours(&self) -> bool {
        let answer = async {
            let client = redis::Client::open(self.url())?;
            let mut connection = client.get_multiplexed_async_connection().await?;
            redis::cmd("INFO").query_async::<String>(&mut connection).await
        };
        let is_ours = |info: &str| self.pid().is_some_and(|pid| info.contains(&format!("process_id:{pid}\r\n")));
        answer.await.is_ok_and(|info| is_ours(&info) && !info.contains("loading:1\r\n"))
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Below the ports that systems choose by themselves (Linux from 32768 on): one of those could be the near end of anybody's
/// connection by the time a server asks for it, above all while that server is killed and about to come back. And above 10080,
/// the last of the ports to which `fetch` refuses to connect, in browsers as in Node.
const PORTS: Range<u16> = 10_100..32_000;

/// A port on which nothing listens now, and which nobody in this process got before.
pub fn free_port() -> u16 {
    static TRIED: AtomicUsize = AtomicUsize::new(0);
    // Processes that run side by side begin far from each other.
    let first = std::process::id() as usize * 997;
    loop {
        let tried = TRIED.fetch_add(1, Ordering::Relaxed);
        assert!(tried < PORTS.len(), "every port has been handed out or is taken");
        let port = PORTS.clone().nth((first + tried) % PORTS.len()).unwrap();
        match TcpListener::bind(("127.0.0.1", port)) {
            Ok(_) => return port,
            Err(error) => assert_eq!(error.kind(), ErrorKind::AddrInUse, "{error}"),
        }
    }
}

fn spawn(program: Program, port: u16, directory: &Path, arguments: &[String]) -> Child {
    let port = port.to_string();
    let own = ["--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "no"];
    let more = ["--enable-debug-command", "local", "--dir", directory.to_str().unwrap(), "--pidfile", "pid"];
    let words = [&own[..], &more].concat().into_iter().map(str::to_owned);
    keep(program, &words.chain(arguments.iter().cloned()).collect::<Vec<_>>())
}

fn keep(program: Program, arguments: &[String]) -> Child {
    Command::new("sh")
        .args(["-c", KEEPER, "sh"])
        .arg(program.path())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("sh cannot be started")
}
