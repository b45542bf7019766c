//! One new member of a large set arrives from another replica.

use std::hint::black_box;

use bytes::Bytes;
use headwater::{
    message::SlotDelta,
    state::{KeyDelta, KeyState, Kind},
};

use crate::{
    Contender,
    input::{Argv, argv, name},
    site::{Site, written},
};

/// Deltas in one round.
const DELTAS: usize = 1_024;

/// Members in one command when the set is filled.
const MEMBERS: usize = 1_000;

/// The key of the set.
#[must_use]
pub fn key() -> Bytes {
    Bytes::from_static(b"set")
}

/// The commands that fill a set of so many members.
pub fn filling(size: usize) -> impl Iterator<Item = Argv> {
    (0..size).step_by(MEMBERS).map(move |first| {
        let members = (first..size.min(first + MEMBERS)).map(|at| name("member", at));
        [Bytes::from_static(b"SADD"), key()].into_iter().chain(members).collect()
    })
}

/// A large set at one replica, and another replica that adds to it.
struct Joins {
    state: KeyState,
    writer: Site,
    members: usize,
    input: Vec<KeyDelta>,
}

pub(super) fn boxed(size: usize) -> Box<dyn Contender> {
    let mut state = KeyState::default();
    for (_, delta) in written(2, &[key()], filling(size)).into_iter().flat_map(|part| part.keys) {
        let _ = state.join(&delta);
    }
    assert_eq!(state.count(Kind::Set), size, "the set is as large as it says");
    let mut writer = Site::new(3);
    writer.hold(&[key()]);
    drop(writer.grant_credit());
    Box::new(Joins { state, writer, members: size, input: Vec::new() })
}

impl Contender for Joins {
    fn prepare(&mut self) {
        assert_eq!(self.state.count(Kind::Set), self.members, "every delta brought its member");
        for at in self.members..self.members + DELTAS {
            let command = argv([&Bytes::from_static(b"SADD"), &key(), &name("member", at)]);
            let effects = self.writer.run(vec![command]);
            let sent: Vec<SlotDelta> = self.writer.acknowledge(effects);
            self.input.extend(sent.into_iter().flat_map(|part| part.keys).map(|(_, delta)| delta));
        }
        self.members += DELTAS;
    }

    fn run(&mut self) -> u64 {
        for delta in &self.input {
            drop(black_box(self.state.join(black_box(delta))));
        }
        self.input.drain(..).len() as u64
    }
}
