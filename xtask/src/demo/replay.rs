//! Plays the log at the edges: many connections at once, but one address's requests strictly one after the other.
//!
//! Invariant: a line is done when every edge that it concerns has acknowledged it; only then may its address's next line start.
//! Free connections take the earliest line that may start, so the log's own order is kept as far as that rule lets it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::{try_join, try_join_all};
use tokio::sync::watch;

use super::edge::{EdgeClient, EdgeError};
use super::log::Entry;
use super::plan::{self, Request};

/// How many refused commands are kept to be shown; all are counted.
const REFUSALS_SHOWN: usize = 10;

/// What the replay has done so far, for those who look on.
#[derive(Debug)]
pub(crate) struct Progress {
    /// How many lines there are.
    pub(crate) lines_total: u64,
    lines_done: watch::Sender<u64>,
    operations: Vec<AtomicU64>,
}

impl Progress {
    /// Nothing done yet.
    pub(crate) fn new(lines_total: u64, edges: usize) -> Self {
        Self {
            lines_total,
            lines_done: watch::Sender::new(0),
            operations: (0..edges).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Lines that are acknowledged everywhere.
    pub(crate) fn lines_done(&self) -> u64 {
        *self.lines_done.borrow()
    }

    /// Commands that one edge has acknowledged.
    pub(crate) fn operations(&self, edge: usize) -> u64 {
        self.operations.get(edge).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// Commands that all edges have acknowledged.
    pub(crate) fn operations_total(&self) -> u64 {
        (0..self.operations.len()).map(|edge| self.operations(edge)).sum()
    }

    /// Returns when that percentage of the lines is done.
    pub(crate) async fn reached(&self, percent: u64) {
        let lines = self.lines_total * percent / 100;
        let mut done = self.lines_done.subscribe();
        // It fails only when the sender is gone, and `self` holds that.
        let _ = done.wait_for(|done| *done >= lines).await;
    }
}

/// When a key's deadline was last set: not before `sent`, not after `acknowledged`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Touch {
    /// The latest moment at which an EXPIRE of it was sent first.
    pub(crate) sent: Instant,
    /// The latest moment at which an EXPIRE of it was acknowledged.
    pub(crate) acknowledged: Instant,
}

/// What a replay came to.
#[derive(Debug)]
pub(crate) struct Replayed {
    /// From the first request to the last acknowledgement.
    pub(crate) took: Duration,
    /// Commands acknowledged.
    pub(crate) operations: u64,
    /// Attempts repeated.
    pub(crate) retries: u64,
    /// Key → when its deadline was set.
    pub(crate) touches: HashMap<String, Touch>,
    /// Commands that an edge answered with an error.
    pub(crate) refused: u64,
    /// The first of them, with what the edge said.
    pub(crate) refusals: Vec<String>,
}

/// Plays all entries, which must be in file order, over so many connections.
pub(crate) async fn run(
    edges: &[EdgeClient],
    entries: &[Entry],
    connections: usize,
    progress: &Progress,
) -> Result<Replayed, EdgeError> {
    let turns = Mutex::new(Turns::new(entries));
    let records = Mutex::new(Records::default());
    let started = Instant::now();
    let worker = || async {
        loop {
            let Some(turn) = lock(&turns).take() else { return Ok(()) };
            let Some(entry) = entries.get(turn.entry) else { return Ok(()) };
            let mut requests = plan::requests(entry, turn.nth, edges.len());
            let play = |request| play(edges, request, progress, &records);
            match (requests.pop(), requests.pop()) {
                (Some(last), Some(first)) => drop(try_join(play(first), play(last)).await?),
                (Some(only), None) => play(only).await?,
                (None, _) => {}
            }
            progress.lines_done.send_modify(|done| *done += 1);
            lock(&turns).give_back(&turn);
        }
    };
    try_join_all((0..connections.max(1)).map(|_| worker())).await?;
    let took = started.elapsed();

    let Records { touches, refused, refusals } = records.into_inner().unwrap_or_else(PoisonError::into_inner);
    let retries = edges.iter().map(EdgeClient::retries).sum();
    Ok(Replayed { took, operations: progress.operations_total(), retries, touches, refused, refusals })
}

/// Has one request acknowledged, and notes what matters of it.
async fn play(
    edges: &[EdgeClient],
    request: Request,
    progress: &Progress,
    records: &Mutex<Records>,
) -> Result<(), EdgeError> {
    let Some(edge) = edges.get(request.edge) else { return Ok(()) };
    let sent = Instant::now();
    let replies = edge.pipeline(&request.idempotency_key, &request.commands).await?;
    let touch = Touch { sent, acknowledged: Instant::now() };
    if let Some(count) = progress.operations.get(request.edge) {
        count.fetch_add(request.commands.len() as u64, Ordering::Relaxed);
    }
    let mut records = lock(records);
    for (command, reply) in request.commands.iter().zip(replies) {
        match (reply, command.as_slice()) {
            (Err(error), _) => records.refuse(format!("{} at {}: {error}", command.join(" "), edge.region)),
            (Ok(_), [name, key, ..]) if name == "EXPIRE" => records.touch(key, touch),
            (Ok(_), _) => {}
        }
    }
    Ok(())
}

/// What the connections note together.
#[derive(Debug, Default)]
struct Records {
    touches: HashMap<String, Touch>,
    refused: u64,
    refusals: Vec<String>,
}

impl Records {
    fn refuse(&mut self, refusal: String) {
        self.refused += 1;
        if self.refusals.len() < REFUSALS_SHOWN {
            self.refusals.push(refusal);
        }
    }

    /// The later deadline holds, so each bound grows by itself.
    fn touch(&mut self, key: &str, touch: Touch) {
        let known = self.touches.entry(key.to_owned()).or_insert(touch);
        known.sent = known.sent.max(touch.sent);
        known.acknowledged = known.acknowledged.max(touch.acknowledged);
    }
}

/// Whose turn it is. At most one turn of an address is out at any time.
///
/// A connection that finds nothing may leave for good: the addresses that still have lines are then all out, each with another
/// connection, and each of those comes back for more.
#[derive(Debug)]
struct Turns {
    /// Per address, the indices of its entries, in file order.
    entries: Vec<Vec<usize>>,
    /// The next entry of each address that is not out, the earliest first; with the address and how many it has played.
    ready: BinaryHeap<Reverse<(usize, usize, usize)>>,
}

/// One line's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Turn {
    /// The entry's index.
    entry: usize,
    /// Which of its address's requests this is, from 1.
    nth: u64,
    address: usize,
    played: usize,
}

impl Turns {
    fn new(entries: &[Entry]) -> Self {
        let mut numbers = HashMap::new();
        let mut of_address: Vec<Vec<usize>> = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            let address = *numbers.entry(entry.address.as_str()).or_insert_with(|| {
                of_address.push(Vec::new());
                of_address.len() - 1
            });
            if let Some(indices) = of_address.get_mut(address) {
                indices.push(index);
            }
        }
        let firsts = of_address.iter().enumerate();
        let ready = firsts.filter_map(|(address, indices)| Some(Reverse((*indices.first()?, address, 0)))).collect();
        Self { entries: of_address, ready }
    }

