//! What the nodes say to each other. PROTOCOL.md tells it as a state machine.
//!
//! Four directions, four enums: each end of a connection decodes only what it may receive.

use crate::{
    command::{CommandError, Reply},
    digest::Node,
    id::{ClientId, HashSeed, Key, No, ReplicaId, Seq, SessionId, TimestampMs},
    limit::{Limit, Wanted},
    limits::{REFUSAL_BYTES_MAX, TICKET_ISOLATE_MS, TICKET_TAB_MS},
    namespace::Namespace,
    slot::Slot,
    standings::{Standings, StandingsQuery},
    state::{Ctx, KeyDelta, Operation},
    topic::Topic,
    wire::{Capabilities, WireError},
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// How long a leaf lives, which decides how long its ticket does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Lifetime {
    /// A browser tab or another process that persists: 30 days.
    Tab,
    /// A Worker isolate: one hour.
    Isolate,
}

impl Lifetime {
    /// How long a session is open, in milliseconds.
    pub fn ticket_ms(self) -> i64 {
        match self {
            Self::Tab => TICKET_TAB_MS,
            Self::Isolate => TICKET_ISOLATE_MS,
        }
    }

    /// When a session was opened that ends at `until`.
    pub fn opened(self, until: TimestampMs) -> TimestampMs {
        until.plus_ms(self.ticket_ms().saturating_neg())
    }
}

/// From a leaf to its hub.
#[derive(Clone, PartialEq, Debug)]
pub enum LeafToHub {
    /// Opens or resumes the connection.
    Hello {
        /// Who.
        client: ClientId,
        /// How long it lives.
        lifetime: Lifetime,
        /// The session with this hub that it goes on with.
        resume: Option<SessionId>,
        /// What the leaf reads.
        capabilities: Capabilities,
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
    /// As `Operations`, in little: of a session that this hub opened for the client that greeted on this connection.
    Own {
        /// The session's number. The connection's own is not taken for granted: where greetings crossed, the leaf may have
        /// heard of another one than the hub spoke of last.
        session: u64,
        /// As in `Operations`.
        settled: Seq,
        /// As in `Operations`.
        first: Seq,
        /// The operations in order. Their times count from the opening of the session.
        operations: Vec<Operation>,
    },
    /// Asks for these keys' states and their changes.
    Subscribe(Vec<Key>),
    /// Asks for no more changes of these.
    Unsubscribe(Vec<Key>),
    /// Asks to be shown so much of a board, and its changes, in the place of what was asked before of that key.
    Watch(Key, StandingsQuery),
    /// Asks to be shown no more of these.
    Unwatch(Vec<Key>),
}

/// From a hub to a leaf.
#[derive(Clone, PartialEq, Debug)]
#[allow(clippy::large_enum_variant, reason = "lives from one end of a connection to the other")]
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
        /// What the hub reads.
        capabilities: Capabilities,
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
        /// Whether this is a piece of a large key and the next push brings the next: the key is shown once all are there.
        more: bool,
        /// The connection's session, and up to where its operations are in this state or refused.
        session: SessionId,
        /// See `session`.
        watermark: Seq,
    },
    /// What is to be seen of a watched board: all of it anew, so one that is lost is made good by the next.
    Standings {
        /// The board.
        key: Key,
        /// What the hub sees.
        standings: Standings,
        /// Whether the hub holds the key as the origin has it, or knows only its own writes.
        held: bool,
        /// The connection's session, and up to where its operations are in this or refused.
        session: SessionId,
        /// See `session`.
        watermark: Seq,
    },
    /// The hub woke up without memory of this connection: say hello again.
    Again,
    /// The last message was not understood or not allowed; the hub closes the connection.
    Refused(Refusal),
}

