//! Commands that need one agreed order of all writes, executed here: SET NX, GETDEL, SPOP, locks and the like.
//!
//! The order is that of a slot's commits. A command waits until the store has what its hub had acknowledged before, reads the
//! plain values of its keys with the marker, and is executed on the state as the hubs' operations are; what it does is in the
//! origin's name and in the same commit, all or nothing, with the plain commands for it. A commit that is refused, because
//! another daemon or a plain client was first, is made anew from what stands there then, so the reply is always that of the
//! commit that happened. Hubs that hold the key hear of it before the one that asked gets the reply.
//!
//! Those that ask of all keys, or delete them, are run by the daemon; they wait likewise.

use super::{Link, Origin, OriginEffect, commit::Committing, draft::Draft, draft::Drafts, slot::SlotWork};
use crate::{
    command::{self, Command, CommandError, KeyspaceAction, Reply},
    exec::{self, Vantage, View},
    id::{Key, No, ReplicaId, TimestampMs},
    limits::{RUN_REPLY_BYTES_MAX, RUNS_MAX},
    message::RunReply,
    namespace::Namespace,
    slot::Slot,
    state::Effect,
};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// How long a command waits for what its hub wrote before, in milliseconds: less than the hub waits for the answer.
const ORDER_MS_MAX: i64 = 10_000;

/// What is answered of a slot that is left as it is.
const DAMAGED: &str = "ERR Headwater: what the origin keeps of the key's slot does not decode; nothing was done";

/// What FLUSHDB answers where it could not delete all.
const LEFT: &str =
    "ERR Headwater: keys were left at which another type stands or whose state does not decode; the others are deleted";

/// Keys of one step of FLUSHDB.
const FLUSH_COUNT: &str = "1000";

/// What a hub asked for in one message: one command after the other.
#[derive(Debug)]
pub(super) struct Call {
    within: Namespace,
    after: BTreeMap<Slot, No>,
    commands: VecDeque<Vec<Bytes>>,
    replies: Vec<RunReply>,
    /// How much the replies to come may take in memory, in bytes.
    room: usize,
    until: TimestampMs,
    doing: Doing,
    /// Whether a key could not be deleted.
    is_left: bool,
}

/// What a call waits for.
#[derive(Debug, Default, PartialEq)]
enum Doing {
    #[default]
    Nothing,
    /// For the commit of a slot.
    Slot(Slot),
    /// For the writes before a command on all keys.
    Writes(KeyspaceAction),
    /// For the daemon.
    Daemon,
    /// For the daemon, which deletes what no state can show; the rest is listed then.
    Clearing,
    /// For the names of some keys, which are deleted then.
    Listing,
    /// For so many keys to go, after which the listing goes on at the cursor.
    Deleting(usize, Bytes),
}

/// One command that waits for a commit of its slot.
#[derive(Debug)]
pub(super) struct Order {
    link: Link,
    call: u64,
    after: No,
    command: Command,
    room: usize,
}

impl Order {
    /// Whether the store has what the hub wrote before the command, with what waits for this commit.
    pub(super) fn is_due(&self, work: &SlotWork, hub: Option<ReplicaId>) -> bool {
        let is_told = work.inbox.iter().any(|(link, part)| *link == self.link && part.to >= self.after);
        !work.is_attaching(self.link) && hub.is_some_and(|hub| is_told || work.number_of(hub) >= self.after)
    }

    /// Whether the plain values of its keys were read since the last commit.
    fn is_fresh(&self, work: &SlotWork) -> bool {
        self.command.keys().all(|key| work.plain.fresh.contains(key))
    }

    /// The keys of which the plain values are to be read for it.
    pub(super) fn unread(&self, work: &SlotWork) -> BTreeSet<Key> {
        self.command.keys().filter(|key| !work.plain.fresh.contains(*key)).cloned().collect()
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> + '_ {
        self.command.keys()
    }

    pub(super) fn link(&self) -> Link {
        self.link
    }

    /// Whether the hub that asks has yet to be told of a key that it asked for too.
    pub(super) fn is_awaited(&self, work: &SlotWork) -> bool {
        work.wants.iter().any(|(link, key)| *link == self.link && self.command.keys().any(|other| other == key))
    }
}

