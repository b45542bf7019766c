//! Running other programs, so that a failure names the command and a long quiet run shows that it lives.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, IsTerminal, Read, Write, stderr, stdout};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use sysinfo::{Pid, ProcessesToUpdate, System};

use crate::workspace::Workspace;

/// What a quiet command may take: the slowest compiles a tool for some minutes, and those that load something may hang.
const QUIET_LIMIT: Duration = Duration::from_secs(20 * 60);

/// How much of a quiet command's output an error quotes.
const TAIL_LINES: usize = 25;

/// The cargo that runs xtask, in the root.
pub(crate) fn cargo(workspace: &Workspace) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(&workspace.root);
    command
}

/// Runs to the end with our own input and output.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| described(command))?;
    if !status.success() {
        bail!("{} ended with {status}", described(command));
    }
    Ok(())
}

/// Runs to the end and returns what it printed.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.stderr(Stdio::inherit()).output().with_context(|| described(command))?;
    if !output.status.success() {
        bail!("{} ended with {}", described(command), output.status);
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Whether it runs at all and ends well; its output is dropped.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Runs to the end, shows each line that it prints (errors are not piped) and hands it to `line`. Returns whether it
/// ended well.
///
/// # Errors
/// When it has not ended within `limit`; then it is killed with all that it started. What it printed last tells where it
/// hung.
pub(crate) fn watch(command: &mut Command, limit: Duration, mut line: impl FnMut(&str)) -> Result<bool> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().with_context(|| described(command))?;
    let watchdog = Watchdog::over(&child, limit);
    if let Some(printed) = child.stdout.take() {
        for text in BufReader::new(printed).split(b'\n') {
            let text = text?;
            let text = String::from_utf8_lossy(&text);
            line(&text);
            writeln!(stdout(), "{text}")?;
        }
    }
    let status = child.wait()?;
    watchdog.result(command)?;
    Ok(status.success())
}

/// Kills a process that does not end, with all that it started.
struct Watchdog {
    limit: Duration,
    ended: Sender<()>,
    has_killed: JoinHandle<bool>,
}

impl Watchdog {
    fn over(child: &Child, limit: Duration) -> Self {
        let (ended, end) = channel();
        let id = child.id();
        let has_killed = std::thread::spawn(move || {
            let is_late = end.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
            if is_late {
                kill_tree(id);
            }
            is_late
        });
        Self { limit, ended, has_killed }
    }

    /// Of a process that has ended.
    fn result(self, command: &Command) -> Result<()> {
        drop(self.ended);
        if self.has_killed.join().is_ok_and(|has_killed| has_killed) {
            bail!(
                "{} was killed, since it had not ended after {} minutes",
                described(command),
                self.limit.as_secs() / 60
            );
        }
        Ok(())
    }
}

/// A test program that cargo started would go on, and hold the pipe, if cargo alone were killed.
fn kill_tree(root: u32) {
    let Ok(mut system) = System::new() else { return };
    system.refresh_processes(ProcessesToUpdate::All, true);
    let mut doomed = vec![Pid::from_u32(root)];
    let mut at = 0;
    while let Some(parent) = doomed.get(at).copied() {
        let children = system.processes().values().filter(|process| process.parent() == Some(parent));
        doomed.extend(children.filter(|process| process.thread_kind().is_none()).map(|process| process.pid()));
        at += 1;
    }
    for process in doomed.iter().filter_map(|pid| system.process(*pid)) {
        process.kill();
    }
}

/// Runs to the end with its output in `log`; meanwhile one line says what goes on: live on a terminal, else only at the
/// beginning and the end. An error quotes the end of the log.
pub(crate) fn run_quietly(what: &str, log: &Path, command: &mut Command) -> Result<()> {
    if let Some(folder) = log.parent() {
        fs::create_dir_all(folder)?;
    }
    let started = Instant::now();
    let spinner = ProgressBar::new_spinner()
        .with_style(ProgressStyle::with_template("{spinner} {msg} ({elapsed})")?)
        .with_message(what.to_owned());
    if stderr().is_terminal() {
        spinner.enable_steady_tick(Duration::from_millis(100));
    } else {
        eprintln!("{what} ...");
    }

    // One pipe for both streams keeps their order.
    let (read, write) = std::io::pipe()?;
    command.stdin(Stdio::null()).stdout(write.try_clone()?).stderr(write);
    let mut child = command.spawn().with_context(|| described(command))?;
    let watchdog = Watchdog::over(&child, QUIET_LIMIT);
    // The command holds the writing end; the pipe ends only when it is closed.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let tail =
        copy_to(read, &mut File::create(log)?, |line| spinner.set_message(shortened(&format!("{what}: {line}"))))?;
    let status = child.wait()?;

    spinner.finish_and_clear();
    watchdog.result(command)?;
    if !status.success() {
        bail!("{} ended with {status}; all of it is in {}\n{}", described(command), log.display(), tail.join("\n"));
    }
    eprintln!("{what}: done in {:.0} s", started.elapsed().as_secs_f64());
    Ok(())
}

/// Returns the last lines.
fn copy_to(from: impl Read, log: &mut File, mut each: impl FnMut(&str)) -> Result<Vec<String>> {
    let mut tail = std::collections::VecDeque::new();
    for line in BufReader::new(from).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).trim_end().to_owned();
        writeln!(log, "{line}")?;
        each(line.trim());
        tail.push_back(line);
        if tail.len() > TAIL_LINES {
            tail.pop_front();
        }
    }
    Ok(tail.into())
}

fn shortened(line: &str) -> String {
    line.chars().take(90).collect()
}

/// The command as a person would type it.
pub(crate) fn described(command: &Command) -> String {
    let name = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words: Vec<_> = std::iter::once(name).chain(command.get_args()).map(OsStr::to_string_lossy).collect();
    format!("`{}`", words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was started holds the pipe: this ends only if that was killed too.
    #[test]
    fn what_does_not_end_is_killed_with_all_that_it_started() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 600 & echo started; wait"]);
        let mut lines = Vec::new();
        let error = watch(&mut command, Duration::from_secs(5), |line| lines.push(line.to_owned())).unwrap_err();
        assert!(error.to_string().contains("was killed"), "{error}");
        assert_eq!(lines, ["started"]);
    }
}
