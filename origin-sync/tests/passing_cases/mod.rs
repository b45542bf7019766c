//! What every Redis does with commands that edges have passed through.

use crate::support::{
    bed::{Bed, Plain},
    say::bytes,
};
use bytes::Bytes;
use headwater::command::{Command, CommandName, Family, Passed, Reply, parse};
use origin_sync::store::{RunError, Store};
use std::collections::BTreeSet;

fn passed(line: &str) -> Passed {
    let argv: Vec<Bytes> = line.split(' ').map(bytes).collect();
    match parse(&argv) {
        Ok(Command::Passed(passed)) => passed,
        other => panic!("{line}: {other:?}"),
    }
}

async fn run(bed: &impl Bed, line: &str) -> Result<Reply, RunError> {
    bed.store().run(&passed(line)).await
}

fn plain(bed: &impl Bed) -> Plain {
    bed.plain().expect("a store with plain values")
}

fn bulk(text: &str) -> Reply {
    Reply::Bulk(bytes(text))
}

/// Each once, and where the user may do only what is documented this shows that the line has them all.
const EVERY: [&str; 65] = [
    "rpush {k}l a b c",
    "lpush {k}l d",
    "rpushx {k}l e",
    "lpushx {k}l f",
    "lindex {k}l 0",
    "linsert {k}l before a g",
    "llen {k}l",
    "lmove {k}l {k}m left right",
    "lmpop 2 {k}n {k}l left",
    "lpop {k}l",
    "lpos {k}l a",
    "lrange {k}l 0 -1",
    "lset {k}l 0 h",
    "lrem {k}l 0 zz",
    "ltrim {k}l 0 -1",
    "rpop {k}l",
    "rpoplpush {k}l {k}m",
    "rpush {k}l z",
    "xadd {k}x 1-1 f v",
    "xlen {k}x",
    "xrange {k}x - +",
    "xrevrange {k}x + -",
    "xread count 1 streams {k}x 0",
    "xgroup create {k}x g 0",
    "xgroup createconsumer {k}x g c",
    "xreadgroup group g c streams {k}x >",
    "xpending {k}x g",
    "xclaim {k}x g c 0 1-1",
    "xautoclaim {k}x g c 0 0",
    "xinfo stream {k}x",
    "xinfo groups {k}x",
    "xinfo consumers {k}x g",
    "xack {k}x g 1-1",
    "xgroup setid {k}x g 0",
    "xgroup delconsumer {k}x g c",
    "xgroup destroy {k}x g",
    "xsetid {k}x 9-9",
    "xtrim {k}x maxlen 10",
    "xdel {k}x 1-1",
    "setbit {k}b 7 1",
    "getbit {k}b 7",
    "bitcount {k}b",
    "bitpos {k}b 1",
    "bitfield {k}b get u8 0",
    "bitfield_ro {k}b get u8 0",
    "bitop not {k}c {k}b",
    "bitop or {k}c {k}b {k}c",
    "pfadd {k}p a b",
    "pfadd {k}q c",
    "pfcount {k}p",
    "pfcount {k}p {k}q",
    "pfmerge {k}r {k}p {k}q",
    "geoadd {k}g 13.4 52.5 berlin",
    "geoadd {k}g 2.35 48.85 paris",
    "geodist {k}g berlin paris",
    "geodist {k}g berlin paris km",
    "geohash {k}g berlin",
    "geopos {k}g berlin",
    "geosearch {k}g frommember berlin byradius 1 km",
    "geosearchstore {k}h {k}g frommember berlin byradius 1 km",
    "publish channel text",
    "lrange {k}none 0 -1",
    "xlen {k}none",
    "bitcount {k}none",
    "pfcount {k}none",
];

pub async fn every_command_that_is_passed_through_runs(bed: impl Bed) {
    for line in EVERY {
        run(&bed, line).await.unwrap_or_else(|error| panic!("{line}: {error}"));
    }
    let ran: BTreeSet<CommandName> = EVERY.iter().map(|line| passed(line).name).collect();
    let is_script = |name: &CommandName| name.passes() == Some(Family::Scripts);
    for name in CommandName::ALL.iter().filter(|name| name.passes().is_some() && !is_script(name)) {
        assert!(ran.contains(name), "{name} is not tried");
    }
    assert_eq!(plain(&bed).ask::<u64>(&["BITCOUNT", "{k}b"]).await, 1);
}

pub async fn errors_are_those_of_redis(bed: impl Bed) {
    plain(&bed).ask::<()>(&["SET", "text", "x"]).await;
    for (line, error) in [
        ("rpush text a", "WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("lset absent 0 a", "ERR no such key"),
        ("xadd s 0-0 f v", "ERR The ID specified in XADD must be greater than 0-0"),
        ("lrange text a b", "ERR value is not an integer or out of range"),
    ] {
        assert_eq!(run(&bed, line).await.unwrap_err().to_string(), error, "{line}");
    }
    assert_eq!(plain(&bed).ask::<String>(&["GET", "text"]).await, "x");
}

pub async fn replies_of_every_shape_come_back(bed: impl Bed) {
    assert_eq!(run(&bed, "rpush list a b").await.unwrap(), Reply::Int(2));
    assert_eq!(run(&bed, "lset list 0 c").await.unwrap(), Reply::Ok);
    assert_eq!(run(&bed, "lpop absent").await.unwrap(), Reply::Nil);
    assert_eq!(run(&bed, "lrange list 0 -1").await.unwrap(), Reply::Array(vec![bulk("c"), bulk("b")]));
    assert_eq!(run(&bed, "xadd s 1-1 f v").await.unwrap(), bulk("1-1"));
    let entry = Reply::Array(vec![bulk("1-1"), Reply::Array(vec![bulk("f"), bulk("v")])]);
    let streams = Reply::Array(vec![Reply::Array(vec![bulk("s"), Reply::Array(vec![entry])])]);
    assert_eq!(run(&bed, "xread streams s 0").await.unwrap(), streams);
}

/// A command that Redis does not answer in time may still have run, and later ones are not kept from running.
pub async fn a_slow_command_is_given_up_and_the_next_one_runs(bed: impl Bed) {
    run(&bed, "rpush slow a").await.unwrap();
    // A cluster's client asks any node; the others are not held up.
    let Plain::Single(_) = plain(&bed) else { return };
    plain(&bed).ask::<()>(&["CLIENT", "PAUSE", "60000", "WRITE"]).await;
    let error = run(&bed, "rpush slow b").await.unwrap_err();
    assert!(matches!(error, RunError::TimedOut), "{error}");
    assert!(error.to_string().contains("unknown"), "{error}");
    assert_eq!(run(&bed, "llen slow").await.unwrap(), Reply::Int(1));
    plain(&bed).ask::<()>(&["CLIENT", "UNPAUSE"]).await;
}
