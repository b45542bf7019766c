//! The hub: one region's and shard's replica, in a Durable Object.
//!
//! It makes leaves' and HTTP clients' operations its own (numbers, stamps, checks), keeps their state in rows, sends them to
//! the origin as deltas and takes the origin's in turn. Every effect list begins with the rows that the answers rest on:
//! persist, then acknowledge. The machine holds nothing that [`Hub::restore`] cannot rebuild from its rows, but for the
//! sockets, whose ends are asked to begin again.
//!
//! **Uplink.** Rows bear the number of their last change, so what to send is derived: all of a slot's rows changed after the
//! committed number. A delta speaks of the hub's own numbers in that interval, of the dots that it saw removed, and of the
//! dots that it lists; so it joins soundly into any state of the origin, also one rolled back by a failover. Declared dead
//! dots are kept until they are stable.
//!
//! **Downlink.** The origin's deltas speak of its whole context, and list what changed since the hub's cursor: they are
//! joined only where the hub stands at that cursor or further.

mod acknowledge;
mod anew;
mod api;
mod boards;
mod commands;
mod commits;
mod compare;
mod downlink;
mod expiry;
mod keyspace;
mod leaves;
mod listeners;
mod memory;
mod mint;
mod notes;
mod outbox;
mod remote;
mod rows;
mod session;
mod slots;
mod sockets;
mod strict;
mod uplink;

pub use api::{Connection, HubConfig, HubEffect, HubInput, HubStatus, Listener, MemoryLimit, Request, RowId, RowWrite};
pub use listeners::{Heard, ListenError};
pub use outbox::OutboxStatus;
pub use rows::RestoreError;

use crate::{
    grant::Grants,
    hlc::Clock,
    id::{Key, No, ReplicaId, SessionId, TimestampMs},
    namespace::Namespace,
    slot::Slot,
    state::{ElementId, KeyView, Touched},
    wheel::Wheel,
};
use bytes::Bytes;
use commands::{Answer, Waiting};
use commits::Committing;
use expiry::Ends;
use keyspace::{KeyNo, Keyspace};
use leaves::Session;
use listeners::Listeners;
use memory::Memory;
use outbox::Outbox;
use remote::Remote;
use session::Seen;
use slots::Slots;
use sockets::{LeafSocket, Leaves};
use std::collections::{BTreeMap, BTreeSet};
use strict::Strict;

/// The hub's state machine.
#[derive(Debug)]
pub struct Hub {
    id: ReplicaId,
    name: String,
    namespace: Namespace,
    last_no: No,
    clock: Clock,
    next_session: u64,
    keys: Keyspace,
    slots: Slots,
    sessions: BTreeMap<SessionId, Session>,
    answers: BTreeMap<Bytes, Answer>,
    /// When keys end, by their numbers.
    wheel: Wheel,
    ends: Ends,
    memory: Memory,
    leaves: Leaves,
    /// When to look next at a board that a leaf watches.
    boards_at: Option<TimestampMs>,
    /// What leaves may do that may not do everything.
    grants: BTreeMap<Connection, Grants>,
    origin: Option<OriginSocket>,
    /// When the daemon last said anything; unknown since the machine was restored.
    heard_at: Option<TimestampMs>,
    /// Daemons that greeted before the present one and are still there, the latest last.
    spare_origins: Vec<Connection>,
    waiting: Vec<Waiting>,
    /// Requests whose commands the origin runs, by the number of the call.
    remotes: BTreeMap<u64, Remote>,
    seen: Seen,
    committing: Vec<Committing>,
    outbox: Outbox,
    listeners: Listeners,
    /// Rights under strict limits.
    strict: Strict,
    /// Slots of which a frame was refused for its stamps, those of them that could not be compared for it, and when to ask again.
    refused: BTreeSet<Slot>,
    doubted: BTreeSet<Slot>,
    ask_again_at: Option<TimestampMs>,
    /// Rows to persist before the present input is done with: the hub's own, those of keys, of their elements, and others.
    is_meta_dirty: bool,
    /// How many replicas' rows are stored.
    stored_replicas: u32,
    dirty_keys: Vec<KeyNo>,
    dirty_elements: Vec<(KeyNo, ElementId)>,
    dirty: BTreeSet<RowId>,
    /// Keys that got an entry in the present input and are yet to be asked for.
    new_keys: Vec<KeyNo>,
    /// Changes to show to leaves before the present input is done with.
    shown: BTreeMap<KeyNo, Touched>,
    effects: Vec<HubEffect>,
    wake_at: Option<TimestampMs>,
    /// The origin has heard of this hub what its storage does not know.
    is_set_back: bool,
}

