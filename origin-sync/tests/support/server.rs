//! A `redis-server` of our own: its own directory and port, only on loopback, killed when dropped.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

const START_DEADLINE: Duration = Duration::from_secs(20);

pub struct RedisServer {
    child: Child,
    port: u16,
    directory: TempDir,
}

impl RedisServer {
    pub async fn start() -> Self {
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let directory = tempfile::tempdir().unwrap();
            let mut server = Self { child: spawn(port, &directory), port, directory };
            if server.answers(deadline).await {
                return server;
            }
            // Somebody else took the port between our look and its start.
            assert!(Instant::now() < deadline, "redis-server ends at once; try it by hand");
        }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Kills it, and starts it again on its port, empty and under a new run id.
    pub async fn restart(&mut self) {
        self.kill();
        self.child = spawn(self.port, &self.directory);
        assert!(self.answers(Instant::now() + START_DEADLINE).await, "redis-server does not come back");
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
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

    /// Another server may answer on the port before ours has failed.
    async fn is_ours(&self) -> bool {
        let answer = async {
            let client = redis::Client::open(self.url())?;
            let mut connection = client.get_multiplexed_async_connection().await?;
            redis::cmd("INFO").arg("server").query_async::<String>(&mut connection).await
        };
        answer.await.is_ok_and(|info| info.contains(&format!("process_id:{}\r\n", self.child.id())))
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(port: u16, directory: &TempDir) -> Child {
    Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "no"])
        .args(["--enable-debug-command", "local", "--dir"])
        .arg(directory.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server cannot be started; install it: apt-get install redis-server")
}
