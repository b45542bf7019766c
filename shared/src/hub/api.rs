//! The hub's inputs, effects and rows: the contract between the machine and its shell.

use super::listeners::Heard;
use crate::{
    command::{CommandError, Reply},
    eviction::Policy,
    grant::Grants,
    id::{HashSeed, Key, No, ReplicaId, SessionId, TimestampMs},
    message::{HubToLeaf, HubToOrigin, LeafToHub, Mark, OriginToHub},
    namespace::Namespace,
    slot::Slot,
    state::ElementId,
    topic::Topic,
};
use bytes::Bytes;

/// What a hub is given by its host.
#[derive(Clone, Debug)]
pub struct HubConfig {
    /// Its name in the directory.
    pub name: String,
    /// The secret under which clients' names are hashed, and the beginning of the random draws: of eviction, of what calls and
    /// requests for rights are numbered by. Drawn anew at each start, or these would take numbers that others remember.
    pub seed: HashSeed,
    /// What it may hold; without a bound nothing is evicted and nothing refused.
    pub memory: Option<MemoryLimit>,
    /// Whose hub it is: clients, leaves and grants have the names of this namespace, rows and the origin those of Redis.
    pub namespace: Namespace,
}

/// What a hub may hold in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemoryLimit {
    /// How many bytes, as [`Hub::memory_bytes`](super::Hub::memory_bytes) counts them. An input may go beyond by what it
    /// brings; before the next one the hub has made room, or refuses what may take more.
    pub bytes_max: usize,
    /// Which keys go first.
    pub policy: Policy,
}

impl From<String> for HubConfig {
    /// For tests: names are hashed under a seed that everybody knows, each life draws the same, memory has no bound, and there
    /// is one namespace.
    fn from(name: String) -> Self {
        Self { name, seed: HashSeed::default(), memory: None, namespace: Namespace::default() }
    }
}

/// A connection, numbered by the shell; never reused while the shell lives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Connection(pub u64);

/// A request that waits for its reply, numbered by the shell.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Request(pub u64);

/// A stream that listens to a topic, numbered by the shell; never reused while the shell lives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Listener(pub u64);

/// Every cause of change in a hub.
#[allow(clippy::large_enum_variant, reason = "an input is handed over once and never kept in numbers")]
#[derive(Clone, PartialEq, Debug)]
pub enum HubInput {
    /// A pipeline over HTTP: each command with its arguments. Answered by [`HubEffect::Reply`], at once or when the keys that
    /// it needs have come from the origin.
    Commands {
        /// For the reply.
        request: Request,
        /// The commands in order.
        commands: Vec<Vec<Bytes>>,
        /// The same one again answers as the first time and changes nothing.
        idempotency: Option<Bytes>,
    },
    /// As [`HubInput::Commands`], of a client that has seen so much, here or at other hubs: what of it lies in the slots of the
    /// keys is awaited first. If it does not come in time, or the origin is away, every reply is
    /// [`CommandError::Behind`] and nothing is executed.
    SessionCommands {
        /// What the client has seen, as [`Hub::marks`](super::Hub::marks) gave it; at most
        /// [`MARKS_MAX`](crate::limits::MARKS_MAX).
        marks: Vec<Mark>,
        /// For the reply.
        request: Request,
        /// The commands in order.
        commands: Vec<Vec<Bytes>>,
        /// As with [`HubInput::Commands`].
        idempotency: Option<Bytes>,
    },
    /// A request is to be answered once the origin has committed what this hub has now in the slots of these keys, as Redis calls
    /// them. Answered by [`HubEffect::Committed`], at the latest after ten seconds or when the origin goes away.
    AwaitCommit {
        /// For the answer.
        request: Request,
        /// The keys that the request wrote.
        keys: Vec<Key>,
    },
    /// The shell started with these sockets still open from before; their ends are asked to begin again.
    Woken {
        /// Leaf sockets.
        leaves: Vec<Connection>,
        /// The daemons' sockets.
        origins: Vec<Connection>,
    },
    /// What the leaf on a connection may do, before its first message and again when the shell has started anew. A leaf of
    /// which this is not said may do everything.
    Granted(Connection, Grants),
    /// A leaf's message. The first one of a connection introduces it.
    Leaf(Connection, LeafToHub),
    /// A leaf's socket is gone.
    LeafClosed(Connection),
    /// A daemon's message. The first one of a connection introduces it.
    Origin(Connection, OriginToHub),
    /// A daemon's socket is gone.
    OriginClosed(Connection),
    /// Another hub hands on operations of a session of this one; answered by [`HubEffect::Relayed`].
    Relay(Request, LeafToHub),
    /// What the other hub answered to a [`HubEffect::Forward`].
    Forwarded(Connection, HubToLeaf),
    /// Somebody begins to listen. Answered by [`HubEffect::ToListeners`], first with [`Heard::Listening`] or [`Heard::Ended`].
    Listen(Listener, Topic),
    /// A listener is gone, or gave up.
    Unlisten(Listener),
    /// The time asked for by [`HubEffect::WakeAt`] has come.
    Tick,
}

