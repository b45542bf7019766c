//! One run of a seed, and many of them over the machine's cores.

use crate::{
    plan::Plan,
    scenario::Scenario,
    selection::Selection,
    world::{Checker, Violation, World},
};
use headwater::fault::{self, Fault};
use std::{
    panic::AssertUnwindSafe,
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
};

/// What to run.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) scenario: Scenario,
    pub(crate) seed: u64,
    pub(crate) selection: Selection,
    /// The deliberate fault that is on.
    pub(crate) mutant: Option<Fault>,
}

/// How to look at it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Look {
    /// Run twice, and compare the digests of all inputs and effects.
    pub(crate) is_repeated: bool,
    /// Keep so many of the last inputs and effects.
    pub(crate) log: usize,
}

/// How it went.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) violations: Vec<Violation>,
    pub(crate) operations: usize,
    pub(crate) log: Vec<String>,
    digest: u64,
}

impl Case {
    /// A scenario with all that its plan holds.
    pub(crate) fn whole(scenario: Scenario, seed: u64) -> Self {
        Self { scenario, seed, selection: Selection::default(), mutant: None }
    }

    pub(crate) fn plan(&self) -> Plan {
        Plan::draw(self.seed, &self.scenario)
    }

    pub(crate) fn run(&self, look: Look) -> Outcome {
        let plan = self.plan();
        let mut outcome = self.once(&plan, look);
        if look.is_repeated && self.once(&plan, look).digest != outcome.digest {
            let text = "two runs of the seed differ".to_owned();
            outcome.violations.push(Violation { checker: Checker::Repetition, text });
        }
        outcome
    }

    /// A panic is a violation too.
    fn once(&self, plan: &Plan, look: Look) -> Outcome {
        let mut world = World::new(self.seed, self.scenario, plan.selected(&self.selection), &self.selection);
        if look.is_repeated {
            world.digest();
        }
        world.log(look.log);
        // Switches of faults are of their thread.
        fault::activate(self.mutant);
        let panicked = std::panic::catch_unwind(AssertUnwindSafe(|| world.run())).err();
        fault::activate(None);
        if let Some(panic) = panicked {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            let text = text.unwrap_or_else(|| "a panic".to_owned());
            world.violations.push(Violation { checker: Checker::Panics, text });
        }
        Outcome {
            operations: world.ledger.len(),
            log: world.trace().lines().cloned().collect(),
            digest: world.trace().finish(),
            violations: std::mem::take(&mut world.violations),
        }
    }

    /// The arguments that replay it.
    pub(crate) fn arguments(&self) -> String {
        let mutant = self.mutant.map_or_else(String::new, |mutant| format!(" --mutant {mutant:?}"));
        format!("--scenario {} --seed {}{mutant}{}", self.scenario.name, self.seed, self.selection.arguments())
    }
}

/// Runs jobs on all cores, and hands on what comes of them in no particular order until `then` says that it is enough.
pub(crate) fn spread<T: Send>(
    count: usize,
    job: impl Fn(usize) -> T + Sync,
    mut then: impl FnMut(usize, T) -> std::ops::ControlFlow<()>,
) {
    let next = AtomicUsize::new(0);
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(count.max(1));
    let (sender, results) = mpsc::sync_channel(workers);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            let (sender, next, job) = (sender.clone(), &next, &job);
            scope.spawn(move || {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count || sender.send((index, job(index))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        for (index, result) in results.iter() {
            if then(index, result).is_break() {
                next.store(count, Ordering::Relaxed);
                break;
            }
        }
        drop(results);
    });
}
