//! One server process: started, awaited, killed, reaped.
//!
//! Invariant: a server dies with its [`Server`], and with this process even where that is killed with SIGKILL. For the
//! latter the kernel is asked, through util-linux's `setpriv --pdeathsig`, to kill the child when its parent dies. To
//! the kernel that parent is the *thread* that forked, and a runtime's threads come and go; therefore one thread, which
//! lives as long as the process, starts all children.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep, timeout};

use super::Result;

/// A cold start of any part takes well under a second; this leaves room for a machine that compiles at the same time.
const START_DEADLINE: Duration = Duration::from_secs(120);

/// Between two looks at a condition that nothing announces.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// An answer that has not come by then is asked for again.
const PROBE_DEADLINE: Duration = Duration::from_secs(10);

/// How much of a log an error quotes.
const LOG_TAIL_LINES: usize = 30;

/// How to start a server; kept, so that it can be started again.
pub(super) struct Launch {
    pub name: &'static str,
    pub program: PathBuf,
    pub arguments: Vec<String>,
    pub log: PathBuf,
}

/// A server that may be running.
pub(super) struct Server {
    launch: Launch,
    child: Option<Child>,
}

impl Server {
    /// Starts the process; it need not answer yet.
    pub(super) fn spawn(launch: Launch) -> Result<Self> {
        let mut server = Self { launch, child: None };
        server.respawn()?;
        Ok(server)
    }

    /// Kills what runs, if anything, and starts the same command again. The log is appended to.
    pub(super) fn respawn(&mut self) -> Result<()> {
        self.kill();
        let Launch { name, program, arguments, log } = &self.launch;
        if let Some(parent) = log.parent() {
            fs::create_dir_all(parent)?;
        }
        let output = File::options().create(true).append(true).open(log)?;
        let mut command = dying_with_its_parent(program);
        // The log is a file, and an error quotes it.
        command.env("NO_COLOR", "1");
        command.args(arguments).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = spawn_from_lasting_thread(command)
            .with_context(|| format!("{name} could not be started from {}", program.display()))?;
        self.child = Some(child);
        Ok(())
    }

    /// Returns once `answers` does with true; fails when the process ends first or the deadline passes.
    pub(super) async fn ready(&mut self, answers: impl AsyncFn() -> bool) -> Result<()> {
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            let answered = timeout(PROBE_DEADLINE, answers()).await.unwrap_or(false);
            // Looked at after the answer: another server on the same port must not pass for this one.
            if let Some(status) = self.exit_status()? {
                bail!("{} ended with {status} before it answered\n{}", self.launch.name, self.log_tail());
            }
            if answered {
                return Ok(());
            }
            if Instant::now() > deadline {
                let tail = self.log_tail();
                self.kill();
                bail!("{} did not answer within {START_DEADLINE:?}\n{tail}", self.launch.name);
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    /// SIGKILL, and reaps. Nothing to do where it has ended.
    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Fails only where the process has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// SIGTERM, then waits for the end; SIGKILL and an error when it has not ended within `deadline`.
    pub(super) async fn terminate(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let name = self.launch.name;
        let Some(pid) = self.pid() else { bail!("{name} is not running") };
        kill(Pid::from_raw(pid.try_into()?), Signal::SIGTERM)?;
        let by = Instant::now() + deadline;
        loop {
            if let Some(status) = self.exit_status()? {
                self.child = None;
                return Ok(status);
            }
            if Instant::now() > by {
                let tail = self.log_tail();
                self.kill();
                bail!("{name} did not end within {deadline:?} of SIGTERM\n{tail}");
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    /// The process id, while it has not been reaped.
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    fn exit_status(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.as_mut().map_or(Ok(None), Child::try_wait)
    }

    fn log_tail(&self) -> String {
        let log = fs::read(&self.launch.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(LOG_TAIL_LINES)..).unwrap_or_default();
        format!("--- the end of {} ---\n{}", self.launch.log.display(), tail.join("\n"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Where `name` is on the PATH.
pub(super) fn on_path(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Without util-linux (macOS) a killed parent leaves its servers behind; an ordinary end still takes them down.
fn dying_with_its_parent(program: &Path) -> Command {
    static SETPRIV: OnceLock<Option<PathBuf>> = OnceLock::new();
    match SETPRIV.get_or_init(|| on_path("setpriv")) {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "KILL", "--"]).arg(program);
            command
        }
        None => Command::new(program),
    }
}

fn spawn_from_lasting_thread(command: Command) -> io::Result<Child> {
    type Order = (Command, Sender<io::Result<Child>>);
    static SPAWNER: OnceLock<std::sync::Mutex<Sender<Order>>> = OnceLock::new();
    let orders = SPAWNER.get_or_init(|| {
        let (orders, queue) = channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, reply) in queue {
                // Whoever ordered waits for the answer, so somebody listens.
                let _ = reply.send(command.spawn());
            }
        });
        orders.into()
    });
    let (reply, answer) = channel();
    let sent = orders.lock().unwrap_or_else(PoisonError::into_inner).send((command, reply));
    sent.map_err(|error| io::Error::other(error.to_string()))?;
    answer.recv().map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(name: &str, script: &str) -> Launch {
        let log = std::env::temp_dir().join(format!("headwater-harness-{}-{name}.log", std::process::id()));
        Launch { name: "sh", program: "/bin/sh".into(), arguments: vec!["-c".into(), script.into()], log }
    }

    fn runs(pid: u32) -> bool {
        Path::new("/proc").join(pid.to_string()).exists()
    }

    #[tokio::test]
    async fn a_server_that_ends_early_is_reported_with_its_log() {
        let mut server = Server::spawn(shell("early", "echo no such colour; exit 3")).expect("spawns");
        let error = server.ready(async || false).await.expect_err("it never answers").to_string();
        assert!(error.contains("exit status: 3") && error.contains("no such colour"), "{error}");
    }

    #[tokio::test]
    async fn terminate_lets_the_server_finish() {
        let launch = shell("finish", "trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done");
        let log = launch.log.clone();
        let mut server = Server::spawn(launch).expect("spawns");
        server.ready(async || fs::read_to_string(&log).is_ok_and(|text| text.contains("ready"))).await.expect("ready");
        let status = server.terminate(Duration::from_secs(60)).await.expect("ends");
        assert_eq!(status.code(), Some(7));
    }

    #[test]
    fn a_dropped_server_is_dead_and_reaped() {
        let server = Server::spawn(shell("drop", "exec sleep 60")).expect("spawns");
        let pid = server.pid().expect("it runs");
        assert!(runs(pid));
        drop(server);
        assert!(!runs(pid));
    }

    #[test]
    fn a_server_outlives_the_thread_that_asked_for_it() {
        let mut server = std::thread::spawn(|| Server::spawn(shell("thread", "exec sleep 60")))
            .join()
            .expect("no panic")
            .expect("spawns");
        assert!(server.exit_status().expect("it can be asked").is_none());
    }
}
