//! The leaf: a tab's or isolate's view. It reads its base joined with its unacknowledged operations, and writes at once.
//!
//! A command is prepared against that view, applied to it under provisional dots, and queued. The hub settles each
//! operation exactly once; a refused one is rolled back and reported. An operation belongs to the session in which it was
//! first sent and settles only there: after the leaf roamed, the old hub settles it through the new one, and later
//! operations on the same keys wait for that.
//!
//! A settled operation stays in the view until the base shows it, so a leaf's reads never go back.

mod api;
mod base;
mod gather;
mod pending;
mod queue;
mod rows;
mod share;
mod standings;
mod uplink;

pub use api::{Extent, LeafEffect, LeafInput, LeafStatus, TabId};
pub use rows::{LeafRestoreError, LeafRowId, LeafRowWrite};

use crate::{
    command::{self, Command, CommandError, Reply},
    exec::{self, Prepared, Vantage, View},
    hlc::Hlc,
    id::{ClientId, Dot, Key, No, ReplicaId, Seq, SessionId, TimestampMs},
    limits::{BATCH_OPERATIONS_MAX, KEYS_CHUNK, OPERATION_BYTES_MAX, PENDING_OPERATIONS_MAX},
    message::{HubToLeaf, LeafToHub, Lifetime, RefusalCause},
    ordered::{OrderedMap, OrderedSet},
    random::Random,
    state::{Effect, ElementId, Increment, KeyState, Mint, Operation},
    wire::{Capabilities, Features},
};
use base::{Base, Push, is_left_over};
use bytes::Bytes;
use pending::Pending;
use queue::Queue;
use rows::Dirty;
use share::Mirror;
use standings::{Boards, Shown};

/// How long the leaf waits for a verdict before it sends an operation again, in milliseconds: a hub that could not reach
/// another one says nothing.
const VERDICT_MS_MAX: i64 = 5_000;

/// The leaf's state machine.
#[derive(Debug)]
pub struct Leaf {
    client: ClientId,
    /// What commands draw at random follows from the client's name.
    random: Random,
    lifetime: Lifetime,
    /// The session for new operations, and the next number in it.
    session: Option<(SessionId, Seq)>,
    /// When that session's ticket ends, by the hub's clock.
    session_until: TimestampMs,
    /// Up to where each session with open operations is settled.
    settled: OrderedMap<SessionId, Seq>,
    is_connected: bool,
    /// The most operations that the hub accepts in one batch.
    batch_max: usize,
    /// Whether the hub reads messages of the connection's session in little.
    is_brief: bool,
    offset_ms: i64,
    /// The hub that last greeted this leaf.
    shown_by: Option<ReplicaId>,
    base: OrderedMap<Key, Base>,
    pending: Queue,
    /// Keys with operations that were sent in other sessions than the present one; only what was one may still be.
    elsewhere: OrderedSet<Key>,
    /// Pushes that may show an operation of which this leaf has no verdict yet, in order.
    deferred: OrderedMap<Key, Vec<Push>>,
    subscriptions: OrderedSet<Key>,
    /// What it is shown parts of.
    boards: Boards,
    pushes: u64,
    last_local: No,
    /// When to ask next after settled operations that no base shows.
    ask_at: Option<TimestampMs>,
    /// The sessions of which it has asked.
    asked: OrderedSet<SessionId>,
    /// When the hub last said anything, by the leaf's own clock.
    heard_at: Option<TimestampMs>,
    effects: Vec<LeafEffect>,
    /// What the present input, and what was done since the one before, made to read differently.
    changed: OrderedSet<Key>,
    /// What is to be stored; none if the leaf lives in memory alone.
    dirty: Option<Dirty>,
    /// How often something was to be stored.
    version: u64,
    /// In which version the last operation on a key was done with, for those that mirrors may not know.
    done_in: OrderedMap<Key, u64>,
    /// How many operations of each tab were adopted.
    adopted: OrderedMap<TabId, u64>,
    /// There if another tab's leaf leads this one.
    mirror: Option<Mirror>,
    /// What was added to each key since the last [`LeafInput::Flush`]; none of a leaf that sends at once.
    gathered: Option<OrderedMap<Key, Pending>>,
}