/// The daemon that this hub talks with.
#[derive(Debug)]
struct OriginSocket {
    connection: Connection,
    credit: u32,
}

impl Hub {
    /// A new hub, named among replicas by 64 random bits.
    pub fn create(config: impl Into<HubConfig>, entropy: u64, now: TimestampMs) -> (Self, Vec<HubEffect>) {
        let mut hub = Self::empty(config.into(), ReplicaId::from_entropy(entropy));
        hub.keys.uses.set_now(now);
        hub.is_meta_dirty = true;
        let effects = hub.conclude(now);
        (hub, effects)
    }

    /// The machine's one door: every cause of change, in one match. Effects are to be performed in order.
    pub fn handle(&mut self, input: HubInput, now: TimestampMs) -> Vec<HubEffect> {
        self.keys.uses.set_now(now);
        self.pass_strict(now);
        match input {
            HubInput::Commands { request, commands, idempotency } => {
                self.commands(request, &commands, idempotency, Vec::new(), now);
            }
            HubInput::SessionCommands { marks, request, commands, idempotency } => {
                self.commands(request, &commands, idempotency, marks, now);
            }
            HubInput::AwaitCommit { request, keys } => self.await_commit(request, &keys, now),
            HubInput::Woken { leaves, origins } => self.woken(&leaves, &origins, now),
            HubInput::Leaf(connection, message) => self.leaf_message(connection, message, now),
            HubInput::Granted(connection, grants) => {
                self.grants.insert(connection, grants);
            }
            HubInput::LeafClosed(connection) => {
                self.grants.remove(&connection);
                let gone = self.leaves.remove(connection);
                self.unfollowed(gone.iter().flat_map(LeafSocket::wanted), now);
            }
            HubInput::Origin(connection, message) => {
                self.heard_at = Some(now);
                self.origin_message(connection, message, now);
            }
            HubInput::OriginClosed(connection) => self.origin_closed(connection, now),
            HubInput::Relay(request, message) => self.relay(request, message, now),
            HubInput::Forwarded(connection, message) => self.effects.push(HubEffect::ToLeaf(connection, message)),
            HubInput::Listen(listener, topic) => self.listen(listener, &topic),
            HubInput::Unlisten(listener) => self.unlisten(listener),
            HubInput::Tick => {
                self.wake_at = None;
                self.ask_again(now);
                self.end_behind(now);
                self.end_remotes(now);
                self.sweep(now);
            }
        }
        if self.is_set_back {
            self.begin_anew(now);
        }
        self.conclude(now)
    }

    /// What an operator sees.
    pub fn status(&self) -> HubStatus {
        let count = |after: fn(&slots::SlotState) -> No| {
            let keys = self.slots.iter().flat_map(|(_, slot)| slot.unstable.iter().map(move |no| (*no, after(slot))));
            keys.filter_map(|(no, after)| Some(self.keys.notes(no)?.rows_changed_after(after))).sum()
        };
        HubStatus {
            hub: self.id,
            last_no: self.last_no.0,
            keys: self.keys.len(),
            pending: count(|slot| slot.committed),
            unstable: count(|slot| slot.stable),
            is_origin_connected: self.is_origin_connected(),
            leaves: self.leaves.len(),
            jobs: self.outbox.waiting(),
            memory_bytes: self.memory_bytes(),
            evicted: self.memory.evicted,
            refused: self.memory.refused,
            undecided: self.strict.undecided,
        }
    }

