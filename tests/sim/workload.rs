//! What the simulated clients do: few keys, so that everyone meets everyone.

use crate::{ledger::Entry, scenario::Scenario};
use bytes::Bytes;
use headwater::id::Key;
use std::fmt;

/// Bits of an i64 that a string can tell apart, and of a float.
const BITS: u32 = 61;
const SCORE_BITS: u32 = 52;

/// How long `kept` lives after a touch, in milliseconds; one touch follows the other much sooner.
pub(crate) const KEPT_MS: i64 = 15_000;

/// How long a key is revoked, in milliseconds: beyond the end of every run, also of one that lasts a day.
const REVOKED_MS: i64 = 200_000_000;

/// Commands of which the last is booked, and one before it tells what that one saw.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    pub(crate) commands: Vec<Vec<Bytes>>,
    pub(crate) entry: Entry,
}

/// The clients' choices.
pub(crate) struct Workload {
    has_deadlines: bool,
    bits: [u32; 2],
    scores: [u32; 3],
    members: u32,
    values: u32,
    out: Vec<Bytes>,
}

/// The words of a command.
pub(crate) fn words(line: &str) -> Vec<Bytes> {
    line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
}

/// A key of this name.
pub(crate) fn key(name: &str) -> Key {
    Key::new(Bytes::copy_from_slice(name.as_bytes())).expect("short keys")
}

impl Work {
    fn one(line: String, entry: Entry) -> Self {
        Self { commands: vec![words(&line)], entry }
    }

    fn two(first: &str, second: &str, entry: Entry) -> Self {
        Self { commands: vec![words(first), words(second)], entry }
    }

    /// Work that nothing accounts for.
    pub(crate) fn unbooked(commands: Vec<Vec<Bytes>>) -> Self {
        Self { commands, entry: Entry::Nothing }
    }

    /// One command that nothing accounts for.
    pub(crate) fn line(line: &str) -> Self {
        Self::unbooked(vec![words(line)])
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |command: &Vec<Bytes>| {
            let words: Vec<_> = command.iter().map(|word| String::from_utf8_lossy(word)).collect();
            words.join(" ")
        };
        f.write_str(&self.commands.iter().map(line).collect::<Vec<_>>().join("; "))
    }
}

impl Workload {
    pub(crate) fn new(has_deadlines: bool) -> Self {
        Self { has_deadlines, bits: [0; 2], scores: [0; 3], members: 0, values: 0, out: Vec::new() }
    }

    /// Every key; some share a slot.
    pub(crate) fn keys() -> Vec<Key> {
        let names = [
            "sum:{a}",
            "sum:{b}",
            "bits:{a}",
            "bits:{c}",
            "set:{a}",
            "board:{b}",
            "raised",
            "hash",
            "ttl",
            "late",
            "brief",
            "kept",
            "timed",
            "brisk",
            "quota",
            "pool",
            "turn",
            "latch",
            "gone:{a}",
            "gone:{b}",
            "gone:{c}",
        ];
        names.map(key).to_vec()
    }

    /// Keys that end by themselves, or may, or lose what nobody books.
    pub(crate) fn may_end(key: &Key) -> bool {
        Self::may_be_revoked(key)
            || [&b"ttl"[..], b"late", b"brief", b"kept", b"timed", b"brisk", b"quota", b"latch", b"pool", b"turn"]
                .contains(&key.as_bytes())
    }

    /// Keys that are revoked sooner or later.
    pub(crate) fn may_be_revoked(key: &Key) -> bool {
        key.as_bytes().starts_with(b"gone:")
    }

    /// What is done to a key that is revoked sooner or later: seldom the revocation.
    pub(crate) fn at_revoked(rng: &mut fastrand::Rng, has_deadlines: bool) -> Work {
        let name = ["gone:{a}", "gone:{b}", "gone:{c}"][rng.usize(..3)];
        let line = match rng.u32(..25) {
            0 => {
                let line = format!("HW.REVOKE {name} PX {REVOKED_MS}");
                return Work::one(line, Entry::Revoke(key(name)));
            }
            1..=6 => return Work::line(&format!("EXISTS {name}")),
            7..=9 if has_deadlines => format!("PEXPIRE {name} {}", 2 * REVOKED_MS),
            10 if has_deadlines => format!("PERSIST {name}"),
            11 => format!("DEL {name}"),
            12..=15 => format!("HINCRBY {name} n 1"),
            _ => format!("HSET {name} f{} v", rng.u32(..3)),
        };
        Work::one(line, Entry::Vain(key(name)))
    }

    /// What a plain client writes there.
    pub(crate) fn plainly_at_revoked(rng: &mut fastrand::Rng) -> Work {
        let name = ["gone:{a}", "gone:{b}", "gone:{c}"][rng.usize(..3)];
        Work::one(format!("HSET {name} p v"), Entry::Vain(key(name)))
    }

