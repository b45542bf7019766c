//! What hubs listen to: one subscription of the daemon for all hubs that listen to a topic.
//!
//! None of it lasts: a hub says what it listens to after each hello. Messages are passed on as they come and kept nowhere; one that
//! is lost between Redis and a hub is told as lost, by saying again that the topic is listened to, or why no more.

use super::{Link, Origin, OriginEffect};
use crate::{
    limits::TOPICS_MAX,
    message::{OriginToHub, Published},
    topic::Topic,
};
use std::collections::{BTreeMap, BTreeSet};

const TOO_MANY: &str = "ERR Headwater: an edge listens to as many channels as it may; close some streams";
const TOO_SLOW: &str = "ERR Headwater: more was published than this edge took in, and some is lost; subscribe again";

/// Who listens to what.
#[derive(Debug, Default)]
pub(super) struct Topics {
    heeded: BTreeMap<Topic, Heeded>,
    counts: BTreeMap<Link, usize>,
}

#[derive(Debug, Default)]
struct Heeded {
    links: BTreeSet<Link>,
    /// Whether the daemon has said that it listens.
    is_heard: bool,
}

impl Topics {
    /// Gives whether nobody listens to the topic any more.
    fn remove(&mut self, link: Link, topic: &Topic) -> bool {
        let Some(heeded) = self.heeded.get_mut(topic) else { return false };
        if !heeded.links.remove(&link) {
            return false;
        }
        if let Some(count) = self.counts.get_mut(&link) {
            *count = count.saturating_sub(1);
        }
        let is_last = heeded.links.is_empty();
        if is_last {
            self.heeded.remove(topic);
        }
        is_last
    }

    fn of(&self, link: Link) -> Vec<Topic> {
        let listens = self.heeded.iter().filter(|(_, heeded)| heeded.links.contains(&link));
        listens.map(|(topic, _)| topic.clone()).collect()
    }
}

impl Origin {
    pub(super) fn listen(&mut self, link: Link, topics: Vec<Topic>) {
        for topic in topics {
            let count = self.topics.counts.entry(link).or_default();
            let heeded = self.topics.heeded.entry(topic.clone()).or_default();
            let is_new = heeded.links.is_empty();
            if !heeded.links.contains(&link) && *count >= TOPICS_MAX {
                if is_new {
                    self.topics.heeded.remove(&topic);
                }
                self.tell_heard(link, topic, Err(TOO_MANY.into()));
                continue;
            }
            if heeded.links.insert(link) {
                *count = count.saturating_add(1);
            }
            let is_heard = heeded.is_heard;
            if is_new {
                self.effects.push(OriginEffect::Listen(topic));
            } else if is_heard {
                self.tell_heard(link, topic, Ok(()));
            }
        }
    }

    pub(super) fn unlisten(&mut self, link: Link, topics: Vec<Topic>) {
        for topic in topics {
            if self.topics.remove(link, &topic) {
                self.effects.push(OriginEffect::Unlisten(topic));
            }
        }
    }

    /// The daemon listens to a topic, perhaps again, or says why it does not.
    pub(super) fn topic_heard(&mut self, topic: &Topic, heard: &Result<(), Box<str>>) {
        let Some(heeded) = self.topics.heeded.get_mut(topic) else { return };
        heeded.is_heard = true;
        let links = heeded.links.clone();
        for link in links {
            if heard.is_err() {
                self.topics.remove(link, topic);
            }
            self.tell_heard(link, topic.clone(), heard.clone());
        }
    }

    /// Something was published. Linear in the hubs that listen.
    pub(super) fn published(&mut self, published: &Published) {
        let Some(heeded) = self.topics.heeded.get(&published.topic) else { return };
        let to = |link: &Link| OriginEffect::ToHub(*link, OriginToHub::Published(published.clone()));
        self.effects.extend(heeded.links.iter().map(to));
    }

    /// A hub did not take in what was published: it listens to nothing until it asks again.
    pub(super) fn overrun(&mut self, link: Link) {
        for topic in self.topics.of(link) {
            if self.topics.remove(link, &topic) {
                self.effects.push(OriginEffect::Unlisten(topic.clone()));
            }
            self.tell_heard(link, topic, Err(TOO_SLOW.into()));
        }
    }

    pub(super) fn forget_topics(&mut self, link: Link) {
        let topics = self.topics.of(link);
        self.unlisten(link, topics);
        self.topics.counts.remove(&link);
    }

    fn tell_heard(&mut self, link: Link, topic: Topic, heard: Result<(), Box<str>>) {
        self.effects.push(OriginEffect::ToHub(link, OriginToHub::Listening(topic, heard)));
    }
}