/// One slot's part of a hub's batch.
#[derive(Clone, PartialEq, Debug)]
pub struct SlotDelta {
    /// Which slot.
    pub slot: Slot,
    /// The incarnation of the slot's history that the hub knows, if it holds a key there. What it takes for stable it
    /// leaves out, so the part counts in that history alone.
    pub history: Option<ReplicaId>,
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

/// How far a client has come in a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Mark {
    /// Which slot.
    pub slot: Slot,
    /// The hub at which the client was.
    pub hub: ReplicaId,
    /// That hub's last number in the slot.
    pub no: No,
    /// Where that hub stood in the origin's history of the slot.
    pub cursor: Cursor,
}

/// A node of which the other end is asked for digests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ask {
    /// Which.
    pub node: Node,
    /// Into how many parts, as a power of two; 0 asks for the node's own digest.
    pub split: u8,
}

/// The answer to an [`Ask`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Digest {
    /// The node's digest.
    Whole(u64),
    /// The lower 16 bits of the digests of its `2^split` parts but the last, which is what is missing from the node's own.
    Parts(Vec<u16>),
}

/// From a hub to the daemon.
#[derive(Clone, PartialEq, Debug)]
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
        /// What the hub reads.
        capabilities: Capabilities,
    },
    /// Keys that the hub holds, with its cursor in each slot. Sent after the hello, in as many messages as needed.
    Held {
        /// Slot by slot.
        slots: Vec<(Slot, Cursor, Vec<Key>)>,
        /// Whether the next message begins with more keys of the last slot; until then the hub is told nothing of it.
        more: bool,
    },
    /// A batch of operations as state, or a frame of one: a batch uses up one credit, in however many frames it goes.
    Delta(Vec<SlotDelta>),
    /// Asks for these keys whole, and for their changes from then on.
    Subscribe(Vec<Key>),
    /// These keys are forgotten here.
    Unsubscribe(Vec<Key>),
    /// A downlink delta did not join up: send again from this cursor.
    Gap(Slot, Cursor),
    /// What the origin said was stable in these slots it has lost, or their history began anew: compare what the hub holds of
    /// them.
    Lost(Vec<Slot>),
    /// Answers a [`OriginToHub::Compare`].
    Digests {
        /// Of which round.
        round: u64,
        /// In the order in which they were asked for.
        digests: Vec<Digest>,
        /// The contexts of the keys that were asked for, as far as they are held.
        contexts: Vec<(Key, Ctx)>,
    },
    /// Answers an [`OriginToHub::Exchange`], or a part of it does. Each delta speaks of the dots that it lists and of those
    /// that the origin listed and that are dead; of a key that lies whole in a node that was asked for the last delta
    /// speaks of the key's whole context.
    Exchanged {
        /// Of which round.
        round: u64,
        /// Whether this is the last part.
        last: bool,
        /// Where the hub stands in the slots of the keys.
        cursors: Vec<(Slot, Cursor)>,
        /// What the hub has.
        keys: Vec<(Key, KeyDelta)>,
    },
    /// Asks the origin to run these commands, one after the other. Never sent again: one that is not answered may have run.
    Run {
        /// For the answer; a random number.
        call: u64,
        /// Each with its arguments.
        commands: Vec<Vec<Bytes>>,
    },
    /// Asks the origin to execute these commands, which need one agreed order of all writes, one after the other. Never sent
    /// again: one that is not answered may have been executed.
    Order {
        /// For the answer, a [`OriginToHub::Ran`]; a random number.
        call: u64,
        /// The hub's last number in each slot whose writes are to come before: what the client saw acknowledged.
        after: Vec<(Slot, No)>,
        /// Which keys are the clients': of what asks of all keys, those alone count. Keys and patterns have Redis' names.
        within: Namespace,
        /// Each with its arguments.
        commands: Vec<Vec<Bytes>>,
    },
    /// Asks to be told when the hub has been sent all that leads up to these marks, by [`OriginToHub::Arrived`]. Where that takes
    /// too long there is no answer.
    Await {
        /// For the answer; a random number.
        call: u64,
        /// What is awaited.
        marks: Vec<Mark>,
    },
    /// Jobs of the hub's outbox for keys of one slot, in ascending order. They are sent until they are known stable, and run
    /// once: the origin keeps the number of the last that it ran with the keys.
    Jobs {
        /// Which slot.
        slot: Slot,
        /// The hub's number of each, and the command with its arguments.
        jobs: Vec<Job>,
    },
    /// Asks for rights under a strict limit, and tells what became of those that were granted.
    Rights(RightsRequest),
    /// Asks to hear what is published to these, until it is unlistened or the connection ends.
    Listen(Vec<Topic>),
    /// Nobody listens to these any more.
    Unlisten(Vec<Topic>),
}

