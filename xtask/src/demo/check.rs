//! Truth against store, value by value: every counter, every member and score, every field, every deadline, and no key more.
//!
//! It reads with plain commands only (GET, ZRANGE, SMEMBERS, HGETALL, PTTL, SCAN), as any client at the origin would, and decides
//! nothing but equal or not.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use super::keys;
use super::replay::Touch;
use super::store::{Found, ReadError, Store};
use super::truth::Truth;

/// Commands per pipeline.
const BATCH: usize = 250;
/// How far a deadline may be off: clocks are read at different ends, and edges may see only whole milliseconds of a request.
const DEADLINE_TOLERANCE: Duration = Duration::from_secs(2);
/// How many members of each board the table shows.
const ROWS_SHOWN: usize = 5;
/// How many sessions it shows.
const SESSIONS_SHOWN: usize = 3;
/// How many minutes.
const MINUTES_SHOWN: usize = 3;

/// What the comparison came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Check {
    /// How many values of each kind were compared.
    pub(crate) compared: BTreeMap<&'static str, u64>,
    /// A few pairs to look at.
    pub(crate) rows: Vec<Pair>,
    /// All pairs that differ.
    pub(crate) differences: Vec<Pair>,
    /// What could not be compared, and why.
    pub(crate) omissions: Vec<String>,
}

/// One value in the log and in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    /// Which value.
    pub(crate) what: String,
    /// What the log says.
    pub(crate) truth: String,
    /// What the store says.
    pub(crate) found: String,
}

/// Compares everything.
pub(crate) async fn run(store: &Store, truth: &Truth, touches: &HashMap<String, Touch>) -> Result<Check, ReadError> {
    let mut check = Check::default();
    check.counters(store, truth).await?;
    check.boards(store, truth).await?;
    check.sets(store, truth).await?;
    check.sessions(store, truth).await?;
    check.deadlines(store, truth, touches).await?;
    check.other_keys(store, truth).await?;
    Ok(check)
}

impl Check {
    async fn counters(&mut self, store: &Store, truth: &Truth) -> Result<(), ReadError> {
        let found = ask_all(store, "GET", truth.counters.keys().map(String::as_str), &[]).await?;
        let mut minutes = 0;
        for ((key, value), found) in truth.counters.iter().zip(found) {
            let is_minute = key.starts_with("hits:minute:");
            minutes += usize::from(is_minute);
            let found = found.text().unwrap_or_else(nothing);
            self.compare("counters", key.clone(), value.to_string(), found, !is_minute || minutes <= MINUTES_SHOWN);
        }
        Ok(())
    }

    async fn boards(&mut self, store: &Store, truth: &Truth) -> Result<(), ReadError> {
        let found = ask_all(store, "ZRANGE", truth.boards.keys().copied(), &["0", "-1", "WITHSCORES"]).await?;
        for ((board, members), found) in truth.boards.iter().zip(found) {
            let mut scores = pairs(format!("ZRANGE {board}"), found)?;
            for (rank, (member, score)) in ranked(members.iter(), |score| *score).into_iter().enumerate() {
                // Redis may write 1e20 or 5.0 for whole numbers; the log's sums are exact in a double.
                let found = scores.remove(member);
                let same = found.as_ref().and_then(|text| text.parse::<f64>().ok()) == Some(*score as f64);
                let found = if same { score.to_string() } else { found.unwrap_or_else(nothing) };
                self.compare("board members", format!("{board} {member}"), score.to_string(), found, rank < ROWS_SHOWN);
            }
            self.surplus(board, scores);
        }
        Ok(())
    }

    async fn sets(&mut self, store: &Store, truth: &Truth) -> Result<(), ReadError> {
        let found = ask_all(store, "SMEMBERS", truth.sets.keys().map(String::as_str), &[]).await?;
        let sizes = ask_all(store, "SCARD", truth.sets.keys().map(String::as_str), &[]).await?;
        for (((key, members), found), size) in truth.sets.iter().zip(found).zip(sizes) {
            let size = size.text().unwrap_or_else(nothing);
            self.compare("set sizes", format!("SCARD {key}"), members.len().to_string(), size, true);
            let mut found: BTreeSet<String> = texts(format!("SMEMBERS {key}"), found)?.into_iter().collect();
            for member in members {
                let is_there = if found.remove(member) { "a member".to_owned() } else { nothing() };
                self.compare("set members", format!("{key} {member}"), "a member".to_owned(), is_there, false);
            }
            self.surplus(key, found.into_iter().map(|member| (member, "a member".to_owned())));
        }
        Ok(())
    }