impl Origin {
    /// Takes a hub's commands in, unless as many are under way as may be.
    pub(super) fn order(
        &mut self,
        link: Link,
        call: u64,
        after: Vec<(Slot, No)>,
        within: Namespace,
        commands: Vec<Vec<Bytes>>,
        now: TimestampMs,
    ) {
        let Some(state) = self.links.get_mut(&link) else { return };
        let is_full = state.runs >= RUNS_MAX;
        state.runs = state.runs.saturating_add(1);
        if is_full {
            let refused = Err(CommandError::TooManyAtOrigin.to_string().into());
            self.ran(link, call, vec![refused; commands.len()]);
            return;
        }
        let taken = Call {
            within,
            after: after.into_iter().collect(),
            commands: commands.into(),
            replies: Vec::new(),
            room: RUN_REPLY_BYTES_MAX,
            until: now.plus_ms(ORDER_MS_MAX),
            doing: Doing::Nothing,
            is_left: false,
        };
        self.calls.insert((link, call), taken);
        self.advance(link, call, now);
    }

    /// Begins with the next commands of a call until one has to wait, or answers it.
    fn advance(&mut self, link: Link, call: u64, now: TimestampMs) {
        while let Some(of) = self.calls.get_mut(&(link, call)).filter(|of| of.doing == Doing::Nothing) {
            let Some(argv) = of.commands.pop_front() else {
                let replies = std::mem::take(&mut of.replies);
                self.calls.remove(&(link, call));
                self.ran(link, call, replies);
                return;
            };
            of.until = now.plus_ms(ORDER_MS_MAX);
            match command::parse(&argv).and_then(|command| ordered(command, &of.within)) {
                Err(error) => of.reply(Err(error.to_string().into())),
                Ok((command, None)) => {
                    let Some(action) = command.of_keyspace() else { continue };
                    of.doing = Doing::Writes(action.clone());
                    // Handed on as it came, to a daemon that reads it anew.
                    of.commands.push_front(argv);
                }
                Ok((command, Some(slot))) => {
                    of.doing = Doing::Slot(slot);
                    let after = of.after.get(&slot).copied().unwrap_or_default();
                    let order = Order { link, call, after, command, room: of.room };
                    self.slots.entry(slot).or_default().orders.push_back(order);
                    self.ready.insert(slot);
                }
            }
        }
    }

    /// Has the daemon run what asks of all keys, once the store has what hubs wrote before.
    pub(super) fn begin_listings(&mut self) {
        for ((link, call), of) in &mut self.calls {
            let Doing::Writes(action) = &of.doing else { continue };
            let hub = self.links.get(link).and_then(|state| state.hub);
            let number = |slot: &Slot| Some(self.slots.get(slot)?.number_of(hub?));
            if !of.after.iter().all(|(slot, no)| number(slot).is_some_and(|number| number >= *no)) {
                continue;
            }
            let Some(argv) = of.commands.pop_front() else { continue };
            of.doing = if *action == KeyspaceAction::Flush { Doing::Clearing } else { Doing::Daemon };
            let (commands, within) = (vec![argv], of.within.clone());
            self.effects.push(OriginEffect::Run { link: *link, call: *call, commands, within });
        }
    }

    /// Takes what the daemon answered to a call that is one of these. Gives back what belongs to another.
    pub(super) fn listed(
        &mut self,
        link: Link,
        call: u64,
        mut replies: Vec<RunReply>,
        now: TimestampMs,
    ) -> Option<Vec<RunReply>> {
        let Some(of) = self.calls.get_mut(&(link, call)).filter(|of| of.doing != Doing::Nothing) else {
            return Some(replies);
        };
        let reply = replies.pop().unwrap_or(Ok(Reply::Nil));
        match (std::mem::take(&mut of.doing), reply) {
            (Doing::Clearing, Ok(_)) => self.list(link, call, Bytes::from_static(b"0")),
            (Doing::Listing, Ok(page)) => self.delete_listed(link, call, page, now),
            (_, reply) => {
                of.reply(reply);
                self.advance(link, call, now);
            }
        }
        None
    }

