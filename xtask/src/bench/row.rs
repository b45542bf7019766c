//! What was measured, and by what it is judged.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::machine::Machine;

/// One area's file, target/bench/AREA.json.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Area {
    pub(super) area: String,
    /// Whether it was a quick run, whose figures mean nothing.
    pub(super) quick: bool,
    pub(super) machine: Machine,
    pub(super) rows: Vec<Row>,
}

/// One figure of ours, alone or beside a peer's.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) name: String,
    /// How large, in what `of` names; 0 where size has no meaning.
    pub(super) size: u64,
    pub(super) of: String,
    pub(super) ours: f64,
    pub(super) peer: Option<f64>,
    pub(super) peer_name: String,
    /// How many times as good as the peer: above 1 we are ahead, for times and bytes as for rates.
    pub(super) ratio: Option<f64>,
    pub(super) unit: Unit,
    pub(super) bar: Option<Bar>,
    /// Whether the bar is met; nothing where there is no bar.
    pub(super) met: Option<bool>,
}

/// What a figure counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Unit {
    /// Nanoseconds for one operation.
    #[serde(rename = "ns")]
    Nanoseconds,
    /// Operations in a second.
    #[serde(rename = "ops/s")]
    Rate,
    #[serde(rename = "bytes")]
    Bytes,
    /// Calls of another party for so many operations as the name says.
    #[serde(rename = "calls")]
    Calls,
    /// Hundredths, of what the name says; fewer are better.
    #[serde(rename = "%")]
    Percent,
}

/// What a row is to reach.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Bar {
    /// The ratio is at least this.
    Ratio(f64),
    /// The ratio is more than this.
    Above(f64),
    /// Our own figure is at least this.
    AtLeast(f64),
    /// Our own figure is at most this.
    AtMost(f64),
}

impl Row {
    /// Our figure beside a peer's.
    pub(super) fn against(name: &str, ours: f64, peer_name: &str, peer: f64, unit: Unit) -> Self {
        let ratio = if unit.is_better_high() { ours / peer } else { peer / ours };
        let row = Self::alone(name, ours, unit);
        // Nothing is so many times as good as nothing.
        let ratio = Some(ratio).filter(|ratio| ratio.is_finite());
        Self { peer: Some(peer), peer_name: peer_name.to_owned(), ratio, ..row }
    }

    /// A figure of ours without a peer.
    pub(super) fn alone(name: &str, ours: f64, unit: Unit) -> Self {
        Self {
            name: name.to_owned(),
            size: 0,
            of: String::new(),
            ours,
            peer: None,
            peer_name: String::new(),
            ratio: None,
            unit,
            bar: None,
            met: None,
        }
    }

    pub(super) fn at(self, size: u64, of: &str) -> Self {
        Self { size, of: of.to_owned(), ..self }
    }

    /// Judged by a bar.
    pub(super) fn judged(self, bar: Option<Bar>) -> Self {
        let met = bar.map(|bar| match bar {
            Bar::Ratio(least) => self.ratio.is_some_and(|ratio| ratio >= least),
            Bar::Above(least) => self.ratio.is_some_and(|ratio| ratio > least),
            Bar::AtLeast(least) => self.ours >= least,
            Bar::AtMost(most) => self.ours <= most,
        });
        Self { bar, met, ..self }
    }

    /// The size and what it counts.
    pub(super) fn extent(&self) -> String {
        if self.size == 0 { String::new() } else { format!("{} {}", grouped(self.size), self.of) }
    }

    /// A figure of this row for a reader.
    pub(super) fn shown(&self, figure: Option<f64>) -> String {
        figure.map_or_else(String::new, |figure| self.unit.shown(figure))
    }

    /// The bar for a reader.
    pub(super) fn bar_shown(&self) -> String {
        match self.bar {
            None => String::new(),
            Some(Bar::Ratio(least)) => format!("≥ {}×", significant(least)),
            Some(Bar::Above(least)) => format!("> {}×", significant(least)),
            Some(Bar::AtLeast(least)) => format!("≥ {}", self.unit.shown(least)),
            Some(Bar::AtMost(most)) => format!("≤ {}", self.unit.shown(most)),
        }
    }

    /// Whether the bar is met, for a reader.
    pub(super) fn met_shown(&self) -> &'static str {
        match self.met {
            None => "",
            Some(true) => "yes",
            Some(false) => "**no**",
        }
    }
}

impl Unit {
    /// What measurements call it.
    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::Nanoseconds, Self::Rate, Self::Bytes, Self::Calls, Self::Percent]
            .into_iter()
            .find(|unit| unit.to_string() == name)
    }

    pub(super) fn is_better_high(self) -> bool {
        self == Self::Rate
    }

    fn shown(self, figure: f64) -> String {
        match self {
            Self::Nanoseconds if figure >= 1e9 => format!("{} s", significant(figure / 1e9)),
            Self::Nanoseconds if figure >= 1e6 => format!("{} ms", significant(figure / 1e6)),
            Self::Nanoseconds if figure >= 1e3 => format!("{} µs", significant(figure / 1e3)),
            Self::Nanoseconds => format!("{} ns", significant(figure)),
            Self::Rate => format!("{} ops/s", grouped(figure as u64)),
            Self::Calls => format!("{} calls", significant(figure)),
            Self::Percent => format!("{} %", significant(figure)),
            Self::Bytes if figure < 1000.0 => format!("{} B", significant(figure)),
            Self::Bytes => format!("{} B", grouped(figure as u64)),
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nanoseconds => "ns",
            Self::Rate => "ops/s",
            Self::Bytes => "bytes",
            Self::Calls => "calls",
            Self::Percent => "%",
        })
    }
}

/// Three significant digits, no exponent.
pub(super) fn significant(figure: f64) -> String {
    let digits = if figure >= 100.0 {
        0
    } else if figure >= 10.0 {
        1
    } else if figure >= 1.0 {
        2
    } else {
        3
    };
    format!("{figure:.digits$}")
}

/// With a comma between thousands.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn above_one_is_ahead_for_times_and_for_rates() {
        assert_eq!(Row::against("faster", 2.0, "peer", 6.0, Unit::Nanoseconds).ratio, Some(3.0));
        assert_eq!(Row::against("faster", 6.0, "peer", 2.0, Unit::Rate).ratio, Some(3.0));
    }

    #[test]
    fn nothing_beside_something_has_no_ratio() {
        assert_eq!(Row::against("exact", 0.0, "peer", 5.0, Unit::Percent).ratio, None);
        assert_eq!(Row::against("both exact", 0.0, "peer", 0.0, Unit::Percent).ratio, None);
    }

    #[test]
    fn a_bar_judges_the_ratio_or_our_own_figure() {
        let row = Row::against("x", 2_000.0, "peer", 500.0, Unit::Nanoseconds);
        assert_eq!(row.clone().judged(Some(Bar::Ratio(0.25))).met, Some(true));
        assert_eq!(row.clone().judged(Some(Bar::Above(0.25))).met, Some(false));
        assert_eq!(row.clone().judged(Some(Bar::AtLeast(2_000.0))).met, Some(true));
        assert_eq!(row.judged(Some(Bar::AtMost(1_999.0))).met, Some(false));
    }

    #[test]
    fn figures_are_readable() {
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(Unit::Nanoseconds.shown(1_234.0), "1.23 µs");
        assert_eq!(Unit::Bytes.shown(49_169.0), "49,169 B");
    }
}
