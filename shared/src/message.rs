//! What the nodes say to each other. PROTOCOL.md tells it as a state machine.
//!
//! Four directions, four enums: each end of a connection decodes only what it may receive.

use crate::{
    command::CommandError,
    id::{ClientId, Key, No, ReplicaId, Seq, SessionId, TimestampMs},
    limits::{BATCH_OPERATIONS_MAX, VALUE_BYTES_MAX},
    slot::Slot,
    state::{Effect, ElementId, Increment, KeyDelta, Kind, NewBase, Operation, SeenCuts},
    wire::Message,
};
use serde::{Deserialize, Serialize};

/// How long a leaf lives, which decides how long its ticket does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Lifetime {
    /// A browser tab or another process that persists: 30 days.
    Tab,
    /// A Worker isolate: one hour.
    Isolate,
}

/// From a leaf to its hub.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum LeafToHub {
    /// Opens or resumes the connection.
    Hello {
        /// Who.
        client: ClientId,
        /// How long it lives.
        lifetime: Lifetime,
        /// The session with this hub that it goes on with.
        resume: Option<SessionId>,
    },
    /// Operations, numbered from `first` without gaps.
    Operations {
        /// The session in which they were first sent; perhaps another hub's.
        session: SessionId,
        /// All up to here are settled, and no operation still to come was prepared before the leaf knew it: the hub need
        /// not remember what these did.
        settled: Seq,
        /// The number of the first.
        first: Seq,
        /// The operations in order.
        operations: Vec<Operation>,
    },
    /// Asks for these keys' states and their changes.
    Subscribe(Vec<Key>),
    /// Asks for no more changes of these.
    Unsubscribe(Vec<Key>),
}

/// From a hub to a leaf.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum HubToLeaf {
    /// Answers a hello.
    Welcome {
        /// The hub's identity.
        hub: ReplicaId,
        /// The hub's time, for the leaf's offset.
        now: TimestampMs,
        /// The session to send new operations in.
        session: SessionId,
        /// When its ticket ends.
        until: TimestampMs,
        /// All up to here are settled already.
        watermark: Seq,
    },
    /// The verdicts on a session's operations.
    Verdicts {
        /// Which session.
        session: SessionId,
        /// All up to here are settled.
        through: Seq,
        /// Of each operation in `(settled, through]` that was accepted the hub's numbers `(after, through]` that it took.
        accepted: Vec<(Seq, No, No)>,
        /// Those refused, with the cause.
        refused: Vec<(Seq, CommandError)>,
    },
    /// The session is not known here any more: what was sent in it and not settled is refused.
    Expired(SessionId),
    /// A subscribed key's state or change.
    State {
        /// Counts the pushes of this connection, from 1; a gap means that one was lost.
        push: u64,
        /// The key.
        key: Key,
        /// What changed; the first one is complete.
        delta: KeyDelta,
        /// Whether the hub holds the key as the origin has it, or knows only its own writes.
        held: bool,
        /// The connection's session, and up to where its operations are in this state or refused.
        session: SessionId,
        /// See `session`.
        watermark: Seq,
    },
    /// The hub woke up without memory of this connection: say hello again.
    Again,
    /// The last message was not understood or not allowed.
    Refused(String),
}

/// One slot's part of a hub's batch.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SlotDelta {
    /// Which slot.
    pub slot: Slot,
    /// What the hub takes to be committed.
    pub from: No,
    /// The batch holds all of the slot in `(from, to]`. In a part that is not the last, equal to `from`.
    pub to: No,
    /// The keys that changed.
    pub keys: Vec<(Key, KeyDelta)>,
}

/// Where a hub stands in a slot of the origin's history.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
pub struct Cursor {
    /// Which incarnation of the origin's dataset; `None` before the first.
    pub incarnation: Option<ReplicaId>,
    /// The slot's sequence there.
    pub seq: u64,
}

/// From a hub to the daemon.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum HubToOrigin {
    /// Opens the connection, or begins it again after the hub woke up.
    Hello {
        /// The hub's identity.
        hub: ReplicaId,
        /// The hub's name in the directory.
        name: String,
        /// The hub's time.
        now: TimestampMs,
        /// The slots with operations that are not known stable.
        unstable: Vec<Slot>,
    },
    /// Keys that the hub holds, with its cursor in each slot. Sent after the hello, in as many messages as needed.
    Held(Vec<(Slot, Cursor, Vec<Key>)>),
    /// A batch of operations as state, or a frame of one: a batch uses up one credit, in however many frames it goes.
    Delta(Vec<SlotDelta>),
    /// Asks for these keys whole, and for their changes from then on.
    Subscribe(Vec<Key>),
    /// These keys are forgotten here.
    Unsubscribe(Vec<Key>),
    /// A downlink delta did not join up: send again from this cursor.
    Gap(Slot, Cursor),
}