impl Leaf {
    /// A leaf that knows nothing yet.
    pub fn new(client: ClientId, lifetime: Lifetime) -> Self {
        Self {
            client,
            random: Random::new(client.0 as u64),
            lifetime,
            session: None,
            session_until: TimestampMs(0),
            settled: OrderedMap::new(),
            is_connected: false,
            batch_max: BATCH_OPERATIONS_MAX,
            is_brief: false,
            offset_ms: 0,
            shown_by: None,
            base: OrderedMap::new(),
            pending: Queue::default(),
            elsewhere: OrderedSet::new(),
            deferred: OrderedMap::new(),
            subscriptions: OrderedSet::new(),
            boards: Boards::new(),
            pushes: 0,
            last_local: No::ZERO,
            ask_at: None,
            asked: OrderedSet::new(),
            heard_at: None,
            effects: Vec::new(),
            changed: OrderedSet::new(),
            dirty: None,
            version: 0,
            done_in: OrderedMap::new(),
            adopted: OrderedMap::new(),
            mirror: None,
            gathered: None,
        }
    }

    /// Every cause of change but commands, in one match. Effects are to be performed in order.
    pub fn handle(&mut self, input: LeafInput, now: TimestampMs) -> Vec<LeafEffect> {
        match input {
            LeafInput::Opened => {
                self.end_session_early(now);
                self.hello();
            }
            LeafInput::Hub(message) => {
                self.heard_at = Some(now);
                self.hub_message(message, now);
            }
            LeafInput::Answered { messages, asked_at } => self.answered(messages, asked_at, now),
            LeafInput::Closed => self.is_connected = false,
            // Nothing leaves before a welcome; until then sums grow rather than queues.
            LeafInput::Flush if !self.is_connected => {}
            LeafInput::Flush => self.end_all_sums(),
            LeafInput::Subscribe(keys) => {
                let fresh: Vec<Key> = keys.into_iter().filter(|key| self.subscriptions.insert(key.clone())).collect();
                if self.is_connected && !fresh.is_empty() {
                    fresh.chunks(KEYS_CHUNK).for_each(|keys| self.send(LeafToHub::Subscribe(keys.to_vec())));
                }
            }
            // The leader knows who else wants the keys.
            LeafInput::Unsubscribe(_) if self.mirror.is_some() => {}
            LeafInput::Unsubscribe(keys) => {
                for key in &keys {
                    self.subscriptions.remove(key);
                    self.base.remove(key);
                    self.dirty.iter_mut().for_each(|dirty| dirty.dropped(key));
                    self.deferred.remove(key);
                }
                self.drop_shown(keys.iter().cloned());
                if self.is_connected {
                    keys.chunks(KEYS_CHUNK).for_each(|keys| self.send(LeafToHub::Unsubscribe(keys.to_vec())));
                }
            }
            LeafInput::Watch(key, query) => self.watch(key, query),
            LeafInput::Unwatch(keys) => self.unwatch(&keys),
            LeafInput::Share => self.share_boards(),
            LeafInput::Again => self.hand_over_again(),
            LeafInput::Gone(tab) => {
                self.adopted.remove(&tab);
            }
            LeafInput::Tick => {
                let late = |sent_at: TimestampMs| now.since_ms(sent_at) >= VERDICT_MS_MAX;
                if !fault!(VerdictNotAwaited) {
                    self.pending.change_all(&mut |pending| {
                        pending.in_flight_since = pending.in_flight_since.filter(|sent_at| !late(*sent_at));
                    });
                }
            }
        }
        self.conclude(now)
    }

    /// Executes a command on the view. A write is queued for the hub and shows at once.
    ///
    /// # Errors
    /// Redis' own; [`CommandError::NotHeld`] for a key that is not subscribed to or has not arrived yet;
    /// [`CommandError::TooManyPending`] when the queue is full; [`CommandError::OperationTooLarge`] where no frame could
    /// carry what it does to one key.
    pub fn command(&mut self, argv: &[Bytes], now: TimestampMs) -> (Result<Reply, CommandError>, Vec<LeafEffect>) {
        let reply = self.act(argv, now).map(|(reply, _)| reply);
        (reply, self.conclude(now))
    }

