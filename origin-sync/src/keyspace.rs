//! SCAN, KEYS, DBSIZE and RANDOMKEY: the names of plain keys without Headwater's own. Of FLUSHDB the part that the machine cannot
//! do: it deletes what no state can show.
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

/// How often a random key may be one of Headwater's own before all others are counted.
const DRAWS: usize = 64;

/// Answers what asks of all keys, in what its reply may take.
pub(crate) async fn answer(
    store: &impl Store,
    action: &KeyspaceAction,
    until: Instant,
    room: usize,
) -> Result<Reply, Refused> {
    match action {
        KeyspaceAction::Scan { scan, kind } => {
            let count = scan.count.min(PAGE_MAX);
            let scan = KeyScan { cursor: scan.cursor, count, pattern: scan.pattern.clone(), kind: kind.clone() };
            let page = store.scan(&scan).await?;
            let keys = page.keys.into_iter().filter(is_others).map(Reply::Bulk).collect();
            Ok(Reply::Array(vec![Reply::Bulk(page.cursor.to_string().into()), keys]))
        }
        KeyspaceAction::Keys(pattern) => {
            let mut names = BTreeSet::new();
            let mut room = room;
            each(store, KeyScan { pattern: Some(pattern.clone()), ..KeyScan::default() }, until, |name| {
                let bytes = size_of::<Reply>() + name.len();
                let is_new = names.insert(name);
                room = if is_new { room.checked_sub(bytes).ok_or(Refused::TooManyNames)? } else { room };
                Ok(())
            })
            .await?;
            Ok(names.into_iter().map(Reply::Bulk).collect())
        }
        KeyspaceAction::Count => {
            // A page may repeat a key; two keys of one hash are counted once, which of a million happens in one of 10^7 calls.
            let (state, mut hashes) = (RandomState::new(), HashSet::new());
            each(store, KeyScan::default(), until, |name| {
                hashes.insert(state.hash_one(&name));
                Ok(())
            })
            .await?;
            Ok(Reply::Int(i64::try_from(hashes.len()).unwrap_or(i64::MAX)))
        }
        KeyspaceAction::Random => random(store, until).await,
        KeyspaceAction::Flush => {
            for kind in FOREIGN {
                clear(store, kind, until).await?;
            }
            Ok(Reply::Ok)
        }
    }
}

/// Of a server whose keys are nearly all Headwater's own, as after most have ended, every other is looked at.
async fn random(store: &impl Store, until: Instant) -> Result<Reply, Refused> {
    for _ in 0..DRAWS {
        match store.random_key().await? {
            Some(name) if is_others(&name) => return Ok(Reply::Bulk(name)),
            // Of a cluster another node may have some.
            Some(_) | None => {}
        }
    }
    let (mut seen, mut chosen) = (0_usize, None);
    each(store, KeyScan::default(), until, |name| {
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
async fn clear(store: &impl Store, kind: &'static str, until: Instant) -> Result<(), Refused> {
    let scan = KeyScan { kind: Some(Bytes::from_static(kind.as_bytes())), ..KeyScan::default() };
    let mut names = Vec::new();
    each(store, scan, until, |name| {
        names.push(name);
        Ok(())
    })
    .await?;
    for name in names {
        // A longer name is no key of a command that passed through an edge, but Redis may have it.
        if let Ok(key) = Key::new(name) {
            store.discard_plain(&key).await?;
        }
    }
    Ok(())
}

/// Goes through the names of all keys that are not Headwater's own, perhaps meeting some twice.
async fn each(
    store: &impl Store,
    mut scan: KeyScan,
    until: Instant,
    mut take: impl FnMut(Bytes) -> Result<(), Refused>,
) -> Result<(), Refused> {
    scan.count = PAGE;
    loop {
        let page = store.scan(&scan).await?;
        page.keys.into_iter().filter(is_others).try_for_each(&mut take)?;
        match page.cursor {
            0 => return Ok(()),
            _ if Instant::now() >= until => return Err(Refused::TooManyKeys),
            cursor => scan.cursor = cursor,
        }
    }
}

fn is_others(name: &Bytes) -> bool {
    !name.starts_with(RESERVED)
}
