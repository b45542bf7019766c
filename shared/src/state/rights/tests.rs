//! The bound under any interleaving, and what each operation does alone.

use super::*;
use proptest::{collection::vec, prelude::*};

/// The sites of a history; the origin is the first.
const SITES: usize = 4;

/// One step of a history.
#[derive(Clone, Debug)]
pub(in crate::state) enum Step {
    Grant(usize, u64),
    Transfer(usize, usize, u64),
    Spend(usize, u64),
    /// A site ends its incarnation in favour of another site and comes back as the next, with what it knew.
    Close(usize, usize),
    Absorb(usize),
    /// A site loses all that it knew and comes back as the next incarnation.
    Lose(usize),
    /// A message of the past arrives, maybe again.
    Deliver(usize, proptest::sample::Index),
    /// Whole states are merged.
    Merge(usize, usize),
}

pub(in crate::state) fn step() -> impl Strategy<Value = Step> {
    let site = || 0..SITES;
    prop_oneof![
        2 => (site(), 0_u64..9).prop_map(|(s, n)| Step::Grant(s, n)),
        4 => (site(), site(), 0_u64..9).prop_map(|(s, to, n)| Step::Transfer(s, to, n)),
        4 => (site(), 0_u64..9).prop_map(|(s, n)| Step::Spend(s, n)),
        1 => (site(), site()).prop_map(|(s, heir)| Step::Close(s, heir)),
        1 => site().prop_map(Step::Absorb),
        1 => site().prop_map(Step::Lose),
        6 => (site(), any::<proptest::sample::Index>()).prop_map(|(s, which)| Step::Deliver(s, which)),
        1 => (site(), site()).prop_map(|(to, from)| Step::Merge(to, from)),
    ]
}

/// What sites did, beside the states that came of it.
#[derive(Default)]
pub(in crate::state) struct History {
    pub(in crate::state) states: [Rights; SITES],
    incarnations: [u64; SITES],
    messages: Vec<Rights>,
    granted: u128,
    spent: u128,
    lost: bool,
}

impl History {
    pub(in crate::state) fn of(steps: &[Step]) -> Self {
        let mut history = Self::default();
        steps.iter().for_each(|step| history.take(step));
        history
    }

    fn id(&self, site: usize) -> ReplicaId {
        ReplicaId::from_bits((site as u64) << 16 | self.incarnations[site])
    }

    fn take(&mut self, step: &Step) {
        let ids: Vec<_> = (0..SITES).map(|site| self.id(site)).collect();
        let delta = match *step {
            Step::Grant(site, amount) => {
                let delta = self.states[site].grant(ids[site], amount);
                self.granted += u128::from(if delta.is_ok() { amount } else { 0 });
                delta
            }
            Step::Transfer(site, to, amount) => self.states[site].transfer(ids[site], ids[to], amount),
            Step::Spend(site, amount) => {
                let delta = self.states[site].spend(ids[site], amount);
                self.spent += u128::from(if delta.is_ok() { amount } else { 0 });
                delta
            }
            Step::Close(site, heir) => {
                let delta = self.states[site].close(ids[site], ids[heir]);
                self.incarnations[site] += u64::from(delta.is_ok());
                delta
            }
            Step::Absorb(site) => self.states[site].absorb(ids[site]),
            Step::Lose(site) => {
                self.incarnations[site] += 1;
                self.states[site] = Rights::default();
                self.lost = true;
                return;
            }
            Step::Deliver(site, which) => {
                if !self.messages.is_empty() {
                    let message = which.get(&self.messages).clone();
                    self.states[site].join(&message);
                }
                return;
            }
            Step::Merge(to, from) => {
                let from = self.states[from].clone();
                self.states[to].join(&from);
                return;
            }
        };
        self.messages.extend(delta);
    }

