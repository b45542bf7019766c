//! `cargo xtask demo`: three edges, the daemon and Redis on this machine; an access log replayed at the edges over many connections;
//! and then the proof that what Redis holds is what the log says.
//!
//! The order of one run is [`run`]'s and [`Stage::perform`]'s; [`plan`] says what a line becomes, [`truth`] what must come of it.
//! The two share the parsed log and the names of keys, nothing else. Everything is kept under `target/demo/`, which a run begins by
//! removing.

mod chaos;
mod check;
pub(crate) mod cluster;
mod edge;
#[cfg(test)]
mod fake;
mod generate;
mod http;
mod keys;
mod links;
mod live;
mod log;
mod meter;
mod plan;
mod probe;
mod replay;
mod report;
mod settle;
mod stage;
mod store;
mod truth;

use std::fs::{self, File, TryLockError};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use headwater_tests::harness::{Layout, Redis};

use self::cluster::{Cluster, ClusterConfig, REGIONS};
use self::live::Live;
use self::log::{Entry, Log};
use self::settle::Until;
use self::stage::{Manner, Performance, Stage};

/// Replays an access log at three edges and compares what arrives at the origin with what the log says.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A log in Apache's combined format, gzip or plain; without it, one is generated.
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Exit after the check, with an error where anything differs, instead of staying up.
    #[arg(long)]
    once: bool,
    /// Kill one edge, the daemon and Redis during the replay, and start them again.
    #[arg(long)]
    chaos: bool,
    /// Where the daemon reconciles into; auto takes Redis where there is a redis-server.
    #[arg(long, value_enum, default_value_t = StoreChoice::Auto)]
    store: StoreChoice,
    /// How many lines the generated log has.
    #[arg(long, default_value_t = 10_000, conflicts_with = "input", value_parser = clap::value_parser!(u64).range(1..))]
    lines: u64,
    /// What the generated log is made from.
    #[arg(long, default_value_t = 1, conflicts_with = "input")]
    seed: u64,
    /// How many requests are under way at once.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1024))]
    connections: u16,
    /// For how long a commit counts as one that the store may still lose, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 5_000)]
    loss_window_ms: u64,
    /// The port of the first edge, which serves the page; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
}

/// The values of `--store`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum StoreChoice {
    /// A Redis that the demo starts.
    Redis,
    /// The daemon's embedded store.
    Embedded,
    /// Redis where this machine has one, else the embedded store.
    Auto,
}

impl StoreChoice {
    fn is_redis(self) -> anyhow::Result<bool> {
        match self {
            Self::Embedded => Ok(false),
            Self::Redis if !Redis::available() => {
                bail!("there is no redis-server on the PATH; install it, or use --store embedded")
            }
            Self::Redis => Ok(true),
            Self::Auto => Ok(Redis::available()),
        }
    }
}

/// Runs the demo to its end, or to Ctrl-C; either way nothing that it started is left.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let once = args.once;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        tokio::select! {
            result = demo(args) => result,
            interrupt = tokio::signal::ctrl_c() => {
                interrupt.context("cannot listen for Ctrl-C")?;
                // Dropping the other branch has taken the parts down.
                if once { bail!("interrupted") }
                eprintln!("\nstopped");
                Ok(())
            }
        }
    })
}

async fn demo(args: Args) -> anyhow::Result<()> {
    let redis = args.store.is_redis()?;
    let dir = Layout::of_workspace().root.join("target/demo");
    let _lock = prepare(&dir)?;
    let input = match args.input {
        Some(path) => path,
        None => generate_log(&dir, args.lines, args.seed)?,
    };
    let log = Log::read(&input)?;
    println!("log      {}", report::log_summary(&input, &log));
    let [.., last] = log.entries.as_slice() else { bail!("there is nothing to replay in {}", input.display()) };

    let loss_window = Duration::from_millis(args.loss_window_ms);
    let config =
        ClusterConfig { dir: &dir, port: args.port, redis, append_only: args.chaos, loss_window, token_key: None };
    let mut cluster = Cluster::start(config).await?;
    announce(&cluster);

    let stage = Stage::new(cluster.clients(), cluster.store()?, log.entries.len(), Live::new(REGIONS.len()));
    let until = if args.chaos { Until::Stable } else { Until::Committed };
    let manner = Manner { connections: args.connections.into(), until, loss_window };
    let disturbance = async {
        if args.chaos {
            chaos::run(&mut cluster, &stage).await?;
        }
        Ok(())
    };
    let performance = stage
        .perform(&input, &log.entries, manner, disturbance)
        .await
        .with_context(|| format!("the parts' own logs are under {}", dir.display()))?;

    println!("\n{}", report::figures(&stage, &performance, manner.connections));
    println!("{}", report::comparison(&performance.check, stage.store.name()));
    let verdict = verdict(&performance, &dir);
    if args.once {
        return verdict;
    }
    if let Err(error) = verdict {
        println!("NOT EQUAL: {error:#}\n");
    }
    stay_up(&cluster, last).await
}

/// Whether every value is equal and every command was taken.
fn verdict(performance: &Performance, dir: &Path) -> anyhow::Result<()> {
    let (check, replayed) = (&performance.check, &performance.replayed);
    for refusal in &replayed.refusals {
        println!("refused  {refusal}");
    }
    if !check.differences.is_empty() {
        let path = dir.join("differences.txt");
        fs::write(&path, report::all_differences(check)).with_context(|| format!("cannot write {}", path.display()))?;
        bail!("{} values differ from the truth; all of them are in {}", check.differences.len(), path.display());
    }
    if replayed.refused > 0 {
        bail!("{} commands were refused", replayed.refused);
    }
    Ok(())
}

async fn stay_up(cluster: &Cluster, last: &Entry) -> anyhow::Result<()> {
    println!("The page: {}", cluster.page());
    println!("The result, by any client:");
    print!("{}", cluster.read_commands(&keys::session(&last.address), &keys::visitors(last.time)));
    println!("Ctrl-C stops everything.");
    std::future::pending().await
}

fn announce(cluster: &Cluster) {
    let edges: Vec<String> =
        REGIONS.iter().zip(&cluster.edges).map(|(region, edge)| format!("{region} {}", edge.url())).collect();
    println!("edges    {}", edges.join(", "));
    println!("daemon   {}", cluster.daemon.url());
    match &cluster.redis {
        Some(redis) => println!("Redis    {}", redis.url()),
        None => println!("store    embedded in the daemon"),
    }
    println!("page     {}", cluster.page());
}

fn generate_log(dir: &Path, lines: u64, seed: u64) -> anyhow::Result<PathBuf> {
    let path = dir.join("access.log");
    let written = File::create(&path).and_then(|file| generate::write(lines, seed, BufWriter::new(file)));
    written.with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// Empties the demo's directory, and holds it against a second demo for as long as the returned file is open.
fn prepare(dir: &Path) -> anyhow::Result<File> {
    let at = || format!("cannot prepare {}", dir.display());
    fs::create_dir_all(dir).with_context(at)?;
    let lock = File::create(dir.with_extension("lock")).with_context(at)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => bail!("another demo is running in {}", dir.display()),
        Err(TryLockError::Error(error)) => return Err(error).with_context(at),
    }
    fs::remove_dir_all(dir).with_context(at)?;
    fs::create_dir_all(dir).with_context(at)?;
    Ok(lock)
}
