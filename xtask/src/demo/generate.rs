//! A log to replay where none is given: seeded, so the same arguments write the same bytes, and Zipf-shaped, so that a few paths and
//! addresses carry most requests, as in life.

use std::io::{self, Write};

/// How many different paths are asked for.
const PATHS: usize = 400;
/// How many different addresses ask.
const ADDRESSES: usize = 600;
/// Requests per minute of the log's own time, on average.
const LINES_PER_MINUTE: u64 = 120;
/// 2026-03-01T23:30:00Z in minutes since that day began: the log soon crosses midnight, so there are two days of visitors.
const START_MINUTE: u64 = 23 * 60 + 30;

/// Writes `lines` lines of combined log.
pub(crate) fn write(lines: u64, seed: u64, mut out: impl Write) -> io::Result<()> {
    let mut random = fastrand::Rng::with_seed(seed);
    let paths = Zipf::new(PATHS, 1.0);
    let addresses = Zipf::new(ADDRESSES, 0.9);
    for line in 0..lines {
        let address = address(addresses.pick(&mut random));
        let path = paths.pick(&mut random);
        let status = status(&mut random);
        let bytes = match status {
            304 => "-".to_owned(),
            _ => size(path, &mut random).to_string(),
        };
        let time = time(line, &mut random);
        let path = target(path);
        writeln!(out, r#"{address} - - [{time}] "GET {path} HTTP/1.1" {status} {bytes} "-" "headwater-demo/1.0""#)?;
    }
    out.flush()
}

/// Ranks 0..n, rank r with a weight of 1/(r+1)^s, by looking a uniform number up in the running sums.
struct Zipf {
    sums: Vec<f64>,
}

impl Zipf {
    fn new(ranks: usize, exponent: f64) -> Self {
        let mut total = 0.0;
        let weigh = |rank: usize| {
            total += (rank as f64).powf(-exponent);
            total
        };
        Self { sums: (1..=ranks).map(weigh).collect() }
    }

    fn pick(&self, random: &mut fastrand::Rng) -> usize {
        let at = random.f64() * self.sums.last().copied().unwrap_or_default();
        self.sums.partition_point(|sum| *sum <= at).min(self.sums.len().saturating_sub(1))
    }
}

/// Addresses of the ranges kept for documentation and benchmarks, so they are nobody's.
fn address(rank: usize) -> String {
    format!("198.18.{}.{}", rank / 250, rank % 250 + 1)
}

fn target(rank: usize) -> String {
    match rank % 5 {
        0 => format!("/article/{rank}"),
        1 => format!("/image/{rank}.png"),
        2 => format!("/search?page={rank}"),
        3 => format!("/style/{rank}.css"),
        _ => format!("/download/{rank}.tar.gz"),
    }
}

fn status(random: &mut fastrand::Rng) -> u16 {
    match random.u8(0..100) {
        0..88 => 200,
        88..94 => 304,
        94..97 => 404,
        97..99 => 301,
        _ => 500,
    }
}

/// Around a size of the path's own, so that the largest response of a path is worth asking for.
fn size(path: usize, random: &mut fastrand::Rng) -> u64 {
    let own = 500 + (path as u64 * 7_919) % 200_000;
    own + random.u64(0..own)
}

/// Time goes on evenly; within a minute it jumps about, as it does where several processes write one log.
fn time(line: u64, random: &mut fastrand::Rng) -> String {
    let minute = START_MINUTE + line / LINES_PER_MINUTE;
    let day = 1 + minute / 1_440 % 28;
    let second = random.u8(0..60);
    format!("{day:02}/Mar/2026:{:02}:{:02}:{second:02} +0000", minute / 60 % 24, minute % 60)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::super::log::{Entry, parse};
    use super::*;

    fn generated(lines: u64, seed: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(lines, seed, &mut bytes).unwrap();
        bytes
    }

    fn entries(bytes: &[u8]) -> Vec<Entry> {
        (1..).zip(bytes.split_inclusive(|byte| *byte == b'\n')).map(|(line, text)| parse(line, text).unwrap()).collect()
    }

    #[test]
    fn a_seed_writes_the_same_bytes_twice_and_another_seed_others() {
        assert_eq!(generated(500, 7), generated(500, 7));
        assert_ne!(generated(500, 7), generated(500, 8));
    }

    #[test]
    fn every_line_can_be_read_back() {
        assert_eq!(entries(&generated(5_000, 1)).len(), 5_000);
    }

    #[test]
    fn it_has_minutes_days_statuses_and_a_steep_head() {
        let entries = entries(&generated(10_000, 1));
        let distinct = |of: fn(&Entry) -> String| entries.iter().map(of).collect::<BTreeSet<_>>().len();
        assert!(distinct(|entry| entry.time.minute()) > 50);
        assert_eq!(distinct(|entry| entry.time.day()), 2);
        assert_eq!(distinct(|entry| entry.status.to_string()), 5);
        assert!(distinct(|entry| entry.address.clone()) > 300);
        let mut hits = BTreeMap::<_, u32>::new();
        for entry in &entries {
            *hits.entry(&entry.path).or_default() += 1;
        }
        let most = hits.values().max().unwrap();
        assert!(*most > 1_000, "the first path has {most} of 10,000");
        assert!(hits.len() > 300);
    }
}
