//! The binary: reads the command line and does what it says, be it to run the daemon or to ask one that runs.
#![deny(clippy::unwrap_used)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

use anyhow::Context as _;
use clap::Parser as _;
use origin_sync::{
    check,
    cli::{Action, Cli},
    daemon::{self, DaemonConfig},
    measure,
    remote::Remote,
    settings::Settings,
    telemetry,
};
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

/// A commit is many small words that one thread makes and another drops.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Cli { action, sources } = Cli::parse();
    let settings = sources.merge()?;
    // Several crates of TLS clients share the one provider.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        anyhow::bail!("a TLS provider is installed already");
    }
    match action {
        Action::Run => run(settings).await?,
        Action::Check => {
            for line in check::run(&settings.try_into()?).await? {
                println!("{line}");
            }
        }
        Action::Status { json: true } => println!("{}", Remote::new(settings.remote()?).status().await?),
        Action::Status { json: false } => print_status(&Remote::new(settings.remote()?).status().await?),
        Action::Inspect { key } => print_pairs(&Remote::new(settings.remote()?).inspect(key).await?),
        Action::Resolve { key } => print_pairs(&Remote::new(settings.remote()?).resolve(key).await?),
        Action::Erase { subject } => print_erased(&Remote::new(settings.remote()?).erase(subject).await?),
        Action::MoveEdge { from, to } => print_pairs(&Remote::new(settings.remote()?).move_edge(&from, &to).await?),
        Action::Drain => Remote::new(settings.remote()?).drain().await?,
    }
    Ok(())
}

async fn run(settings: Settings) -> anyhow::Result<()> {
    let telemetry = telemetry::install(settings.logs()?, &settings.traces()?)?;
    let config: DaemonConfig = settings.try_into()?;
    let metrics = measure::install().context("the metrics cannot be set up")?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM"),
            _ = interrupt.recv() => tracing::info!("SIGINT"),
        }
    };
    let ended = daemon::run(config, metrics, stop).await;
    telemetry.end().await;
    Ok(ended?)
}

/// The hubs in a table under the rest.
fn print_status(status: &Value) {
    let Value::Object(fields) = status else { return };
    for (name, value) in fields.iter().filter(|(name, _)| *name != "hubs") {
        println!("{name:<16} {}", text(value));
    }
    println!(
        "\n{:<32} {:<20} {:>6} {:>9} {:>8} {:>9} {:>9}",
        "edge", "hub", "served", "connected", "held", "batches", "clock ms"
    );
    for hub in status["hubs"].as_array().into_iter().flatten() {
        let [edge, name, served, connected, held, batches, clock] =
            ["edge", "name", "served", "connected", "held", "batches", "clock_offset_ms"].map(|name| text(&hub[name]));
        println!("{edge:<32} {name:<20} {served:>6} {connected:>9} {held:>8} {batches:>9} {clock:>9}");
    }
}

fn print_pairs(answer: &Value) {
    for (name, value) in answer.as_object().into_iter().flatten() {
        println!("{name:<16} {}", text(value));
    }
}

/// A line for each key.
fn print_erased(answer: &Value) {
    for (name, said) in [("erased", "erased"), ("left", "left, for it holds another type")] {
        for key in answer[name].as_array().into_iter().flatten() {
            println!("{said}: {}", text(key));
        }
    }
    println!("{} keys erased", answer["erased"].as_array().map_or(0, Vec::len));
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
