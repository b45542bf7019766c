//! What waits for one hub's socket.
//!
//! Bounded in messages, and what was published besides in bytes: the first is what a hub needs and a hub that does not take it in
//! begins again, while what was published may come from anybody at any rate, and only that is then dropped.

use headwater::message::{OriginToHub, Published};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use tokio::sync::mpsc;

/// Messages that wait for one hub's socket: some for every slot, as when a hub that holds keys everywhere comes back.
const MESSAGES_MAX: usize = 64 * 1024;

/// What was published and waits for one hub's socket, in bytes: a few of the largest messages.
const PUBLISHED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What a message takes beside its names and payload, in bytes, so that there is a bound to empty ones.
const MESSAGE_BYTES: usize = 256;

/// The way to a hub's socket. Dropped, the socket sends what waits and closes.
#[derive(Clone, Debug)]
pub(crate) struct Outbox {
    messages: mpsc::Sender<OriginToHub>,
    published_bytes: Arc<AtomicUsize>,
}

/// What waits.
#[derive(Debug)]
pub(crate) struct Waiting {
    messages: mpsc::Receiver<OriginToHub>,
    published_bytes: Arc<AtomicUsize>,
}

/// Why a message does not wait with the others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refused {
    /// Too much waits already.
    Full,
    /// Too much waits already of what was published, and this was published too.
    TooMuchPublished,
    /// Nobody sends any more.
    Closed,
}

/// An outbox and its other end.
pub(crate) fn channel() -> (Outbox, Waiting) {
    let (sender, receiver) = mpsc::channel(MESSAGES_MAX);
    let published_bytes = Arc::<AtomicUsize>::default();
    let waiting = Waiting { messages: receiver, published_bytes: Arc::clone(&published_bytes) };
    (Outbox { messages: sender, published_bytes }, waiting)
}

impl Outbox {
    /// Never waits. One task sends, so what it counts is what there is.
    pub(crate) fn try_send(&self, message: OriginToHub) -> Result<(), Refused> {
        let bytes = published_bytes(&message);
        if bytes > 0 && self.published_bytes.load(Ordering::Relaxed).saturating_add(bytes) > PUBLISHED_BYTES_MAX {
            return Err(Refused::TooMuchPublished);
        }
        self.published_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.messages.try_send(message).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Refused::Full,
            mpsc::error::TrySendError::Closed(_) => Refused::Closed,
        })
    }
}

impl Waiting {
    /// The next message; none once the outbox is gone and empty.
    pub(crate) async fn next(&mut self) -> Option<OriginToHub> {
        let message = self.messages.recv().await?;
        self.take(&message);
        Some(message)
    }

    /// The next message, if one waits now.
    pub(crate) fn next_now(&mut self) -> Option<OriginToHub> {
        let message = self.messages.try_recv().ok()?;
        self.take(&message);
        Some(message)
    }

    fn take(&self, message: &OriginToHub) {
        self.published_bytes.fetch_sub(published_bytes(message), Ordering::Relaxed);
    }
}

fn published_bytes(message: &OriginToHub) -> usize {
    match message {
        OriginToHub::Published(published) => weight(published),
        _ => 0,
    }
}

/// What a message that was published takes in memory, about.
pub(crate) fn weight(Published { topic, channel, payload }: &Published) -> usize {
    let names = topic.name().as_bytes().len().saturating_add(channel.as_bytes().len());
    MESSAGE_BYTES.saturating_add(names).saturating_add(payload.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater::{id::Key, topic::Topic};

    #[tokio::test]
    async fn only_what_was_published_is_bounded_in_bytes() {
        let (outbox, mut waiting) = channel();
        let topic = Topic::channel("news".into()).unwrap();
        let large = || {
            let payload = vec![0; PUBLISHED_BYTES_MAX / 2].into();
            OriginToHub::Published(Published { topic: topic.clone(), channel: Key::new("news").unwrap(), payload })
        };
        assert_eq!(outbox.try_send(large()), Ok(()));
        assert_eq!(outbox.try_send(large()), Err(Refused::TooMuchPublished));
        assert_eq!(outbox.try_send(OriginToHub::Credit(1)), Ok(()));
        assert!(matches!(waiting.next().await, Some(OriginToHub::Published(_))));
        assert_eq!(outbox.try_send(large()), Ok(()));
        drop(waiting);
        assert_eq!(outbox.try_send(OriginToHub::Credit(1)), Err(Refused::Closed));
    }
}
