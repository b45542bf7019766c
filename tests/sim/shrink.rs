//! A failing run made short: fewer nodes, fewer kinds of trouble, less work, until nothing more can be left out.
//!
//! First whole parts go (nodes, the network's mischief, kinds of trouble, the end of the work), then single actions by delta
//! debugging (Zeller and Hildebrandt 2002). What is left must still break the same promise.

use crate::{
    plan::{Action, Kind},
    run::{Case, Look},
    selection::Selection,
    world::{Checker, Violation},
};
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

/// Where a selection says how many nodes of a kind there are.
type Place = fn(&mut Selection) -> &mut Option<usize>;

/// Runs the variants of a case for as long as there is time.
struct Shrinker {
    best: Case,
    broken: (Checker, String),
    actions: Vec<Action>,
    deadline: Instant,
    pub(crate) runs: u32,
}

/// The shortest case found within `patience` that breaks the same promise, and its actions.
pub(crate) fn shorten(case: &Case, violation: &Violation, patience: Duration) -> (Case, Vec<Action>, u32) {
    let actions = case.plan().selected(&case.selection);
    let deadline = Instant::now() + patience;
    let mut shrinker = Shrinker { best: case.clone(), broken: kind(violation), actions, deadline, runs: 0 };
    shrinker.drop_parts();
    shrinker.drop_actions();
    // With fewer actions more nodes may do without.
    shrinker.drop_parts();
    (shrinker.best, shrinker.actions, shrinker.runs)
}

/// What must stay the same: the promise, and at which kind of node it was broken.
fn kind(violation: &Violation) -> (Checker, String) {
    let who = violation.text.split([' ', ':']).next().unwrap_or_default();
    (violation.checker, who.to_owned())
}

impl Shrinker {
    /// Keeps the variant if it still fails.
    fn attempt(&mut self, variant: Case) -> bool {
        if Instant::now() >= self.deadline || variant.selection == self.best.selection {
            return false;
        }
        self.runs += 1;
        let violations = variant.run(Look::default()).violations;
        if violations.first().is_none_or(|violation| kind(violation) != self.broken) {
            return false;
        }
        self.actions = variant.plan().selected(&variant.selection);
        self.best = variant;
        true
    }

    fn attempt_actions(&mut self, keep: impl Fn(&Action) -> bool) -> bool {
        let mut variant = self.best.clone();
        variant.selection.only = Some(self.actions.iter().filter(|a| keep(a)).map(|action| action.index).collect());
        self.attempt(variant)
    }

    fn drop_parts(&mut self) {
        let mut variant = self.best.clone();
        variant.selection.is_quiet = true;
        self.attempt(variant);
        let kinds: BTreeSet<Kind> = self.actions.iter().filter_map(Action::kind).collect();
        for kind in kinds {
            self.attempt_actions(|action| action.kind() != Some(kind));
        }
        let scenario = self.best.scenario;
        let fewer: [(usize, usize, Place); 3] = [
            (1, scenario.daemons, |selection| &mut selection.daemons),
            (0, scenario.leaves, |selection| &mut selection.leaves),
            (1, scenario.hubs, |selection| &mut selection.hubs),
        ];
        for (least, all, place) in fewer {
            for count in least..all {
                let mut variant = self.best.clone();
                let place = place(&mut variant.selection);
                if place.is_some_and(|already| already <= count) {
                    break;
                }
                *place = Some(count);
                if self.attempt(variant) {
                    break;
                }
            }
        }
        // The shortest beginning that fails, roughly.
        let mut tenths = 1;
        while tenths < 10 {
            let until = self.actions.last().map_or(0, |action| action.at_ms) * tenths / 10;
            if self.attempt_actions(|action| action.at_ms <= until) {
                break;
            }
            tenths += 1;
        }
    }

    /// Leaves out one chunk of actions after the other, in ever smaller chunks.
    fn drop_actions(&mut self) {
        let mut size = self.actions.len().div_ceil(2);
        while size > 0 && Instant::now() < self.deadline {
            let mut start = 0;
            let mut is_shorter = false;
            while start < self.actions.len() && Instant::now() < self.deadline {
                let chunk: BTreeSet<usize> =
                    self.actions.iter().skip(start).take(size).map(|action| action.index).collect();
                if self.attempt_actions(|action| !chunk.contains(&action.index)) {
                    is_shorter = true;
                } else {
                    start += size;
                }
            }
            if size == 1 && is_shorter {
                continue;
            }
            size = if size == 1 { 0 } else { size.div_ceil(2) };
        }
    }
}
