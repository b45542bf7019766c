//! What a hub takes in memory, settled: all of it came from three other replicas, nothing is pending.

use bytes::Bytes;

use crate::{
    input::{Argv, argv},
    site::{Site, written},
};

/// How many replicas wrote what the hub holds.
const WRITERS: usize = 3;

/// What the hub holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Held {
    /// So many counters, each incremented by all writers.
    Counters,
    /// One set, each member added by one of the writers.
    Set,
    /// One board, each member's score set by one of the writers.
    Board,
    /// One board, each member incremented by all writers.
    SummedBoard,
}

/// A name of twenty bytes.
#[must_use]
pub fn name(at: usize) -> Bytes {
    Bytes::from(format!("name:{at:015}"))
}

impl Held {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Counters, Self::Set, Self::Board, Self::SummedBoard];

    /// What the tables call it.
    #[must_use]
    pub fn described(self) -> &'static str {
        match self {
            Self::Counters => "memory of a counter",
            Self::Set => "memory of a set member",
            Self::Board => "memory of a board member",
            Self::SummedBoard => "memory of a board member, incremented by all",
        }
    }

    /// A hub with `size` of these.
    #[must_use]
    pub fn hub(self, size: usize) -> Site {
        let keys: Vec<Bytes> = match self {
            Self::Counters => (0..size).map(name).collect(),
            Self::Set | Self::Board | Self::SummedBoard => vec![Bytes::from_static(b"key")],
        };
        let mut site = Site::new(1);
        site.hold(&keys);
        for writer in 0..WRITERS {
            let parts = written(writer as u64 + 2, &keys, (0..size).filter_map(|at| self.command(writer, at)));
            for part in parts {
                site.join(part.slot, part.keys);
            }
        }
        site
    }

    /// What a writer does about the item with this number, if anything.
    fn command(self, writer: usize, at: usize) -> Option<Argv> {
        let (word, key) = (Bytes::from_static, Bytes::from_static(b"key"));
        let is_mine = at % WRITERS == writer;
        match self {
            Self::Counters => Some(argv([&word(b"INCR"), &name(at)])),
            Self::Set => is_mine.then(|| argv([&word(b"SADD"), &key, &name(at)])),
            Self::Board => is_mine.then(|| argv([&word(b"ZADD"), &key, &score(at), &name(at)])),
            Self::SummedBoard => Some(argv([&word(b"ZINCRBY"), &key, &score(at), &name(at)])),
        }
    }
}

/// A score with six digits, in no order.
#[must_use]
pub fn score(at: usize) -> Bytes {
    Bytes::from(((at * 7_919) % 1_000_000).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater::{id::Key, state::Kind};

    #[test]
    fn a_settled_hub_holds_what_all_three_wrote() {
        let count = |held: Held, key: &'static [u8], kind| {
            let site = held.hub(30);
            assert_eq!(site.hub().status().unstable, 0, "{held:?} has nothing pending");
            let key = Key::new(Bytes::from_static(key)).expect("short");
            site.hub().key(&key).map(|view| view.count(kind))
        };
        assert_eq!(count(Held::Set, b"key", Kind::Set), Some(30));
        assert_eq!(count(Held::Board, b"key", Kind::Board), Some(30));
        assert_eq!(count(Held::SummedBoard, b"key", Kind::Board), Some(30));
        assert_eq!(count(Held::Counters, b"name:000000000000007", Kind::String), Some(1));
    }

    #[test]
    fn a_counter_is_the_sum_of_the_writers() {
        let mut site = Held::Counters.hub(3);
        let effects = site.run(vec![argv([&Bytes::from_static(b"GET"), &name(2)])]);
        assert_eq!(crate::site::replies(&effects), Some(&[Ok(Bytes::from_static(b"3").into())][..]));
    }
}
