//! Random sequences of commands against a hub and a real redis-server: every reply must be the same.
//!
//! The hub is in process, with an origin over a store in memory, and between commands it sometimes commits or restarts. A
//! failure prints its seed and the shortest sequence found that still fails; `HEADWATER_SEED=n` runs that seed alone. What
//! differs by design (docs/commands.md) is not generated, or compared without its order.
#![cfg(not(target_arch = "wasm32"))]

mod common;

#[path = "differential/generate.rs"]
mod generate;
#[path = "differential/redis.rs"]
mod redis;

use common::{World, text::argv};
use generate::{Generator, generate};
use headwater::{
    command::{Reply, parse},
    id::TimestampMs,
};
use redis::Redis;
use std::time::{SystemTime, UNIX_EPOCH};

/// So many seeds, the same each time.
const SEEDS: u64 = 60;

/// Commands of one sequence.
const LENGTH: usize = 400;

/// How far two clocks' answers may lie apart, in seconds: a slow machine between two commands.
const CLOCK_SLACK_S: i64 = 30;

/// What differed first.
struct Difference {
    at: usize,
    ours: String,
    theirs: String,
}

#[test]
fn a_hub_and_redis_give_the_same_replies() {
    let mut redis = Redis::start();
    let seeds = match std::env::var("HEADWATER_SEED") {
        Ok(seed) => {
            let seed = seed.parse().expect("HEADWATER_SEED is a number");
            seed..seed + 1
        }
        Err(_) => 0..SEEDS,
    };
    for seed in seeds {
        let lines = generate(seed, LENGTH);
        if let Some(difference) = run(&lines, seed, &mut redis) {
            let shortest = shorten(lines[..=difference.at].to_vec(), seed, &mut redis);
            let Difference { ours, theirs, .. } = run(&shortest, seed, &mut redis).unwrap_or(difference);
            panic!("HEADWATER_SEED={seed}\n{}\nours:  {ours}\nRedis: {theirs}", shortest.join("\n"));
        }
    }
}

/// Runs a sequence on both from nothing.
fn run(lines: &[String], seed: u64, redis: &mut Redis) -> Option<Difference> {
    assert_eq!(redis.run(&argv("FLUSHALL")), Ok(Reply::Ok));
    let mut world = World::new(1);
    for (at, line) in lines.iter().enumerate() {
        world.now = wall_clock();
        let theirs = redis.run(&argv(line));
        world.now = wall_clock();
        let ours = world.pipeline(0, &[line], None).replies.remove(0).map_err(|error| error.to_string());
        if !is_same(line, &ours, &theirs, redis) {
            return Some(Difference { at, ours: format!("{ours:?}"), theirs: format!("{theirs:?}") });
        }
        match (seed + at as u64) % 16 {
            0 | 8 => world.settle(),
            1 if seed.is_multiple_of(2) => world.restart_hub(0),
            _ => {}
        }
    }
    None
}

/// Leaves out what is not needed for a failure: halves first, then single commands.
fn shorten(mut lines: Vec<String>, seed: u64, redis: &mut Redis) -> Vec<String> {
    let mut chunk = lines.len() / 2;
    while chunk > 0 {
        let mut at = 0;
        while at < lines.len() {
            let mut without = lines.clone();
            without.drain(at..(at + chunk).min(lines.len()));
            match run(&without, seed, redis) {
                Some(difference) => {
                    without.truncate(difference.at + 1);
                    lines = without;
                }
                None => at += chunk,
            }
        }
        chunk /= 2;
    }
    lines
}

fn is_same(line: &str, ours: &Result<Reply, String>, theirs: &Result<Reply, String>, redis: &mut Redis) -> bool {
    let name = line.split(' ').next().unwrap_or_default();
    match (ours, theirs) {
        (Err(ours), Err(theirs)) if ours != theirs => {
            // Arguments are checked before keys here; WITHSCORE of ZRANK is known already.
            let is_argument = theirs.starts_with("WRONGTYPE") && parse(&argv(line)).is_err();
            is_argument || (matches!(name, "ZRANK" | "ZREVRANK") && theirs.contains("number of arguments"))
        }
        // Redis looks for the key before it looks at the options.
        (Err(_), Ok(_)) if name.ends_with("SCAN") || name == "GETEX" => parse(&argv(line)).is_err(),
        (Ok(ours), Ok(theirs)) => match name {
            "SRANDMEMBER" | "HRANDFIELD" | "ZRANDMEMBER" => is_drawn(line, ours, theirs, redis),
            "TTL" | "EXPIRETIME" => is_near(ours, theirs, 1),
            "PTTL" | "PEXPIRETIME" => is_near(ours, theirs, 1000),
            _ => unordered(name, ours) == unordered(name, theirs),
        },
        (ours, theirs) => ours == theirs,
    }
}