    async fn sessions(&mut self, store: &Store, truth: &Truth) -> Result<(), ReadError> {
        let sessions = ranked(truth.sessions.iter(), |session| session.hits);
        let found = ask_all(store, "HGETALL", sessions.iter().map(|(key, _)| key.as_str()), &[]).await?;
        for (rank, ((key, session), found)) in sessions.into_iter().zip(found).enumerate() {
            let mut fields = pairs(format!("HGETALL {key}"), found)?;
            let truths = [
                (keys::SESSION_PATH, session.path.clone()),
                (keys::SESSION_HITS, session.hits.to_string()),
                (keys::SESSION_BYTES, session.bytes.to_string()),
            ];
            for (field, truth) in truths {
                let found = fields.remove(field).unwrap_or_else(nothing);
                self.compare("session fields", format!("{key} {field}"), truth, found, rank < SESSIONS_SHOWN);
            }
            self.surplus(key, fields);
        }
        Ok(())
    }

    /// Counters and sessions must end when their last request says, all else must stay.
    async fn deadlines(
        &mut self,
        store: &Store,
        truth: &Truth,
        touches: &HashMap<String, Touch>,
    ) -> Result<(), ReadError> {
        let counters = truth.counters.keys().map(|key| (key.as_str(), keys::HITS_TTL_S));
        let sessions = truth.sessions.keys().map(|key| (key.as_str(), keys::SESSION_TTL_S));
        let mortal: Vec<(&str, u64)> = counters.chain(sessions).collect();
        for batch in mortal.chunks(BATCH) {
            let before = Instant::now();
            let found = ask_all(store, "PTTL", batch.iter().map(|(key, _)| *key), &[]).await?;
            let after = Instant::now();
            for ((key, ttl_s), found) in batch.iter().zip(found) {
                let found = found.integer().unwrap_or(-2);
                let window = touches.get(*key).map(|touch| window_ms(touch, *ttl_s, before, after));
                let fits = window.is_some_and(|(least, most)| (least..=most).contains(&found));
                let truth = window
                    .map_or_else(|| "never touched".to_owned(), |(least, most)| format!("{least}..{most} ms to live"));
                let found = if fits { truth.clone() } else { format!("PTTL {found}") };
                self.compare("deadlines", format!("PTTL {key}"), truth, found, false);
            }
        }
        let lasting: Vec<&str> = truth.boards.keys().copied().chain(truth.sets.keys().map(String::as_str)).collect();
        let found = ask_all(store, "PTTL", lasting.iter().copied(), &[]).await?;
        for (key, found) in lasting.iter().zip(found) {
            let found = found.text().unwrap_or_else(nothing);
            self.compare("deadlines", format!("PTTL {key}"), "-1".to_owned(), found, false);
        }
        Ok(())
    }

