//! What is published to the channels that hubs listen to, heard on one connection of its own for all of them.
//!
//! Any server of a cluster tells of all that is published, and where sentinels name another master the whole store is opened anew. The
//! connection is there as long as somebody listens. When it breaks it is made anew, and whoever listens is told that something may
//! be lost. What comes in faster than it is taken out is bounded in bytes: beyond the bound the connection is dropped, so that it
//! does not pile up in Redis either, and every subscription ends.

use super::{RedisStoreError, access::Access};
use crate::{measure, outbox::weight};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use headwater::{
    id::{Key, RESERVED},
    limits::{ERROR_BYTES_MAX, VALUE_BYTES_MAX},
    message::Published,
    topic::Topic,
};
use redis::{ConnectionAddr, Msg, RedisError, aio::PubSubSink};
use std::{
    collections::BTreeMap,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Mutex, mpsc},
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout},
};

const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How often the connection is asked for a sign of life, and how long it may take for it, or to subscribe.
const PING_INTERVAL: Duration = Duration::from_secs(5);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(4);

/// What was heard and is not taken out, in bytes: several of the largest messages, for all hubs together.
const HEARD_BYTES_MAX: usize = 16 * 1024 * 1024;

const TOO_MUCH: &str = "ERR Headwater: more is published than the origin takes in, and some is lost; subscribe again";

/// What the daemon is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Heard {
    /// From now on, perhaps again, the topic is listened to; or the reason why it is not.
    Listening(Topic, Result<(), Box<str>>),
    /// Something was published.
    Published(Published),
}

#[derive(Debug)]
enum Wish {
    Listen(Topic),
    Unlisten(Topic),
}

/// All that is listened to, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct Channels {
    task: JoinHandle<()>,
    wishes: mpsc::UnboundedSender<Wish>,
    heard: Mutex<mpsc::UnboundedReceiver<Heard>>,
    heard_bytes: Arc<AtomicUsize>,
}

impl Channels {
    /// Connects when first needed.
    pub(super) fn start(access: Access, address: ConnectionAddr) -> Self {
        let (wishes, wished) = mpsc::unbounded_channel();
        let (told, heard) = mpsc::unbounded_channel();
        let heard_bytes = Arc::<AtomicUsize>::default();
        let teller = Teller { told, heard_bytes: Arc::clone(&heard_bytes) };
        let listener = Listener { access, address, wished, topics: BTreeMap::new(), teller };
        Self { task: tokio::spawn(listener.run()), wishes, heard: Mutex::new(heard), heard_bytes }
    }

    /// Asks for a topic, of which [`Self::next`] then tells. The machine asks for each once, and for a bounded number.
    pub(super) fn listen(&self, topic: Topic) {
        let _ended_with_self = self.wishes.send(Wish::Listen(topic));
    }

    /// Nobody listens to it any more.
    pub(super) fn unlisten(&self, topic: Topic) {
        let _ended_with_self = self.wishes.send(Wish::Unlisten(topic));
    }

    /// What comes next.
    pub(super) async fn next(&self) -> Heard {
        let heard = self.heard.lock().await.recv().await;
        match heard {
            Some(heard) => {
                if let Heard::Published(published) = &heard {
                    self.heard_bytes.fetch_sub(weight(published), Ordering::Relaxed);
                }
                heard
            }
            None => std::future::pending().await,
        }
    }
}