    fn take(&mut self) -> Option<Turn> {
        let Reverse((entry, address, played)) = self.ready.pop()?;
        Some(Turn { entry, nth: played as u64 + 1, address, played })
    }

    fn give_back(&mut self, turn: &Turn) {
        let played = turn.played + 1;
        if let Some(entry) = self.entries.get(turn.address).and_then(|indices| indices.get(played)) {
            self.ready.push(Reverse((*entry, turn.address, played)));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::log::parse;
    use super::*;

    fn entries(addresses: &str) -> Vec<Entry> {
        let line = |(number, address): (u64, char)| {
            let text = format!(r#"{address} - - [17/May/2015:10:05:03 +0000] "GET /{number} HTTP/1.1" 200 10 "-" "-""#);
            parse(number, text.as_bytes()).unwrap()
        };
        (1..).zip(addresses.chars()).map(line).collect()
    }

    #[test]
    fn an_address_that_is_out_waits_and_others_go_on() {
        let mut turns = Turns::new(&entries("aab"));
        let first = turns.take().unwrap();
        assert_eq!((first.entry, first.nth), (0, 1));
        assert_eq!(turns.take().unwrap().entry, 2, "line 2 is the same address's");
        assert_eq!(turns.take(), None);
        turns.give_back(&first);
        let second = turns.take().unwrap();
        assert_eq!((second.entry, second.nth), (1, 2));
    }

    #[test]
    fn every_line_gets_one_turn_in_file_order() {
        let mut turns = Turns::new(&entries("abcabcaab"));
        let mut played = Vec::new();
        while let Some(turn) = turns.take() {
            played.push(turn.entry);
            turns.give_back(&turn);
        }
        assert_eq!(played, (0..9).collect::<Vec<_>>());
    }

    #[test]
    fn a_later_touch_moves_both_bounds_and_an_earlier_none() {
        let mut records = Records::default();
        let at = Instant::now();
        let touch = |sent, acknowledged| Touch {
            sent: at + Duration::from_secs(sent),
            acknowledged: at + Duration::from_secs(acknowledged),
        };
        records.touch("k", touch(5, 6));
        records.touch("k", touch(1, 9));
        assert_eq!(records.touches["k"], touch(5, 9));
    }
}
