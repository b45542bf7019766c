//! Operations together with what another replica needs of them: a batch of commands, its delta for the origin as
//! encoded frames, and the origin's two acknowledgements.

use std::hint::black_box;

use headwater::{
    hub::HubEffect,
    message::{HubToOrigin, SlotDelta},
    wire,
};

use super::work::{BATCH, BATCHES, Course, Work};
use crate::{
    Contender,
    input::Argv,
    site::{Site, assert_answers, settled},
};

/// A hub with a daemon that takes everything.
struct Deltas {
    site: Site,
    course: Course,
    input: Vec<Vec<Argv>>,
}

pub(super) fn boxed(work: Work, size: usize) -> Box<dyn Contender> {
    let mut course = Course::new(work, size);
    let mut site = settled(course.keys(), course.initial().map(|operation| course.command(&operation)));
    drop(site.grant_credit());
    let batch = course.batch();
    let effects = site.run(batch.iter().map(|operation| course.command(operation)).collect());
    assert_answers(&effects);
    let mut changed: Vec<_> = batch.iter().map(|operation| &operation.key).collect();
    changed.sort_unstable();
    changed.dedup();
    let sent = site.acknowledge(effects);
    assert_eq!(sent.iter().map(|part| part.keys.len()).sum::<usize>(), changed.len(), "each changed key is sent");
    assert_eq!(site.hub().status().pending, 0, "all is acknowledged");
    Box::new(Deltas { site, course, input: Vec::new() })
}

impl Contender for Deltas {
    fn prepare(&mut self) {
        let round = self.course.round();
        let commands = |batch: &Vec<_>| batch.iter().map(|operation| self.course.command(operation)).collect();
        self.input = round.iter().map(commands).collect();
    }

    fn run(&mut self) -> u64 {
        for batch in std::mem::take(&mut self.input) {
            let effects = self.site.run(batch);
            let mut sent: Vec<&SlotDelta> = Vec::new();
            for effect in &effects {
                if let HubEffect::ToOrigin(_, message) = effect {
                    black_box(wire::encode(message).expect("a hub's message fits a frame"));
                    if let HubToOrigin::Delta(parts) = message {
                        sent.extend(parts);
                    }
                }
            }
            black_box(self.site.settle(sent));
            drop(black_box(effects));
        }
        (BATCH * BATCHES) as u64
    }
}
