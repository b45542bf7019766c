//! One hub's leaf in an isolate: what it follows, what it answers, and what it has to tell its hub. Pure.
//!
//! Invariants: at most one request is in charge of the exchanges; no more than the bound is answered and not acknowledged; and
//! what is followed is bounded in keys and in bytes, so that neither the isolate nor its hub holds more for it.

use super::Replies;
use crate::{
    hub::call::{Exchange, Exchanged},
    level::Levels,
    limits::{FOLLOWED_KEY_BYTES_MAX, FOLLOWED_MAX, FRESH_MS_MAX, RENEW_MS, TAKE_OVER_MS, TOO_LARGE_MS},
};
use headwater::{
    command::{Command, CommandError, Reply, Script},
    id::{ClientId, Key, TimestampMs},
    leaf::{Leaf, LeafEffect, LeafInput},
    limits::TICKET_ISOLATE_MS,
    message::{HubToLeaf, LeafToHub, Lifetime},
    state::KeyState,
    wire,
};
use std::collections::BTreeMap;

/// Keys that one call names and an isolate answers: far fewer than it lets go of at once.
const KEYS_MAX: usize = 1024;

/// When an isolate dials again, so that its session never ends under way, in milliseconds.
const DIAL_AGAIN_MS: i64 = TICKET_ISOLATE_MS * 5 / 8;

/// What was answered here.
#[derive(Debug)]
pub(crate) struct Answered {
    /// One per command.
    pub(crate) replies: Replies,
    /// Whether a reply rests on what the hub counted alone, the origin's state being unknown to it.
    pub(crate) is_provisional: bool,
    /// How many milliseconds ago the hub said what the replies rest on.
    pub(crate) staleness_ms: i64,
}

/// What became of an exchange.
pub(super) struct Ended {
    /// Whether there is more to tell.
    pub(super) goes_on: bool,
    /// What the hub would not take.
    pub(super) refused: Vec<(Key, CommandError)>,
}

/// A leaf and what surrounds it.
pub(super) struct Held {
    leaf: Leaf,
    unacknowledged_max: u32,
    /// The keys that are followed, and when each was last asked for, in numbers of answers.
    followed: BTreeMap<Key, u64>,
    answers: u64,
    /// Keys that are too large to follow, and until when that is believed.
    too_large: BTreeMap<Key, TimestampMs>,
    /// The keys that were followed since the last exchange began, and those before of which nothing was heard yet.
    fresh: Vec<Key>,
    asked: Vec<Key>,
    /// Messages to send.
    waiting: Vec<LeafToHub>,
    /// Commands that wrote, since the last exchange began and before that.
    written: u32,
    under_way: u32,
    /// The connection, and since when; none if the next exchange begins one.
    link: Option<(u128, TimestampMs)>,
    /// Whether the hub could not be reached when it was last tried.
    is_away: bool,
    charge: Option<Charge>,
    charges: u64,
    refused: Vec<(Key, CommandError)>,
}

const _: () = assert!(KEYS_MAX < FOLLOWED_MAX / 2);

/// Who makes the exchanges.
struct Charge {
    owner: u64,
    since: TimestampMs,
}

/// Whether an isolate answers such a command under these levels: those that count, of which two add up whatever came
/// between them, and reads.
pub(super) fn is_answered(command: &Command, levels: Levels) -> bool {
    use Command::{Decr, DecrBy, HIncrBy, Incr, IncrBy, Limit};
    // Rights are the hub's.
    if command.is_strict() {
        return false;
    }
    let counts = match command {
        Incr { .. } | IncrBy { .. } | Decr { .. } | DecrBy { .. } | HIncrBy { .. } | Limit { peek: false, .. } => true,
        Limit { peek: true, .. } => return levels.reads_at_leaf,
        command => match command.script() {
            Some(Script::FixedWindow { .. } | Script::SlidingWindow { .. } | Script::CachedFixedWindow { .. }) => true,
            Some(_) | None => false,
        },
    };
    let reads = || !command.is_write() && command.keys().len() > 0;
    counts && levels.writes_at_leaf || levels.reads_at_leaf && reads()
}

impl Held {
    pub(super) fn new(client: ClientId, unacknowledged_max: u32) -> Self {
        Self {
            leaf: Leaf::gathering(client, Lifetime::Isolate),
            unacknowledged_max,
            followed: BTreeMap::new(),
            answers: 0,
            too_large: BTreeMap::new(),
            fresh: Vec::new(),
            asked: Vec::new(),
            waiting: Vec::new(),
            written: 0,
            under_way: 0,
            link: None,
            is_away: false,
            charge: None,
            charges: 0,
            refused: Vec::new(),
        }
    }