    /// Whether all of the hub's operations are in the origin's store. Linear in the slots.
    pub fn is_settled(&self) -> bool {
        self.slots.iter().all(|(_, slot)| slot.latest.max(slot.stable) <= slot.committed)
    }

    /// Whether a daemon is connected. Constant time.
    pub fn is_origin_connected(&self) -> bool {
        self.origin.is_some()
    }

    /// The hub's identity.
    pub fn id(&self) -> ReplicaId {
        self.id
    }

    /// A key's state as this hub has it.
    pub fn key(&self, key: &Key) -> Option<KeyView<'_>> {
        self.keys.find(key).map(|no| self.keys.view(no))
    }

    /// The keys that this hub has anything of, in order. Linearithmic.
    pub fn keys(&self) -> Vec<Key> {
        let mut keys: Vec<Key> = self.keys.iter().map(|(no, _)| self.keys.key(no)).collect();
        keys.sort_unstable();
        keys
    }

    /// The bytes in use. Constant time.
    ///
    /// Exactly: keys' states, names, tables, lists by slot, timers, and notes of what is not stable, blocks rounded to their classes and
    /// tables with what they have in reserve. What was allocated and is free for later keys is not counted, so that the
    /// number falls when keys go; the host may see that much more. Nearly: sessions with their verdicts, and answers to
    /// idempotency keys, a tree's entry taken as two. Not counted: what lives for one input, requests that wait, and which
    /// keys leaves follow.
    pub fn memory_bytes(&self) -> usize {
        let timers = usize::try_from(self.wheel.memory_bytes()).unwrap_or(usize::MAX);
        let beside = self.slots.memory_bytes().saturating_add(self.memory.beside_bytes);
        self.keys.memory_bytes().saturating_add(timers).saturating_add(beside)
    }

    fn empty(config: HubConfig, id: ReplicaId) -> Self {
        let mut keys = Keyspace::new(config.seed, config.memory.map(|limit| limit.policy).unwrap_or_default());
        keys.own = id;
        Self {
            id,
            name: config.name,
            namespace: config.namespace,
            last_no: No::ZERO,
            clock: Clock::default(),
            next_session: 1,
            keys,
            slots: Slots::default(),
            sessions: BTreeMap::new(),
            answers: BTreeMap::new(),
            wheel: Wheel::new(),
            ends: Ends::default(),
            memory: Memory::new(config.memory),
            leaves: Leaves::default(),
            boards_at: None,
            grants: BTreeMap::new(),
            origin: None,
            heard_at: None,
            spare_origins: Vec::new(),
            waiting: Vec::new(),
            remotes: BTreeMap::new(),
            seen: Seen::default(),
            committing: Vec::new(),
            outbox: Outbox::default(),
            listeners: Listeners::default(),
            strict: Strict::default(),
            refused: BTreeSet::new(),
            doubted: BTreeSet::new(),
            ask_again_at: None,
            is_meta_dirty: false,
            stored_replicas: 0,
            dirty_keys: Vec::new(),
            dirty_elements: Vec::new(),
            dirty: BTreeSet::new(),
            new_keys: Vec::new(),
            shown: BTreeMap::new(),
            effects: Vec::new(),
            wake_at: None,
            is_set_back: false,
        }
    }

    /// Ends an input: answers what no longer waits, shows changes, sends what there is credit for, makes room, persists
    /// first.
    fn conclude(&mut self, now: TimestampMs) -> Vec<HubEffect> {
        self.answer_ready(now);
        self.answer_committed(now);
        self.ask_for_rights(now);
        self.show_changes(now);
        self.show_boards(now);
        self.ask_for_new();
        self.send_pending(now);
        self.send_jobs();
        self.note_offered();
        self.make_room();
        for at in 0..self.dirty_keys.len() {
            if let Some(no) = self.dirty_keys.get(at).copied() {
                self.schedule(no, now);
            }
        }
        self.ask_to_wake(now);
        let mut effects = std::mem::take(&mut self.effects);
        let rows = self.take_rows();
        if !rows.is_empty() {
            effects.insert(0, HubEffect::Persist(rows));
        }
        effects
    }
}
