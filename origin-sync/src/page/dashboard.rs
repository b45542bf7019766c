//! `/`: the status for people, with the hubs in a table and the last ten minutes as plots.
//!
//! All of it is HTML as the daemon makes it, so that it shows without script and reloads by itself there; with script the parts
//! that change are fetched and replaced. Nothing comes from elsewhere, and the policy of the page allows nothing else. What
//! hubs and directories say is text in it and never markup.

use super::{
    plot::{Line, Plot, PlotError, number},
    status::{HubStatus, Status},
};
use crate::history::{Quantiles, Sample};
use axum::{
    http::{
        HeaderName, HeaderValue,
        header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS},
    },
    response::IntoResponse,
};
use headwater::id::TimestampMs;
use std::fmt::Write as _;

/// Rows of the table. All hubs are in `/status`.
const ROWS_MAX: usize = 500;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

const STYLE: &str = include_str!("status.css");
const SCRIPT: &str = include_str!("status.js");

/// What is shown.
pub(super) struct Dashboard {
    pub(super) status: Status,
    pub(super) samples: Vec<Sample>,
    pub(super) now: TimestampMs,
}

impl Dashboard {
    /// The whole page.
    ///
    /// # Errors
    /// [`PlotError`]
    pub(super) fn page(&self) -> Result<String, PlotError> {
        Ok(format!(
            r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>origin-sync</title>
<link rel="stylesheet" href="status.css">
<noscript><meta http-equiv="refresh" content="2"></noscript>
<script src="status.js" defer></script>
</head>
<body>
<header><h1>origin-sync</h1><button id="pause" type="button" hidden>Pause</button><p id="away" role="status"></p></header>
<main>
{}
<h2>The last ten minutes</h2>
{}
<h2 id="hubs-title">Hubs</h2>
<div id="hubs" class="wide" role="region" aria-labelledby="hubs-title" tabindex="0"><table>
<thead><tr><th scope="col">Hub</th><th scope="col">Edge</th><th scope="col">Connected</th><th scope="col">Pending</th><th scope="col">Lag p50</th><th scope="col">Lag p99</th><th scope="col">Clock</th><th scope="col">Last seen</th></tr></thead>
{}
</table></div>
<p>The same as JSON: <a href="status">status</a>. For Prometheus: <a href="metrics">metrics</a>.</p>
</main>
</body>
</html>
"#,
            self.summary(),
            self.plots()?,
            self.rows()
        ))
    }

    /// The parts that change, for the script: a table around the rows, without which they would be no rows.
    ///
    /// # Errors
    /// [`PlotError`]
    pub(super) fn parts(&self) -> Result<String, PlotError> {
        Ok(format!("{}{}<table>{}</table>", self.summary(), self.plots()?, self.rows()))
    }