    /// All that anyone knows or said.
    fn union(&self) -> Rights {
        let mut all = Rights::default();
        self.states.iter().chain(&self.messages).for_each(|state| {
            all.join(state);
        });
        all
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn no_more_is_used_than_was_granted(steps in vec(step(), 0..80)) {
        let mut history = History::default();
        for step in &steps {
            history.take(step);
            prop_assert!(history.spent <= history.granted, "{} of {}", history.spent, history.granted);
        }
    }

    #[test]
    fn rights_and_uses_add_up_to_what_was_granted(steps in vec(step(), 0..80)) {
        let history = History::of(&steps);
        let all = history.union();
        // Every row counts here, also one that an heir that ended itself has not absorbed.
        let rights: u128 = all.0.keys().map(|replica| u128::from(all.rights_of(*replica))).sum();
        let unheard = all.0.values().flat_map(|row| &row.handed).filter(|(to, _)| !all.0.contains_key(to));
        let unheard: u128 = unheard.filter(|(to, _)| all.absorber(**to).is_none()).map(|(_, n)| u128::from(*n)).sum();
        prop_assert_eq!((all.granted(), all.used()), (history.granted, history.spent));
        prop_assert_eq!(rights + unheard + all.used(), all.granted());
    }

    #[test]
    fn nobody_believes_to_have_more_rights_than_it_has(steps in vec(step(), 0..80)) {
        let history = History::of(&steps);
        let all = history.union();
        for site in 0..SITES {
            let own = history.id(site);
            prop_assert!(history.states[site].rights_of(own) <= all.rights_of(own));
        }
    }

    #[test]
    fn rows_are_canonical_and_a_stored_state_reads_back(steps in vec(step(), 0..80)) {
        for state in &History::of(&steps).states {
            prop_assert!(state.is_canonical());
            let bytes = postcard::to_allocvec(state).unwrap();
            prop_assert_eq!(&postcard::from_bytes::<Rights>(&bytes).unwrap(), state);
        }
    }

    #[test]
    fn a_join_says_whether_it_changed_anything(steps in vec(step(), 0..60)) {
        let states = History::of(&steps).states;
        for (a, b) in states.iter().zip(states.iter().skip(1)) {
            let mut joined = a.clone();
            prop_assert_eq!(joined.join(b), joined != *a);
        }
    }
}

const ORIGIN: ReplicaId = ReplicaId::LEAF;

fn hub(site: u64) -> ReplicaId {
    ReplicaId::from_bits(site << 16)
}

/// The origin granted ten and handed six to the first hub, which used two.
fn six_of_ten_at_a_hub() -> Rights {
    let mut rights = Rights::default();
    let _ = rights.grant(ORIGIN, 10).unwrap();
    let _ = rights.transfer(ORIGIN, hub(1), 6).unwrap();
    let _ = rights.spend(hub(1), 2).unwrap();
    rights
}

#[test]
fn what_is_left_is_told_where_rights_do_not_suffice() {
    let mut rights = six_of_ten_at_a_hub();
    let before = rights.clone();
    assert_eq!(rights.spend(hub(1), 5), Err(RightsError::Insufficient { wanted: 5, left: 4 }));
    assert_eq!(rights.transfer(ORIGIN, hub(2), 5), Err(RightsError::Insufficient { wanted: 5, left: 4 }));
    assert_eq!(rights, before);
    assert_eq!((rights.granted(), rights.used(), rights.remaining()), (10, 2, 8));
}

#[test]
fn a_delta_is_the_own_row_alone() {
    let mut rights = six_of_ten_at_a_hub();
    let delta = rights.spend(hub(1), 1).unwrap();
    assert_eq!(delta.0.keys().collect::<Vec<_>>(), [&hub(1)]);
    assert_eq!(rights.spend(hub(1), 0), Ok(Rights::default()));
}

#[test]
fn an_ended_row_collapses_into_its_heirs() {
    let mut rights = six_of_ten_at_a_hub();
    let _ = rights.transfer(hub(1), hub(2), 1).unwrap();
    let stale = rights.clone();
    let _ = rights.close(hub(1), ORIGIN).unwrap();
    let delta = rights.absorb(ORIGIN).unwrap();
    let of = |rights: &Rights| [ORIGIN, hub(1), hub(2)].map(|replica| rights.rights_of(replica));
    assert_eq!(of(&rights), [7, 0, 1]);
    assert_eq!(rights.0.keys().collect::<Vec<_>>(), [&ORIGIN]);
    assert_eq!(rights.0[&ORIGIN].handed, BTreeMap::from([(hub(2), 1)]));
    // An old state that still has the row does not bring it back.
    let mut behind = stale.clone();
    assert!(behind.join(&delta));
    assert_eq!(of(&behind), [7, 0, 1]);
    assert!(!behind.join(&stale));
}

#[test]
fn what_reaches_a_replica_after_its_end_goes_to_its_heir() {
    let mut rights = six_of_ten_at_a_hub();
    let _ = rights.transfer(ORIGIN, hub(2), 3).unwrap();
    let mut elsewhere = rights.clone();
    let late = elsewhere.transfer(hub(2), hub(1), 3).unwrap();
    let _ = rights.close(hub(1), ORIGIN).unwrap();
    let _ = rights.absorb(ORIGIN).unwrap();
    assert_eq!(rights.rights_of(ORIGIN), 5);
    assert!(rights.join(&late));
    assert_eq!((rights.rights_of(ORIGIN), rights.rights_of(hub(2))), (8, 0));
}

#[test]
fn an_heir_that_ends_passes_on_what_it_did_not_absorb() {
    let mut rights = six_of_ten_at_a_hub();
    let mut elsewhere = rights.clone();
    let late = elsewhere.close(hub(1), ORIGIN).unwrap();
    let _ = rights.close(ORIGIN, hub(2)).unwrap();
    let _ = rights.absorb(hub(2)).unwrap();
    assert!(rights.join(&late));
    let _ = rights.absorb(hub(2)).unwrap();
    assert_eq!([ORIGIN, hub(1), hub(2)].map(|replica| rights.rights_of(replica)), [0, 0, 8]);
}

#[test]
fn a_row_absorbed_twice_over_does_not_come_back() {
    let mut rights = six_of_ten_at_a_hub();
    let stale = rights.clone();
    let _ = rights.close(hub(1), ORIGIN).unwrap();
    let _ = rights.absorb(ORIGIN).unwrap();
    let _ = rights.close(ORIGIN, hub(2)).unwrap();
    let _ = rights.absorb(hub(2)).unwrap();
    assert!(!rights.join(&stale));
    assert_eq!([ORIGIN, hub(1), hub(2)].map(|replica| rights.rights_of(replica)), [0, 0, 8]);
}

#[test]
fn an_ended_replica_neither_uses_nor_receives_rights() {
    let mut rights = six_of_ten_at_a_hub();
    let _ = rights.close(hub(1), ORIGIN).unwrap();
    let ended = RightsError::Ended { replica: hub(1), heir: ORIGIN };
    let refused = |rights: &mut Rights| {
        [
            rights.spend(hub(1), 1),
            rights.grant(hub(1), 1),
            rights.transfer(ORIGIN, hub(1), 1),
            rights.close(hub(1), hub(2)),
        ]
    };
    assert!(refused(&mut rights).iter().all(|result| *result == Err(ended)));
    let _ = rights.absorb(ORIGIN).unwrap();
    assert!(refused(&mut rights).iter().all(|result| *result == Err(ended)));
}

#[test]
fn a_count_beyond_64_bits_is_refused() {
    let mut rights = Rights::default();
    let _ = rights.grant(ORIGIN, u64::MAX).unwrap();
    assert_eq!(rights.grant(ORIGIN, 1), Err(RightsError::TooMany(1)));
}
