//! Leases on clocks that drift, with messages that are late, doubled and out of order, and nodes that restart.

use super::*;
use crate::state::Rights;
use proptest::{collection::vec, prelude::*, sample::Index};

const HOLDERS: usize = 3;
const ORIGIN: ReplicaId = ReplicaId::LEAF;
const BOUND: u64 = 40;

#[derive(Clone, Debug)]
enum Step {
    /// Real time passes, in microseconds.
    Pass(u64),
    Request(usize, u64),
    /// A request of the past reaches the granter, maybe again; it hands over some rights.
    Grant(Index, u64),
    /// An answer of the past reaches its holder, maybe again.
    Answer(Index),
    /// A holder uses rights, if its lease lets it.
    Spend(usize, u64),
    /// A holder whose lease has ended hands back what it has left.
    HandBack(usize),
    /// States of rights meet.
    Join(usize, bool),
    /// A holder forgets its lease, and maybe its storage too.
    RestartHolder(usize, bool),
    RestartGranter,
}

fn step() -> impl Strategy<Value = Step> {
    let holder = || 0..HOLDERS;
    prop_oneof![
        4 => (0_u64..150_000).prop_map(Step::Pass),
        3 => (holder(), 1_u64..120).prop_map(|(h, ms)| Step::Request(h, ms)),
        4 => (any::<Index>(), 0_u64..9).prop_map(|(which, rights)| Step::Grant(which, rights)),
        4 => any::<Index>().prop_map(Step::Answer),
        4 => (holder(), 1_u64..5).prop_map(|(h, n)| Step::Spend(h, n)),
        1 => holder().prop_map(Step::HandBack),
        3 => (holder(), any::<bool>()).prop_map(|(h, up)| Step::Join(h, up)),
        1 => (holder(), prop::bool::weighted(0.3)).prop_map(|(h, all)| Step::RestartHolder(h, all)),
        1 => Just(Step::RestartGranter),
    ]
}

/// A node's clock: its rate in parts per million, and what it shows when the world begins, in microseconds.
type LocalClock = (u64, u64);

fn read((rate_ppm, beginning): LocalClock, real: u64) -> LocalMs {
    LocalMs((beginning + (u128::from(real) * u128::from(rate_ppm) / 1_000_000) as u64) / 1_000)
}

struct Node {
    clock: LocalClock,
    id: ReplicaId,
    holder: Holder,
    rights: Rights,
}

struct World {
    real: u64,
    clock: LocalClock,
    granter: Granter,
    rights: Rights,
    nodes: Vec<Node>,
    requests: Vec<(usize, ReplicaId, RequestId, u64)>,
    answers: Vec<(usize, ReplicaId, RequestId, u64, Rights)>,
    terms: Terms,
    spent: u64,
}

