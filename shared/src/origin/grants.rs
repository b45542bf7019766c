//! Rights under strict limits, granted to hubs by the account that stands in the store.
//!
//! Each limit's [`Ledger`] is one value in the store, apart from the key's state, which is swapped for the next one by compare-and-set:
//! so any number of daemons grant at once. A hub hears of a grant once it stands there. Requests that come while a swap is under way share
//! the next one.
//!
//! **Loss.** A store that lost what it acknowledged has another run id, or no account at all. Nobody can then tell what was granted
//! before, so nothing is granted on such an account until all has ended that can have been granted before the server's
//! present life began, which is for how long daemons saw it together (`vouch.rs`): the loss window, for which another server may have gone on alone, and then the longest
//! lease and the window ([`silence_ms`]). Until then it writes nothing either, so that an account of this run is always one that
//! such a wait came before. That is what makes a grant safe as soon as it is committed: it need not be stable.
//!
//! An account that vanishes while the server lives, because it was deleted or evicted, is not noticed: it must not be.

mod vouch;

use super::{Link, Origin, OriginEffect, elapsed::Elapsed};
use crate::{
    id::{Key, ReplicaId, TimestampMs},
    lease::LocalMs,
    limit::{GRANT_LEASE_MS, Ledger, silence_ms},
    message::{OriginToHub, RightsAnswer, RightsRequest},
    store::{LedgerOutcome, LedgerSwap, StoredLedger},
};
use std::collections::BTreeMap;
use vouch::Vouch;

/// How often the clock is looked at while time has to be told.
const LOOK_MS: i64 = 500;

/// For how long an account is remembered that nobody asks for, besides its window, in milliseconds.
const IDLE_MS: u64 = 60_000;
const IDLE_WINDOW_MS_MAX: u64 = 600_000;

/// How much longer than needed an account is stored, in milliseconds: the store's clock need not agree.
const KEPT_MORE_MS: u64 = 3_600_000;

/// How long a hub waits before it asks again for what stands under a damaged account, in milliseconds.
const DAMAGED_MS: u64 = 60_000;

/// The accounts that this daemon has in memory.
#[derive(Debug)]
pub(super) struct Grants {
    elapsed: Elapsed,
    books: BTreeMap<Key, Book>,
    vouch: Vouch,
    /// How many random numbers were drawn.
    draws: u64,
}

/// One limit's account.
#[derive(Debug, Default)]
struct Book {
    /// As the store had it last; with times of this machine.
    ledger: Ledger,
    /// Its version there, if it is there.
    version: Option<u64>,
    is_known: bool,
    is_former: bool,
    is_damaged: bool,
    /// What waits for the next swap.
    asks: Vec<Ask>,
    under_way: Option<Attempt>,
    used_at: LocalMs,
    window_ms: u64,
}

#[derive(Debug)]
struct Ask {
    link: Link,
    hub: ReplicaId,
    request: RightsRequest,
}

/// What is so once the store has swapped.
#[derive(Debug)]
struct Attempt {
    ledger: Ledger,
    version: u64,
    answers: Vec<(Link, ReplicaId, RightsAnswer)>,
    /// To try again where it has not.
    asks: Vec<Ask>,
}

impl Grants {
    pub(super) fn new() -> Self {
        // A step counts in full as long as the clock is looked at twice in its time.
        Self {
            elapsed: Elapsed::in_steps(LOOK_MS.saturating_mul(2)),
            books: BTreeMap::new(),
            vouch: Vouch::default(),
            draws: 0,
        }
    }

    /// The clock shows `now`.
    pub(super) fn pass(&mut self, now: TimestampMs) {
        self.elapsed.pass(now);
    }

    /// The time since this machine was made.
    fn now(&self) -> LocalMs {
        LocalMs(u64::try_from(self.elapsed.total_ms()).unwrap_or(0))
    }

    /// When to look at the clock next.
    pub(super) fn next_look(&self, now: TimestampMs) -> TimestampMs {
        now.plus_ms(LOOK_MS)
    }

