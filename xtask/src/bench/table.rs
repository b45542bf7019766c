//! An area as a Markdown table.

use super::row::{Area, Row, significant};

/// What the ratio says; stands over every table.
pub(super) const RATIO: &str =
    "A ratio says how many times as good as the peer ours is, for times, bytes and rates alike: above 1 is ahead.";

pub(super) fn markdown(area: &Area) -> String {
    let mut text = format!("## {}\n\n{}. {RATIO}\n", area.area, area.machine.described());
    if area.quick {
        text.push_str("\nA quick run: the figures mean nothing.\n");
    }
    text.push_str("\n| bench | size | ours | peer | | ratio | bar | met |\n|---|--:|--:|--:|---|--:|--:|---|\n");
    for row in &area.rows {
        text.push_str(&line(row));
    }
    text
}

fn line(row: &Row) -> String {
    let ratio = row.ratio.map_or_else(String::new, |ratio| format!("{}×", significant(ratio)));
    let cells = [
        row.name.clone(),
        row.extent(),
        row.shown(Some(row.ours)),
        row.shown(row.peer),
        row.peer_name.clone(),
        ratio,
        row.bar_shown(),
        row.met_shown().to_owned(),
    ];
    format!("| {} |\n", cells.join(" | "))
}
