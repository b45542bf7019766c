//! The leaf's inputs and effects: the contract between the machine and a tab or isolate.

use super::LeafRowWrite;
use crate::{
    command::CommandError,
    id::{Key, TimestampMs},
    message::{HubToLeaf, LeafToHub},
    standings::StandingsQuery,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// One of the tabs that share a leaf: a random number of its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct TabId(pub u64);

/// Every cause of change in a leaf but its own commands.
#[derive(Clone, PartialEq, Debug)]
#[allow(clippy::large_enum_variant, reason = "lives for one call")]
pub enum LeafInput {
    /// A socket to a hub opened.
    Opened,
    /// The hub's message.
    Hub(HubToLeaf),
    /// All that the hub answered to what was sent in one request, where there is no socket: messages in order, and when the
    /// request was made. What the hub learned later is not in them.
    Answered {
        /// The messages.
        messages: Vec<HubToLeaf>,
        /// When the request was made, by the leaf's own clock.
        asked_at: TimestampMs,
    },
    /// The socket is gone, or a request failed.
    Closed,
    /// Now is the time to send what was gathered by a [`gathering`](super::Leaf::gathering) leaf, and to tell what comes of what
    /// the leaf [did](super::Leaf::act).
    Flush,
    /// The application wants these keys and their changes.
    Subscribe(Vec<Key>),
    /// The application no longer wants these.
    Unsubscribe(Vec<Key>),
    /// The application wants to be shown so much of a board, see [`Leaf::ranking`](super::Leaf::ranking).
    Watch(Key, StandingsQuery),
    /// The application no longer wants to be shown these.
    Unwatch(Vec<Key>),
    /// The time asked for by [`LeafEffect::WakeAt`] has come.
    Tick,
    /// Tabs that mirror this leaf are to be told of all boards that it watches: one has come.
    Share,
    /// The leader asks for all that it has not adopted of this mirror's operations, see [`LeafEffect::Again`].
    Again,
    /// A tab that shared this leaf is gone and will hand over nothing more.
    Gone(TabId),
}

/// What the shell is to do, in order.
#[derive(Clone, PartialEq, Debug)]
#[allow(clippy::large_enum_variant, reason = "lives for one call")]
pub enum LeafEffect {
    /// Store these in one transaction, before anything that follows is sent. Only a leaf that is stored says so.
    Persist(Vec<LeafRowWrite>),
    /// Send to the hub.
    Send(LeafToHub),
    /// These keys read differently now; no other does, but for what [ends by itself](super::Leaf::lasts).
    Changed(Vec<Key>),
    /// The hub refused an operation on this key; the view has been rolled back.
    Refused(Key, CommandError),
    /// Close the socket and dial again: the hub speaks out of turn.
    Redial,
    /// Give a [`LeafInput::Tick`] then, in place of any time asked for before.
    WakeAt(TimestampMs),
    /// Hand this operation to the leader, which is to [`adopt`](super::Leaf::adopt) it. Only a mirror says so.
    Forward {
        /// Its number among this tab's.
        no: u64,
        /// The leader's version that this tab had taken up when it prepared the operation.
        version: u64,
        /// The operation.
        operation: Bytes,
    },
    /// Tell the tabs that mirror this leaf, whose leaves take it up as if their hub had said it.
    Share(HubToLeaf),
    /// Tell this tab, once it has been told of all changes before, to hand over again what it has not seen adopted.
    Again(TabId),
}

/// Which keys a command changed in the view.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extent {
    /// None.
    Nothing,
    /// The one that is its first argument.
    Named,
    /// Others, too.
    More,
}

/// What an application shows of its leaf.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LeafStatus {
    /// Whether a hub has welcomed this leaf on the present socket.
    pub is_connected: bool,
    /// Operations not settled by their hub.
    pub pending: usize,
    /// Of those, a mirror's that its leader has not adopted.
    pub handed_over: usize,
    /// Keys in the view.
    pub keys: usize,
    /// When the hub last said anything, by the leaf's own clock.
    pub heard_at: Option<TimestampMs>,
    /// The hub's clock minus this leaf's, in milliseconds.
    pub offset_ms: i64,
}
