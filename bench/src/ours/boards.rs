//! A large leaderboard through the hub's command path.

use std::hint::black_box;

use bytes::Bytes;

use crate::{
    Contender,
    input::{Argv, argv, random},
    site::{Site, settled},
};

/// Commands in a pipeline, as `redis-benchmark -P 64` sends them.
const PIPELINE: usize = 64;

/// Pipelines in one round.
const PIPELINES: usize = 16;

/// Members in one command when the board is filled.
const MEMBERS: usize = 1_000;

/// What is asked of the board.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Question {
    /// ZINCRBY of a member picked at random.
    Increment,
    /// ZREVRANK of one.
    Rank,
    /// The hundred best.
    Top,
}

/// A member's name, as redis-benchmark makes it of `member:__rand_int__`.
#[must_use]
pub fn member(at: usize) -> Bytes {
    Bytes::from(format!("member:{at:012}"))
}

fn key() -> Bytes {
    Bytes::from_static(b"board")
}

/// The commands that fill a board of so many members, with scores at random.
pub fn filling(size: usize) -> impl Iterator<Item = Argv> {
    let mut random = random();
    (0..size).step_by(MEMBERS).map(move |first| {
        let pairs = (first..size.min(first + MEMBERS)).flat_map(|at| {
            let score = random.u32(..1_000_000).to_string();
            [Bytes::from(score), member(at)]
        });
        [Bytes::from_static(b"ZADD"), key()].into_iter().chain(pairs).collect()
    })
}

struct Boards {
    site: Site,
    question: Question,
    size: usize,
    random: fastrand::Rng,
    input: Vec<Vec<Argv>>,
}

pub(super) fn boxed(question: Question, size: usize) -> Box<dyn Contender> {
    let site = settled(&[key()], filling(size));
    let mut boards = Boards { site, question, size, random: random(), input: Vec::new() };
    let command = boards.command();
    let effects = boards.site.run(vec![command]);
    let replies = crate::site::replies(&effects).expect("the board is held");
    assert!(matches!(replies, [Ok(reply)] if *reply != headwater::command::Reply::Nil), "{question:?}: {replies:?}");
    Box::new(boards)
}

impl Boards {
    fn command(&mut self) -> Argv {
        let member = member(self.random.usize(..self.size));
        match self.question {
            Question::Increment => argv([&Bytes::from_static(b"ZINCRBY"), &key(), &Bytes::from_static(b"1"), &member]),
            Question::Rank => argv([&Bytes::from_static(b"ZREVRANK"), &key(), &member]),
            Question::Top => ["ZRANGE", "board", "0", "99", "REV"]
                .into_iter()
                .map(|word| Bytes::from_static(word.as_bytes()))
                .collect(),
        }
    }
}

impl Contender for Boards {
    fn prepare(&mut self) {
        self.input = (0..PIPELINES).map(|_| (0..PIPELINE).map(|_| self.command()).collect()).collect();
    }

    fn run(&mut self) -> u64 {
        for pipeline in std::mem::take(&mut self.input) {
            drop(black_box(self.site.run(black_box(pipeline))));
        }
        (PIPELINES * PIPELINE) as u64
    }
}