impl Drop for Channels {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Why the connection ended.
#[derive(Debug, thiserror::Error)]
enum ListenError {
    #[error(transparent)]
    Connect(#[from] RedisStoreError),
    #[error("redis: {0}")]
    Server(#[from] RedisError),
    #[error("Redis took too long")]
    TimedOut(#[from] tokio::time::error::Elapsed),
    #[error("Redis closed the connection")]
    Closed,
    #[error("more is published than is taken in")]
    TooMuch,
}

/// The way to who takes out what was heard.
struct Teller {
    told: mpsc::UnboundedSender<Heard>,
    heard_bytes: Arc<AtomicUsize>,
}

impl Teller {
    fn tell(&self, heard: Heard) {
        let _ended_with_the_store = self.told.send(heard);
    }

    /// Passes a message on, unless it is for nobody or too large for a value.
    fn publish(&self, message: &Msg) -> Result<(), ListenError> {
        let channel = message.get_channel::<Vec<u8>>()?;
        let payload = message.get_payload_bytes();
        let topic = match message.get_pattern::<Option<Vec<u8>>>() {
            Ok(Some(pattern)) => Key::new(pattern).map(Topic::Pattern),
            _ => Key::new(channel.clone()).map(Topic::Channel),
        };
        let (Ok(topic), Ok(name)) = (topic, Key::new(channel.clone())) else {
            measure::published(false);
            return Ok(());
        };
        // A pattern also matches what nobody may listen to.
        if channel.starts_with(RESERVED) {
            return Ok(());
        }
        if payload.len() > VALUE_BYTES_MAX {
            measure::published(false);
            tracing::warn!(bytes = payload.len(), "a published message is larger than a value; listeners miss it");
            return Ok(());
        }
        let published = Published { topic, channel: name, payload: Bytes::copy_from_slice(payload) };
        let bytes = weight(&published);
        if self.heard_bytes.load(Ordering::Relaxed).saturating_add(bytes) > HEARD_BYTES_MAX {
            return Err(ListenError::TooMuch);
        }
        self.heard_bytes.fetch_add(bytes, Ordering::Relaxed);
        measure::published(true);
        self.tell(Heard::Published(published));
        Ok(())
    }
}

/// The task behind [`Channels`].
struct Listener {
    access: Access,
    address: ConnectionAddr,
    wished: mpsc::UnboundedReceiver<Wish>,
    /// What is wanted, and whether it was said that it is listened to.
    topics: BTreeMap<Topic, bool>,
    teller: Teller,
}

impl Listener {
    /// Until nobody can wish for anything any more.
    async fn run(mut self) {
        loop {
            while self.topics.is_empty() {
                match self.wished.recv().await {
                    Some(wish) => self.note(wish),
                    None => return,
                }
            }
            let Err(error) = self.serve().await else { continue };
            tracing::warn!(%error, topics = self.topics.len(), "what is published is not heard of");
            if matches!(error, ListenError::TooMuch) {
                self.end_all(TOO_MUCH);
                continue;
            }
            // Who was promised nothing is told; the others wait.
            let error = format!("ERR Headwater: the origin cannot listen at its Redis: {error}");
            let teller = &self.teller;
            self.topics.retain(|topic, was_told| {
                if !*was_told {
                    teller.tell(Heard::Listening(topic.clone(), Err(cut(error.clone()))));
                }
                *was_told
            });
            let until = Instant::now() + RETRY_AFTER;
            loop {
                tokio::select! {
                    wish = self.wished.recv() => match wish {
                        Some(wish) => self.note(wish),
                        None => return,
                    },
                    () = sleep_until(until) => break,
                }
            }
        }
    }

    fn note(&mut self, wish: Wish) {
        match wish {
            Wish::Listen(topic) => drop(self.topics.insert(topic, false)),
            Wish::Unlisten(topic) => drop(self.topics.remove(&topic)),
        }
    }

    fn end_all(&mut self, why: &str) {
        for (topic, _) in std::mem::take(&mut self.topics) {
            self.teller.tell(Heard::Listening(topic, Err(why.into())));
        }
    }

    /// One connection, until nobody listens any more.
    async fn serve(&mut self) -> Result<(), ListenError> {
        let (mut sink, messages) = self.access.listen(&self.address).await?;
        let mut messages = pin!(messages);
        let wanted: Vec<Topic> = self.topics.keys().cloned().collect();
        for topic in wanted {
            self.subscribe(&mut sink, messages.as_mut(), topic).await?;
        }
        let mut ping = interval(PING_INTERVAL);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.topics.is_empty() {
            tokio::select! {
                message = messages.next() => self.teller.publish(&message.ok_or(ListenError::Closed)?)?,
                wish = self.wished.recv() => match wish {
                    Some(Wish::Listen(topic)) => self.subscribe(&mut sink, messages.as_mut(), topic).await?,
                    Some(Wish::Unlisten(topic)) => {
                        self.topics.remove(&topic);
                        let name = topic.name().as_bytes();
                        let unsubscribed = async {
                            match &topic {
                                Topic::Channel(_) => sink.unsubscribe(name).await,
                                Topic::Pattern(_) => sink.punsubscribe(name).await,
                            }
                        };
                        self.teller.hearing(messages.as_mut(), unsubscribed).await??;
                    }
                    None => return Ok(()),
                },
                _ = ping.tick() => {
                    self.teller.hearing(messages.as_mut(), async { sink.ping::<redis::Value>().await }).await??;
                }
            }
        }
        Ok(())
    }

    async fn subscribe(
        &mut self,
        sink: &mut PubSubSink,
        messages: std::pin::Pin<&mut (impl Stream<Item = Msg> + Send)>,
        topic: Topic,
    ) -> Result<(), ListenError> {
        let name = topic.name().as_bytes();
        let subscribed = async {
            match &topic {
                Topic::Channel(_) => sink.subscribe(name).await,
                Topic::Pattern(_) => sink.psubscribe(name).await,
            }
        };
        match self.teller.hearing(messages, subscribed).await? {
            Ok(()) => {
                self.topics.insert(topic.clone(), true);
                self.teller.tell(Heard::Listening(topic, Ok(())));
                Ok(())
            }
            // The server's own word concerns this topic alone.
            Err(error) => {
                let Some(code) = error.code() else { return Err(error.into()) };
                let refused = format!("{code} {}", error.detail().unwrap_or_default());
                self.topics.remove(&topic);
                self.teller.tell(Heard::Listening(topic, Err(cut(refused))));
                Ok(())
            }
        }
    }
}

impl Teller {
    /// Waits for an answer, and passes on what is published meanwhile.
    async fn hearing<T>(
        &self,
        mut messages: std::pin::Pin<&mut (impl Stream<Item = Msg> + Send)>,
        answer: impl Future<Output = T>,
    ) -> Result<T, ListenError> {
        let mut answer = pin!(timeout(ANSWER_TIMEOUT, answer));
        loop {
            tokio::select! {
                answer = &mut answer => return Ok(answer?),
                message = messages.next() => self.publish(&message.ok_or(ListenError::Closed)?)?,
            }
        }
    }
}

fn cut(mut text: String) -> Box<str> {
    text.truncate(text.floor_char_boundary(ERROR_BYTES_MAX));
    text.into()
}
