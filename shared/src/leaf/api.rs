//! The leaf's inputs and effects: the contract between the machine and a tab or isolate.

use super::LeafRowWrite;
use crate::{
    command::CommandError,
    id::{Key, TimestampMs},
    message::{HubToLeaf, LeafToHub},
};

/// Every cause of change in a leaf but its own commands.
#[derive(Clone, PartialEq, Debug)]
#[allow(clippy::large_enum_variant, reason = "lives for one call")]
pub enum LeafInput {
    /// A socket to a hub opened.
    Opened,
    /// The hub's message.
    Hub(HubToLeaf),
    /// The socket is gone.
    Closed,
    /// The application wants these keys and their changes.
    Subscribe(Vec<Key>),
    /// The application no longer wants these.
    Unsubscribe(Vec<Key>),
    /// The time asked for by [`LeafEffect::WakeAt`] has come.
    Tick,
}

/// What the shell is to do, in order.
#[derive(Clone, PartialEq, Debug)]
pub enum LeafEffect {
    /// Store these in one transaction, before anything that follows is sent. Only a leaf that is stored says so.
    Persist(Vec<LeafRowWrite>),
    /// Send to the hub.
    Send(LeafToHub),
    /// These keys read differently now.
    Changed(Vec<Key>),
    /// The hub refused an operation on this key; the view has been rolled back.
    Refused(Key, CommandError),
    /// Close the socket and dial again: the hub speaks out of turn.
    Redial,
    /// Give a [`LeafInput::Tick`] then, in place of any time asked for before.
    WakeAt(TimestampMs),
}

/// What an application shows of its leaf.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LeafStatus {
    /// Whether a hub has welcomed this leaf on the present socket.
    pub is_connected: bool,
    /// Operations not settled by their hub.
    pub pending: usize,
    /// Keys in the view.
    pub keys: usize,
    /// The hub's clock minus this leaf's, in milliseconds.
    pub offset_ms: i64,
}