/// What the shell is to do, in order.
#[derive(Clone, PartialEq, Debug)]
pub enum HubEffect {
    /// Write these rows in one transaction, before any later effect is performed. Comes first.
    Persist(Vec<RowWrite>),
    /// Answer a request.
    Reply {
        /// Which.
        request: Request,
        /// One result per command.
        replies: Vec<Result<Reply, CommandError>>,
        /// Whether a reply rests on this hub's own writes alone, the origin's state being unknown.
        provisional: bool,
    },
    /// Send to a leaf. After [`HubToLeaf::Refused`] its connection is to be closed.
    ToLeaf(Connection, HubToLeaf),
    /// Send to a daemon.
    ToOrigin(Connection, HubToOrigin),
    /// Hand these operations to the hub that opened their session, for the leaf on this connection. Where that hub cannot
    /// be reached, nothing: the leaf sends them again.
    Forward {
        /// The leaf's connection.
        connection: Connection,
        /// The other hub.
        hub: ReplicaId,
        /// The operations.
        message: LeafToHub,
    },
    /// Answer a [`HubInput::AwaitCommit`]: whether the origin has committed it. Else it stays here and is
    /// committed later, unless this hub's storage turned out to be an old copy.
    Committed(Request, bool),
    /// Answer a relay.
    Relayed(Request, HubToLeaf),
    /// Tell these listeners. After [`Heard::Ended`] they are forgotten.
    ToListeners(Vec<Listener>, Heard),
    /// Give a [`HubInput::Tick`] then, in place of any time asked for before.
    WakeAt(TimestampMs),
}

/// Names a row of the hub's storage.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum RowId {
    /// Identity, last number, clock.
    Meta,
    /// A replica by the number that rows of keys and elements call it. These rows sort first, and are read first.
    Replica(u32),
    /// A slot's acknowledgements and cursor. These are best read before keys: what is stable then takes no notes.
    Slot(Slot),
    /// A key's header.
    Key(Key),
    /// An element.
    Element(Key, ElementId),
    /// A leaf's session.
    Session(SessionId),
    /// The answer to an idempotency key.
    Answer(Bytes),
    /// A job of the outbox, by its number.
    Job(No),
    /// What was used of the rights under a strict limit and is not told.
    Rights(Key),
}

/// A row to write, or to drop when there is no body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RowWrite {
    /// Which.
    pub id: RowId,
    /// Its new body; it may share memory with other rows of the same input, so copy what is kept.
    pub body: Option<Bytes>,
}

impl RowId {
    /// The row's primary key: a tag byte, then fields such that a key's elements are one range.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Meta => vec![b'm'],
            Self::Replica(number) => [&b"R"[..], &number.to_be_bytes()[..]].concat(),
            Self::Slot(slot) => [&b"s"[..], &u16::from(*slot).to_be_bytes()[..]].concat(),
            Self::Key(key) => key.sized(b'k'),
            Self::Element(key, id) => {
                let mut bytes = key.sized(b'e');
                bytes.push(id.kind() as u8);
                bytes.extend_from_slice(id.name_bytes());
                bytes
            }
            Self::Session(session) => {
                let hub = session.hub.to_bits().to_be_bytes();
                [&b"l"[..], &hub[..], &session.client.0.to_be_bytes()[..], &session.no.to_be_bytes()[..]].concat()
            }
            Self::Answer(key) => [&b"i"[..], &key[..]].concat(),
            Self::Job(no) => [&b"j"[..], &no.0.to_be_bytes()[..]].concat(),
            Self::Rights(key) => key.sized(b'g'),
        }
    }

    /// The row that has this primary key.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (tag, rest) = bytes.split_first()?;
        match tag {
            b'm' if rest.is_empty() => Some(Self::Meta),
            b'R' => Some(Self::Replica(u32::from_be_bytes(rest.try_into().ok()?))),
            b's' => {
                let slot = u16::from_be_bytes(rest.try_into().ok()?);
                Slot::try_from(slot).ok().map(Self::Slot)
            }
            b'k' => Key::split_sized(rest).filter(|(_, rest)| rest.is_empty()).map(|(key, _)| Self::Key(key)),
            b'e' => {
                let (key, rest) = Key::split_sized(rest)?;
                let (kind, name) = rest.split_first()?;
                Some(Self::Element(key, ElementId::from_parts(*kind, Bytes::copy_from_slice(name))?))
            }
            b'l' => {
                let (hub, rest) = rest.split_first_chunk::<8>()?;
                let (client, rest) = rest.split_first_chunk::<16>()?;
                let no = u64::from_be_bytes(rest.try_into().ok()?);
                let client = crate::id::ClientId(u128::from_be_bytes(*client));
                Some(Self::Session(SessionId { hub: ReplicaId::from_bits(u64::from_be_bytes(*hub)), client, no }))
            }
            b'i' => Some(Self::Answer(Bytes::copy_from_slice(rest))),
            b'g' => Key::split_sized(rest).filter(|(_, rest)| rest.is_empty()).map(|(key, _)| Self::Rights(key)),
            b'j' => Some(Self::Job(No(u64::from_be_bytes(rest.try_into().ok()?)))),
            _ => None,
        }
    }
}

/// What an operator sees of a hub.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HubStatus {
    /// The hub's identity.
    pub hub: ReplicaId,
    /// Its last number.
    pub last_no: u64,
    /// Keys in memory.
    pub keys: usize,
    /// Rows with operations that are not committed.
    pub pending: usize,
    /// Rows with operations that are not stable.
    pub unstable: usize,
    /// Whether a daemon is connected.
    pub is_origin_connected: bool,
    /// Connected leaves.
    pub leaves: usize,
    /// Jobs in the outbox that the origin is not known to have run.
    pub jobs: usize,
    /// See [`Hub::memory_bytes`](super::Hub::memory_bytes).
    pub memory_bytes: usize,
    /// Keys evicted since the machine was made.
    pub evicted: u64,
    /// Commands and leaves' operations refused for want of memory since the machine was made.
    pub refused: u64,
    /// Strict checks that could not be decided, for want of rights and of an origin, since the machine was made. What clients
    /// then let pass is beyond the promise.
    pub undecided: u64,
}
