//! Which of a plan's actions and of a scenario's nodes a run has. Written and read as on the command line.

use crate::plan::{Action, End};
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::fmt::Write;

/// A part of a plan; by default all of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Selection {
    /// These actions only.
    pub(crate) only: Option<BTreeSet<usize>>,
    /// The first so many leaves, hubs and daemons; the others do not exist.
    pub(crate) leaves: Option<usize>,
    pub(crate) hubs: Option<usize>,
    pub(crate) daemons: Option<usize>,
    /// Sockets do nothing but what the plan says.
    pub(crate) is_quiet: bool,
}

impl Selection {
    pub(crate) fn admits(&self, action: &Action) -> bool {
        let exists = |index: usize, count: Option<usize>| count.is_none_or(|count| index < count);
        self.only.as_ref().is_none_or(|only| only.contains(&action.index))
            && action.ends().into_iter().all(|end| match end {
                End::Leaf(leaf) => exists(leaf, self.leaves),
                End::Hub(hub) => exists(hub, self.hubs),
                End::Daemon(daemon) => exists(daemon, self.daemons),
            })
    }

    /// The arguments that select this.
    pub(crate) fn arguments(&self) -> String {
        let mut text = String::new();
        for (name, count) in [("leaves", self.leaves), ("hubs", self.hubs), ("daemons", self.daemons)] {
            if let Some(count) = count {
                let _ = write!(text, " --{name} {count}");
            }
        }
        if self.is_quiet {
            text.push_str(" --quiet");
        }
        if let Some(only) = &self.only {
            let _ = write!(text, " --only {}", ranges(only));
        }
        text
    }
}

/// `3,17,40-44`, or `none`.
pub(crate) fn ranges(indices: &BTreeSet<usize>) -> String {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for index in indices {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *index => *last = *index,
            _ => runs.push((*index, *index)),
        }
    }
    let one =
        |(first, last): (usize, usize)| if first == last { format!("{first}") } else { format!("{first}-{last}") };
    if runs.is_empty() { "none".to_owned() } else { runs.into_iter().map(one).collect::<Vec<_>>().join(",") }
}

/// The inverse of [`ranges`].
///
/// # Errors
/// When a part is neither a number nor a range of numbers.
pub(crate) fn parse_ranges(text: &str) -> Result<BTreeSet<usize>> {
    let mut indices = BTreeSet::new();
    for part in text.split(',').filter(|part| *part != "none") {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.parse::<usize>().with_context(|| format!("{part:?} is no range of actions"));
        indices.extend(number(first)?..=number(last)?);
    }
    Ok(indices)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_they_are_written() {
        for indices in [BTreeSet::new(), BTreeSet::from([7]), BTreeSet::from([3, 17, 40, 41, 42, 44])] {
            assert_eq!(parse_ranges(&ranges(&indices)).unwrap(), indices);
        }
        assert_eq!(ranges(&BTreeSet::from([3, 17, 40, 41, 42])), "3,17,40-42");
        assert!(parse_ranges("3,x").is_err());
    }
}