    /// As [`Leaf::command`], and says which keys it changed; what else comes of it is told at the next input, for which
    /// [`LeafInput::Flush`] serves where there is no other. So all that is done in one turn is stored and sent at once.
    ///
    /// # Errors
    /// As there.
    pub fn act(&mut self, argv: &[Bytes], now: TimestampMs) -> Result<(Reply, Extent), CommandError> {
        let command = command::parse(argv)?;
        let (reply, extent) = match self.increment(&command, now) {
            Some(total) => (Reply::Int(total), Extent::Named),
            None => self.execute(&command, argv.get(1), now)?,
        };
        if let (Some((key, _)), Reply::Int(total)) = (added_to(&command), &reply) {
            self.pending.note_count(key, *total);
        }
        Ok((reply, extent))
    }

    /// As [`Leaf::command`], of a command that was parsed before.
    ///
    /// # Errors
    /// As there.
    pub fn run(&mut self, command: &Command, now: TimestampMs) -> (Result<Reply, CommandError>, Vec<LeafEffect>) {
        let reply = self.execute(command, None, now).map(|(reply, _)| reply);
        if self.gathered.is_some() {
            // What it queued waits for a flush.
            return (reply, std::mem::take(&mut self.effects));
        }
        (reply, self.conclude(now))
    }

    /// What an application shows.
    pub fn status(&self) -> LeafStatus {
        LeafStatus {
            is_connected: self.is_connected,
            pending: self.unsettled(),
            handed_over: self.pending.of_mirror(),
            keys: self.base.len(),
            offset_ms: self.offset_ms,
            heard_at: self.heard_at,
        }
    }

    /// Whether a hub has welcomed this leaf on the present connection.
    pub fn is_connected(&self) -> bool {
        self.is_connected
    }

    /// When the hub last said anything, by the leaf's own clock.
    pub fn heard_at(&self) -> Option<TimestampMs> {
        self.heard_at
    }

    /// Operations not settled by their hub.
    fn unsettled(&self) -> usize {
        self.pending.unsettled().saturating_add(self.sums())
    }

    /// Whether commands that rest on a key's value can be executed here: the hub has shown it, and holds it or something
    /// of it.
    pub fn is_shown(&self, key: &Key) -> bool {
        self.is_held(key).is_some()
    }

    /// Whether the hub that showed a key holds it as the origin has it; none where [`Self::is_shown`] is not so.
    pub fn is_held(&self, key: &Key) -> Option<bool> {
        self.base.get(key).filter(|base| base.is_held || !base.state.is_empty()).map(|base| base.is_held)
    }

    /// The view of a key.
    pub fn key(&self, key: &Key) -> Option<&KeyState> {
        self.pending.view(key).or_else(|| self.base.get(key).map(|base| &base.state))
    }

    /// Whether what is read of a key stays as it is until an effect says that it [`Changed`](LeafEffect::Changed): nothing of it
    /// ends by itself.
    pub fn lasts(&self, key: &Key) -> bool {
        self.key(key).is_none_or(|state| !state.view().ends())
    }

    /// Ends an input: sends what there is to send, but stores first, and says what reads differently before what came of it.
    fn conclude(&mut self, now: TimestampMs) -> Vec<LeafEffect> {
        self.send_pending(now);
        self.hand_over(now);
        let rows = self.take_rows();
        let changed = std::mem::take(&mut self.changed);
        let mut effects = std::mem::take(&mut self.effects);
        // What is shown of a board rests on nothing that is stored, and shows what these rows may be done with.
        let at = effects.iter().take_while(|effect| matches!(effect, LeafEffect::Share(_))).count();
        if !changed.is_empty() {
            effects.insert(at, LeafEffect::Changed(changed.into_iter().collect()));
        }
        if !rows.is_empty() {
            effects.insert(at, LeafEffect::Persist(rows));
        }
        effects
    }