/// A job of an outbox: the hub's number that it took, and a command with its arguments.
pub type Job = (No, Vec<Bytes>);

/// What Redis answered to a command: its reply, or its error as text of at most
/// [`ERROR_BYTES_MAX`](crate::limits::ERROR_BYTES_MAX) bytes.
pub type RunReply = Result<Reply, Box<str>>;

/// From the daemon to a hub.
#[derive(Clone, PartialEq, Debug)]
pub enum OriginToHub {
    /// Greets a hub; it answers with a hello.
    Welcome {
        /// The origin's time.
        now: TimestampMs,
        /// What the origin reads.
        capabilities: Capabilities,
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
        /// Whether these are pieces of large keys of which more follows: they are not held yet.
        more: bool,
        /// The states.
        keys: Vec<(Key, KeyDelta)>,
    },
    /// Keys that the store had not and that are nothing but what this hub told of them: as Whole with what it has anyway, of
    /// many slots.
    Begun(Vec<(Slot, Cursor, Vec<Key>)>),
    /// The last message was refused; the daemon closes the connection.
    Refused(Refusal),
    /// Asks for digests of what the hub holds.
    Compare {
        /// Numbers what is asked for on this connection, so that answers from before are known.
        round: u64,
        /// Under which items are hashed.
        seed: HashSeed,
        /// Of what.
        asks: Vec<Ask>,
        /// Also the contexts of these keys: where the digests turn out equal, they hold for the origin too.
        keys: Vec<Key>,
    },
    /// Both sides differ in these nodes: here is what the origin has there, and the hub shall say what it has.
    Exchange {
        /// As in [`OriginToHub::Compare`].
        round: u64,
        /// As in [`OriginToHub::Compare`].
        seed: HashSeed,
        /// Where they differ; no position lies in two of them.
        nodes: Vec<Node>,
        /// What the origin has there; each delta speaks of the dots that it lists and of nothing else.
        keys: Vec<(Key, KeyDelta)>,
    },
    /// In these slots the origin has what the hub holds, so that changes after the committed number are enough again.
    Compared(Vec<Slot>),
    /// Answers a [`HubToOrigin::Run`] or a [`HubToOrigin::Order`].
    Ran {
        /// Which.
        call: u64,
        /// One reply a command, in order.
        replies: Vec<RunReply>,
    },
    /// Answers a [`HubToOrigin::Await`], whose call it names: all that leads up to the marks was sent before.
    Arrived(u64),
    /// Answers a [`HubToOrigin::Jobs`].
    JobsDone {
        /// Which slot.
        slot: Slot,
        /// All of the hub's jobs in the slot up to here have run.
        through: No,
        /// What Redis answered to those that ran now. One that had run before has no reply.
        replies: Vec<(No, RunReply)>,
    },
    /// The hub's jobs up to these numbers survive the loss that Redis may suffer.
    JobsStable(Vec<(Slot, No)>),
    /// Answers a [`HubToOrigin::Rights`].
    Rights(RightsAnswer),
    /// The origin listens to a topic, or an error of Redis or of its own says why not; then it listens no more. Said again, it
    /// listens anew, and what was published meanwhile is lost.
    Listening(Topic, Result<(), Box<str>>),
    /// Something was published.
    Published(Published),
}

/// What was published.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Published {
    /// For who listens to this.
    pub topic: Topic,
    /// To which channel.
    pub channel: Key,
    /// What.
    pub payload: Bytes,
}

