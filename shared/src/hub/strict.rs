//! Strict limits: a hub admits only what it has rights for, and asks the origin for them ahead.
//!
//! A check that finds rights is answered at once, from memory and by one row. Where there are none the hub asks the origin and
//! the request waits for the answer; where the origin has none either, requests are refused without asking for a short while.
//! With the origin away, or silent after it lost its store, a check fails with [`CommandError::NoRights`] once the rights
//! are spent: the client chooses whether to let the request pass then, outside the promise.
//!
//! **What makes it hold.** Rights are used only as long as their lease runs, which counts from when the request was sent, by
//! this hub's own clock; a clock that goes back ends all leases. What was used is in the rows before the check is answered,
//! since it is what the hub tells the origin, also after it was restored from them: then it has no leases, and only tells.
//! A request that was given up is told as one of which nothing was used, and its answer is not taken any more.
//!
//! **How much to ask for.** Besides what waits, as much as comes in a sixteenth of the window at the rate of late, at most a second. A
//! grant is given back after four times as long, so that rights do not lie here while others need them, and so that what was
//! spent counts from soon after it was.

use super::{Connection, Hub, HubEffect, RowId, remote::Remote};
use crate::{
    command::{Command, CommandError, Reply},
    id::{Key, TimestampMs},
    lease::{Holder, LocalMs, RequestId},
    limit::{Limit, Wanted},
    limits::{RIGHTS_KEYS_MAX, RIGHTS_REPORTED_MAX},
    message::{HubToOrigin, RightsAnswer, RightsRequest},
    wire::{
        Invalid, WireError,
        rights::{read_limit, read_used, write_limit, write_used},
        stored::{from_stored, to_stored},
    },
};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// How long an answer of the origin is waited for before the request is given up, in milliseconds: some round trips around the world.
const ASK_MS_MAX: i64 = 2_000;

/// For how long what the origin told is remembered of a limit that nobody asks for, in milliseconds.
const IDLE_MS: i64 = 60_000;

/// Rights that were granted on one request.
#[derive(Debug)]
struct Chunk {
    request: u64,
    amount: u64,
    used: u64,
    lease: Holder,
    /// When what is left is given back.
    back_at: TimestampMs,
}

impl Chunk {
    fn left(&self, now: TimestampMs) -> u64 {
        if self.lease.left_ms(local(now)).is_err() {
            return 0;
        }
        self.amount.saturating_sub(self.used)
    }
}

/// A request that is under way.
#[derive(Debug)]
struct Asked {
    request: u64,
    lease: Holder,
    until: TimestampMs,
    needed: u64,
    ahead: u64,
    reported: Vec<u64>,
    sent_at: TimestampMs,
}

/// What the origin told last.
#[derive(Clone, Copy, Debug)]
struct Told {
    at: TimestampMs,
    room: u64,
    /// Until when nothing is asked for since there is nothing.
    short_until: TimestampMs,
    /// When there is room again for what was asked.
    fits_at: TimestampMs,
    is_silent: bool,
}

/// What this hub has of one limit.
#[derive(Debug)]
struct Held {
    limit: Limit,
    chunks: Vec<Chunk>,
    /// Requests that are done with, with what was used of each.
    used: BTreeMap<u64, u64>,
    asked: Option<Asked>,
    told: Option<Told>,
    /// What was asked for by clients since the rate was last taken.
    demand: u64,
    demand_since: TimestampMs,
    /// What clients ask for in a second.
    rate: u64,
    /// When it was last asked for; unknown since it was restored.
    touched_at: Option<TimestampMs>,
}

/// What is to be said of a check before it is executed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Standing {
    /// There are rights, or it is known that there are none.
    Decided,
    /// Only the origin can tell.
    Open,
}

/// All strict limits that this hub has anything of.
#[derive(Debug, Default)]
pub(super) struct Strict {
    keys: BTreeMap<Key, Held>,
    /// Keys to look at before the present input is done with.
    ready: BTreeSet<Key>,
    /// When to look at a key again.
    due: BTreeSet<(TimestampMs, Key)>,
    /// The latest time that the clock showed.
    seen: Option<TimestampMs>,
    /// Checks that could not be decided since the machine was made.
    pub(super) undecided: u64,
}

