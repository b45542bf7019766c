//! What the programs measured, put beside each other.

use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::process::output;

use super::Options;
use super::row::{Bar, Row, Unit};

/// The name of our own contender.
pub(super) const OURS: &str = "headwater";

/// One figure of one contender, as the programs print it.
#[derive(Clone, PartialEq, Debug, Deserialize)]
pub(super) struct Measured {
    pub(super) name: String,
    pub(super) size: u64,
    /// What the size counts.
    pub(super) of: String,
    pub(super) contender: String,
    pub(super) value: f64,
    pub(super) unit: String,
}

/// The command, told what to measure.
pub(super) fn with(mut command: Command, options: &Options) -> Command {
    if options.quick {
        command.arg("--quick");
    }
    command.args(["--only", &options.only]);
    command
}

/// What a program measured.
pub(super) fn measurements(command: &mut Command) -> Result<Vec<Measured>> {
    let printed = output(command)?;
    let parse = |line: &str| serde_json::from_str(line).with_context(|| line.to_owned());
    printed.lines().map(parse).collect()
}

/// A row for each peer; one without a peer where ours stands alone. `bar` says what each is to reach.
pub(super) fn compared(
    measured: &[Measured],
    suffix: &str,
    bar: impl Fn(&Measured, Option<&Measured>) -> Option<Bar>,
) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for ours in measured {
        // What follows our name says in what other way the same was counted.
        let Some(way) = ours.contender.strip_prefix(OURS) else { continue };
        let unit = Unit::named(&ours.unit).with_context(|| format!("no unit is called {}", ours.unit))?;
        let name = format!("{}{way}{suffix}", ours.name);
        let is_peer = |other: &&Measured| {
            let is_same = (&other.name, other.size) == (&ours.name, ours.size);
            is_same && way.is_empty() && !other.contender.starts_with(OURS)
        };
        let mut peers = measured.iter().filter(is_peer).peekable();
        if peers.peek().is_none() {
            rows.push(Row::alone(&name, ours.value, unit).at(ours.size, &ours.of).judged(bar(ours, None)));
        }
        for peer in peers {
            let row = Row::against(&name, ours.value, &peer.contender, peer.value, unit).at(ours.size, &ours.of);
            rows.push(row.judged(bar(ours, Some(peer))));
        }
    }
    Ok(rows)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::bench) fn measured(name: &str, size: u64, contender: &str, value: f64) -> Measured {
        let [name, of, contender, unit] = [name, "members", contender, "ns"].map(str::to_owned);
        Measured { name, size, of, contender, value, unit }
    }

    #[test]
    fn ours_is_put_beside_the_peers_of_the_same_size_only() {
        let all = [
            measured("rank tree: nth", 10, OURS, 2.0),
            measured("rank tree: nth", 10, "indexset", 4.0),
            measured("rank tree: nth", 20, "indexset", 8.0),
        ];
        let rows = compared(&all, "", |_, _| None).expect("a known unit");
        assert_eq!(rows.iter().map(|row| row.ratio).collect::<Vec<_>>(), [Some(2.0)]);
    }

    #[test]
    fn another_way_to_count_ours_is_no_peer() {
        let all = [measured("memory", 10, OURS, 2.0), measured("memory", 10, "headwater, as requested", 1.0)];
        let rows = compared(&all, "", |_, _| None).expect("a known unit");
        assert_eq!(rows.iter().map(|row| row.name.as_str()).collect::<Vec<_>>(), ["memory", "memory, as requested"]);
        assert!(rows.iter().all(|row| row.peer.is_none()));
    }
}
