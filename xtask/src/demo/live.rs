//! The terminal while the replay runs: a progress bar, and under it a line per edge that is kept up to date. Where the output is no
//! terminal, a plain line every few seconds. All of it goes to stderr; stdout is the report's.

use std::fmt;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use tokio::time::MissedTickBehavior;

use super::edge::{EdgeClient, EdgeStatus};
use super::probe::Probes;
use super::replay::Progress;
use super::report::{grouped, milliseconds};

/// Between two refreshes.
const REFRESH: Duration = Duration::from_millis(250);
/// Between two questions for the edges' status: each costs the edge a request.
const STATUS_PERIOD: Duration = Duration::from_millis(500);
/// How long the table waits for a status.
const STATUS_TIMEOUT: Duration = Duration::from_millis(400);
/// Between two plain lines.
const PLAIN_PERIOD: Duration = Duration::from_secs(5);

/// What is drawn.
#[derive(Debug)]
pub(crate) struct Live {
    screen: MultiProgress,
    bar: ProgressBar,
    rows: Vec<ProgressBar>,
}

impl Live {
    /// Draws nothing before [`Live::watch`].
    pub(crate) fn new(edges: usize) -> Self {
        let screen = MultiProgress::new();
        let template = "{msg:<10} {wide_bar:.cyan/blue} {human_pos} of {human_len} lines  {rate}  {elapsed}";
        let style_of_bar = style(template).with_key("rate", |state: &ProgressState, out: &mut dyn fmt::Write| {
            // A line of the screen takes any text.
            let _ = write!(out, "{:.0} per second", state.per_sec());
        });
        let bar = screen.add(ProgressBar::no_length().with_style(style_of_bar));
        let rows = (0..edges).map(|_| screen.add(ProgressBar::no_length().with_style(style("  {msg}")))).collect();
        Self { screen, bar, rows }
    }

    /// Says something above the bar.
    pub(crate) fn say(&self, text: &str) {
        if self.screen.is_hidden() {
            eprintln!("{text}");
        } else {
            // It fails only where the terminal is gone, and then nobody reads it.
            let _ = self.screen.println(text);
        }
    }

    /// The replay is over; what follows is waiting.
    pub(crate) fn settling(&self) {
        self.bar.set_message("settling");
        if self.screen.is_hidden() {
            eprintln!("all lines acknowledged; waiting until all has arrived");
        }
    }

    /// Takes everything off the screen.
    pub(crate) fn close(&self) {
        for bar in self.rows.iter().chain([&self.bar]) {
            bar.finish_and_clear();
        }
    }

    /// Draws until it is dropped.
    pub(crate) async fn watch(&self, edges: &[EdgeClient], progress: &Progress, probes: &Probes) {
        self.bar.set_length(progress.lines_total);
        self.bar.set_message("replaying");
        let started = Instant::now();
        let mut ticks = tokio::time::interval(REFRESH);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut statuses: Vec<Option<EdgeStatus>> = vec![None; edges.len()];
        let (mut asked, mut said) = (None::<Instant>, Instant::now());
        loop {
            ticks.tick().await;
            if asked.is_none_or(|asked| asked.elapsed() >= STATUS_PERIOD) {
                asked = Some(Instant::now());
                statuses = join_all(edges.iter().map(status)).await;
            }
            let row = |(edge, status): (usize, &Option<EdgeStatus>)| {
                let region = edges.get(edge).map_or("", |edge| edge.region.as_str());
                row(region, status.as_ref(), progress.operations(edge), probes.current(edge))
            };
            let rows: Vec<String> = statuses.iter().enumerate().map(row).collect();
            self.bar.set_position(progress.lines_done());
            for (bar, row) in self.rows.iter().zip(&rows) {
                bar.set_message(row.clone());
            }
            if self.screen.is_hidden() && said.elapsed() >= PLAIN_PERIOD {
                said = Instant::now();
                eprintln!(
                    "{:>5.0} s  {} of {} lines",
                    started.elapsed().as_secs_f64(),
                    grouped(progress.lines_done()),
                    grouped(progress.lines_total)
                );
                rows.iter().for_each(|row| eprintln!("         {row}"));
            }
        }
    }
}

async fn status(edge: &EdgeClient) -> Option<EdgeStatus> {
    tokio::time::timeout(STATUS_TIMEOUT, edge.status()).await.ok()?.ok()
}

fn row(region: &str, status: Option<&EdgeStatus>, operations: u64, lag: Option<Duration>) -> String {
    let lag = lag.map_or_else(|| "-".to_owned(), milliseconds);
    let operations = grouped(operations);
    match status {
        None => format!("{region:<4} {operations:>11} operations   no answer   lag {lag:>10}"),
        Some(status) => format!(
            "{region:<4} {operations:>11} operations   {:>7} keys   {:>7} pending   {:>7} unstable   lag {lag:>10}   origin {}",
            grouped(status.keys),
            grouped(status.pending),
            grouped(status.unstable),
            if status.origin_connected { "connected" } else { "away" },
        ),
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
