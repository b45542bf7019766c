//! Whoever listens to channels of the origin's Redis, over streams that the shell keeps.
//!
//! The hub listens to a topic at the origin as long as somebody listens to it here. All of it is in memory: a stream ends with the
//! object that serves it. When the origin goes away, streams that are open stay so, since clients do not come back by themselves,
//! and are told that what is published meanwhile is lost, as it is to any client of Redis whose connection broke; the next origin
//! is asked for the same topics. Who has heard nothing yet is told at once that there is nothing to hear.

use super::{Connection, Hub, HubEffect, api::Listener};
use crate::{
    command::CommandError,
    id::Key,
    limits::{LISTENERS_MAX, TOPICS_MAX},
    message::{HubToOrigin, Published},
    topic::Topic,
};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// What a listener is to be told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Heard {
    /// From now on it hears what is published.
    Listening,
    /// What was published.
    Message {
        /// To which channel.
        channel: Key,
        /// What.
        payload: Bytes,
    },
    /// It may have missed something, and does until [`Heard::Listening`].
    Interrupted,
    /// It hears no more.
    Ended(ListenError),
}

/// Why nobody can listen.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ListenError {
    /// There is no origin.
    #[error("ERR Headwater: the origin is away, and channels are heard only through it")]
    OriginAway,
    /// As many listen as may.
    #[error("ERR Headwater: too many streams are open at this edge; close some")]
    TooMany,
    /// It is another namespace's.
    #[error("{0}")]
    NotPermitted(CommandError),
    /// The origin says why.
    #[error("{0}")]
    AtOrigin(Box<str>),
}

/// All of them, by topic.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    topics: BTreeMap<Topic, Heeded>,
    of: BTreeMap<Listener, Topic>,
}

/// A topic that somebody listens to.
#[derive(Debug, Default)]
struct Heeded {
    listeners: BTreeSet<Listener>,
    /// Those that were told that they listen.
    open: BTreeSet<Listener>,
    /// Whether the origin listens.
    is_heard: bool,
}

impl Listeners {
    fn forget(&mut self, listener: Listener) -> Option<Topic> {
        let topic = self.of.remove(&listener)?;
        let heeded = self.topics.get_mut(&topic)?;
        heeded.listeners.remove(&listener);
        heeded.open.remove(&listener);
        if !heeded.listeners.is_empty() {
            return None;
        }
        self.topics.remove(&topic);
        Some(topic)
    }
}

impl Hub {
    pub(super) fn listen(&mut self, listener: Listener, topic: &Topic) {
        let topic = match topic.within(&self.namespace) {
            Ok(topic) => topic,
            Err(error) => {
                return self.tell_listeners([listener].into(), Heard::Ended(ListenError::NotPermitted(error)));
            }
        };
        let Some(connection) = self.origin.as_ref().map(|origin| origin.connection) else {
            self.tell_listeners([listener].into(), Heard::Ended(ListenError::OriginAway));
            return;
        };
        if self.listeners.of.len() >= LISTENERS_MAX {
            self.tell_listeners([listener].into(), Heard::Ended(ListenError::TooMany));
            return;
        }
        self.listeners.of.insert(listener, topic.clone());
        let heeded = self.listeners.topics.entry(topic.clone()).or_default();
        let is_first = heeded.listeners.is_empty();
        heeded.listeners.insert(listener);
        if is_first {
            self.effects.push(HubEffect::ToOrigin(connection, HubToOrigin::Listen(vec![topic])));
        } else if heeded.is_heard {
            heeded.open.insert(listener);
            self.tell_listeners([listener].into(), Heard::Listening);
        }
    }

    /// The stream of this listener has ended.
    pub(super) fn unlisten(&mut self, listener: Listener) {
        let Some(topic) = self.listeners.forget(listener) else { return };
        if let Some(origin) = &self.origin {
            self.effects.push(HubEffect::ToOrigin(origin.connection, HubToOrigin::Unlisten(vec![topic])));
        }
    }

    /// Has the origin that was just greeted listen to all that is listened to here.
    pub(super) fn ask_for_topics(&mut self, connection: Connection) {
        self.interrupt_listeners();
        let topics: Vec<Topic> = self.listeners.topics.keys().cloned().collect();
        for chunk in topics.chunks(TOPICS_MAX) {
            self.effects.push(HubEffect::ToOrigin(connection, HubToOrigin::Listen(chunk.to_vec())));
        }
    }

    /// The origin listens, or says why not. Where it has listened before, it began again and may have missed something.
    pub(super) fn topic_heard(&mut self, topic: &Topic, heard: Result<(), Box<str>>) {
        let Some(heeded) = self.listeners.topics.get_mut(topic) else { return };
        let listeners = heeded.listeners.clone();
        match heard {
            Ok(()) => {
                let interrupted = if heeded.is_heard { heeded.open.clone() } else { BTreeSet::new() };
                heeded.is_heard = true;
                heeded.open.clone_from(&listeners);
                self.tell_listeners(interrupted, Heard::Interrupted);
                self.tell_listeners(listeners, Heard::Listening);
            }
            Err(error) => {
                self.listeners.topics.remove(topic);
                for listener in &listeners {
                    self.listeners.of.remove(listener);
                }
                self.tell_listeners(listeners, Heard::Ended(ListenError::AtOrigin(error)));
            }
        }
    }

    /// Something was published. Linear in those that listen.
    pub(super) fn published(&mut self, Published { topic, channel, payload }: Published) {
        let Some(heeded) = self.listeners.topics.get(&topic).filter(|heeded| heeded.is_heard) else { return };
        if !self.namespace.holds(channel.as_bytes()) {
            // The default namespace's patterns may match what is another's.
            return;
        }
        let (open, channel) = (heeded.open.clone(), self.namespace.own(&channel));
        self.tell_listeners(open, Heard::Message { channel, payload });
    }

    /// Nobody tells any more of what is published. Who was told that it listens waits for the next origin.
    pub(super) fn interrupt_listeners(&mut self) {
        let mut interrupted = BTreeSet::new();
        for heeded in self.listeners.topics.values_mut() {
            if std::mem::take(&mut heeded.is_heard) {
                interrupted.extend(heeded.open.iter().copied());
            }
        }
        self.tell_listeners(interrupted, Heard::Interrupted);
    }

    /// There is no origin: besides, who was promised nothing is told so.
    pub(super) fn silence_listeners(&mut self) {
        self.interrupt_listeners();
        let waits = |heeded: &Heeded| heeded.listeners.difference(&heeded.open).copied().collect::<Vec<_>>();
        let waiting: BTreeSet<Listener> = self.listeners.topics.values().flat_map(waits).collect();
        for listener in &waiting {
            let _no_origin_to_tell = self.listeners.forget(*listener);
        }
        self.tell_listeners(waiting, Heard::Ended(ListenError::OriginAway));
    }

    fn tell_listeners(&mut self, listeners: BTreeSet<Listener>, heard: Heard) {
        if !listeners.is_empty() {
            self.effects.push(HubEffect::ToListeners(listeners.into_iter().collect(), heard));
        }
    }
}