fn local(now: TimestampMs) -> LocalMs {
    LocalMs(now.0.max(0).unsigned_abs())
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

/// How far ahead rights are asked for, in milliseconds.
fn ahead_ms(limit: &Limit) -> i64 {
    signed((limit.window_ms() / 16).clamp(50, 1_000))
}

/// For how long requests are refused before the origin is asked again whether there is room.
fn short_ms(limit: &Limit) -> i64 {
    signed((limit.window_ms() / 64).clamp(20, 500))
}

impl Held {
    fn new(limit: Limit, now: TimestampMs) -> Self {
        Self {
            limit,
            chunks: Vec::new(),
            used: BTreeMap::new(),
            asked: None,
            told: None,
            demand: 0,
            demand_since: now,
            rate: 0,
            touched_at: Some(now),
        }
    }

    /// What may be spent here. Linear in the grants, of which there are few.
    fn left(&self, now: TimestampMs) -> u64 {
        self.chunks.iter().fold(0, |sum, chunk| sum.saturating_add(chunk.left(now)))
    }

    fn is_short(&self, now: TimestampMs) -> bool {
        self.told.is_some_and(|told| now < told.short_until)
    }

    /// Whether checks that cost `sum` together have to wait. Of one that costs nothing it is what is left that has to be known.
    fn standing(&self, sum: u64, now: TimestampMs) -> Standing {
        let is_fresh = || self.told.is_some_and(|told| now.since_ms(told.at) < ahead_ms(&self.limit));
        let has_rights = if sum == 0 { self.left(now) > 0 || is_fresh() } else { self.left(now) >= sum };
        if has_rights || self.is_short(now) { Standing::Decided } else { Standing::Open }
    }

    /// Spends, of what ends first.
    fn spend(&mut self, cost: u64, now: TimestampMs) {
        let mut left = cost;
        for chunk in &mut self.chunks {
            let part = chunk.left(now).min(left);
            chunk.used = chunk.used.saturating_add(part);
            left = left.saturating_sub(part);
        }
    }

    /// Ends grants: all, or those that are used up, or whose time is over. Says whether there were any.
    fn end_chunks(&mut self, now: TimestampMs, all: bool) -> bool {
        let ended = self.chunks.extract_if(.., |chunk| all || chunk.left(now) == 0 || chunk.back_at <= now);
        let before = self.used.len();
        self.used.extend(ended.map(|chunk| (chunk.request, chunk.used)));
        // What was granted that long ago counts as used whole by now.
        while self.used.len() > RIGHTS_REPORTED_MAX {
            self.used.pop_first();
        }
        self.used.len() != before
    }

    /// Takes it that no answer comes.
    fn give_up(&mut self) {
        if let Some(asked) = self.asked.take() {
            self.used.insert(asked.request, 0);
        }
    }

    /// From now on it is decided by other amounts. What was granted under the former ones goes back.
    fn change_to(&mut self, limit: Limit, now: TimestampMs) {
        self.give_up();
        self.end_chunks(now, true);
        self.limit = limit;
        self.told = None;
    }

    /// Takes it that the clock went back: it tells nothing of how long anything has lasted, nor when what was told is over.
    fn start_over(&mut self, now: TimestampMs) {
        self.give_up();
        self.end_chunks(now, true);
        self.told = None;
        (self.demand, self.demand_since) = (0, now);
    }

    fn note_demand(&mut self, cost: u64, now: TimestampMs) {
        self.demand = self.demand.saturating_add(cost);
        self.touched_at = Some(now);
        let passed_ms = now.since_ms(self.demand_since);
        if passed_ms >= ahead_ms(&self.limit) {
            let rate = self.demand.saturating_mul(1_000).checked_div(passed_ms.unsigned_abs()).unwrap_or(0);
            self.rate = self.rate.saturating_add(rate) / 2;
            (self.demand, self.demand_since) = (0, now);
        }
    }

    /// What is expected to be asked for until rights are asked for again.
    fn expected(&self) -> u64 {
        let of_rate = self.rate.saturating_mul(ahead_ms(&self.limit).unsigned_abs()) / 1_000;
        of_rate.max(self.demand).min(self.limit.capacity())
    }

    /// What to ask for, where `waiting` are the least and the sum of what waits; none where there is nothing to say.
    fn wanted(&self, waiting: Option<(u64, u64)>, now: TimestampMs) -> Option<Wanted> {
        let nothing = Wanted { least: 0, needed: 0, ahead: 0 };
        let left = self.left(now);
        let reports = || Some(nothing).filter(|_| !self.used.is_empty());
        if self.is_short(now) {
            return reports();
        }
        let capacity = self.limit.capacity();
        match waiting {
            Some((least, sum)) if sum > left || sum == 0 => {
                let needed = sum.saturating_sub(left).min(capacity);
                let ahead = needed.saturating_add(self.expected()).min(capacity);
                Some(Wanted { least: least.saturating_sub(left).min(needed), needed, ahead })
            }
            _ => {
                let expected = self.expected();
                let is_low = expected > 0 && left < expected.div_ceil(2) && self.touched_at == Some(now);
                let ahead = expected.saturating_sub(left);
                if is_low { Some(Wanted { least: 0, needed: 0, ahead }) } else { reports() }
            }
        }
    }

    /// When to look at it again.
    fn due_at(&self, now: TimestampMs) -> TimestampMs {
        let back = self.chunks.iter().map(|chunk| chunk.back_at);
        let asked = self.asked.as_ref().map(|asked| asked.until);
        back.chain(asked).min().unwrap_or_else(|| self.touched_at.unwrap_or(now).plus_ms(IDLE_MS))
    }

    fn row(&self) -> Option<Bytes> {
        let chunks = self.chunks.iter().map(|chunk| (chunk.request, chunk.used));
        let mut used: Vec<(u64, u64)> =
            self.used.iter().map(|(request, used)| (*request, *used)).chain(chunks).collect();
        used.truncate(RIGHTS_REPORTED_MAX);
        if fault!(SpendNotPersisted) {
            used.iter_mut().for_each(|(_, used)| *used = 0);
        }
        let body = to_stored(|w| {
            write_limit(w, &self.limit);
            write_used(w, &used);
        });
        (!used.is_empty()).then(|| body.into())
    }
}

impl Strict {
    /// The rows that are stored.
    pub(super) fn rows(&self) -> impl Iterator<Item = RowId> + '_ {
        self.keys.keys().map(|key| RowId::Rights(key.clone()))
    }

    /// When a limit is to be looked at next.
    pub(super) fn next_due(&self) -> Option<TimestampMs> {
        self.due.first().map(|(at, _)| *at)
    }

    /// A daemon begins to speak for the origin, or the last one is gone: whoever was asked answers no more.
    pub(super) fn begin(&mut self) {
        for (key, held) in &mut self.keys {
            held.give_up();
            held.told = None;
            self.ready.insert(key.clone());
        }
    }
}