impl World {
    fn new(drift_ppm: u32, clocks: &[LocalClock]) -> Self {
        let terms = Terms::new(100, drift_ppm).unwrap();
        let mut rights = Rights::default();
        let _ = rights.grant(ORIGIN, BOUND).unwrap();
        let node = |site: usize| Node {
            clock: clocks[site],
            id: ReplicaId::from_bits((site as u64) << 16),
            holder: Holder::default(),
            rights: Rights::default(),
        };
        Self {
            real: 0,
            clock: clocks[HOLDERS],
            granter: Granter::first(terms),
            rights,
            nodes: (0..HOLDERS).map(node).collect(),
            requests: Vec::new(),
            answers: Vec::new(),
            terms,
            spent: 0,
        }
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Pass(micros) => self.real += micros,
            Step::Request(site, duration_ms) => {
                let (node, request) = (&mut self.nodes[site], RequestId(self.requests.len() as u64));
                node.holder.requested(request, read(node.clock, self.real));
                self.requests.push((site, node.id, request, duration_ms));
            }
            Step::Grant(which, amount) if !self.requests.is_empty() => {
                let (site, id, request, duration_ms) = *which.get(&self.requests);
                let now = read(self.clock, self.real);
                if self.granter.grant(id, duration_ms, now).is_ok()
                    && let Ok(delta) = self.rights.transfer(ORIGIN, id, amount)
                {
                    self.answers.push((site, id, request, duration_ms, delta));
                }
            }
            Step::Answer(which) if !self.answers.is_empty() => {
                let (site, id, request, duration_ms, delta) = which.get(&self.answers);
                let node = &mut self.nodes[*site];
                if node.id == *id && node.holder.granted(*request, *duration_ms).is_ok() {
                    node.rights.join(delta);
                }
            }
            Step::Grant(..) | Step::Answer(_) => {}
            Step::Spend(site, amount) => {
                let node = &mut self.nodes[site];
                if node.holder.left_ms(read(node.clock, self.real)).is_ok()
                    && node.rights.spend(node.id, amount).is_ok()
                {
                    self.spent += amount;
                }
            }
            Step::HandBack(site) => {
                let node = &mut self.nodes[site];
                if node.holder.left_ms(read(node.clock, self.real)).is_err() {
                    let left = node.rights.rights_of(node.id);
                    let _ = node.rights.transfer(node.id, ORIGIN, left).unwrap();
                }
            }
            Step::Join(site, up) => {
                let node = &mut self.nodes[site];
                if up {
                    self.rights.join(&node.rights)
                } else {
                    node.rights.join(&self.rights)
                };
            }
            Step::RestartHolder(site, all) => {
                let node = &mut self.nodes[site];
                node.holder = Holder::default();
                if all {
                    (node.id, node.rights) = (node.id.next_incarnation(), Rights::default());
                }
            }
            Step::RestartGranter => self.granter = Granter::restarted(self.terms, read(self.clock, self.real)),
        }
    }
}

impl World {
    /// The last real microsecond at which this node may use rights, if nothing more happens; none if it may not now.
    fn last_use(&self, node: &Node) -> Option<u64> {
        let left_ms = node.holder.left_ms(read(node.clock, self.real)).ok()?;
        // The slowest clock takes a ninth longer than it shows.
        let (mut uses, mut ended) = (self.real, self.real + left_ms * 2_000);
        while ended - uses > 1 {
            let middle = uses.midpoint(ended);
            let may = node.holder.left_ms(read(node.clock, middle)).is_ok();
            (uses, ended) = if may { (middle, ended) } else { (uses, middle) };
        }
        Some(uses)
    }
}