    /// Queues and shows what a command with that first argument comes to.
    fn execute(
        &mut self,
        command: &Command,
        first: Option<&Bytes>,
        now: TimestampMs,
    ) -> Result<(Reply, Extent), CommandError> {
        let is_known = |key: &Key| self.is_shown(key) || self.pending.view(key).is_some();
        if exec::needs_key(command) && !exec::takes_unheld(command) && !command.keys().all(is_known) {
            return Err(CommandError::NotHeld);
        }
        if command.has_pattern() || command.is_passed() || command.needs_origin() {
            return Err(CommandError::NeedsOrigin);
        }
        let waiting = self.pending.len().saturating_add(self.sums());
        if command.is_write() && waiting >= PENDING_OPERATIONS_MAX {
            return Err(CommandError::TooManyPending);
        }
        let entropy = self.random.bits();
        let mut prepared = self.prepare(command, now, entropy)?;
        if self.end_sums_before(&prepared.operations) {
            prepared = self.prepare(command, now, entropy)?;
        }
        if prepared.operations.iter().any(|operation| operation.approximate_bytes() > OPERATION_BYTES_MAX) {
            return Err(CommandError::operation_too_large());
        }
        let Prepared { reply, operations } = prepared;
        let extent = match &operations[..] {
            [] => Extent::Nothing,
            [one] if first.is_some_and(|first| first[..] == *one.key.as_bytes()) => Extent::Named,
            _ => Extent::More,
        };
        for operation in operations {
            if !self.gather(&operation) {
                self.queue(operation);
            }
        }
        Ok((reply, extent))
    }

    /// Adds to a counter of which it is noted what it counts, as [`Self::execute`] would; `None`, and nothing done, of anything else.
    fn increment(&mut self, command: &Command, now: TimestampMs) -> Option<i64> {
        let (key, by) = added_to(command)?;
        if self.gathered.is_some() || self.pending.len() >= PENDING_OPERATIONS_MAX {
            return None;
        }
        let total = self.pending.count(key)?.checked_add(by)?;
        let effect = Effect::Add { element: ElementId::String, by: Increment::Int(by.into()) };
        self.queue(Operation { key: key.clone(), at: now.plus_ms(self.offset_ms), effects: vec![effect] });
        Some(total)
    }

    /// What a command comes to on the view.
    fn prepare(&self, command: &Command, now: TimestampMs, entropy: u64) -> Result<Prepared, CommandError> {
        let heard_at = self.heard_at.map(|at| at.plus_ms(self.offset_ms));
        let view = |key: &Key| {
            let base = self.base.get(key);
            let state = self.pending.view(key).or(base.map(|base| &base.state)).map(KeyState::view);
            let is_held = base.is_some_and(|base| base.is_held);
            View { state, is_held, vantage: Vantage { replica: ReplicaId::LEAF, heard_at } }
        };
        exec::prepare(command, view, now.plus_ms(self.offset_ms), entropy)
    }

    /// Queues an operation and shows it.
    fn queue(&mut self, operation: Operation) {
        let tells_epoch = operation.effects.iter().any(|effect| matches!(effect, Effect::Deadline { .. }));
        let base = self.base.get(&operation.key).filter(|_| tells_epoch);
        let epoch = base.and_then(|base| base.state.deadline().epoch());
        let first_local = self.take_local(operation.effects.len());
        let known = self.known();
        self.show_operation(&operation, first_local);
        self.pending.push(Box::new(Pending::new(operation, epoch, first_local, known)));
    }

    /// The first of so many provisional numbers.
    fn take_local(&mut self, count: usize) -> No {
        let last = self.mirror.as_mut().map_or(&mut self.last_local, |mirror| &mut mirror.last_local);
        let first = last.next();
        *last = No(last.0.saturating_add(count as u64));
        first
    }

    /// Shows an operation that follows all others on its key.
    fn show_operation(&mut self, operation: &Operation, first_local: No) {
        let key = &operation.key;
        let base = || self.base.get(key).map(|base| base.state.clone()).unwrap_or_default();
        show(operation, first_local, self.pending.view_or(key, base));
        if self.gathered.is_none() {
            self.changed.insert(key.clone());
        }
    }

