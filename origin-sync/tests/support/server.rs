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
    _directory: TempDir,
}

impl RedisServer {
    pub async fn start() -> Self {
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            let mut server = Self::spawn();
            while server.child.try_wait().unwrap().is_none() {
                if server.is_ours().await {
                    return server;
                }
                assert!(Instant::now() < deadline, "redis-server does not answer on port {}", server.port);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            // Somebody else took the port between our look and its start.
            assert!(Instant::now() < deadline, "redis-server ends at once; try it by hand");
        }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    fn spawn() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "no"])
            .args(["--enable-debug-command", "local", "--dir"])
            .arg(directory.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server cannot be started; install it: apt-get install redis-server");
        Self { child, port, _directory: directory }
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
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
