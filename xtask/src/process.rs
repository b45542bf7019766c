//! Running other programs, so that a failure names the command and a long quiet run shows that it lives.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, IsTerminal, Read, Write, stderr, stdout};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

use crate::workspace::Workspace;

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
pub(crate) fn watch(command: &mut Command, mut line: impl FnMut(&str)) -> Result<bool> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().with_context(|| described(command))?;
    if let Some(printed) = child.stdout.take() {
        for text in BufReader::new(printed).split(b'\n') {
            let text = text?;
            let text = String::from_utf8_lossy(&text);
            line(&text);
            writeln!(stdout(), "{text}")?;
        }
    }
    Ok(child.wait()?.success())
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
    // The command holds the writing end; the pipe ends only when it is closed.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let tail =
        copy_to(read, &mut File::create(log)?, |line| spinner.set_message(shortened(&format!("{what}: {line}"))))?;
    let status = child.wait()?;

    spinner.finish_and_clear();
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