    pub(super) fn forget_link(&mut self, link: Link) {
        for book in self.books.values_mut() {
            book.asks.retain(|ask| ask.link != link);
        }
    }

    /// Lets go of accounts that nobody has asked for in a while: seen again, all in them counts from then.
    pub(super) fn sweep(&mut self) {
        let now = self.now();
        self.books.retain(|_, book| {
            let kept_ms = IDLE_MS.saturating_add(book.window_ms.min(IDLE_WINDOW_MS_MAX));
            book.under_way.is_some() || !book.asks.is_empty() || now < book.used_at.plus_ms(kept_ms)
        });
    }
}

impl Origin {
    /// A hub asks for rights, or tells what it used.
    pub(super) fn rights_wanted(&mut self, link: Link, request: RightsRequest, now: TimestampMs) {
        let Some(hub) = self.links.get(&link).and_then(|state| state.hub) else { return };
        let key = request.key.clone();
        if vouch::is_its(&key) {
            return;
        }
        let book = self.grants.books.entry(key.clone()).or_default();
        // A hub asks again only where it gave up the answer.
        book.asks.retain(|ask| ask.link != link);
        book.asks.push(Ask { link, hub, request });
        self.go_on_granting(&key, now);
    }

    /// The store has swapped an account, or found another one.
    pub(super) fn ledger_swapped(&mut self, key: &Key, outcome: LedgerOutcome, now: TimestampMs) {
        let local = self.grants.now();
        if vouch::is_its(key) {
            self.grants.vouch.answered(outcome, local);
            self.write_vouch(now);
            let waiting = self.grants.books.iter().filter(|(_, book)| !book.asks.is_empty());
            let waiting: Vec<Key> = waiting.map(|(key, _)| key.clone()).collect();
            waiting.iter().for_each(|key| self.go_on_granting(key, now));
            return;
        }
        let first = self.draw();
        let Some(book) = self.grants.books.get_mut(key) else { return };
        let attempt = book.under_way.take();
        match (outcome, attempt) {
            (LedgerOutcome::Swapped, Some(attempt)) => {
                book.ledger = attempt.ledger;
                book.version = Some(attempt.version);
                book.is_former = false;
                self.tell_rights(attempt.answers);
            }
            (LedgerOutcome::Swapped, None) => {}
            (LedgerOutcome::Found(found), attempt) => {
                book.is_known = true;
                book.version = found.as_ref().map(|found| found.version);
                let mut asks = attempt.map(|attempt| attempt.asks).unwrap_or_default();
                asks.append(&mut book.asks);
                book.asks = asks;
                match found {
                    None => book.ledger = Ledger::begun(first),
                    Some(StoredLedger { is_current, bytes, .. }) => {
                        book.is_former = !is_current;
                        match Ledger::from_bytes(&bytes, &book.ledger, local) {
                            Ok(ledger) => book.ledger = ledger,
                            Err(_) => {
                                book.is_damaged = true;
                                self.effects.push(OriginEffect::Foreign(key.clone()));
                            }
                        }
                    }
                }
            }
        }
        self.go_on_granting(key, now);
    }