    /// Writes at this hub to each key, but `kept` which is the first hub's; among those of all hubs one that shows.
    pub(crate) fn touches(hub: usize) -> Vec<Work> {
        let sums = ["sum:{a}", "sum:{b}"].map(|name| Work::one(format!("INCRBY {name} 1"), Entry::Sum(key(name), 1)));
        let bits = ["bits:{a}", "bits:{c}"].map(|name| match hub {
            0 => Work::one(format!("INCRBY {name} {}", 1_u64 << BITS), Entry::Bit(key(name), BITS)),
            _ => Work::line(&format!("INCRBY {name} 0")),
        });
        let others = [
            "INCR ttl".to_owned(),
            format!("SADD set:{{a}} touch{hub}"),
            format!("ZADD raised 1 other{hub}"),
            format!("HSET hash other{hub} 1"),
            format!("SADD late x{hub}"),
            format!("ZADD board:{{b}} 1 other{hub}"),
            format!("SADD pool touch{hub}"),
            format!("SET turn touch{hub}"),
        ];
        let kept = (hub == 0).then(|| "SADD kept touch0".to_owned());
        let others = others.into_iter().chain(kept).map(|line| Work::line(&line));
        sums.into_iter().chain(bits).chain(others).collect()
    }

    /// Which hub is asked, and for what.
    pub(crate) fn over_http(&mut self, rng: &mut fastrand::Rng, hubs: usize) -> (usize, Work) {
        let hub = rng.usize(..hubs);
        match rng.u32(..22) {
            20 => {
                // What this hub acknowledged comes first; nobody else knows the key.
                self.values += 1;
                let name = format!("own{}:{{a}}", self.values);
                (hub, Work::unbooked(vec![words(&format!("SET {name} own")), words(&format!("GETDEL {name}"))]))
            }
            21 => {
                self.members += 1;
                let lines = [
                    "SET turn taken NX".to_owned(),
                    "GETDEL turn".to_owned(),
                    format!("SADD pool p{}", self.members),
                    "SPOP pool".to_owned(),
                    format!("HW.LOCK latch {} 3000", self.members),
                ];
                (hub, Work::line(&lines[rng.usize(..lines.len())]))
            }
            0..=1 => {
                let line = ["GET sum:{a}", "GET sum:{b}", "GET bits:{a}", "SMEMBERS set:{a}"][rng.usize(..4)];
                (hub, Work::line(line))
            }
            2..=3 if self.has_deadlines => {
                // One hub alone writes it, and keeps it alive: so what it holds stays.
                self.members += 1;
                let member = format!("k{}", self.members);
                let entry = Entry::Kept(key("kept"), Bytes::from(member.clone()));
                (0, Work::two(&format!("SADD kept {member}"), &format!("PEXPIRE kept {KEPT_MS}"), entry))
            }
            _ => (hub, self.choose(rng, true)),
        }
    }

    /// What a plain client writes, and where: where the store loses some of its past, at one counter only. Where it loses
    /// nothing, a score is raised too: commits write it outright, and would write over it if they did not look.
    pub(crate) fn at_store(rng: &mut fastrand::Rng, scenario: &Scenario) -> Work {
        match rng.u32(..3) {
            0 if scenario.loses_nothing() => raise_to(rng, "p"),
            0..=1 if scenario.is_durable() => add(rng, "sum:{a}"),
            _ => add(rng, "sum:{b}"),
        }
    }

    pub(crate) fn at_leaf(&mut self, rng: &mut fastrand::Rng) -> Work {
        self.choose(rng, false)
    }

    fn choose(&mut self, rng: &mut fastrand::Rng, at_hub: bool) -> Work {
        let choices = if self.has_deadlines { 22 } else { 15 };
        loop {
            let work = match rng.u32(..choices) {
                0..=2 => Some(sum(rng)),
                3..=4 => self.bit(rng),
                5 => Some(reset(rng)),
                6..=7 => Some(self.member()),
                8 => self.removal(rng),
                9..=10 => self.score(rng),
                11 => Some(unscore(rng)),
                12 => Some(raise(rng)),
                13 => Some(field(rng)),
                14 => Some(self.write()),
                // Far beyond the end of the run.
                15 => Some(Work::unbooked(vec![words("INCR ttl"), words("PEXPIRE ttl 3000000")])),
                // By hubs' clocks alone, which are half a second apart at most: each moves the deadline out.
                16 => at_hub
                    .then(|| Work::two("SADD late x", "PEXPIRE late 3500000", Entry::Deadline(key("late"), 3_499_000))),
                17 => Some(Work::unbooked(vec![words("INCR brief"), words("PEXPIRE brief 4000")])),
                // At hubs alone: a dot that a leaf saw of a hub which lost it leaves a gap in the key's context for good.
                18 => at_hub.then(|| {
                    let field = rng.u32(..4);
                    let write = format!("HSET timed f{field} v");
                    Work::two(&write, &format!("HPEXPIRE timed 4000 FIELDS 1 f{field}"), Entry::Nothing)
                }),
                19 => at_hub.then(|| {
                    if rng.bool() {
                        return Work::line("HPERSIST timed FIELDS 1 n");
                    }
                    Work::two("HINCRBY timed n 1", "HPEXPIRE timed 3000000 FIELDS 1 n", Entry::Nothing)
                }),
                20 => Some(Work::line("HW.LIMIT brisk SLIDING 20 2000")),
                _ => Some(quota(rng)),
            };
            if let Some(work) = work {
                return work;
            }
        }
    }