    /// Runs commands, all or none. None where a key is not shown yet, or what is shown is old and the hub could tell better;
    /// the keys are followed then.
    pub(super) fn answer(&mut self, commands: &[Command], now: TimestampMs) -> Option<Answered> {
        if commands.iter().flat_map(Command::keys).count() > KEYS_MAX {
            return None;
        }
        self.answers += 1;
        let staleness_ms = self.staleness_ms(now);
        let is_fresh = self.is_away || staleness_ms.is_some_and(|age_ms| age_ms <= FRESH_MS_MAX);
        let (mut are_shown, mut are_held) = (true, true);
        for key in commands.iter().flat_map(Command::keys) {
            let is_held = self.leaf.is_held(key);
            are_shown &= is_held.is_some();
            are_held &= is_held == Some(true);
            self.follow(key, now);
        }
        let staleness_ms = staleness_ms.filter(|_| is_fresh && are_shown)?;
        let replies = commands.iter().map(|command| self.run(command, now)).collect();
        Some(Answered { replies, is_provisional: !are_held, staleness_ms })
    }

    /// Makes the caller the one in charge of exchanges, if there is anything to tell or to hear and nobody is.
    pub(super) fn take_charge(&mut self, now: TimestampMs) -> Option<u64> {
        if !self.is_wanted(now) {
            return None;
        }
        if let Some(charge) = &self.charge {
            if now.since_ms(charge.since) <= TAKE_OVER_MS {
                return None;
            }
            // It is gone, and its last exchange with it.
            self.fail(now);
        }
        self.charges += 1;
        self.charge = Some(Charge { owner: self.charges, since: now });
        Some(self.charges)
    }

    /// What to tell the hub, if `owner` is still in charge. `entropy` names a new connection.
    pub(super) fn begin(&mut self, owner: u64, entropy: u64, now: TimestampMs) -> Option<Exchange> {
        if !self.is_in_charge(owner) {
            return None;
        }
        if self.link.is_some_and(|(_, since)| now.since_ms(since) > DIAL_AGAIN_MS) && self.under_way == 0 {
            self.hang_up(now);
        }
        let (link, _) = match self.link {
            Some(link) => link,
            None => {
                let link = (u128::from(entropy) << 64 | u128::from(self.charges), now);
                self.link = Some(link);
                self.input(LeafInput::Opened, now);
                link
            }
        };
        self.input(LeafInput::Tick, now);
        self.asked.append(&mut self.fresh);
        if self.leaf.is_connected() {
            self.under_way = self.under_way.saturating_add(std::mem::take(&mut self.written));
        }
        self.input(LeafInput::Flush, now);
        // The leaf makes no message that has no encoding.
        let encoded = self.waiting.drain(..).filter_map(|message| wire::encode(&message).ok());
        Some(Exchange { link, frames: encoded.map(Into::into).collect() })
    }

    /// Takes what the hub answered to what was asked at `asked_at`, or nothing where it could not be reached. None if `owner`
    /// is not in charge any more.
    pub(super) fn end(
        &mut self,
        owner: u64,
        exchanged: Option<Exchanged>,
        asked_at: TimestampMs,
        now: TimestampMs,
    ) -> Option<Ended> {
        if !self.is_in_charge(owner) {
            return None;
        }
        let read = |frames: Vec<bytes::Bytes>| frames.iter().map(|frame| wire::decode(frame)).collect();
        match exchanged {
            Some(Exchanged::Frames(frames)) => match read(frames) {
                Ok(messages) => self.heard(messages, asked_at, now),
                // Of a hub that runs another version.
                Err(_unreadable) => self.fail(now),
            },
            Some(Exchanged::TooMuch) => self.follow_less(now),
            None => self.fail(now),
        }
        let goes_on = self.is_busy();
        Some(Ended { goes_on, refused: std::mem::take(&mut self.refused) })
    }

    /// `owner` makes no more exchanges.
    pub(super) fn leave(&mut self, owner: u64) {
        if self.is_in_charge(owner) {
            self.charge = None;
        }
    }

    fn is_in_charge(&self, owner: u64) -> bool {
        self.charge.as_ref().is_some_and(|charge| charge.owner == owner)
    }

    /// Whether there is anything to tell.
    fn is_busy(&self) -> bool {
        let is_asked = !self.fresh.is_empty() || !self.asked.is_empty();
        is_asked || !self.waiting.is_empty() || self.written > 0 || self.under_way > 0
    }

    /// Whether an exchange is called for.
    fn is_wanted(&self, now: TimestampMs) -> bool {
        self.is_busy() || self.staleness_ms(now).is_none_or(|age_ms| age_ms >= RENEW_MS)
    }

    fn staleness_ms(&self, now: TimestampMs) -> Option<i64> {
        self.leaf.heard_at().map(|at| now.since_ms(at).max(0))
    }

