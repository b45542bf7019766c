//! The area `limits`: how often limiters decide wrongly, and how far they let more pass than the limit.
//!
//! Its table has a line for each cell, with the contenders side by side.

use anyhow::Result;

use crate::process::cargo;
use crate::workspace::Workspace;

use super::Options;
use super::measured::{Measured, compared, measurements, with};
use super::row::{Area, Bar, Row, grouped};

/// The loads for which limits are to be kept, as names of cells tell them.
const LOADS: [&str; 3] = [" 0.5x,", " 1x,", " 2x,"];

const WRONG: &str = "wrong decisions";
const OVER: &str = "worst overshoot";
const BROKEN: &str = "error bars broken";

/// The same measured by strict limits, as names of rows tell it.
const STRICT: &str = ", strict";
const REFUSED: &str = "refused though there was room";

const UPSTASH: &str = "@upstash/ratelimit, one store";
const ALONE: &str = "each region alone";

/// What the figures say; stands over the table.
const MEANING: &str = "Ten regions, keys asked for as Zipf has it, the most popular one by so many times the limit; links \
    one way. Wrong: decisions in a hundred that an exact log of all that passed anywhere would have made otherwise. Over: the \
    most that ever passed beyond the limit, in hundredths of it. Broken: answers in a hundred with more beyond the limit than \
    they said. Strict: the same by strict limits, and how many in a hundred they refused though the log had room. Bars, for limits of 100 and more at up to twice the load and 50 ms: at most 0.1 % wrong, at most 5 % over; \
    nowhere any broken, and nothing over by strict limits.";

pub(super) fn rows(workspace: &Workspace, options: &Options) -> Result<Vec<Row>> {
    let mut bench = cargo(workspace);
    bench.args(["run", "--quiet", "--release", "--package", "headwater-bench", "--bin", "bench-limits", "--"]);
    compared(&measurements(&mut with(bench, options))?, "", bar)
}

/// What a figure is to reach: where links take 50 ms, limits of a hundred and more are to be kept up to twice that load; error
/// bars hold everywhere.
fn bar(ours: &Measured, _: Option<&Measured>) -> Option<Bar> {
    let name = ours.name.as_str();
    let is_judged = ours.size >= 100 && name.contains(" 50 ms") && LOADS.iter().any(|load| name.contains(load));
    if ours.contender.ends_with(STRICT) {
        name.ends_with(OVER).then_some(Bar::AtMost(0.0))
    } else if name.ends_with(BROKEN) {
        Some(Bar::AtMost(0.0))
    } else if is_judged && name.ends_with(WRONG) {
        Some(Bar::AtMost(0.1))
    } else if is_judged && name.ends_with(OVER) {
        Some(Bar::AtMost(5.0))
    } else {
        None
    }
}

/// A line for each cell.
pub(super) fn markdown(area: &Area) -> String {
    let mut text = format!("## {}\n\n{MEANING}\n", area.area);
    if area.quick {
        text.push_str("\nA quick run: the figures mean nothing.\n");
    }
    text.push_str(
        "\n| limiter | limit | wrong | over | broken | strict over | strict refused | upstash wrong | over | each alone wrong | over | bars |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|\n",
    );
    for rows in area.rows.chunk_by(|a, b| cell(a) == cell(b)) {
        let ours = |what: &str| figure(rows.iter().find(|row| row.name.ends_with(what)).map(|row| row.ours));
        let peer = |what: &str, name: &str| {
            let row = rows.iter().find(|row| row.name.ends_with(what) && row.peer_name == name);
            figure(row.and_then(|row| row.peer))
        };
        let Some((name, limit)) = rows.first().map(cell) else { continue };
        let cells = [
            name.to_owned(),
            grouped(limit),
            ours(WRONG),
            ours(OVER),
            ours(BROKEN),
            ours(&format!("{OVER}{STRICT}")),
            ours(&format!("{REFUSED}{STRICT}")),
            peer(WRONG, UPSTASH),
            peer(OVER, UPSTASH),
            peer(WRONG, ALONE),
            peer(OVER, ALONE),
            bars(rows),
        ];
        text.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    text
}

/// The cell of a row: its name without what is measured there, and the limit.
fn cell(row: &Row) -> (&str, u64) {
    (row.name.rsplit_once(": ").map_or("", |(cell, _)| cell), row.size)
}

fn figure(percent: Option<f64>) -> String {
    percent.map_or_else(String::new, |percent| format!("{percent:.2}"))
}

/// The bars that a cell misses.
fn bars(rows: &[Row]) -> String {
    let mut missed: Vec<&str> = Vec::new();
    for row in rows.iter().filter(|row| row.met == Some(false)) {
        let what = row.name.rsplit_once(": ").map_or("", |(_, what)| what);
        if !missed.contains(&what) {
            missed.push(what);
        }
    }
    let is_judged = rows.iter().any(|row| row.bar.is_some_and(|bar| bar != Bar::AtMost(0.0)));
    match (missed.is_empty(), is_judged) {
        (true, true) => "met".to_owned(),
        (true, false) => String::new(),
        (false, _) => format!("**missed: {}**", missed.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::measured::tests::measured;
    use super::super::row::Unit;
    use super::*;

    #[test]
    fn a_cell_that_misses_a_bar_says_which() {
        let row = |what: &str, percent, bar| {
            let name = format!("fixed window of 60 s, 2x, 50 ms links: {what}");
            Row::against(&name, percent, ALONE, 7.0, Unit::Percent).at(100, "limit").judged(Some(Bar::AtMost(bar)))
        };
        let kept = [row(WRONG, 0.1, 0.1), row(OVER, 4.0, 5.0)];
        assert_eq!(bars(&kept), "met");
        assert_eq!(bars(&[row(WRONG, 0.2, 0.1), row(OVER, 4.0, 5.0)]), "**missed: wrong decisions**");
        assert_eq!(cell(&kept[0]), ("fixed window of 60 s, 2x, 50 ms links", 100));
    }

    #[test]
    fn large_limits_at_up_to_twice_the_load_have_bars() {
        let bar = |name: &str, limit| bar(&measured(name, limit, "headwater", 0.0), None);
        assert_eq!(bar("fixed window of 60 s, 2x, 50 ms links: wrong decisions", 100), Some(Bar::AtMost(0.1)));
        assert_eq!(bar("fixed window of 60 s, 0.5x, 50 ms links: worst overshoot", 1_000), Some(Bar::AtMost(5.0)));
        assert_eq!(bar("fixed window of 60 s, 10x, 50 ms links: wrong decisions", 100), None);
        assert_eq!(bar("fixed window of 60 s, 2x, 150 ms links: wrong decisions", 100), None);
        assert_eq!(bar("fixed window of 60 s, 2x, 50 ms links: wrong decisions", 10), None);
        let strict = measured("fixed window of 60 s, 10x, 150 ms links: worst overshoot", 10, "headwater, strict", 0.0);
        assert_eq!(super::bar(&strict, None), Some(Bar::AtMost(0.0)));
        assert_eq!(bar("fixed window of 60 s, 10x, 10 ms links: error bars broken", 10), Some(Bar::AtMost(0.0)));
    }
}