/// A hub's request for rights.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RightsRequest {
    /// Whose limit it is.
    pub key: Key,
    /// Names the request, and what is granted on it; a random number.
    pub request: u64,
    /// The limit.
    pub limit: Limit,
    /// How many rights; with an amount ahead of zero it only reports.
    pub wanted: Wanted,
    /// Earlier requests of which the hub will use nothing more, with how much it used of what was granted on each. One whose
    /// answer it gave up is among them with zero.
    pub used: Vec<(u64, u64)>,
}

/// What a hub is answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RightsAnswer {
    /// Whose limit it is.
    pub key: Key,
    /// Which request. What it reported is written down, or will not be asked for again.
    pub request: u64,
    /// How many rights were granted.
    pub granted: u64,
    /// For how many milliseconds they may be used, from when the request was sent.
    pub lease_ms: u64,
    /// How many more are left at the origin.
    pub room: u64,
    /// In how many milliseconds there is room for the least that was asked, if nobody gives anything back.
    pub retry_ms: u64,
    /// Whether the origin grants nothing for now, since it may have lost what it granted.
    pub is_silent: bool,
}

/// Why a message was refused, for the peer to act on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RefusalCause {
    /// The frame did not decode. Sending it again cannot help: report it.
    Malformed,
    /// The two ends share no format version: one of them has to be upgraded.
    Format,
    /// The message does not belong here, as before a greeting: dial again.
    Unexpected,
    /// A stamp lies too far ahead of the receiver: mend the sender's clock.
    Clock,
    /// A limit of the receiver was passed: send less at once.
    Limit,
    /// The receiver could not go on, through no fault of the sender: dial again after a while.
    Internal,
    /// What is asked is not granted: ask for less, or with another token.
    NotPermitted,
    /// A cause that this build does not know: as [`RefusalCause::Internal`].
    Other(u8),
}

impl RefusalCause {
    /// Its number on the wire.
    pub fn tag(self) -> u8 {
        match self {
            Self::Malformed => 0,
            Self::Format => 1,
            Self::Unexpected => 2,
            Self::Clock => 3,
            Self::Limit => 4,
            Self::Internal => 5,
            Self::NotPermitted => 6,
            Self::Other(tag) => tag,
        }
    }

    /// The cause with this number.
    pub fn from_tag(tag: u8) -> Self {
        let known = [
            Self::Malformed,
            Self::Format,
            Self::Unexpected,
            Self::Clock,
            Self::Limit,
            Self::Internal,
            Self::NotPermitted,
        ];
        known.into_iter().find(|cause| cause.tag() == tag).unwrap_or(Self::Other(tag))
    }
}

/// A refusal: its cause for the peer, and a text for people.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{detail}")]
pub struct Refusal {
    /// What the peer is to do about it.
    pub cause: RefusalCause,
    /// What to tell people, of at most [`REFUSAL_BYTES_MAX`] bytes.
    pub detail: String,
}

impl Refusal {
    /// A refusal with this text, cut at the limit.
    pub fn new(cause: RefusalCause, detail: impl Into<String>) -> Self {
        let mut detail: String = detail.into();
        detail.truncate(detail.floor_char_boundary(REFUSAL_BYTES_MAX));
        Self { cause, detail }
    }
}

impl From<&WireError> for Refusal {
    fn from(error: &WireError) -> Self {
        let cause = match error {
            WireError::Version(_) | WireError::Incompatible { .. } => RefusalCause::Format,
            WireError::Length(_) | WireError::PeerLimit { .. } => RefusalCause::Limit,
            WireError::Kind(_) => RefusalCause::Unexpected,
            WireError::Short { .. }
            | WireError::Magic
            | WireError::Flags(_)
            | WireError::Checksum
            | WireError::Body(_)
            | WireError::Invalid(_) => RefusalCause::Malformed,
        };
        Self::new(cause, error.to_string())
    }
}
