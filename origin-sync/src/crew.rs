//! Which daemons share the hubs, and which hubs are this one's.
//!
//! Each daemon counts a heartbeat up in the store, once a second, and reads those of the others; one whose count has not
//! moved for some beats is gone. No clock is compared, and a store that hangs makes nobody look dead, since silence is
//! counted in one's own beats. Each hub goes to the daemon with the highest hash of both names (rendezvous hashing, Thaler
//! and Ravishankar 1998), so that daemons that agree on who is there agree on who serves whom, and one that comes or goes
//! moves only its own share.
//!
//! Only daemons that dial the same edges share hubs, since one that does not know an edge cannot serve its hubs: a daemon's
//! name in the store begins with a hash of its edges.
//!
//! Nothing rests on that agreement but the load: where two daemons serve one hub for a moment, the compare-and-set of the
//! store orders them.

use crate::{
    edge::EdgeUrl,
    measure,
    store::{AnyStore, Store},
};
use headwater::id::HashSeed;
use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{BuildHasher, Hasher},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval_at},
};

/// The time between two beats.
const BEAT_INTERVAL: Duration = Duration::from_secs(1);

/// A daemon that did not beat during so many of our own beats is gone.
const SILENT_BEATS_MAX: u32 = 3;

/// How many characters of a daemon's name in the store tell its edges.
const GROUP_DIGITS: usize = 16;

/// One that is gone for so long is forgotten in the store, too.
const FORGOTTEN_BEATS: u32 = 60;

/// The daemons that are there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Crew {
    me: String,
    /// Without this one.
    others: BTreeSet<String>,
}

impl Crew {
    fn alone(me: String) -> Self {
        Self { me, others: BTreeSet::new() }
    }

    /// Whether the hub of that name is this daemon's to serve. O(daemons).
    pub(crate) fn serves(&self, hub: &str) -> bool {
        let mine = weight(&self.me, hub);
        self.others.iter().all(|other| (weight(other, hub), other) < (mine, &self.me))
    }

    /// How many there are.
    pub(crate) fn size(&self) -> usize {
        self.others.len().saturating_add(1)
    }
}

/// What a daemon is called in the store: a hash of the edges that it dials, and its own name.
pub(crate) fn member(name: &str, edges: &[EdgeUrl]) -> String {
    let mut edges: Vec<String> = edges.iter().map(EdgeUrl::to_string).collect();
    edges.sort();
    edges.dedup();
    format!("{:0width$x} {name}", hash(edges.iter().map(String::as_str)), width = GROUP_DIGITS)
}

/// Whether both dial the same edges.
fn are_alike(one: &str, other: &str) -> bool {
    one.as_bytes().get(..GROUP_DIGITS) == other.as_bytes().get(..GROUP_DIGITS)
}

fn weight(daemon: &str, hub: &str) -> u64 {
    hash([daemon, hub])
}

/// The same in every daemon and every release, since all must agree.
fn hash<'a>(names: impl IntoIterator<Item = &'a str>) -> u64 {
    let mut hasher = HashSeed(0, 0).build_hasher();
    for name in names {
        hasher.write(name.as_bytes());
        // Stands in no name, so that no two lists read alike.
        hasher.write(&[0xff]);
    }
    hasher.finish()
}

/// What was heard of another daemon.
#[derive(Debug)]
struct Heard {
    count: i64,
    /// For how many of our own beats the count has stood still.
    silent: u32,
}

/// What was heard of all others.
#[derive(Debug)]
struct Register {
    me: String,
    others: BTreeMap<String, Heard>,
}

impl Register {
    fn new(me: String) -> Self {
        Self { me, others: BTreeMap::new() }
    }

    /// Takes what the store listed at a beat of ours. One that was not heard before counts as there.
    fn note(&mut self, beats: BTreeMap<String, i64>) -> Crew {
        self.others.retain(|name, _| beats.contains_key(name));
        for (name, count) in beats.into_iter().filter(|(name, _)| *name != self.me) {
            let before = self.others.get(&name).filter(|heard| heard.count == count);
            let silent = before.map_or(0, |heard| heard.silent.saturating_add(1));
            self.others.insert(name, Heard { count, silent });
        }
        let is_of_crew = |name: &str, heard: &Heard| heard.silent < SILENT_BEATS_MAX && are_alike(name, &self.me);
        let others = self.others.iter().filter(|(name, heard)| is_of_crew(name, heard));
        Crew { me: self.me.clone(), others: others.map(|(name, _)| name.clone()).collect() }
    }

    /// Those of which nothing more is to stand in the store.
    fn gone(&self) -> Vec<String> {
        let gone = self.others.iter().filter(|(_, heard)| heard.silent >= FORGOTTEN_BEATS);
        gone.map(|(name, _)| name.clone()).collect()
    }
}