    /// Takes all that a hub answered to one request. It speaks of the time at which it was asked, unless the connection began
    /// or ended with this answer, or pushes wait for a verdict: then the base may show less.
    fn answered(&mut self, messages: Vec<HubToLeaf>, asked_at: TimestampMs, now: TimestampMs) {
        let was_connected = self.is_connected;
        for message in messages {
            self.hub_message(message, now);
        }
        if was_connected && self.is_connected && self.deferred.is_empty() {
            self.heard_at = Some(asked_at);
        }
    }

    fn hello(&mut self) {
        self.is_connected = false;
        // The rest of a key that was coming in pieces went with the old connection; it comes whole again.
        self.deferred.values_mut().for_each(|pushes| pushes.retain(|push| !push.more));
        self.pushes = 0;
        self.ask_at = None;
        let resume = self.session.map(|(id, _)| id);
        let capabilities = Capabilities::CURRENT;
        self.send(LeafToHub::Hello { client: self.client, lifetime: self.lifetime, resume, capabilities });
    }

    fn hub_message(&mut self, message: HubToLeaf, now: TimestampMs) {
        match message {
            HubToLeaf::Welcome { hub, now: hub_now, session, until, watermark, capabilities } => {
                if self.settled.get(&session).is_some_and(|known| watermark < *known) {
                    // The hub's storage is an old copy, which knows less of the session than it said: the rest of the session
                    // cannot be settled, its numbers must not be used again, and what was shown may bear numbers given twice.
                    self.forget_shown();
                    self.is_connected = true;
                    return self.hub_message(HubToLeaf::Expired(session), now);
                }
                let is_anew = |former: ReplicaId| former != hub && former.is_of_site(hub);
                if self.shown_by.or(self.session.map(|(own, _)| own.hub)).is_some_and(is_anew) {
                    self.forget_shown();
                }
                self.shown_by = Some(hub);
                self.batch_max = BATCH_OPERATIONS_MAX.min(capabilities.batch_operations_max as usize);
                self.is_brief = capabilities.features.contains(Features::BRIEF);
                self.offset_ms = hub_now.since_ms(now);
                self.is_connected = true;
                self.session_until = until;
                if self.session.is_none_or(|(own, _)| own != session) {
                    self.session = Some((session, watermark.next()));
                }
                self.pending.change_all(&mut |pending| {
                    pending.in_flight_since = None;
                    if fault!(SessionFollowsRoamer) && !pending.is_settled() {
                        pending.sent = None;
                    }
                    if fault!(ResentUnderNewNumbers) && pending.sent.is_some_and(|(own, _)| own == session) {
                        pending.sent = pending.sent.filter(|_| pending.is_settled());
                    }
                });
                self.elsewhere = self.keys_elsewhere();
                if !self.subscriptions.is_empty() {
                    let keys: Vec<Key> = self.subscriptions.iter().cloned().collect();
                    keys.chunks(KEYS_CHUNK).for_each(|keys| self.send(LeafToHub::Subscribe(keys.to_vec())));
                }
                self.watch_again();
            }
            HubToLeaf::Verdicts { session, through, accepted, refused } => {
                self.verdicts(session, through, &accepted, &refused, now);
            }
            HubToLeaf::Expired(session) => {
                if self.session.is_some_and(|(own, _)| own == session) {
                    self.session = None;
                    if self.is_connected {
                        // The ticket ended on an open socket: ask for another.
                        self.hello();
                    }
                }
                self.settled.remove(&session);
                if self.asked.remove(&session) {
                    self.forget_settled_in(session);
                }
                if fault!(ExpiryGuessed) {
                    self.pending
                        .change_all(&mut |pending| pending.sent = pending.sent.filter(|(own, _)| *own != session));
                }
                let ended = self
                    .pending
                    .numbers(&|pending| pending.sent.is_some_and(|(own, _)| own == session) && !pending.is_settled());
                self.refuse(ended.into_iter().map(|no| (no, CommandError::SessionEnded)).collect());
                self.show_deferred(now);
            }
            HubToLeaf::State { push, key, delta, held, more, session, watermark } => {
                self.state(push, key, Push { delta, is_held: held, more, session, watermark }, now);
            }
            HubToLeaf::Standings { key, standings, held, session, watermark } => {
                self.standings(key, Shown { standings, is_held: held, settled: (session, watermark) });
            }
            HubToLeaf::Again => self.hello(),
            HubToLeaf::Refused(refusal) => {
                if refusal.cause == RefusalCause::Limit {
                    self.batch_max = self.batch_max.div_ceil(2);
                }
                self.is_connected = false;
                self.effects.push(LeafEffect::Redial);
            }
        }
    }

