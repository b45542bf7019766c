//! A small trace through everything, with and without troubles.

use super::{
    oracle::Judge,
    trace::{self, REGIONS},
    world::Trouble,
    *,
};

fn cell(rule: Rule) -> Cell {
    Cell { rule, limit: 20, window_ms: 10_000, load: 4.0, link_ms: 50, windows: 3, keys: 3 }
}

/// Partitions of half a window and kills, somewhere.
fn troubles(cell: &Cell, seed: u64) -> Vec<Trouble> {
    let mut random = fastrand::Rng::with_seed(seed);
    let end_ms = cell.window_ms * i64::from(cell.windows);
    let partitions: Vec<_> = (0..6)
        .map(|_| {
            let from_ms = random.i64(0..end_ms);
            Trouble::Partition { region: random.usize(..REGIONS), from_ms, until_ms: from_ms + cell.window_ms / 2 }
        })
        .collect();
    let kills = (0..6).map(|_| Trouble::Kill { region: random.usize(..REGIONS), at_ms: random.i64(0..end_ms) });
    partitions.into_iter().chain(kills.collect::<Vec<_>>()).collect()
}

#[test]
fn the_same_seed_scores_the_same() {
    let cell = cell(Rule::Sliding);
    assert_eq!(cell.run(1), cell.run(1));
    assert_ne!(trace::zipf(&cell, 1), trace::zipf(&cell, 2));
}

#[test]
fn nearly_every_request_is_decided() {
    for rule in Rule::ALL {
        let cell = cell(rule);
        let asked = trace::zipf(&cell, 3);
        assert_eq!(cell.ours(&asked, &[]).decisions, asked.len() as u64);
        let score = cell.ours(&asked, &troubles(&cell, 3));
        assert!(score.decisions * 10 > asked.len() as u64 * 8, "{} of {}", score.decisions, asked.len());
    }
}

#[test]
fn no_answer_breaks_its_error_bar() {
    for seed in 1..=4 {
        for rule in Rule::ALL {
            let cell = cell(rule);
            let asked = trace::zipf(&cell, seed);
            for troubles in [Vec::new(), troubles(&cell, seed)] {
                let score = cell.ours(&asked, &troubles);
                assert_eq!(score.broken, 0, "seed {seed}, {rule:?}, {} troubles: {score:?}", troubles.len());
                let has_bound = rule != Rule::Bucket;
                assert_eq!(score.bounded, if has_bound { score.decisions } else { 0 }, "{rule:?}");
            }
        }
    }
}

#[test]
fn strict_limits_are_never_exceeded() {
    for seed in 1..=4 {
        for rule in Rule::ALL {
            let cell = cell(rule);
            let asked = trace::zipf(&cell, seed);
            for troubles in [Vec::new(), troubles(&cell, seed)] {
                let score = cell.strictly(&asked, &troubles);
                assert_eq!((score.over_max, score.broken), (0, 0), "seed {seed}, {rule:?}: {score:?}");
                assert!(score.decisions * 10 > asked.len() as u64 * 8, "{} of {}", score.decisions, asked.len());
                let passed = score.decisions - score.refused;
                assert!(passed * 2 > score.decisions, "seed {seed}, {rule:?}: {score:?}");
            }
        }
    }
}

#[test]
fn regions_alone_let_pass_more_than_regions_that_share() {
    for rule in Rule::ALL {
        let scores = cell(rule).run(1);
        let over =
            |contender: &str| scores.iter().find(|(name, _)| *name == contender).map(|(_, score)| score.over_max);
        assert!(over("each region alone") > over("headwater"), "{rule:?}: {scores:?}");
    }
}

#[test]
fn a_log_judges_by_what_passed_and_when() {
    let window = |rule| Cell { limit: 10, window_ms: 1_000, ..cell(rule) };
    let judged = |cell: &Cell, decisions: &[(i64, bool, Option<u64>)]| {
        let mut judge = Judge::new(cell);
        for (now, is_allowed, bound) in decisions {
            judge.judge(0, *now, *is_allowed, *bound);
        }
        judge.score()
    };
    let full = [(900, true, None); 10];
    for (rule, fits_from) in [(Rule::Fixed, 1_000), (Rule::Sliding, 1_900), (Rule::Bucket, 1_000)] {
        let at = |now, is_allowed, bound| judged(&window(rule), &[&full[..], &[(now, is_allowed, bound)]].concat());
        assert_eq!(at(fits_from - 1, true, None).wrong, 1, "{rule:?} is full before {fits_from}");
        assert_eq!(at(fits_from, true, None).wrong, 0, "{rule:?} has room at {fits_from}");
        assert_eq!(at(fits_from, false, None).wrong, 1, "{rule:?} has room at {fits_from}");
        assert_eq!(
            (at(950, true, None).over_max, at(950, true, Some(1)).broken, at(950, true, Some(0)).broken),
            (1, 0, 1)
        );
    }
}