    /// Deletes the keys on one page of a listing, as a DEL of each in one order with all other writes: one that cannot be
    /// deleted holds no other back.
    fn delete_listed(&mut self, link: Link, call: u64, page: Reply, now: TimestampMs) {
        let Some(of) = self.calls.get_mut(&(link, call)) else { return };
        let (cursor, keys) = match page {
            Reply::Array(parts) => match <[Reply; 2]>::try_from(parts) {
                Ok([Reply::Bulk(cursor), Reply::Array(keys)]) => (cursor, keys),
                _ => Default::default(),
            },
            _ => Default::default(),
        };
        // What is longer than any key is not Headwater's.
        let key = |name: Reply| if let Reply::Bulk(name) = name { Key::new(name).ok() } else { None };
        let keys: Vec<Key> = keys.into_iter().filter_map(key).collect();
        of.doing = Doing::Deleting(keys.len(), cursor);
        for key in keys {
            let slot = key.slot();
            let after = of.after.get(&slot).copied().unwrap_or_default();
            let command = Command::Del { keys: vec![key] };
            let order = Order { link, call, after, command, room: RUN_REPLY_BYTES_MAX };
            self.slots.entry(slot).or_default().orders.push_back(order);
            self.ready.insert(slot);
        }
        self.list_on(link, call, now);
    }

    /// Goes on with the listing once all of its last page is deleted.
    fn list_on(&mut self, link: Link, call: u64, now: TimestampMs) {
        let Some(of) = self.calls.get_mut(&(link, call)) else { return };
        let Doing::Deleting(0, cursor) = &of.doing else { return };
        if cursor.is_empty() || &cursor[..] == b"0" {
            of.doing = Doing::Nothing;
            let is_left = std::mem::take(&mut of.is_left);
            of.reply(if is_left { Err(LEFT.into()) } else { Ok(Reply::Ok) });
            self.advance(link, call, now);
        } else {
            let cursor = cursor.clone();
            self.list(link, call, cursor);
        }
    }

    /// Asks the daemon for a page of names.
    fn list(&mut self, link: Link, call: u64, cursor: Bytes) {
        let Some(of) = self.calls.get_mut(&(link, call)) else { return };
        of.doing = Doing::Listing;
        let argv = ["SCAN".into(), cursor, "COUNT".into(), FLUSH_COUNT.into()].to_vec();
        let (commands, within) = (vec![argv], of.within.clone());
        self.effects.push(OriginEffect::Run { link, call, commands, within });
    }

    /// A command is executed, and what it did committed.
    pub(super) fn ordered(&mut self, order: &Order, reply: RunReply, now: TimestampMs) {
        let Some(of) = self.calls.get_mut(&(order.link, order.call)) else { return };
        if let Doing::Deleting(open, _) = &mut of.doing {
            *open = open.saturating_sub(1);
            of.is_left |= reply.is_err();
            self.list_on(order.link, order.call, now);
            return;
        }
        of.doing = Doing::Nothing;
        of.reply(reply);
        self.advance(order.link, order.call, now);
    }

    /// Answers what waited too long for its hub's writes, and is not in a commit under way.
    pub(super) fn end_orders(&mut self, now: TimestampMs) {
        let is_late = |of: &Call| of.until <= now && matches!(of.doing, Doing::Slot(_) | Doing::Writes(_));
        let late: Vec<(Link, u64)> = self.calls.iter().filter(|(_, of)| is_late(of)).map(|(id, _)| *id).collect();
        for (link, call) in late {
            let Some(of) = self.calls.get_mut(&(link, call)) else { continue };
            if let Doing::Slot(slot) = of.doing {
                let Some(work) = self.slots.get_mut(&slot) else { continue };
                let before = work.orders.len();
                work.orders.retain(|order| (order.link, order.call) != (link, call));
                if work.orders.len() == before {
                    continue;
                }
            } else {
                of.commands.pop_front();
            }
            of.doing = Doing::Nothing;
            of.reply(Err(CommandError::OriginBehind.to_string().into()));
            self.advance(link, call, now);
        }
    }

    /// Answers what can be executed nowhere: a companion of the slot does not decode.
    pub(super) fn refuse_orders(&mut self, orders: VecDeque<Order>, now: TimestampMs) {
        for order in orders {
            self.ordered(&order, Err(DAMAGED.into()), now);
        }
    }

    /// When the first call has waited too long.
    pub(super) fn next_late_order(&self) -> Option<TimestampMs> {
        let waits = |of: &&Call| matches!(of.doing, Doing::Slot(_) | Doing::Writes(_));
        self.calls.values().filter(waits).map(|of| of.until).min()
    }

    /// Forgets the calls of a hub that is gone or begins again: it has told its clients that the outcome is unknown.
    pub(super) fn forget_orders(&mut self, link: Link) {
        self.calls.retain(|(other, _), _| *other != link);
    }
}