    /// Swaps the account for one in which all that waits is answered, unless a swap is under way.
    fn go_on_granting(&mut self, key: &Key, now: TimestampMs) {
        let local = self.grants.now();
        let version = u64::from(self.draw());
        let loss_window_ms = u64::try_from(self.config.loss_window_ms).unwrap_or(0);
        if !self.grants.vouch.is_known() {
            let asked = self.grants.vouch.ask(now);
            self.effects.extend(asked.map(OriginEffect::Swap));
            return;
        }
        let (age_ms, is_former) = (self.grants.vouch.age_ms(local), self.grants.vouch.is_former());
        let Some(book) = self.grants.books.get_mut(key) else { return };
        if book.under_way.is_some() || book.asks.is_empty() {
            return;
        }
        book.used_at = local;
        let mut swap = LedgerSwap { key: key.clone(), expected: book.version, value: None, expire_at: now };
        let asks = std::mem::take(&mut book.asks);
        if !book.is_known {
            book.under_way = Some(Attempt { ledger: Ledger::default(), version: 0, answers: Vec::new(), asks });
            self.effects.push(OriginEffect::Swap(swap));
            return;
        }
        let mut ledger = book.ledger.clone();
        let mut answers = Vec::with_capacity(asks.len());
        let is_doubtful = (book.version.is_none() || book.is_former || is_former) && !fault!(GrantsWithoutSilence);
        // All of a pass are committed or none is, so the longest window decides for all.
        let silent_ms = match (book.is_damaged, is_doubtful) {
            (true, _) => DAMAGED_MS,
            (false, true) => silence_ms_of(&asks).saturating_add(loss_window_ms).saturating_sub(age_ms),
            (false, false) => 0,
        };
        let is_silent = silent_ms > 0;
        for Ask { link, hub, request } in &asks {
            let RightsRequest { key, request, limit, wanted, used } = request;
            book.window_ms = limit.window_ms();
            let mut granted = 0;
            if !is_silent {
                ledger.settle(limit, local);
                for (request, used) in used {
                    ledger.close(limit, *hub, *request, *used, local);
                }
                if wanted.ahead > 0 {
                    granted = ledger.grant(limit, *hub, *request, *wanted, local);
                }
            }
            let retry_ms = if is_silent { silent_ms } else { ledger.fits_in_ms(limit, wanted.least.max(1), local) };
            let room = if is_silent { 0 } else { ledger.room(limit) };
            let (key, request) = (key.clone(), *request);
            let answer = RightsAnswer { key, request, granted, lease_ms: GRANT_LEASE_MS, room, retry_ms, is_silent };
            answers.push((*link, *hub, answer));
        }
        // Nothing may be written while nothing may be granted, or the account would seem to be of this run.
        if is_silent || ledger.is_stored_as(&book.ledger) {
            // A daemon that has lived for longer may grant before this one does.
            book.is_known &= !is_silent;
            self.tell_rights(answers);
            return;
        }
        let version = book.version.map_or(version, |before| before.wrapping_add(1));
        let kept_ms = silence_ms_of(&asks).saturating_mul(2).saturating_add(KEPT_MORE_MS);
        swap.value = Some((version, ledger.to_bytes().into()));
        swap.expire_at = now.plus_ms(i64::try_from(kept_ms).unwrap_or(i64::MAX));
        if fault!(RightsUsedUncommitted) {
            let early = answers.clone();
            self.tell_rights(early);
            answers.clear();
        }
        if let Some(book) = self.grants.books.get_mut(key) {
            book.under_way = Some(Attempt { ledger, version, answers, asks });
        }
        self.effects.push(OriginEffect::Swap(swap));
    }

    /// Writes down how long the store has lived, now and then.
    pub(super) fn write_vouch(&mut self, now: TimestampMs) {
        let (local, fresh) = (self.grants.now(), self.draw());
        let swap = self.grants.vouch.write(now, local, fresh);
        self.effects.extend(swap.map(OriginEffect::Swap));
    }

    fn tell_rights(&mut self, answers: Vec<(Link, ReplicaId, RightsAnswer)>) {
        for (link, hub, answer) in answers {
            if self.links.get(&link).is_some_and(|state| state.hub == Some(hub)) {
                self.effects.push(OriginEffect::ToHub(link, OriginToHub::Rights(answer)));
            }
        }
    }

    /// 32 bits that no other machine draws, as far as can be helped.
    fn draw(&mut self) -> u32 {
        self.grants.draws = self.grants.draws.wrapping_add(1);
        let mixed = (self.config.entropy ^ self.grants.draws.wrapping_mul(0x9e37_79b9_7f4a_7c15))
            .wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let [.., b4, b5, b6, b7] = (mixed ^ (mixed >> 31)).to_le_bytes();
        u32::from_le_bytes([b4, b5, b6, b7])
    }
}

fn silence_ms_of(asks: &[Ask]) -> u64 {
    asks.iter().map(|ask| silence_ms(&ask.request.limit)).max().unwrap_or(0)
}
