//! What the demo prints at the end, and how it writes numbers.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use super::check::{Check, Pair};
use super::log::Log;
use super::meter::Cost;
use super::probe::Lags;
use super::stage::{Performance, Stage};

/// How many differences go to the terminal; all go to the file.
const DIFFERENCES_SHOWN: usize = 100;
/// How many malformed lines go to the terminal.
const FAULTS_SHOWN: usize = 10;
/// How many of Redis's commands are listed.
const COMMANDS_SHOWN: usize = 8;
/// The widest that the table's first column gets.
const NAME_MAX: usize = 64;
/// The widest that each of its other columns gets.
const VALUE_MAX: usize = 32;

/// What was read from the log, and what could not be.
pub(crate) fn log_summary(path: &Path, log: &Log) -> String {
    let lines = log.entries.len() + log.faults.len();
    let mut text = format!(
        "{}: {} lines, {} of them requests ({} cut short in the last field, and kept), {} malformed",
        path.display(),
        grouped(lines as u64),
        grouped(log.entries.len() as u64),
        grouped(log.cut_short_count() as u64),
        grouped(log.faults.len() as u64),
    );
    for fault in log.faults.iter().take(FAULTS_SHOWN) {
        let _ = write!(text, "\n  {fault}");
    }
    if log.faults.len() > FAULTS_SHOWN {
        let _ = write!(text, "\n  … and {} more", log.faults.len() - FAULTS_SHOWN);
    }
    text
}

/// The figures of a run.
pub(crate) fn figures(stage: &Stage, performance: &Performance, connections: usize) -> String {
    let replayed = &performance.replayed;
    let per_second = replayed.operations as f64 / replayed.took.as_secs_f64().max(f64::MIN_POSITIVE);
    let mut text = format!(
        "replay   {} lines in {:.1} s over {connections} connections: {} edge operations, {} per second; {} attempts repeated\n",
        grouped(stage.progress.lines_done()),
        replayed.took.as_secs_f64(),
        grouped(replayed.operations),
        grouped(per_second as u64),
        grouped(replayed.retries),
    );
    for (index, edge) in stage.edges.iter().enumerate() {
        let _ = writeln!(text, "         {:<4} {} operations", edge.region, grouped(stage.progress.operations(index)));
    }
    let _ = writeln!(text, "settled  {} after the last acknowledgement", milliseconds(performance.settled_after));
    if let Some(cost) = &performance.cost {
        text.push_str(&cost_lines(cost, replayed.operations, stage.probes.operations()));
    }
    let _ = writeln!(
        text,
        "lag      {}, from edge acknowledgement to visible in {}",
        lag_line(&stage.probes.lags_of_all()),
        stage.store.name(),
    );
    for (index, edge) in stage.edges.iter().enumerate() {
        let _ = writeln!(text, "         {:<4} {}", edge.region, lag_line(&stage.probes.lags(index)));
    }
    text
}

fn cost_lines(cost: &Cost, operations: u64, probes: u64) -> String {
    let per_thousand = |count: u64| format!("{:.1}", count as f64 * 1_000.0 / (operations.max(1)) as f64);
    let mut commands: Vec<(&String, &u64)> = cost.by_command.iter().filter(|(_, count)| **count > 0).collect();
    commands.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), *name));
    let commands: Vec<String> =
        commands.into_iter().take(COMMANDS_SHOWN).map(|(name, count)| format!("{name} {}", grouped(*count))).collect();
    format!(
        "Redis    {} calls (requests read from sockets; a pipeline is one): {} per 1,000 edge operations\n         \
         {} commands processed (those inside scripts too): {} per 1,000 edge operations\n         \
         without the demo's own reads; {} lag probes not counted as operations\n         \
         by command: {}\n",
        grouped(cost.calls),
        per_thousand(cost.calls),
        grouped(cost.commands()),
        per_thousand(cost.commands()),
        grouped(probes),
        commands.join(", "),
    )
}

