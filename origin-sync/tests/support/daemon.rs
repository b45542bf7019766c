//! The built daemon as a process of its own, killed when dropped.

use super::{edge::TOKEN, server::free_port};
use std::{
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

pub struct Daemon {
    child: Child,
    port: u16,
}

impl Daemon {
    /// With further arguments, of which one says where to store.
    pub fn start<'a>(edge: &str, arguments: impl IntoIterator<Item = &'a str>, log: &Path) -> Self {
        let port = free_port();
        let log = std::fs::File::options().create(true).append(true).open(log).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_origin-sync"))
            .args(["run", "--edge", edge, "--listen", &format!("127.0.0.1:{port}")])
            .args(arguments)
            .env("HEADWATER_ORIGIN_TOKEN", TOKEN)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, port }
    }

    /// Runs the same program to ask this daemon something; gives what it printed if it succeeded.
    pub async fn run(&self, arguments: &[&str]) -> Result<String, String> {
        let listen = format!("127.0.0.1:{}", self.port);
        let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_origin-sync"))
            .args(arguments)
            .args(["--listen", &listen])
            .env("HEADWATER_ORIGIN_TOKEN", TOKEN)
            .output()
            .await
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }

    /// How it ended, once it has.
    pub async fn ended(&mut self) -> ExitStatus {
        eventually("the daemon ends", async || self.child.try_wait().unwrap()).await
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub async fn terminate(&mut self) -> ExitStatus {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.ended().await
    }

    pub async fn get(&self, path: &str) -> Option<(u16, String)> {
        self.ask(&format!("GET {path} HTTP/1.0\r\n\r\n")).await
    }

    pub async fn post(&self, path: &str, token: &str, body: &str) -> Option<(u16, String)> {
        let length = body.len();
        let head = format!("POST {path} HTTP/1.0\r\nAuthorization: Bearer {token}\r\nContent-Length: {length}");
        self.ask(&format!("{head}\r\n\r\n{body}")).await
    }

    pub async fn status(&self) -> Option<serde_json::Value> {
        let (_, body) = self.get("/status").await?;
        serde_json::from_str(&body).ok()
    }

    /// The head of the answer, in small letters, and its body.
    pub async fn get_whole(&self, path: &str) -> Option<(String, String)> {
        let (head, body) = self.ask_whole(&format!("GET {path} HTTP/1.0\r\n\r\n")).await?;
        Some((head.to_lowercase(), body))
    }

    async fn ask(&self, request: &str) -> Option<(u16, String)> {
        let (head, body) = self.ask_whole(request).await?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body))
    }

    async fn ask_whole(&self, request: &str) -> Option<(String, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.ok()?;
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.to_owned(), body.to_owned()))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

/// How long any of these may take: a failover of sentinels that were held up waits for half a minute by itself.
const DEADLINE: Duration = Duration::from_secs(120);

/// Asks until there is an answer.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "it never came about: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