impl Call {
    fn reply(&mut self, reply: RunReply) {
        let bytes = reply.as_ref().map_or(0, Reply::memory_bytes);
        self.room = self.room.saturating_sub(bytes.saturating_add(size_of::<Reply>()));
        self.replies.push(reply);
    }
}

impl Drafts<'_> {
    /// Executes the orders that are due, and gives each with its reply. The others, and those whose hub is to hear of the key
    /// first, wait on. At a key in `unfit` stands what no state can show.
    pub(super) fn execute_orders(
        &mut self,
        hubs: &BTreeMap<ReplicaId, No>,
        hub_of: impl Fn(Link) -> Option<ReplicaId>,
        unfit: &BTreeSet<Key>,
        is_plainless: bool,
        mut entropy: impl FnMut() -> u64,
    ) -> Vec<(Order, RunReply)> {
        let orders = std::mem::take(&mut self.work.orders);
        let mut executed = Vec::new();
        for order in orders {
            let Some(hub) = hub_of(order.link) else { continue };
            let number = hubs.get(&hub).copied().unwrap_or_else(|| self.work.number_of(hub));
            let is_due = number >= order.after && !self.work.is_attaching(order.link);
            if !is_due || order.is_awaited(self.work) || !(is_plainless || order.is_fresh(self.work)) {
                self.work.orders.push_back(order);
                continue;
            }
            let is_unfit = order.keys().any(|key| unfit.contains(key) || self.work.foreign.contains(key));
            let reply = if is_unfit { Err(CommandError::WrongType) } else { self.execute(&order, entropy()) };
            executed.push((order, reply.map_err(|error| error.to_string().into())));
        }
        self.work.plain.fresh.clear();
        executed
    }

    /// Executes a command on what stands here, in the origin's name.
    fn execute(&mut self, Order { command, room, .. }: &Order, entropy: u64) -> Result<Reply, CommandError> {
        let vantage = Vantage { replica: self.numbers.own, heard_at: Some(self.now) };
        let cache = &self.work.cache;
        let view =
            |key: &Key| View { state: cache.get(key).map(|cached| cached.key.state.view()), is_held: true, vantage };
        let prepared = exec::prepare(command, view, self.now, entropy)?;
        if prepared.reply.memory_bytes() > *room {
            return Err(CommandError::reply_too_large());
        }
        for operation in prepared.operations {
            let cached = self.work.cache.entry(operation.key.clone()).or_default();
            let draft = self.keys.entry(operation.key).or_insert_with(|| Draft::of(cached, self.now));
            draft.guard_order();
            let state = &mut cached.key.state;
            for effect in &operation.effects {
                match effect {
                    Effect::Wipe { .. } => draft.note_all(state),
                    Effect::Write { element, .. }
                    | Effect::Add { element, .. }
                    | Effect::Touch { element, .. }
                    | Effect::Spend { element, .. } => draft.before.note(state, element),
                    Effect::Deadline { .. } => {}
                }
                if let Some(epoch) = state.deadline().epoch() {
                    // What is opened next is later, whatever this clock says.
                    self.numbers.heed(epoch.hlc);
                }
                let mint = self.numbers.mint_on(state);
                draft.take(state.apply(effect, mint), self.numbers.own);
            }
        }
        Ok(prepared.reply)
    }
}

impl Committing {
    /// Puts back the orders of a commit that did not happen.
    pub(super) fn restore_orders(&mut self, work: &mut SlotWork) {
        for (order, _) in std::mem::take(&mut self.orders).into_iter().rev() {
            work.orders.push_front(order);
        }
    }
}

/// A command with the slot of its keys, if it names any.
fn ordered(command: Command, within: &Namespace) -> Result<(Command, Option<Slot>), CommandError> {
    if !command.needs_origin() {
        return Err(CommandError::NeedsOrigin);
    }
    // A hub asks for its own namespace's alone; this is what holds it there.
    if let Some(other) = command.keys().find(|key| !within.holds(key.as_bytes())) {
        return Err(CommandError::other_namespace(other));
    }
    let mut slots = command.keys().map(Key::slot);
    let slot = slots.next();
    if slots.any(|other| Some(other) != slot) {
        return Err(CommandError::OrderedCrossSlot);
    }
    Ok((command, slot))
}
