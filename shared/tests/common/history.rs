//! A pseudo-random history of one key at several replicas, from a seed alone, so that it is the same on every platform.

use bytes::Bytes;
use headwater::{
    hlc::Hlc,
    id::{Dot, No, ReplicaId, TimestampMs},
    state::{DeadlineChange, Effect, ElementId, Increment, KeyState, Kind, Mint, NewBase},
};

/// A small generator of numbers (Steele, Lea, Flood: SplitMix64, 2014).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }
}

/// Three replicas of a key after `steps` steps, some of which merge whole states.
pub fn three_replicas(seed: u64, steps: usize) -> [KeyState; 3] {
    let mut random = Random(seed);
    let mut states: [KeyState; 3] = Default::default();
    let mut numbers = [0_u64; 3];
    for time in 0..steps {
        let at = random.below(3) as usize;
        if random.below(5) == 0 {
            let delta = states[random.below(3) as usize].to_complete_delta();
            let _ = states[at].join(&delta);
            continue;
        }
        let effect = effect(&mut random, &states[at]);
        numbers[at] += 1;
        let dot = Dot { replica: ReplicaId::from_bits(at as u64), no: No(numbers[at]) };
        let _ = states[at].apply(&effect, Mint { dot, hlc: Hlc::from_bits(time as u64) });
    }
    states
}

/// Demands that joins of the three commute, associate and are idempotent.
pub fn assert_lattice_laws([a, b, c]: &[KeyState; 3]) {
    let joined = |x: &KeyState, y: &KeyState| {
        let mut x = x.clone();
        let _ = x.join(&y.to_complete_delta());
        x
    };
    assert_eq!(joined(a, b), joined(b, a), "commutes");
    assert_eq!(joined(&joined(a, b), c), joined(a, &joined(b, c)), "associates");
    assert_eq!(joined(a, a), *a, "is idempotent");
    let ab = joined(a, b);
    assert_eq!(joined(&ab, a), ab, "absorbs");
}

fn effect(random: &mut Random, state: &KeyState) -> Effect {
    let name = Bytes::copy_from_slice(&[b'a' + random.below(3) as u8]);
    let kind = *random.pick(&Kind::ALL);
    let element = ElementId::of(kind, name);
    let score = random.below(64) as f64 / 4.0 - 8.0;
    let number = random.below(100) as i64 - 50;
    match random.below(9) {
        8 => Effect::Deadline { change: DeadlineChange::Revoke(TimestampMs(number)), seen: None },
        0 => state.seen_whole(),
        1 => Effect::Deadline { change: DeadlineChange::Raise(TimestampMs(number)), seen: state.deadline().epoch() },
        2 => {
            let change = DeadlineChange::Open((number > 0).then_some(TimestampMs(number)));
            Effect::Deadline { change, seen: state.deadline().epoch() }
        }
        7 if kind == Kind::Hash => Effect::Spend { element, amount: random.below(9), until: TimestampMs(number) },
        6 if kind == Kind::Hash => {
            let field = state.element(&element);
            let deadline = field.as_ref().map(|field| field.deadline()).unwrap_or_default();
            let seen = field.iter().flat_map(|field| field.deadlines()).map(|(dot, _)| dot).collect();
            let change = match random.below(3) {
                0 => DeadlineChange::Open(None),
                1 => DeadlineChange::Open(Some(TimestampMs(number))),
                _ => DeadlineChange::Raise(TimestampMs(number)),
            };
            Effect::Touch { element, change, epoch: deadline.epoch(), seen }
        }
        3 | 4 if kind != Kind::Set => {
            let by = if kind == Kind::Board { Increment::Float(score) } else { Increment::Int(number.into()) };
            Effect::Add { element, by }
        }
        other => {
            let base = match (kind, random.below(3)) {
                (Kind::Set, _) => NewBase::Member,
                (Kind::String | Kind::Hash, 0) => NewBase::Bytes(Bytes::from_static(b"text")),
                (Kind::String | Kind::Hash, _) => NewBase::Bytes(number.to_string().into()),
                (Kind::Board, 0) => NewBase::Abs(score),
                (Kind::Board, 1) => NewBase::Max(score),
                (Kind::Board, _) => NewBase::Min(score),
            };
            let (seen, cuts) = state.seen(&element);
            Effect::Write { element, base: (other != 5).then_some(base), seen, cuts }
        }
    }
}