/// Times by two clocks that were read one after the other.
fn is_near(ours: &Reply, theirs: &Reply, per_second: i64) -> bool {
    match (ours, theirs) {
        (Reply::Int(ours), Reply::Int(theirs)) if *ours > 0 && *theirs > 0 => {
            ours.abs_diff(*theirs) <= (CLOCK_SLACK_S * per_second).unsigned_abs()
        }
        (ours, theirs) => ours == theirs,
    }
}

/// Whether as many were drawn, and each is there, with its own value or score.
fn is_drawn(line: &str, ours: &Reply, theirs: &Reply, redis: &mut Redis) -> bool {
    let words: Vec<&str> = line.split(' ').collect();
    let [name, key, options @ ..] = &words[..] else { return false };
    let (Reply::Array(ours), Reply::Array(theirs)) = (ours, theirs) else {
        return matches!((ours, theirs), (Reply::Nil, Reply::Nil))
            || matches!(ours, Reply::Bulk(drawn) if is_there(name, key, drawn, None, redis));
    };
    let step = 1 + options.len().saturating_sub(1).min(1);
    let is_distinct = || {
        let mut names: Vec<_> = ours.chunks(step).map(|chunk| format!("{chunk:?}")).collect();
        names.sort();
        names.windows(2).all(|pair| pair[0] != pair[1])
    };
    let may_repeat = options.first().is_some_and(|count| count.starts_with('-'));
    ours.len() == theirs.len()
        && (may_repeat || is_distinct())
        && ours.chunks(step).all(|chunk| match chunk {
            [Reply::Bulk(drawn)] => is_there(name, key, drawn, None, redis),
            [Reply::Bulk(drawn), value] => is_there(name, key, drawn, Some(value), redis),
            _ => false,
        })
}

fn is_there(name: &str, key: &str, drawn: &[u8], value: Option<&Reply>, redis: &mut Redis) -> bool {
    let look = match name {
        "SRANDMEMBER" => "SISMEMBER",
        "HRANDFIELD" => "HGET",
        _ => "ZSCORE",
    };
    let mut words = argv(&format!("{look} {key}"));
    words.push(drawn.to_vec().into());
    match redis.run(&words) {
        Ok(found) => found != Reply::Nil && found != Reply::Int(0) && value.is_none_or(|value| *value == found),
        Err(_) => false,
    }
}

/// A reply as text, sorted where its order means nothing.
fn unordered(name: &str, reply: &Reply) -> String {
    let sorted = |replies: &[Reply], step: usize| {
        let mut parts: Vec<String> = replies.chunks(step).map(|chunk| format!("{chunk:?}")).collect();
        parts.sort();
        parts.join(" ")
    };
    match (name, reply) {
        ("SMEMBERS" | "SPOP" | "SINTER" | "SUNION" | "SDIFF" | "HKEYS" | "HVALS", Reply::Array(replies)) => {
            sorted(replies, 1)
        }
        ("HGETALL", Reply::Array(replies)) => sorted(replies, 2),
        ("SSCAN" | "HSCAN" | "ZSCAN", Reply::Array(parts)) => match &parts[..] {
            [Reply::Bulk(cursor), Reply::Array(found)] => {
                format!("{cursor:?} {}", sorted(found, if name == "SSCAN" { 1 } else { 2 }))
            }
            _ => format!("{reply:?}"),
        },
        _ => format!("{reply:?}"),
    }
}

fn wall_clock() -> TimestampMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    TimestampMs(i64::try_from(since.as_millis()).expect("it is before the year 292 million"))
}

#[test]
fn every_command_that_redis_has_too_is_generated() {
    let generated: std::collections::BTreeSet<String> = Generator::templates().map(str::to_ascii_lowercase).collect();
    let mut redis = Redis::start();
    for name in
        headwater::command::CommandName::ALL.iter().filter(|name| !name.is_of_keyspace() && name.passes().is_none())
    {
        // Commands of later releases and our own have nothing to be compared with, and the clock is each one's own. Scripts
        // are compared by the client whose they are (tests/edge/clients/ratelimit.test.mjs).
        let is_known = redis.run(&argv(&format!("COMMAND INFO {name}"))) != Ok(Reply::Array(vec![Reply::Nil]));
        assert!(
            !is_known || generated.contains(name.as_str()) || ["time", "eval", "evalsha"].contains(&name.as_str()),
            "{name}"
        );
    }
}