/// Beats until nobody looks any more. Before the first beat has come through nobody knows who is there, and this daemon
/// serves no hub; while the store does not answer, what was known before holds.
pub(crate) async fn keep(store: Arc<AnyStore>, me: String, crew: watch::Sender<Option<Crew>>) {
    let mut register = Register::new(me.clone());
    let mut beat = interval_at(Instant::now(), BEAT_INTERVAL);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = beat.tick() => {}
            () = crew.closed() => return,
        }
        let now = match store.beat(&me, &register.gone()).await {
            Ok(Some(beats)) => register.note(beats),
            Ok(None) => Crew::alone(me.clone()),
            // The sign of life that the actor waits for tells whether the store is gone.
            Err(error) => {
                tracing::debug!(%error, "the store took no heartbeat");
                continue;
            }
        };
        measure::daemons(now.size());
        crew.send_if_modified(|known| {
            let is_other = known.as_ref() != Some(&now);
            if is_other {
                tracing::info!(daemons = now.size(), "the daemons that share the hubs are others than before");
                *known = Some(now);
            }
            is_other
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crew(me: &str, others: &[&str]) -> Crew {
        Crew { me: me.to_owned(), others: others.iter().map(|name| (*name).to_owned()).collect() }
    }

    fn beats(counts: &[(&str, i64)]) -> BTreeMap<String, i64> {
        counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    fn hubs() -> impl Iterator<Item = String> {
        (0..1000).map(|no| format!("region/{no}"))
    }

    #[test]
    fn each_hub_is_served_by_one_daemon_and_all_by_nearly_as_many() {
        let names = ["a", "b", "c", "d"];
        let others = |me: &str| names.into_iter().filter(|name| *name != me).collect::<Vec<_>>();
        let crews: Vec<Crew> = names.iter().map(|me| crew(me, &others(me))).collect();
        let mut shares = [0; 4];
        for hub in hubs() {
            let serving: Vec<usize> = (0..4).filter(|at| crews[*at].serves(&hub)).collect();
            assert_eq!(serving.len(), 1, "{hub}");
            shares[serving[0]] += 1;
        }
        assert!(shares.iter().all(|share| (200..300).contains(share)), "{shares:?}");
    }

    #[test]
    fn who_leaves_hands_over_only_its_own_hubs() {
        let (before, after) = (crew("a", &["b", "c"]), crew("a", &["b"]));
        let left = crew("c", &["a", "b"]);
        for hub in hubs() {
            assert!(after.serves(&hub) || !before.serves(&hub), "{hub} moved without need");
            assert!(!after.serves(&hub) || before.serves(&hub) || left.serves(&hub), "{hub} was not the leaving one's");
        }
    }

    #[test]
    fn who_does_not_beat_is_gone_and_back_when_it_does() {
        let mut register = Register::new("a".to_owned());
        assert_eq!(register.note(beats(&[("a", 1), ("b", 7)])), crew("a", &["b"]));
        assert_eq!(register.note(beats(&[("a", 2), ("b", 7)])), crew("a", &["b"]));
        assert_eq!(register.note(beats(&[("a", 3), ("b", 7)])), crew("a", &["b"]));
        assert_eq!(register.note(beats(&[("a", 4), ("b", 7)])), crew("a", &[]));
        assert_eq!(register.note(beats(&[("a", 5), ("b", 8)])), crew("a", &["b"]));
    }

    #[test]
    fn who_is_gone_for_long_is_forgotten() {
        let mut register = Register::new("a".to_owned());
        for count in 0..60 {
            register.note(beats(&[("a", count), ("b", 7)]));
            assert_eq!(register.gone(), [""; 0]);
        }
        register.note(beats(&[("a", 60), ("b", 7)]));
        assert_eq!(register.gone(), ["b"]);
        assert_eq!(register.note(beats(&[("a", 61)])), crew("a", &[]));
        assert_eq!(register.gone(), [""; 0]);
    }

    #[test]
    fn only_daemons_of_the_same_edges_share_hubs() {
        let edges = |urls: &[&str]| urls.iter().map(|url| url.parse().unwrap()).collect::<Vec<EdgeUrl>>();
        let [one, two] = ["https://one.example", "https://two.example"];
        let me = member("a", &edges(&[one, two]));
        let alike = member("b", &edges(&[two, one, one]));
        let other = member("c", &edges(&[one]));
        let crew = Register::new(me.clone()).note(beats(&[(&me, 1), (&alike, 1), (&other, 1)]));
        assert_eq!(crew.others, BTreeSet::from([alike]));
    }

    #[test]
    fn who_left_is_gone_at_once() {
        let mut register = Register::new("a".to_owned());
        register.note(beats(&[("a", 1), ("b", 7)]));
        assert_eq!(register.note(beats(&[("a", 2)])), crew("a", &[]));
    }
}