    fn summary(&self) -> String {
        let status = &self.status;
        let store = if status.store_connected { status.store } else { "away" };
        let stable = status.stable_by.as_deref().unwrap_or("unknown while the store is away");
        let connected = status.hubs.iter().filter(|hub| hub.connected).count();
        let facts = [
            ("Store", store.to_owned()),
            ("Stable by", stable.to_owned()),
            ("Daemons", status.daemons.to_string()),
            ("Hubs connected here", format!("{connected} of {}", status.hubs.len())),
            ("Pending", status.pending.to_string()),
            ("Commits", status.commits.to_string()),
            ("Conflicts", status.conflicts.to_string()),
        ];
        let mut html = String::from(r#"<dl id="summary" data-live>"#);
        for (name, value) in facts {
            let _ = write!(html, "<div><dt>{name}</dt><dd>{}</dd></div>", escaped(&value));
        }
        html + "</dl>"
    }

    fn plots(&self) -> Result<String, PlotError> {
        let mut html = String::from(r#"<div id="plots" data-live>"#);
        for plot in self.measures() {
            let _ = write!(html, "<figure><figcaption>{}, {}", plot.title, plot.unit);
            if plot.lines.len() > 1 {
                for (no, line) in plot.lines.iter().enumerate() {
                    let _ = write!(html, r#" <span class="line{no}">{}</span>"#, line.name);
                }
            }
            let _ = write!(html, "</figcaption>{}<p>{}</p></figure>", plot.svg(self.now)?, plot.words());
        }
        Ok(html + "</div>")
    }

    fn measures(&self) -> [Plot; 5] {
        let line = |name, value: &dyn Fn(&Sample) -> Option<f64>| Line {
            name,
            points: self.samples.iter().map(|sample| (sample.at, value(sample))).collect(),
        };
        let both = |of: fn(&Sample) -> Option<Quantiles>| {
            vec![
                line("p50", &|sample| of(sample).map(|of| of.p50_ms)),
                line("p99", &|sample| of(sample).map(|of| of.p99_ms)),
            ]
        };
        let alone = |name, value: &dyn Fn(&Sample) -> f64| line(name, &|sample| Some(value(sample)));
        let pending = |sample: &Sample| u32::try_from(sample.pending).map_or(f64::MAX, f64::from);
        [
            Plot {
                id: "lag",
                title: "Lag from a batch's arrival to its commit",
                unit: "milliseconds",
                lines: both(|sample| sample.lag),
            },
            Plot {
                id: "throughput",
                title: "Throughput",
                unit: "per second",
                lines: vec![
                    alone("operations", &|sample| sample.operations_per_s),
                    alone("commits", &|sample| sample.commits_per_s),
                ],
            },
            Plot { id: "pending", title: "Pending", unit: "parts of batches", lines: vec![alone("pending", &pending)] },
            Plot {
                id: "conflicts",
                title: "Lost compare-and-sets",
                unit: "per second",
                lines: vec![alone("conflicts", &|sample| sample.conflicts_per_s)],
            },
            Plot {
                id: "store",
                title: "The store's answers to loads and commits",
                unit: "milliseconds",
                lines: both(|sample| sample.store),
            },
        ]
    }

    fn rows(&self) -> String {
        let mut html = String::from(r#"<tbody id="rows" data-live>"#);
        for hub in self.status.hubs.iter().take(ROWS_MAX) {
            let _ = write!(
                html,
                r#"<tr><th scope="row">{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>"#,
                escaped(&hub.name),
                escaped(&hub.edge),
                connected(hub),
                hub.pending,
                milliseconds(hub.lag_p50_ms),
                milliseconds(hub.lag_p99_ms),
                if hub.connected { format!("{:+} ms", hub.clock_offset_ms) } else { "–".to_owned() },
                hub.last_seen_ms.map_or_else(|| "–".to_owned(), ago)
            );
        }
        match self.status.hubs.len().checked_sub(ROWS_MAX) {
            Some(more @ 1..) => {
                let _ = write!(html, r#"<tr><td colspan="8">and {more} more: see the JSON</td></tr>"#);
            }
            _ if self.status.hubs.is_empty() => {
                html.push_str(r#"<tr><td colspan="8">No directory names any hub yet.</td></tr>"#);
            }
            _ => {}
        }
        html + "</tbody>"
    }
}

fn connected(hub: &HubStatus) -> &'static str {
    match (hub.connected, hub.served) {
        (true, _) => "yes",
        (false, true) => "no",
        (false, false) => "another daemon's",
    }
}

fn milliseconds(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{} ms", number(value)))
}

fn ago(ms: i64) -> String {
    match ms / 1000 {
        ..2 => "now".to_owned(),
        seconds @ ..120 => format!("{seconds} s ago"),
        seconds @ ..7_200 => format!("{} min ago", seconds / 60),
        seconds => format!("{} h ago", seconds / 3_600),
    }
}

/// As text, and in an attribute too.
fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            // It would show the rest of the page in another order.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => html.push('\u{fffd}'),
            other => html.push(other),
        }
    }
    html
}

/// An answer of this type, under the page's policy.
pub(super) fn answer(kind: &'static str, body: impl IntoResponse) -> impl IntoResponse {
    let headers: [(HeaderName, HeaderValue); 5] = [
        (CONTENT_TYPE, HeaderValue::from_static(kind)),
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (headers, body)
}

pub(super) async fn style() -> impl IntoResponse {
    answer("text/css; charset=utf-8", STYLE)
}

pub(super) async fn script() -> impl IntoResponse {
    answer("text/javascript; charset=utf-8", SCRIPT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_say_is_text() {
        assert_eq!(
            escaped("<img src=x onerror='a'>&\"\u{202e}b"),
            "&lt;img src=x onerror=&#39;a&#39;&gt;&amp;&quot;\u{fffd}b"
        );
    }

    #[test]
    fn times_are_short() {
        let shown = [0, 1_999, 2_000, 119_999, 120_000, 7_199_999, 7_200_000].map(ago);
        assert_eq!(shown, ["now", "now", "2 s ago", "119 s ago", "2 min ago", "119 min ago", "2 h ago"]);
    }

    #[test]
    fn the_policy_holds_for_what_is_served() {
        assert!(!SCRIPT.contains("eval") && !SCRIPT.contains(".style"));
        assert!(!STYLE.contains("url(") && !STYLE.contains("@import"));
    }
}
