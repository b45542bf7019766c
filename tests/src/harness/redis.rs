//! A Redis of our own: its own directory, its own port, only on loopback. Never the one that the system may run.

use std::fs;
use std::path::PathBuf;

use super::Result;
use super::port::exchange;
use super::process::{Launch, Server, on_path};

const PROGRAM: &str = "redis-server";

/// How a [`Redis`] is started.
#[derive(Clone, Debug)]
pub struct RedisConfig {
    /// Its working directory: the append-only files and the log. Made when missing; what it holds is loaded.
    pub dir: PathBuf,
    /// Its port on 127.0.0.1.
    pub port: u16,
    /// Whether it keeps its data over a restart. It syncs once a second, as Redis does by default: a kill seldom loses
    /// what was answered, a power cut may lose the last second.
    pub append_only: bool,
}

/// A running `redis-server`; killed when dropped.
pub struct Redis {
    port: u16,
    server: Server,
}

impl Redis {
    /// Starts Redis and returns when it answers PING, which is after it has loaded its data.
    ///
    /// # Errors
    /// When it is not installed, ends, or does not answer in time; with the end of its log.
    pub async fn start(config: RedisConfig) -> Result<Self> {
        fs::create_dir_all(&config.dir)?;
        let arguments = [
            ("--bind", "127.0.0.1"),
            ("--port", &config.port.to_string()),
            ("--dir", &config.dir.display().to_string()),
            ("--save", ""),
            ("--appendonly", if config.append_only { "yes" } else { "no" }),
            ("--appendfsync", "everysec"),
            ("--daemonize", "no"),
        ];
        let server = Server::spawn(Launch {
            name: PROGRAM,
            program: on_path(PROGRAM).unwrap_or_else(|| PROGRAM.into()),
            arguments: arguments.iter().flat_map(|(flag, value)| [(*flag).into(), (*value).into()]).collect(),
            log: config.dir.join("redis.log"),
        })?;
        let mut redis = Self { port: config.port, server };
        redis.ready().await?;
        Ok(redis)
    }

    /// Where clients reach it: `redis://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// SIGKILL: it gets no chance to write anything more.
    pub fn kill(&mut self) {
        self.server.kill();
    }

    /// Kills it if it runs, and starts it again over the same directory and port.
    ///
    /// # Errors
    /// As for [`Redis::start`].
    pub async fn restart(&mut self) -> Result<()> {
        self.server.respawn()?;
        self.ready().await
    }

    /// Whether this machine has Redis.
    #[must_use]
    pub fn available() -> bool {
        on_path(PROGRAM).is_some()
    }

    async fn ready(&mut self) -> Result<()> {
        let port = self.port;
        // Another Redis on this port, until ours has noticed and ended, would answer in its stead.
        let ours = format!("process_id:{}\r\n", self.server.pid().unwrap_or_default());
        // While it loads, the answer to PING is `-LOADING`.
        let answers = async || {
            let answer = exchange(port, "INFO server\r\nPING\r\nQUIT\r\n").await.unwrap_or_default();
            answer.contains(&ours) && answer.contains("+PONG\r\n")
        };
        self.server.ready(answers).await
    }
}
