//! SCAN, KEYS, DBSIZE and RANDOMKEY: the names of the plain keys of one namespace, without Headwater's own. Of FLUSHDB the part
//! that the machine cannot do: it deletes what no state can show.
//!
//! All of them go through the pages of the store, so that no command holds up the server, and are given up where that takes too
//! long.

use crate::{
    run::Refused,
    store::{KeyScan, Store},
};
use bytes::Bytes;
use headwater::{
    command::{KeyspaceAction, Reply},
    id::{Key, RESERVED},
    namespace::Namespace,
};
use std::{
    collections::{BTreeSet, HashSet},
    hash::{BuildHasher, RandomState},
    time::Instant,
};

/// Keys that one page looks at, and at most, whatever COUNT asks for: the server does nothing else meanwhile.
const PAGE: u64 = 1_000;
const PAGE_MAX: u64 = 10_000;

/// Types that pass through edges and that none of them holds.
const FOREIGN: [&str; 2] = ["list", "stream"];

/// How often a random key may be one of Headwater's own or another namespace's before all others are counted.
const DRAWS: usize = 64;

/// What asks of all keys goes through those of one namespace, for so long.
pub(crate) struct Scope<'a, S> {
    pub(crate) store: &'a S,
    pub(crate) within: &'a Namespace,
    pub(crate) until: Instant,
}

impl<S: Store> Scope<'_, S> {
    /// Answers what asks of all keys, in what its reply may take.
    pub(crate) async fn answer(&self, action: &KeyspaceAction, room: usize) -> Result<Reply, Refused> {
        match action {
            KeyspaceAction::Scan { scan, kind } => {
                let count = scan.count.min(PAGE_MAX);
                let pattern = scan.pattern.clone().or_else(|| self.within.pattern());
                let scan = KeyScan { cursor: scan.cursor, count, pattern, kind: kind.clone() };
                let page = self.store.scan(&scan).await?;
                let keys = page.keys.into_iter().filter(|name| self.has(name)).map(Reply::Bulk).collect();
                Ok(Reply::Array(vec![Reply::Bulk(page.cursor.to_string().into()), keys]))
            }
            KeyspaceAction::Keys(pattern) => {
                let mut names = BTreeSet::new();
                let mut room = room;
                self.each(KeyScan { pattern: Some(pattern.clone()), ..KeyScan::default() }, |name| {
                    let bytes = size_of::<Reply>() + name.len();
                    let is_new = names.insert(name);
                    room = if is_new { room.checked_sub(bytes).ok_or(Refused::TooManyNames)? } else { room };
                    Ok(())
                })
                .await?;
                Ok(names.into_iter().map(Reply::Bulk).collect())
            }
            KeyspaceAction::Count => {
                // A page may repeat a key; two keys of one hash are counted once, which of a million happens in one of 10^7
                // calls.
                let (state, mut hashes) = (RandomState::new(), HashSet::new());
                self.each(KeyScan::default(), |name| {
                    hashes.insert(state.hash_one(&name));
                    Ok(())
                })
                .await?;
                Ok(Reply::Int(i64::try_from(hashes.len()).unwrap_or(i64::MAX)))
            }
            KeyspaceAction::Random => self.random().await,
            KeyspaceAction::Flush => {
                for kind in FOREIGN {
                    self.clear(kind).await?;
                }
                Ok(Reply::Ok)
            }
            // The machine does that, by the operator's patterns.
            KeyspaceAction::Erase(_) => Err(Refused::Here),
        }
    }

    /// Of a server most of whose keys are others', as after most have ended, every other is looked at.
    async fn random(&self) -> Result<Reply, Refused> {
        for _ in 0..DRAWS {
            match self.store.random_key().await? {
                Some(name) if self.has(&name) => return Ok(Reply::Bulk(name)),
                // Of a cluster another node may have some.
                Some(_) | None => {}
            }
        }
        let (mut seen, mut chosen) = (0_usize, None);
        self.each(KeyScan::default(), |name| {
            seen += 1;
            if fastrand::usize(..seen) == 0 {
                chosen = Some(name);
            }
            Ok(())
        })
        .await?;
        Ok(chosen.map_or(Reply::Nil, Reply::Bulk))
    }

    /// Deletes the keys of a type that no edge can hold.
    async fn clear(&self, kind: &'static str) -> Result<(), Refused> {
        let scan = KeyScan { kind: Some(Bytes::from_static(kind.as_bytes())), ..KeyScan::default() };
        let mut names = Vec::new();
        self.each(scan, |name| {
            names.push(name);
            Ok(())
        })
        .await?;
        for name in names {
            // A longer name is no key of a command that passed through an edge, but Redis may have it.
            if let Ok(key) = Key::new(name) {
                self.store.discard_plain(&key).await?;
            }
        }
        Ok(())
    }

    /// Goes through the names of all keys of the namespace, perhaps meeting some twice.
    async fn each(&self, mut scan: KeyScan, mut take: impl FnMut(Bytes) -> Result<(), Refused>) -> Result<(), Refused> {
        scan.count = PAGE;
        scan.pattern = scan.pattern.or_else(|| self.within.pattern());
        loop {
            let page = self.store.scan(&scan).await?;
            page.keys.into_iter().filter(|name| self.has(name)).try_for_each(&mut take)?;
            match page.cursor {
                0 => return Ok(()),
                _ if Instant::now() >= self.until => return Err(Refused::TooManyKeys),
                cursor => scan.cursor = cursor,
            }
        }
    }

    /// Whether a name is of the namespace, whatever pattern the server took, and not Headwater's own.
    fn has(&self, name: &Bytes) -> bool {
        !name.starts_with(RESERVED) && self.within.holds(name)
    }
}