    fn run(&mut self, command: &Command, now: TimestampMs) -> Result<Reply, CommandError> {
        let is_write = command.is_write();
        if is_write && self.written.saturating_add(self.under_way) >= self.unacknowledged_max {
            return Err(CommandError::TooManyPending);
        }
        let (reply, effects) = self.leaf.run(command, now);
        self.written = self.written.saturating_add((is_write && reply.is_ok()).into());
        self.take(effects);
        reply
    }

    fn follow(&mut self, key: &Key, now: TimestampMs) {
        if let Some(last) = self.followed.get_mut(key) {
            *last = self.answers;
            return;
        }
        if self.too_large.get(key).is_some_and(|until| now < *until) {
            return;
        }
        if self.followed.len() >= FOLLOWED_MAX {
            self.let_go_of_the_oldest(now);
        }
        self.followed.insert(key.clone(), self.answers);
        self.fresh.push(key.clone());
        self.input(LeafInput::Subscribe(vec![key.clone()]), now);
    }

    /// Stops following the quarter that was asked for longest ago, so that it need not be looked for each time.
    fn let_go_of_the_oldest(&mut self, now: TimestampMs) {
        let mut by_use: Vec<(u64, Key)> = self.followed.iter().map(|(key, last)| (*last, key.clone())).collect();
        by_use.sort_unstable();
        by_use.truncate(FOLLOWED_MAX / 4);
        self.let_go(by_use.into_iter().map(|(_, key)| key).collect(), now);
    }

    fn let_go(&mut self, keys: Vec<Key>, now: TimestampMs) {
        for key in &keys {
            self.followed.remove(key);
        }
        self.fresh.retain(|key| self.followed.contains_key(key));
        self.asked.retain(|key| self.followed.contains_key(key));
        self.input(LeafInput::Unsubscribe(keys), now);
    }

    fn heard(&mut self, messages: Vec<HubToLeaf>, asked_at: TimestampMs, now: TimestampMs) {
        self.is_away = false;
        let was_connected = self.leaf.is_connected();
        let shown: Vec<Key> = messages
            .iter()
            .filter_map(|message| match message {
                HubToLeaf::State { key, .. } => Some(key.clone()),
                _ => None,
            })
            .collect();
        self.input(LeafInput::Answered { messages, asked_at }, now);
        if was_connected && self.leaf.is_connected() {
            self.under_way = 0;
            self.asked.clear();
        }
        let bytes = |key: &Key| self.leaf.key(key).map_or(0, KeyState::memory_bytes);
        let too_large: Vec<Key> = shown.into_iter().filter(|key| bytes(key) > FOLLOWED_KEY_BYTES_MAX).collect();
        if !too_large.is_empty() {
            self.mark_too_large(&too_large, now);
            self.let_go(too_large, now);
        }
    }

    /// The hub kept no more for this isolate: what was asked for last is too large, and all is followed anew.
    fn follow_less(&mut self, now: TimestampMs) {
        let asked = std::mem::take(&mut self.asked);
        self.mark_too_large(&asked, now);
        let all = self.followed.keys().cloned().collect();
        self.let_go(all, now);
        self.hang_up(now);
    }

    fn mark_too_large(&mut self, keys: &[Key], now: TimestampMs) {
        self.too_large.retain(|_, until| now < *until);
        let room = FOLLOWED_MAX.saturating_sub(self.too_large.len());
        self.too_large.extend(keys.iter().take(room).map(|key| (key.clone(), now.plus_ms(TOO_LARGE_MS))));
    }

    /// The hub could not be reached, or may not have been.
    fn fail(&mut self, now: TimestampMs) {
        self.is_away = true;
        self.hang_up(now);
    }

    /// Begins anew at the next exchange. The session goes on.
    fn hang_up(&mut self, now: TimestampMs) {
        self.link = None;
        self.input(LeafInput::Closed, now);
        self.waiting.clear();
    }

    fn input(&mut self, input: LeafInput, now: TimestampMs) {
        let effects = self.leaf.handle(input, now);
        self.take(effects);
    }

    fn take(&mut self, effects: Vec<LeafEffect>) {
        for effect in effects {
            match effect {
                LeafEffect::Send(message) => self.waiting.push(message),
                LeafEffect::Redial => self.link = None,
                LeafEffect::Refused(key, cause) => self.refused.push((key, cause)),
                // Nothing is stored or shown, no tab takes part, and time is looked at before each exchange.
                LeafEffect::Persist(_)
                | LeafEffect::Changed(_)
                | LeafEffect::WakeAt(_)
                | LeafEffect::Forward { .. }
                | LeafEffect::Share(_)
                | LeafEffect::Again(_) => {}
            }
        }
    }
}
