//! What the simulated clients do: few keys, so that everyone meets everyone.

use crate::ledger::Entry;
use bytes::Bytes;
use headwater::id::{Key, TimestampMs};

/// Bits of an i64 that a string can tell apart, and of a float.
const BITS: u32 = 62;
const SCORE_BITS: u32 = 52;

type Commands = Vec<Vec<Bytes>>;

/// The clients' choices.
pub(crate) struct Workload {
    /// No more work is begun.
    pub(crate) is_closed: bool,
    bits: [u32; 2],
    scores: [u32; 3],
    members: u32,
    values: u32,
    out: Vec<Bytes>,
}

fn words(line: &str) -> Vec<Bytes> {
    line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
}

fn key(name: &str) -> Key {
    Key::new(Bytes::copy_from_slice(name.as_bytes())).expect("short keys")
}

impl Workload {
    pub(crate) fn new() -> Self {
        Self { is_closed: false, bits: [0; 2], scores: [0; 3], members: 0, values: 0, out: Vec::new() }
    }

    /// Every key; some share a slot.
    pub(crate) fn keys() -> Vec<Key> {
        ["sum:{a}", "sum:{b}", "bits:{a}", "bits:{c}", "set:{a}", "board:{b}", "raised", "hash", "ttl", "late", "brief"]
            .map(key)
            .to_vec()
    }

    /// One write to each key that changes nothing the ledger knows of.
    pub(crate) fn touches() -> Vec<Vec<Bytes>> {
        let zero = ["sum:{a}", "sum:{b}", "bits:{c}", "ttl"].map(|name| format!("INCRBY {name} 0"));
        let others =
            ["SADD other:{a} x", "ZADD raised 1 other", "HSET hash other 1", "SADD late x", "SADD other:{b} x"];
        zero.into_iter().chain(others.map(str::to_owned)).map(|line| words(&line)).collect()
    }

    pub(crate) fn deadline_key() -> Key {
        key("ttl")
    }

    pub(crate) fn only_grows(key: &Key) -> bool {
        key.as_bytes().starts_with(b"sum:")
    }

    pub(crate) fn over_http(&mut self, rng: &mut fastrand::Rng, now: i64) -> Option<(Commands, Vec<Entry>)> {
        self.choose(rng, now, true).map(|(commands, entry)| (commands, vec![entry]))
    }

    pub(crate) fn at_leaf(&mut self, rng: &mut fastrand::Rng, now: i64) -> Option<(Commands, Entry)> {
        self.choose(rng, now, false)
    }

    /// Commands of which the last is booked, and one before it tells what that one saw.
    fn choose(&mut self, rng: &mut fastrand::Rng, now: i64, at_hub: bool) -> Option<(Commands, Entry)> {
        if self.is_closed {
            return None;
        }
        let one = |line: String, entry: Entry| (vec![words(&line)], entry);
        let two = |read: String, line: String, entry: Entry| (vec![words(&read), words(&line)], entry);
        let tag = |rng: &mut fastrand::Rng| usize::from(rng.bool());
        let member = |rng: &mut fastrand::Rng| rng.usize(..3);
        Some(match rng.u32(..18) {
            0..=2 => {
                let name = ["sum:{a}", "sum:{b}"][tag(rng)];
                let by = rng.i64(1..10);
                one(format!("INCRBY {name} {by}"), Entry::Sum(key(name), by))
            }
            3..=4 => {
                let at = tag(rng);
                let name = ["bits:{a}", "bits:{c}"][at];
                let bit = self.bits[at];
                if bit >= BITS {
                    return self.choose(rng, now, at_hub);
                }
                self.bits[at] += 1;
                one(format!("INCRBY {name} {}", 1_u64 << bit), Entry::Bit(key(name), bit))
            }
            5 => {
                let name = ["bits:{a}", "bits:{c}"][tag(rng)];
                let reset = if rng.bool() { format!("DEL {name}") } else { format!("SET {name} 0") };
                two(format!("GET {name}"), reset, Entry::Reset(key(name)))
            }
            6..=7 => {
                self.members += 1;
                let member = format!("m{}", self.members);
                self.out.push(Bytes::from(member.clone()));
                one(format!("SADD set:{{a}} {member}"), Entry::Add(key("set:{a}"), vec![Bytes::from(member)]))
            }
            8 => {
                // Of a member chosen blindly the remove takes away what it sees.
                if self.out.is_empty() {
                    return self.choose(rng, now, at_hub);
                }
                let member = self.out[rng.usize(..self.out.len())].clone();
                let text = String::from_utf8_lossy(&member).into_owned();
                if rng.u32(..6) == 0 {
                    return Some(two("SMEMBERS set:{a}".into(), "DEL set:{a}".into(), Entry::Empty(key("set:{a}"))));
                }
                two(
                    format!("SISMEMBER set:{{a}} {text}"),
                    format!("SREM set:{{a}} {text}"),
                    Entry::Remove(key("set:{a}"), vec![member]),
                )
            }
            9..=10 => {
                let at = member(rng);
                let bit = self.scores[at];
                if bit >= SCORE_BITS {
                    return self.choose(rng, now, at_hub);
                }
                self.scores[at] += 1;
                let name = ["x", "y", "z"][at];
                let line = format!("ZINCRBY board:{{b}} {} {name}", 1_u64 << bit);
                one(line, Entry::Score(key("board:{b}"), Bytes::from(name), bit))
            }
            11 => {
                let name = ["x", "y", "z"][member(rng)];
                if rng.u32(..4) == 0 {
                    let read = "ZRANGE board:{b} 0 -1 WITHSCORES".to_owned();
                    return Some(two(read, "DEL board:{b}".into(), Entry::Clear(key("board:{b}"))));
                }
                let read = format!("ZSCORE board:{{b}} {name}");
                two(read, format!("ZREM board:{{b}} {name}"), Entry::Unscore(key("board:{b}"), Bytes::from(name)))
            }
            12 => {
                let name = ["p", "q"][tag(rng)];
                let score = rng.i64(1..1_000_000);
                one(format!("ZADD raised GT {score} {name}"), Entry::Raise(key("raised"), Bytes::from(name), score))
            }
            13 => {
                let by = rng.i64(1..10);
                one(format!("HINCRBY hash n {by}"), Entry::Field(key("hash"), Bytes::from("n"), by))
            }
            14 => {
                self.values += 1;
                let value = format!("v{}", self.values);
                let entry = Entry::Write(key("hash"), Bytes::from("f"), Bytes::from(value.clone()));
                two("HGET hash f".into(), format!("HSET hash f {value}"), entry)
            }
            15 => {
                // Far beyond the end of the run.
                (vec![words("INCR ttl"), words("PEXPIRE ttl 1000000")], Entry::Nothing)
            }
            16 => {
                // By hubs' clocks alone, which are half a second apart at most: each moves the deadline out.
                if !at_hub {
                    return self.choose(rng, now, at_hub);
                }
                let at = TimestampMs(now + 1_500_000 - 1_000);
                (vec![words("SADD late x"), words("PEXPIRE late 1500000")], Entry::Deadline(key("late"), at))
            }
            _ => (vec![words("INCR brief"), words("PEXPIRE brief 4000")], Entry::Nothing),
        })
    }
}