fn world() -> impl Strategy<Value = (u32, Vec<LocalClock>)> {
    (0_u32..=DRIFT_PPM_MAX).prop_flat_map(|drift| {
        let rate = 1_000_000 - u64::from(drift)..=1_000_000 + u64::from(drift);
        let extremes = prop_oneof![Just(*rate.start()), Just(*rate.end()), rate];
        (Just(drift), vec((extremes, 0_u64..9_999_999), HOLDERS + 1))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn nobody_uses_a_lease_that_its_granter_counts_as_ended(
        (drift, clocks) in world(), steps in vec(step(), 0..120),
    ) {
        let mut world = World::new(drift, &clocks);
        for step in &steps {
            world.take(step);
            for node in &world.nodes {
                let last = world.last_use(node);
                prop_assert!(last.is_none_or(|real| world.granter.is_running(node.id, read(world.clock, real))));
            }
        }
    }

    #[test]
    fn leased_rights_never_exceed_the_bound((drift, clocks) in world(), steps in vec(step(), 0..120)) {
        let mut world = World::new(drift, &clocks);
        for step in &steps {
            world.take(step);
            prop_assert!(world.spent <= BOUND);
            prop_assert_eq!(world.rights.granted(), u128::from(BOUND));
        }
    }

    #[test]
    fn all_unused_rights_are_back_once_every_lease_has_ended((drift, clocks) in world(), steps in vec(step(), 0..120)) {
        let mut world = World::new(drift, &clocks);
        let loses = |step: &Step| matches!(step, Step::RestartHolder(_, true));
        steps.iter().filter(|step| !loses(step)).for_each(|step| world.take(step));
        world.take(&Step::Pass(1_000_000));
        for site in 0..HOLDERS {
            [Step::Join(site, false), Step::HandBack(site), Step::Join(site, true)].iter().for_each(|step| world.take(step));
        }
        prop_assert_eq!(world.rights.rights_of(ORIGIN), BOUND - world.spent);
    }
}

const HUB: ReplicaId = ReplicaId::LEAF;

fn terms() -> Terms {
    Terms::new(10_000, 200).unwrap()
}

#[test]
fn a_holder_counts_from_its_request_and_a_granter_beyond_the_drift() {
    let (mut granter, mut holder) = (Granter::first(terms()), Holder::default());
    holder.requested(RequestId(1), LocalMs(500));
    assert_eq!(granter.grant(HUB, 10_000, LocalMs(0)), Ok(()));
    assert_eq!(holder.granted(RequestId(1), 10_000), Ok(()));
    assert_eq!((holder.left_ms(LocalMs(10_499)), holder.left_ms(LocalMs(10_500))), (Ok(1), Err(LeaseError::Ended)));
    // 10 s at 200 ppm: 4.0008 ms, rounded up, and one for the clock's grain.
    assert_eq!(granter.next_end(), Some(LocalMs(10_006)));
    assert!(granter.is_running(HUB, LocalMs(10_005)));
    assert_eq!((granter.sweep(LocalMs(10_005)), granter.sweep(LocalMs(10_006))), (vec![], vec![HUB]));
}

#[test]
fn a_restarted_granter_is_silent_for_the_longest_lease() {
    let mut granter = Granter::restarted(terms(), LocalMs(0));
    assert_eq!(granter.grant(HUB, 1, LocalMs(10_000)), Err(LeaseError::Silent { wait_ms: 6 }));
    assert_eq!(granter.grant(HUB, 1, LocalMs(10_006)), Ok(()));
}

#[test]
fn a_shorter_lease_does_not_end_a_longer_one() {
    let (mut granter, mut holder) = (Granter::first(terms()), Holder::default());
    for (id, duration_ms) in [(1, 9_000), (2, 10)] {
        holder.requested(RequestId(id), LocalMs(0));
        assert_eq!(granter.grant(HUB, duration_ms, LocalMs(0)), Ok(()));
        assert_eq!(holder.granted(RequestId(id), duration_ms), Ok(()));
    }
    assert_eq!(holder.left_ms(LocalMs(8_999)), Ok(1));
    assert!(granter.is_running(HUB, LocalMs(9_000)));
}

#[test]
fn an_answer_to_another_request_is_refused() {
    let mut holder = Holder::default();
    assert_eq!(holder.granted(RequestId(0), 10), Err(LeaseError::NotAsked));
    holder.requested(RequestId(1), LocalMs(0));
    holder.requested(RequestId(2), LocalMs(5));
    assert_eq!(holder.granted(RequestId(1), 10), Err(LeaseError::NotAsked));
    assert_eq!(holder.granted(RequestId(2), 10), Ok(()));
    assert_eq!(holder.granted(RequestId(2), 10), Err(LeaseError::NotAsked));
}

#[test]
fn terms_and_durations_out_of_range_are_refused() {
    assert_eq!(Terms::new(0, 0), Err(LeaseError::Longest(0)));
    assert_eq!(Terms::new(LEASE_MS_MAX + 1, 0), Err(LeaseError::Longest(LEASE_MS_MAX + 1)));
    assert_eq!(Terms::new(1, DRIFT_PPM_MAX + 1), Err(LeaseError::Drift(DRIFT_PPM_MAX + 1)));
    for asked_ms in [0, 10_001] {
        let refused = Granter::first(terms()).grant(HUB, asked_ms, LocalMs(0));
        assert_eq!(refused, Err(LeaseError::Duration { asked_ms, lease_ms_max: 10_000 }));
    }
}