    fn bit(&mut self, rng: &mut fastrand::Rng) -> Option<Work> {
        let at = rng.usize(..2);
        let name = ["bits:{a}", "bits:{c}"][at];
        let bit = self.bits[at];
        self.bits[at] += 1;
        (bit < BITS).then(|| Work::one(format!("INCRBY {name} {}", 1_u64 << bit), Entry::Bit(key(name), bit)))
    }

    fn score(&mut self, rng: &mut fastrand::Rng) -> Option<Work> {
        let at = rng.usize(..3);
        let name = ["x", "y", "z"][at];
        let bit = self.scores[at];
        self.scores[at] += 1;
        let entry = || Entry::Score(key("board:{b}"), Bytes::from(name), bit);
        (bit < SCORE_BITS).then(|| Work::one(format!("ZINCRBY board:{{b}} {} {name}", 1_u64 << bit), entry()))
    }

    fn member(&mut self) -> Work {
        self.members += 1;
        let member = format!("m{}", self.members);
        self.out.push(Bytes::from(member.clone()));
        let line = format!("SADD set:{{a}} {member}");
        Work::one(line, Entry::Add(key("set:{a}"), Bytes::from(member)))
    }

    /// Of a member chosen blindly the remove takes away what it sees.
    fn removal(&mut self, rng: &mut fastrand::Rng) -> Option<Work> {
        if self.out.is_empty() {
            return None;
        }
        let member = self.out[rng.usize(..self.out.len())].clone();
        if rng.u32(..6) == 0 {
            return Some(Work::two("SMEMBERS set:{a}", "DEL set:{a}", Entry::Empty(key("set:{a}"))));
        }
        let text = String::from_utf8_lossy(&member).into_owned();
        let (read, remove) = (format!("SISMEMBER set:{{a}} {text}"), format!("SREM set:{{a}} {text}"));
        Some(Work::two(&read, &remove, Entry::Remove(key("set:{a}"), member)))
    }

    fn write(&mut self) -> Work {
        self.values += 1;
        let value = format!("v{}", self.values);
        let line = format!("HSET hash f {value}");
        Work::two("HGET hash f", &line, Entry::Write(key("hash"), Bytes::from("f"), Bytes::from(value)))
    }
}

fn sum(rng: &mut fastrand::Rng) -> Work {
    let name = ["sum:{a}", "sum:{b}"][rng.usize(..2)];
    add(rng, name)
}

fn add(rng: &mut fastrand::Rng, name: &str) -> Work {
    let by = rng.i64(1..10);
    Work::one(format!("INCRBY {name} {by}"), Entry::Sum(key(name), by))
}

fn reset(rng: &mut fastrand::Rng) -> Work {
    let name = ["bits:{a}", "bits:{c}"][rng.usize(..2)];
    let reset = if rng.bool() { format!("DEL {name}") } else { format!("SET {name} 0") };
    Work::two(&format!("GET {name}"), &reset, Entry::Reset(key(name)))
}

fn unscore(rng: &mut fastrand::Rng) -> Work {
    let name = ["x", "y", "z"][rng.usize(..3)];
    if rng.u32(..4) == 0 {
        return Work::two("ZRANGE board:{b} 0 -1 WITHSCORES", "DEL board:{b}", Entry::Clear(key("board:{b}")));
    }
    let (read, remove) = (format!("ZSCORE board:{{b}} {name}"), format!("ZREM board:{{b}} {name}"));
    Work::two(&read, &remove, Entry::Unscore(key("board:{b}"), Bytes::from(name)))
}

fn raise(rng: &mut fastrand::Rng) -> Work {
    let name = ["p", "q"][rng.usize(..2)];
    raise_to(rng, name)
}

/// Of `p`, which plain clients raise too, no score is an integer: what they write there is no increment.
fn raise_to(rng: &mut fastrand::Rng, name: &str) -> Work {
    let score = rng.i64(1..1_000_000);
    let fraction = if name == "p" { ".5" } else { "" };
    let line = format!("ZADD raised GT {score}{fraction} {name}");
    Work::one(line, Entry::Raise(key("raised"), Bytes::copy_from_slice(name.as_bytes()), score))
}

fn field(rng: &mut fastrand::Rng) -> Work {
    let by = rng.i64(1..10);
    Work::one(format!("HINCRBY hash n {by}"), Entry::Field(key("hash"), Bytes::from("n"), by))
}

/// A limit that is never reached, within one window for the whole run.
fn quota(rng: &mut fastrand::Rng) -> Work {
    let cost = rng.i64(1..10);
    let line = format!("HW.LIMIT quota FIXED 1000000000 2300000000 COST {cost}");
    Work::one(line, Entry::Field(key("quota"), Bytes::from("w2300000000:1699700000000"), cost))
}