impl Hub {
    /// Takes note of the time. A clock that goes back tells nothing of how long leases have run.
    pub(super) fn pass_strict(&mut self, now: TimestampMs) {
        let is_back = self.strict.seen.replace(now).is_some_and(|seen| now < seen);
        if is_back {
            let Strict { keys, ready, .. } = &mut self.strict;
            for (key, held) in keys {
                held.start_over(now);
                self.dirty.insert(RowId::Rights(key.clone()));
                ready.insert(key.clone());
            }
        }
        while let Some((at, key)) = self.strict.due.pop_first() {
            if at > now {
                self.strict.due.insert((at, key));
                break;
            }
            self.strict.ready.insert(key);
        }
    }

    /// Whether some of these commands are strict checks that only the origin can decide.
    pub(super) fn awaits_rights<'a>(&self, commands: impl Iterator<Item = &'a Command>, now: TimestampMs) -> bool {
        let mut sums: BTreeMap<&Key, u64> = BTreeMap::new();
        commands.filter_map(checked).any(|(key, limit, cost)| {
            let sum = sums.entry(key).or_default();
            *sum = sum.saturating_add(cost);
            match self.strict.keys.get(key).filter(|held| held.limit == *limit) {
                Some(held) => held.standing(*sum, now) == Standing::Open,
                None => true,
            }
        })
    }

    /// Decides a strict check by the rights that there are.
    pub(super) fn check_strictly(
        &mut self,
        key: &Key,
        limit: &Limit,
        cost: u64,
        peek: bool,
        now: TimestampMs,
    ) -> Result<Reply, CommandError> {
        if !self.strict.keys.contains_key(key) && self.strict.keys.len() >= RIGHTS_KEYS_MAX {
            return Err(CommandError::OutOfMemory);
        }
        let held = self.strict.keys.entry(key.clone()).or_insert_with(|| Held::new(*limit, now));
        if held.limit != *limit {
            held.change_to(*limit, now);
            self.dirty.insert(RowId::Rights(key.clone()));
        }
        self.strict.ready.insert(key.clone());
        if !peek {
            held.note_demand(cost.min(limit.capacity()), now);
        }
        let told = held.told;
        let (left, room) = (held.left(now), told.map_or(0, |told| told.room));
        let fits_at = told.map_or(now, |told| told.fits_at.max(told.short_until)).max(now.plus_ms(1));
        let is_never = cost > limit.capacity();
        let is_known = told.is_some_and(|told| !told.is_silent);
        let is_allowed = if peek || cost == 0 {
            if !is_known && left == 0 {
                self.strict.undecided = self.strict.undecided.saturating_add(1);
                return Err(CommandError::NoRights);
            }
            cost <= left.saturating_add(room)
        } else {
            left >= cost
        };
        // What only looks was answered for above.
        let is_certain = is_allowed || is_never || peek || cost == 0 || (is_known && held.is_short(now));
        if !is_certain {
            self.strict.undecided = self.strict.undecided.saturating_add(1);
            return Err(CommandError::NoRights);
        }
        let spent = if is_allowed && !peek { cost } else { 0 };
        if spent > 0 {
            held.spend(spent, now);
            self.dirty.insert(RowId::Rights(key.clone()));
        }
        let remaining = left.saturating_sub(spent).saturating_add(room).min(limit.capacity());
        let staleness_ms = told.map_or(-1, |told| now.since_ms(told.at).max(0));
        let retry_ms = match (is_allowed, is_never) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => fits_at.since_ms(now),
        };
        let reset_at = if is_allowed { now.plus_ms(signed(limit.window_ms())) } else { fits_at };
        let numbers = [i64::from(is_allowed), signed(remaining), reset_at.0, retry_ms, staleness_ms, 0, 0];
        Ok(numbers.into_iter().map(Reply::Int).collect())
    }

    /// The origin answers a request for rights.
    pub(super) fn rights_granted(&mut self, answer: RightsAnswer, now: TimestampMs) {
        let RightsAnswer { key, request, granted, lease_ms, room, retry_ms, is_silent } = answer;
        let Some(held) = self.strict.keys.get_mut(&key) else { return };
        if fault!(GivenUpRightsTaken) && granted > 0 && held.used.remove(&request).is_some() {
            let mut lease = Holder::default();
            lease.requested(RequestId(request), local(now));
            if lease.granted(RequestId(request), lease_ms).is_ok() {
                let back_at = now.plus_ms(signed(lease_ms));
                held.chunks.push(Chunk { request, amount: granted, used: 0, lease, back_at });
            }
            return;
        }
        let Some(mut asked) = held.asked.take_if(|asked| asked.request == request) else { return };
        for reported in &asked.reported {
            held.used.remove(reported);
        }
        let is_leased = asked.lease.granted(RequestId(request), lease_ms).is_ok();
        if granted > 0 && is_leased {
            let back_ms = ahead_ms(&held.limit).saturating_mul(4);
            let ends_at = asked.sent_at.plus_ms(signed(lease_ms));
            let back_at = ends_at.min(now.plus_ms(back_ms));
            held.chunks.push(Chunk { request, amount: granted, used: 0, lease: asked.lease, back_at });
        }
        let is_short = granted < asked.needed || granted == 0 && asked.ahead > 0 || is_silent;
        let short_ms = short_ms(&held.limit).max(1);
        held.told = Some(Told {
            at: now,
            room,
            short_until: if is_short { now.plus_ms(short_ms) } else { now },
            fits_at: now.plus_ms(signed(retry_ms)),
            is_silent,
        });
        self.dirty.insert(RowId::Rights(key.clone()));
        self.strict.ready.insert(key);
    }

    /// Asks for what waits and what is expected, and tells what is used up; to be called when what can be answered was.
    pub(super) fn ask_for_rights(&mut self, now: TimestampMs) {
        let mut waiting: BTreeMap<Key, (Limit, u64, u64)> = BTreeMap::new();
        let waits = self.waiting.iter().flat_map(|waiting| waiting.commands().iter().flatten());
        let parked = self.remotes.values().flat_map(Remote::parked);
        for (key, limit, cost) in waits.chain(parked).filter_map(checked) {
            // Where amounts change, those are asked for under which the first one waits; the others wait on.
            let (first, least, sum) = waiting.entry(key.clone()).or_insert((*limit, cost, 0));
            if first == limit {
                *least = cost.min(*least);
                *sum = sum.saturating_add(cost);
            }
        }
        for (key, (limit, ..)) in &waiting {
            if self.strict.keys.len() < RIGHTS_KEYS_MAX {
                self.strict.keys.entry(key.clone()).or_insert_with(|| Held::new(*limit, now));
            }
            if let Some(held) = self.strict.keys.get_mut(key).filter(|held| held.limit != *limit) {
                held.change_to(*limit, now);
                self.dirty.insert(RowId::Rights(key.clone()));
            }
            self.strict.ready.insert(key.clone());
        }
        let connection = self.origin.as_ref().map(|origin| origin.connection);
        for key in std::mem::take(&mut self.strict.ready) {
            let waits = waiting.get(&key).map(|(_, least, sum)| (*least, *sum));
            self.look_at_rights(&key, connection, waits, now);
        }
    }

    fn look_at_rights(
        &mut self,
        key: &Key,
        connection: Option<Connection>,
        waits: Option<(u64, u64)>,
        now: TimestampMs,
    ) {
        let request = self.keys.entropy();
        let Some(held) = self.strict.keys.get_mut(key) else { return };
        if held.asked.as_ref().is_some_and(|asked| asked.until <= now) {
            held.give_up();
            self.dirty.insert(RowId::Rights(key.clone()));
        }
        if held.end_chunks(now, false) {
            self.dirty.insert(RowId::Rights(key.clone()));
        }
        if let Some(connection) = connection.filter(|_| held.asked.is_none())
            && let Some(wanted) = held.wanted(waits, now)
        {
            let mut lease = Holder::default();
            lease.requested(RequestId(request), local(now));
            let used: Vec<(u64, u64)> = held.used.iter().map(|(request, used)| (*request, *used)).collect();
            let reported = used.iter().map(|(request, _)| *request).collect();
            let until = now.plus_ms(ASK_MS_MAX);
            held.asked = Some(Asked {
                request,
                lease,
                until,
                needed: wanted.needed,
                ahead: wanted.ahead,
                reported,
                sent_at: now,
            });
            let message = RightsRequest { key: key.clone(), request, limit: held.limit, wanted, used };
            self.effects.push(HubEffect::ToOrigin(connection, HubToOrigin::Rights(message)));
        }
        held.touched_at.get_or_insert(now);
        let due_at = held.due_at(now);
        // What is not told by then, the origin being away, counts as used whole.
        if held.asked.is_none() && held.chunks.is_empty() && waits.is_none() && due_at <= now {
            self.strict.keys.remove(key);
            self.dirty.insert(RowId::Rights(key.clone()));
        } else {
            // What was asked for before and comes too early only looks again.
            self.strict.due.insert((due_at.max(now.plus_ms(1)), key.clone()));
        }
    }

    pub(super) fn rights_body(&self, key: &Key) -> Option<Bytes> {
        self.strict.keys.get(key)?.row()
    }

    pub(super) fn restore_rights(&mut self, key: &Key, body: &[u8]) -> Result<(), WireError> {
        let (limit, used) = from_stored(body, |r| Ok::<_, Invalid>((read_limit(r)?, read_used(r)?)))?;
        let mut held = Held::new(limit, TimestampMs(0));
        held.used = used.into_iter().collect();
        held.touched_at = None;
        self.strict.keys.insert(key.clone(), held);
        self.strict.ready.insert(key.clone());
        Ok(())
    }
}

/// The key, limit and cost of a strict check that could be allowed; one that only looks costs nothing.
fn checked(command: &Command) -> Option<(&Key, &Limit, u64)> {
    match command {
        Command::Limit { key, limit, cost, peek, strict: true, .. } if *cost <= limit.capacity() => {
            Some((key, limit, if *peek { 0 } else { *cost }))
        }
        _ => None,
    }
}