    async fn other_keys(&mut self, store: &Store, truth: &Truth) -> Result<(), ReadError> {
        let expected = truth.keys();
        let present = match scan(store).await {
            Ok(present) => present,
            Err(error) if matches!(store, Store::Embedded(_)) => {
                self.omissions.push(format!("keys that should not be there ({:#})", anyhow::Error::from(error)));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let own: Vec<&String> =
            present.iter().filter(|key| !keys::FOREIGN_PREFIXES.iter().any(|prefix| key.starts_with(prefix))).collect();
        for key in &own {
            let truth = if expected.contains(key.as_str()) { "a key".to_owned() } else { nothing() };
            self.compare("keys", (*key).clone(), truth, "a key".to_owned(), false);
        }
        self.compare("keys", "keys in all".to_owned(), expected.len().to_string(), own.len().to_string(), true);
        Ok(())
    }

    fn compare(&mut self, kind: &'static str, what: String, truth: String, found: String, show: bool) {
        *self.compared.entry(kind).or_default() += 1;
        if !show && truth == found {
            return;
        }
        let pair = Pair { what, truth, found };
        if pair.truth != pair.found {
            self.differences.push(pair.clone());
        }
        if show {
            self.rows.push(pair);
        }
    }

    /// What the store has and the log does not.
    fn surplus(&mut self, key: &str, found: impl IntoIterator<Item = (String, String)>) {
        let pair = |(name, found)| Pair { what: format!("{key} {name}"), truth: nothing(), found };
        self.differences.extend(found.into_iter().map(pair));
    }
}

/// The least and the most milliseconds that a key may have to live, when asked between two moments.
fn window_ms(touch: &Touch, ttl_s: u64, before: Instant, after: Instant) -> (i64, i64) {
    let ttl_ms = i64::try_from(ttl_s * 1_000).unwrap_or(i64::MAX);
    let tolerance_ms = milliseconds(DEADLINE_TOLERANCE);
    let age_most = milliseconds(after.saturating_duration_since(touch.sent));
    let age_least = milliseconds(before.saturating_duration_since(touch.acknowledged));
    (ttl_ms - age_most - tolerance_ms, ttl_ms - age_least + tolerance_ms)
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// The same command for many keys; one reply each, in order.
async fn ask_all<'a>(
    store: &Store,
    name: &'a str,
    keys: impl Iterator<Item = &'a str>,
    rest: &[&'a str],
) -> Result<Vec<Found>, ReadError> {
    let commands: Vec<Vec<&str>> = keys.map(|key| [&[name, key], rest].concat()).collect();
    let mut found = Vec::with_capacity(commands.len());
    for batch in commands.chunks(BATCH) {
        found.extend(store.read(batch).await?);
    }
    Ok(found)
}

async fn scan(store: &Store) -> Result<BTreeSet<String>, ReadError> {
    let mut keys = BTreeSet::new();
    let mut cursor = "0".to_owned();
    loop {
        let found = store.read_one(&["SCAN", &cursor, "COUNT", "1000"]).await?;
        let page = match &found {
            Found::List(parts) => match parts.as_slice() {
                [next, page] => next.text().zip(page.texts()),
                _ => None,
            },
            _ => None,
        };
        let Some((next, page)) = page else {
            return Err(ReadError::Shape { command: "SCAN".to_owned(), found: Box::new(found) });
        };
        keys.extend(page);
        if next == "0" {
            return Ok(keys);
        }
        cursor = next;
    }
}

fn texts(command: String, found: Found) -> Result<Vec<String>, ReadError> {
    found.texts().ok_or_else(|| ReadError::Shape { command, found: Box::new(found) })
}

/// A flat list of names and values as a map.
fn pairs(command: String, found: Found) -> Result<BTreeMap<String, String>, ReadError> {
    let flat = texts(command, found)?;
    Ok(flat.chunks_exact(2).filter_map(|pair| Some((pair.first()?.clone(), pair.get(1)?.clone()))).collect())
}

/// The highest first.
fn ranked<'a, V>(
    all: impl Iterator<Item = (&'a String, &'a V)>,
    score: impl Fn(&V) -> u64,
) -> Vec<(&'a String, &'a V)> {
    let mut all: Vec<_> = all.collect();
    all.sort_by_key(|(name, value)| (std::cmp::Reverse(score(value)), *name));
    all
}

fn nothing() -> String {
    "nothing".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_window_holds_the_true_deadline_and_not_one_that_never_slid() {
        let sent = Instant::now();
        let acknowledged = sent + Duration::from_millis(80);
        let asked = sent + Duration::from_secs(60);
        let (least, most) = window_ms(&Touch { sent, acknowledged }, 1_800, asked, asked + Duration::from_millis(5));
        assert!((least..=most).contains(&(1_740_000 + 40)));
        assert!(!(least..=most).contains(&1_730_000), "that deadline is of a request 10 s earlier");
        assert!(!(least..=most).contains(&1_800_000));
    }

    #[test]
    fn equal_pairs_are_counted_and_others_reported() {
        let mut check = Check::default();
        check.compare("counters", "a".to_owned(), "1".to_owned(), "1".to_owned(), false);
        check.compare("counters", "b".to_owned(), "1".to_owned(), "2".to_owned(), false);
        check.surplus("c", [("member".to_owned(), "5".to_owned())]);
        assert_eq!(check.compared["counters"], 2);
        let differences: Vec<&str> = check.differences.iter().map(|pair| pair.what.as_str()).collect();
        assert_eq!(differences, ["b", "c member"]);
    }
}