    fn verdicts(
        &mut self,
        session: SessionId,
        through: Seq,
        accepted: &[(Seq, No, No)],
        refused: &[(Seq, CommandError)],
        now: TimestampMs,
    ) {
        let known = self.settled.or_default(session);
        *known = (*known).max(through);
        for (seq, after, last) in accepted.iter().filter(|(seq, ..)| *seq <= through) {
            if let Some(no) = self.pending.sent_as(session, *seq) {
                self.pending.change(no, &mut |pending| pending.settle(session.hub, *after, *last));
            }
        }
        let cause = |(seq, cause): &(Seq, CommandError)| Some((self.pending.sent_as(session, *seq)?, cause.clone()));
        let refused = refused.iter().filter_map(cause).collect();
        self.refuse(refused);
        self.drop_shown([]);
        self.show_deferred(now);
        let current = self.session.map(|(id, _)| id);
        if self.settled.keys().any(|id| current != Some(*id)) {
            let live: Vec<_> = self.pending.iter().filter_map(|pending| pending.sent).map(|(id, _)| id).collect();
            self.settled.retain(|id, _| current == Some(*id) || live.contains(id));
        }
    }

    /// Forgets what a hub showed that began anew: its storage was an old copy, and it may have given numbers twice.
    fn forget_shown(&mut self) {
        let keys: Vec<Key> = std::mem::take(&mut self.base).into_keys().collect();
        self.deferred.clear();
        for key in &keys {
            self.dirty.iter_mut().for_each(|dirty| dirty.dropped(key));
        }
        self.show_anew(keys);
    }

    /// Drops what a hub settled and knows no more of. If the origin has it, the base will show it.
    fn forget_settled_in(&mut self, session: SessionId) {
        let is_of_it = |pending: &Pending| pending.is_settled() && pending.sent.is_some_and(|(own, _)| own == session);
        let forgotten = self.pending.numbers(&is_of_it);
        let mut keys = OrderedSet::new();
        for pending in forgotten.into_iter().filter_map(|no| self.pending.remove(no)) {
            self.dirty.iter_mut().for_each(|dirty| dirty.done(&pending));
            keys.insert(pending.key().clone());
        }
        self.show_anew(keys);
    }

    /// Rolls these operations back, and reports each with its cause.
    fn refuse(&mut self, refused: Vec<(No, CommandError)>) {
        let mut keys = OrderedSet::new();
        for (no, cause) in refused {
            let Some(pending) = self.pending.remove(no) else { continue };
            self.dirty.iter_mut().for_each(|dirty| dirty.done(&pending));
            keys.insert(pending.key().clone());
            self.effects.push(LeafEffect::Refused(pending.key().clone(), cause));
        }
        self.show_anew(keys);
    }

    fn state(&mut self, number: u64, key: Key, push: Push, now: TimestampMs) {
        if !self.is_connected {
            // From before the hello; whole keys follow the welcome.
            return;
        }
        if number != self.pushes.saturating_add(1) && !fault!(PushGapIgnored) {
            // One was lost: a delta that lists only what changed cannot be joined on top.
            self.is_connected = false;
            self.effects.push(LeafEffect::Redial);
            return;
        }
        self.pushes = number;
        if self.subscriptions.contains(&key) {
            let pushes = self.deferred.or_default(key);
            match pushes.last_mut().filter(|last| last.session == push.session) {
                Some(last) => last.follow(push),
                None => pushes.push(push),
            }
            self.show_deferred(now);
        }
    }

