//! Deliberate faults, each of which a checker must notice within its seeds.

use crate::{
    run::{self, Case, Look},
    scenario::SCENARIOS,
    world::Violation,
};
use headwater::fault::Fault;
use std::{ops::ControlFlow, process::ExitCode};

/// Seeds of every scenario after which a mutant counts as missed.
const SEEDS: u64 = 128;

/// Faults that no run catches at present; they are tried by name only, and by tests of one machine alone. A gap that the marker
/// jumps is kept from it by the history of which the delta speaks, too; what has ended leaves the change feed by other ways as
/// well; other daemons' commits are heard of by what these daemons commit themselves; a store seldom refuses a commit whose
/// keys are compared meanwhile; a hub seldom begins a key that a plain client began and nobody read, and two hubs seldom begin one
/// in the same commit; a leaf seldom greets anew between an operation and its arrival (`shared/tests/own.rs` tries that).
const UNSEEN: [Fault; 7] = [
    Fault::MarkerJumpsGap,
    Fault::ExpiredKept,
    Fault::OthersNotHeard,
    Fault::UncommittedExchanged,
    Fault::AbsenceNotCompared,
    Fault::OthersBeginningsLeftOut,
    Fault::SessionPresumed,
];

/// Faults that few runs catch, each with one that does.
const RARE: [(Fault, &str, u64); 2] = [(Fault::FormerHistoryCounted, "deep", 380), (Fault::UnheardKept, "rough", 87)];

struct Catch {
    order: usize,
    case: Case,
    violation: Violation,
}

/// Runs every mutant that is caught, or the one that is named, and says who caught it and where.
pub(crate) fn run(which: &str) -> ExitCode {
    let (mut passed, mut failed) = (0, 0);
    let is_chosen =
        |fault: &Fault| if which == "all" { !UNSEEN.contains(fault) } else { format!("{fault:?}") == which };
    for mutant in Fault::ALL.into_iter().filter(is_chosen) {
        match catch(mutant) {
            Some(Catch { case, violation, .. }) => {
                passed += 1;
                let how: String = violation.text.chars().take(120).collect();
                println!("{mutant:?} caught in {} {} by {:?}: {how}", case.scenario.name, case.seed, violation.checker);
            }
            None => {
                failed += 1;
                println!("{mutant:?} NOT CAUGHT in {SEEDS} seeds of each scenario");
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The first catch found: where it is known to be caught, else all scenarios of one seed, then of the next.
fn catch(mutant: Fault) -> Option<Catch> {
    let known = RARE.iter().filter(|(fault, ..)| *fault == mutant).find_map(|(_, name, seed)| {
        let scenario = *SCENARIOS.iter().find(|scenario| scenario.name == *name)?;
        let case = Case { mutant: Some(mutant), ..Case::whole(scenario, *seed) };
        let violation = case.run(Look::default()).violations.into_iter().next()?;
        Some(Catch { order: 0, case, violation })
    });
    if known.is_some() {
        return known;
    }
    let count = SCENARIOS.len() * usize::try_from(SEEDS).unwrap_or(usize::MAX);
    let mut caught: Option<Catch> = None;
    let case = |order: usize| Case {
        mutant: Some(mutant),
        ..Case::whole(SCENARIOS[order % SCENARIOS.len()], (order / SCENARIOS.len()) as u64)
    };
    run::spread(
        count,
        |order| case(order).run(Look::default()),
        |order, outcome| {
            let Some(violation) = outcome.violations.into_iter().next() else { return ControlFlow::Continue(()) };
            if caught.as_ref().is_none_or(|caught| order < caught.order) {
                caught = Some(Catch { order, case: case(order), violation });
            }
            ControlFlow::Break(())
        },
    );
    caught
}