fn lag_line(lags: &Lags) -> String {
    let at = |percent| lags.percentile(percent).map_or_else(|| "-".to_owned(), milliseconds);
    format!("p50 {}, p99 {}, most {} ({} probes)", at(50), at(99), at(100), grouped(lags.count() as u64))
}

/// Truth and store side by side, what was compared, and what differs.
pub(crate) fn comparison(check: &Check, store: &str) -> String {
    let mut text = table(&check.rows, store);
    text.push_str("\ncompared:");
    for (kind, count) in &check.compared {
        let _ = write!(text, " {} {kind},", grouped(*count));
    }
    text.truncate(text.trim_end_matches(',').len());
    for omission in &check.omissions {
        let _ = write!(text, "\nnot compared: {omission}");
    }
    if check.differences.is_empty() {
        text.push_str("\nno difference\n");
        return text;
    }
    let _ = writeln!(text, "\n\n{} DIFFERENCES", grouped(check.differences.len() as u64));
    let shown = check.differences.get(..DIFFERENCES_SHOWN).unwrap_or(&check.differences);
    text.push_str(&table(shown, store));
    text
}

/// All differences, untruncated, a line each.
pub(crate) fn all_differences(check: &Check) -> String {
    let line = |pair: &Pair| format!("{}\ttruth {}\tfound {}\n", pair.what, pair.truth, pair.found);
    check.differences.iter().map(line).collect()
}

fn table(pairs: &[Pair], store: &str) -> String {
    let cells = |pair: &Pair| {
        let mark = if pair.truth == pair.found { "" } else { "≠" };
        let (truth, found) = (clipped(&pair.truth, VALUE_MAX), clipped(&pair.found, VALUE_MAX));
        [clipped(&pair.what, NAME_MAX), truth, found, mark.to_owned()]
    };
    let header = ["value".to_owned(), "the log says".to_owned(), format!("{store} says"), String::new()];
    let rows: Vec<[String; 4]> = std::iter::once(header).chain(pairs.iter().map(cells)).collect();
    let width =
        |of: fn(&[String; 4]) -> &String| rows.iter().map(|row| of(row).chars().count()).max().unwrap_or_default();
    let (what, truth, found) = (width(|row| &row[0]), width(|row| &row[1]), width(|row| &row[2]));
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        let line = format!("{:<what$}  {:>truth$}  {:>found$} {}", row[0], row[1], row[2], row[3]);
        let _ = writeln!(text, "{}", line.trim_end());
        if index == 0 {
            let _ = writeln!(text, "{}  {}  {}", "─".repeat(what), "─".repeat(truth), "─".repeat(found));
        }
    }
    text
}

/// A text that fits into a column.
fn clipped(text: &str, length_max: usize) -> String {
    if text.chars().count() <= length_max {
        return text.to_owned();
    }
    text.chars().take(length_max - 1).chain(['…']).collect()
}

/// `1234567` as `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A duration in milliseconds, with a digit after the point below ten.
pub(crate) fn milliseconds(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1_000.0;
    if ms < 10.0 { format!("{ms:.1} ms") } else { format!("{} ms", grouped(ms.round() as u64)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_three() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn a_difference_is_marked_and_an_equal_pair_is_not() {
        let pair =
            |what: &str, truth: &str, found: &str| Pair { what: what.into(), truth: truth.into(), found: found.into() };
        let check = Check {
            rows: vec![pair("hits:total", "5", "5")],
            differences: vec![pair("hits:status:200", "4", "3")],
            ..Check::default()
        };
        let text = comparison(&check, "Redis");
        assert!(text.contains("1 DIFFERENCES"), "{text}");
        let marked: Vec<&str> = text.lines().filter(|line| line.ends_with('≠')).collect();
        assert_eq!(marked.len(), 1);
        assert!(marked[0].contains("hits:status:200"));
    }

    #[test]
    fn a_long_value_does_not_widen_the_table() {
        let long = Pair { what: "x".repeat(500), truth: "1".to_owned(), found: "1".to_owned() };
        assert!(table(&[long], "Redis").lines().all(|line| line.chars().count() <= 120));
    }
}