    /// Joins the pushes that wait for no verdict any more. One that already shows an operation whose verdict is still on
    /// its way would show it twice.
    fn show_deferred(&mut self, now: TimestampMs) {
        let hub_now = now.plus_ms(self.offset_ms);
        let mut changed = Vec::new();
        for (key, pushes) in self.deferred.iter_mut() {
            while let Some(push) = pushes.first() {
                let is_early = self.pending.of_key(key).any(|pending| {
                    let may_show = |(session, seq)| session != push.session || seq <= push.watermark;
                    !pending.is_settled() && pending.sent.is_some_and(may_show)
                });
                if push.more || (is_early && !fault!(ShownTwice)) {
                    break;
                }
                let push = pushes.remove(0);
                let base = self.base.or_default(key.clone());
                if push.delta.complete && is_left_over(&base.state, &push.delta, hub_now) {
                    *base = Base::default();
                    self.dirty.iter_mut().for_each(|dirty| dirty.dropped(key));
                }
                let touched = base.join(push.delta);
                self.dirty.iter_mut().for_each(|dirty| dirty.joined(key, &touched));
                base.is_held = push.is_held;
                changed.push(key.clone());
            }
        }
        self.deferred.retain(|_, pushes| !pushes.is_empty());
        if changed.is_empty() {
            return;
        }
        self.drop_shown(changed);
    }

    /// Drops settled operations that the base shows, or that no base will ever show; then shows their keys anew, and those that
    /// have `changed` besides.
    fn drop_shown(&mut self, changed: impl IntoIterator<Item = Key>) {
        let mut changed: OrderedSet<Key> = changed.into_iter().collect();
        let settled: Vec<No> = self.pending.settled().map(|pending| pending.first_local).collect();
        for no in settled {
            let Some(pending) = self.pending.get(no) else { continue };
            let Some((replica, after, through)) = pending.settled else { continue };
            let is_subscribed = self.subscriptions.contains(pending.key());
            let base = self.base.get(pending.key());
            let last = Dot { replica, no: through };
            let shows = |base: &Base| base.state.ctx().contains(last) || pending.is_counted_in(&base.state, last);
            let is_shown = after == through || base.is_some_and(shows);
            // What the base shows must not stand on top of it, whatever is shown of the board besides.
            let is_awaited = if is_subscribed { !is_shown } else { self.is_awaited_in_standings(pending) };
            if is_awaited && !fault!(DroppedBeforeShown) {
                continue;
            }
            let Some(shown) = self.pending.remove(no) else { continue };
            self.dirty.iter_mut().for_each(|dirty| dirty.done(&shown));
            changed.insert(shown.key().clone());
            if let Some(base) = self.base.get(shown.key()) {
                // Later operations that saw its provisional dots have seen the real ones.
                let settled = (replica, after, through);
                self.pending.change_later(&shown, &mut |later| later.observe(&shown, &base.state, settled));
            }
        }
        self.show_anew(changed);
    }

    /// The view of these keys anew, which may read differently.
    fn show_anew(&mut self, keys: impl IntoIterator<Item = Key>) {
        for key in keys {
            self.rebuild(&key);
            if !fault!(ChangeUntold) || self.pending.view(&key).is_none() {
                self.changed.insert(key);
            }
        }
    }

    /// The view of a key anew: its base with the open operations on top.
    fn rebuild(&mut self, key: &Key) {
        let queued = self.pending.of_key(key);
        let mut open = queued.chain(self.sum(key)).peekable();
        let view = open.peek().is_some().then(|| {
            let mut state = self.base.get(key).map(|base| base.state.clone()).unwrap_or_default();
            open.for_each(|pending| show(&pending.view, pending.first_local, &mut state));
            state
        });
        self.pending.set_view(key, view);
    }

    fn send(&mut self, message: LeafToHub) {
        self.effects.push(LeafEffect::Send(message));
    }
}

/// The counter to which a command adds, and how much.
fn added_to(command: &Command) -> Option<(&Key, i64)> {
    match command {
        Command::Incr { key, by }
        | Command::IncrBy { key, by }
        | Command::Decr { key, by }
        | Command::DecrBy { key, by } => Some((key, *by)),
        _ => None,
    }
}

/// Applies an operation to a view under provisional dots from the first on.
fn show(operation: &Operation, first_local: No, state: &mut KeyState) {
    let hlc = Hlc::at(operation.at);
    let mut no = first_local;
    for effect in &operation.effects {
        let _ = state.apply(effect, Mint { dot: Dot { replica: ReplicaId::LEAF, no }, hlc });
        no = no.next();
    }
}
