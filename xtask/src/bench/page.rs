//! The report: one HTML file without scripts, with all areas' tables and plots.

use anyhow::Result;

use super::plot;
use super::row::{Area, Row, Unit, significant};
use super::table::RATIO;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:1000px;margin:2em auto;padding:0 1em;color:#222}\
table{border-collapse:collapse;width:100%;font-size:13px}td,th{padding:.25em .6em;border-bottom:1px solid #ddd;\
text-align:left}.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}.no{color:#be4b31}\
.growth{display:grid;grid-template-columns:repeat(auto-fill,minmax(460px,1fr));gap:1em}\
figure{margin:0}svg{max-width:100%;height:auto}";

/// All areas on one page.
///
/// # Errors
/// When a plot cannot be drawn.
pub(super) fn html(areas: &[Area]) -> Result<String> {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Headwater, measured</title>\
         <style>{STYLE}</style></head><body>\n<h1>Headwater, measured</h1>\n<p>{RATIO}</p>\n"
    );
    for area in areas {
        page.push_str(&section(area)?);
    }
    page.push_str("</body></html>\n");
    Ok(page)
}

fn section(area: &Area) -> Result<String> {
    let mut text = format!("<h2>{}</h2>\n<p>{}</p>\n", escaped(&area.area), escaped(&area.machine.described()));
    if area.quick {
        text.push_str("<p><strong>A quick run: the figures mean nothing.</strong></p>\n");
    }
    text.push_str(&table(&area.rows));
    // What should be zero has no place on a logarithmic axis.
    let plotted: Vec<Row> = area.rows.iter().filter(|row| row.unit != Unit::Percent).cloned().collect();
    if let Some(svg) = plot::ratios(&largest(&plotted))? {
        text.push_str(&format!("<h3>Ratios</h3>\n<figure>{svg}</figure>\n"));
    }
    let mut plots = String::new();
    for (name, rows) in by_name(&plotted) {
        if let Some(svg) = plot::growth(&rows)? {
            plots.push_str(&format!("<figure><figcaption>{}</figcaption>{svg}</figure>\n", escaped(name)));
        }
    }
    if !plots.is_empty() {
        text.push_str(&format!("<h3>Growth</h3>\n<div class=\"growth\">\n{plots}</div>\n"));
    }
    Ok(text)
}

fn table(rows: &[Row]) -> String {
    let mut text = "<table><tr><th>bench<th class=n>size<th class=n>ours<th class=n>peer<th><th class=n>ratio\
                    <th class=n>bar<th>met</tr>\n"
        .to_owned();
    for row in rows {
        let ratio = row.ratio.map_or_else(String::new, |ratio| format!("{}×", significant(ratio)));
        let class = if row.met == Some(false) { "no" } else { "" };
        text.push_str(&format!(
            "<tr><td>{}<td class=n>{}<td class=n>{}<td class=n>{}<td>{}<td class=n>{ratio}<td class=n>{}\
             <td class=\"{class}\">{}</tr>\n",
            escaped(&row.name),
            escaped(&row.extent()),
            row.shown(Some(row.ours)),
            row.shown(row.peer),
            escaped(&row.peer_name),
            row.bar_shown(),
            row.met_shown().trim_matches('*'),
        ));
    }
    text + "</table>\n"
}

/// Of each comparison the row that is judged, else the one of the greatest size: sizes have plots of their own.
fn largest(rows: &[Row]) -> Vec<Row> {
    let mut chosen: Vec<Row> = Vec::new();
    for row in rows {
        let rank = |row: &Row| (row.bar.is_some(), row.size);
        match chosen.iter_mut().find(|other| (&other.name, &other.peer_name) == (&row.name, &row.peer_name)) {
            Some(other) if rank(other) < rank(row) => *other = row.clone(),
            Some(_) => {}
            None => chosen.push(row.clone()),
        }
    }
    chosen
}

/// The rows of each bench, in the order of their first.
fn by_name(rows: &[Row]) -> Vec<(&str, Vec<&Row>)> {
    let mut groups: Vec<(&str, Vec<&Row>)> = Vec::new();
    for row in rows {
        match groups.iter_mut().find(|(name, _)| *name == row.name) {
            Some((_, group)) => group.push(row),
            None => groups.push((&row.name, vec![row])),
        }
    }
    groups
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::machine::Machine;

    fn area(rows: Vec<Row>) -> Area {
        let machine = Machine {
            cpu: "a <fast> one".to_owned(),
            cores: 2,
            memory_bytes: 1 << 30,
            kernel: "Linux".to_owned(),
            commit: "abc".to_owned(),
        };
        Area { area: "core".to_owned(), quick: false, machine, rows }
    }

    fn row(size: u64, ours: f64, peer: f64) -> Row {
        Row::against("join", ours, "peer", peer, Unit::Nanoseconds).at(size, "members")
    }

    #[test]
    fn a_bench_over_sizes_has_bars_and_a_line() {
        let page = html(&[area(vec![row(10, 1.0, 4.0), row(1000, 2.0, 400.0)])]).expect("draws");
        assert_eq!(page.matches("<svg").count(), 2);
        assert!(page.contains("200×"), "the ratio of the greatest size");
    }

    #[test]
    fn one_size_alone_has_no_line() {
        let page = html(&[area(vec![row(10, 1.0, 4.0)])]).expect("draws");
        assert_eq!(page.matches("<svg").count(), 1);
    }

    #[test]
    fn text_is_escaped() {
        assert!(html(&[area(Vec::new())]).expect("draws").contains("a &lt;fast&gt; one"));
    }
}