/// From the daemon to a hub.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum OriginToHub {
    /// Greets a hub; it answers with a hello.
    Welcome {
        /// The origin's time.
        now: TimestampMs,
    },
    /// The hub's contiguous number in each slot's marker, also when that is less than the hub was told before.
    Resume(Vec<(Slot, No)>),
    /// The hub may send so many batches more.
    Credit(u32),
    /// In Redis now.
    Committed(Vec<(Slot, No)>),
    /// Survives the loss that Redis may suffer.
    Stable(Vec<(Slot, No)>),
    /// Changes of held keys in one slot, from one cursor to another.
    Down {
        /// Which slot.
        slot: Slot,
        /// The hub must stand here or further.
        from: Cursor,
        /// Where it stands then.
        to: Cursor,
        /// The keys that changed.
        keys: Vec<(Key, KeyDelta)>,
    },
    /// Whole keys, asked for by subscription; one that the origin does not have comes empty.
    Whole {
        /// Which slot.
        slot: Slot,
        /// The slot's sequence when they were read.
        at: Cursor,
        /// The states.
        keys: Vec<(Key, KeyDelta)>,
    },
    /// The last message was refused; the daemon closes the connection.
    Refused(String),
}

impl Message for LeafToHub {
    const KIND: u8 = 1;

    fn is_valid(&self) -> bool {
        match self {
            Self::Operations { operations, .. } => {
                operations.len() <= BATCH_OPERATIONS_MAX && operations.iter().all(is_valid_operation)
            }
            Self::Hello { .. } | Self::Subscribe(_) | Self::Unsubscribe(_) => true,
        }
    }
}

impl Message for HubToLeaf {
    const KIND: u8 = 2;

    fn is_valid(&self) -> bool {
        match self {
            Self::State { delta, .. } => is_valid_delta(delta),
            _ => true,
        }
    }
}

impl Message for HubToOrigin {
    const KIND: u8 = 3;

    fn is_valid(&self) -> bool {
        match self {
            Self::Delta(slots) => slots.iter().all(|part| {
                part.from <= part.to
                    && part.keys.iter().all(|(key, delta)| key.slot() == part.slot && is_valid_delta(delta))
            }),
            Self::Held(slots) => slots.iter().all(|(slot, _, keys)| keys.iter().all(|key| key.slot() == *slot)),
            _ => true,
        }
    }
}

impl Message for OriginToHub {
    const KIND: u8 = 4;

    fn is_valid(&self) -> bool {
        match self {
            Self::Down { slot, keys, .. } | Self::Whole { slot, keys, .. } => {
                keys.iter().all(|(key, delta)| key.slot() == *slot && is_valid_delta(delta))
            }
            _ => true,
        }
    }
}

/// No replica speaks for a leaf's provisional dots.
fn is_valid_delta(delta: &KeyDelta) -> bool {
    delta.is_canonical() && delta.header.ctx.of(ReplicaId::LEAF).is_none()
}

fn is_valid_operation(operation: &Operation) -> bool {
    !operation.effects.is_empty() && operation.effects.iter().all(is_valid_effect)
}

fn is_valid_effect(effect: &Effect) -> bool {
    match effect {
        Effect::Write { element, base, seen, cuts } => {
            let kind = element.kind();
            let base_fits = match base {
                None => true,
                Some(NewBase::Member) => kind == Kind::Set,
                Some(NewBase::Bytes(value)) => {
                    matches!(kind, Kind::String | Kind::Hash) && value.len() <= VALUE_BYTES_MAX
                }
                Some(NewBase::Abs(score) | NewBase::Max(score) | NewBase::Min(score)) => {
                    kind == Kind::Board && !score.is_nan()
                }
            };
            base_fits
                && is_valid_name(element)
                && are_valid_cuts(kind, cuts)
                && seen.iter().all(|dot| dot.replica != ReplicaId::LEAF)
        }
        Effect::Add { element, by } => {
            is_valid_name(element)
                && match by {
                    Increment::Int(_) => matches!(element.kind(), Kind::String | Kind::Hash),
                    Increment::Float(by) => element.kind() == Kind::Board && by.is_finite(),
                }
        }
        Effect::Wipe { seen, cuts } => {
            seen.is_canonical()
                && seen.of(ReplicaId::LEAF).is_none()
                && cuts.iter().all(|(id, cuts)| are_valid_cuts(id.kind(), cuts))
        }
        Effect::Deadline(_) => true,
    }
}

fn is_valid_name(element: &ElementId) -> bool {
    element.name().len() <= VALUE_BYTES_MAX
}

fn are_valid_cuts(kind: Kind, cuts: &SeenCuts) -> bool {
    match cuts {
        SeenCuts::Int(cuts) => kind != Kind::Board && cuts.iter().all(|seen| seen.replica != ReplicaId::LEAF),
        SeenCuts::Float(cuts) => {
            kind == Kind::Board && cuts.iter().all(|seen| seen.replica != ReplicaId::LEAF && seen.cut.acc.is_finite())
        }
    }
}
