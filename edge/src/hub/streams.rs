//! Streams of server-sent events, on which clients hear what is published.
//!
//! In the dialect that `@upstash/redis` reads: each event is a line `data: message,CHANNEL,TEXT`. An event of the kind `error` names the
//! channel and the reason in the same form, so that the same client hands it to its listeners for errors. All of it is in memory,
//! and an object with an open stream does not sleep. What waits for a client is bounded, by itself and over all streams together:
//! one that does not keep up is told so and ends, and the hub listens for it no more.

use crate::{
    clock,
    limits::{STREAM_BYTES_MAX, STREAM_QUIET_MS, STREAMS_BYTES_MAX},
    timeout,
};
use futures_channel::oneshot;
use futures_util::{Stream, future::poll_fn, stream::unfold};
use headwater::{
    hub::{Heard, ListenError, Listener},
    topic::Topic,
};
use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, VecDeque},
    rc::Rc,
    task::{Poll, Waker},
};

const INTERRUPTED: &str = "ERR Headwater: the origin is away; what is published until it is heard again is lost";
const TOO_SLOW: &str = "ERR Headwater: more was published than this stream took in, and some is lost; subscribe again";
const EXPIRED: &str = "ERR Headwater: the token has expired; subscribe again with another";

/// What keeps connections open that proxies would take for dead.
const QUIET: &[u8] = b":\n\n";

/// The streams by their listeners' numbers.
#[derive(Default)]
pub(super) struct Streams {
    open: BTreeMap<u64, Open>,
    /// What waits in all queues together, in bytes.
    bytes: Rc<Cell<usize>>,
}

struct Open {
    topic: Topic,
    queue: Rc<RefCell<Queue>>,
    /// Whoever waits to be told that the stream begins, or why it does not.
    opening: Option<oneshot::Sender<Result<(), ListenError>>>,
}

/// What waits for one client.
struct Queue {
    events: VecDeque<Rc<[u8]>>,
    bytes: usize,
    all_bytes: Rc<Cell<usize>>,
    has_ended: bool,
    waker: Option<Waker>,
}

/// A stream's events, before they are anybody's answer.
pub(super) struct Events(Rc<RefCell<Queue>>);

impl Streams {
    /// Takes a listener in. The receiver is told when the stream begins.
    pub(super) fn open(
        &mut self,
        listener: Listener,
        topic: Topic,
    ) -> (Events, oneshot::Receiver<Result<(), ListenError>>) {
        let queue = Rc::new(RefCell::new(Queue {
            events: VecDeque::new(),
            bytes: 0,
            all_bytes: Rc::clone(&self.bytes),
            has_ended: false,
            waker: None,
        }));
        let (sender, receiver) = oneshot::channel();
        self.open.insert(listener.0, Open { topic, queue: Rc::clone(&queue), opening: Some(sender) });
        (Events(queue), receiver)
    }

    /// Nobody reads this stream any more.
    pub(super) fn close(&mut self, listener: Listener) {
        self.open.remove(&listener.0);
    }

    /// Tells those that listen to one topic. Gives those that did not keep up, whose streams have ended.
    pub(super) fn tell(&mut self, listeners: &[Listener], heard: &Heard) -> Vec<Listener> {
        let mut slow = Vec::new();
        // Those that are told together need not listen to the same, but mostly do.
        let mut last: Option<(Topic, Rc<[u8]>)> = None;
        for listener in listeners {
            let Some(open) = self.open.get_mut(&listener.0) else { continue };
            let event = match &last {
                Some((topic, event)) if *topic == open.topic => Rc::clone(event),
                _ => event(&open.topic, heard),
            };
            last = Some((open.topic.clone(), Rc::clone(&event)));
            let is_last = matches!(heard, Heard::Ended(_));
            if let Heard::Ended(error) = heard
                && let Some(opening) = open.opening.take()
            {
                let _gone = opening.send(Err(error.clone()));
                self.open.remove(&listener.0);
                continue;
            }
            if matches!(heard, Heard::Listening)
                && let Some(opening) = open.opening.take()
            {
                let _gone = opening.send(Ok(()));
            }
            let mut queue = open.queue.borrow_mut();
            let keeps_up = is_last || queue.push(event);
            if is_last {
                queue.end(event_of_error(&open.topic, heard));
            } else if !keeps_up {
                queue.end(error(&open.topic, TOO_SLOW));
                slow.push(*listener);
            }
            drop(queue);
            if is_last || !keeps_up {
                self.open.remove(&listener.0);
            }
        }
        slow
    }
}

impl Queue {
    /// Whether there is room for the event.
    fn push(&mut self, event: Rc<[u8]>) -> bool {
        let (own, all) = (self.bytes + event.len(), self.all_bytes.get() + event.len());
        if own > STREAM_BYTES_MAX || all > STREAMS_BYTES_MAX {
            return false;
        }
        self.bytes = own;
        self.all_bytes.set(all);
        self.events.push_back(event);
        self.wake();
        true
    }

    /// This event is the last one. It is short, so there is room for it in any case.
    fn end(&mut self, event: Rc<[u8]>) {
        self.bytes += event.len();
        self.all_bytes.set(self.all_bytes.get() + event.len());
        self.events.push_back(event);
        self.has_ended = true;
        self.wake();
    }

    fn pop(&mut self) -> Option<Rc<[u8]>> {
        let event = self.events.pop_front()?;
        self.bytes -= event.len();
        self.all_bytes.set(self.all_bytes.get() - event.len());
        Some(event)
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.all_bytes.set(self.all_bytes.get() - self.bytes);
    }
}

impl Events {
    /// The body of the answer, until the stream ends or the token does. `guard` is dropped with it, also when the client goes.
    pub(super) fn into_body<G: 'static>(
        self,
        topic: Topic,
        until_ms: Option<i64>,
        guard: G,
    ) -> impl Stream<Item = worker::Result<Vec<u8>>> {
        let state = Some((self.0, guard));
        unfold(state, move |state| {
            let topic = topic.clone();
            async move {
                let (queue, guard) = state?;
                let left_ms = until_ms.map(|until_ms| until_ms.saturating_sub(clock::now().0));
                if left_ms.is_some_and(|left_ms| left_ms <= 0) {
                    return Some((Ok(error(&topic, EXPIRED).to_vec()), None));
                }
                let quiet_ms = left_ms.and_then(|left_ms| u32::try_from(left_ms).ok()).unwrap_or(u32::MAX);
                let next = timeout::within(quiet_ms.min(STREAM_QUIET_MS), next(&queue)).await;
                match next {
                    Some(Some(event)) => Some((Ok(event.to_vec()), Some((queue, guard)))),
                    Some(None) => None,
                    None => Some((Ok(QUIET.to_vec()), Some((queue, guard)))),
                }
            }
        })
    }
}

/// The next event; none once the last one was taken.
async fn next(queue: &Rc<RefCell<Queue>>) -> Option<Rc<[u8]>> {
    poll_fn(|context| {
        let mut queue = queue.borrow_mut();
        match queue.pop() {
            Some(event) => Poll::Ready(Some(event)),
            None if queue.has_ended => Poll::Ready(None),
            None => {
                queue.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    })
    .await
}

fn event(topic: &Topic, heard: &Heard) -> Rc<[u8]> {
    let name = topic.name().as_bytes();
    match (topic, heard) {
        (Topic::Channel(_), Heard::Listening) => data(&[b"subscribe", name, b"1"]),
        (Topic::Pattern(_), Heard::Listening) => data(&[b"psubscribe", name, b"1"]),
        (Topic::Channel(_), Heard::Message { channel, payload }) => data(&[b"message", channel.as_bytes(), payload]),
        (Topic::Pattern(_), Heard::Message { channel, payload }) => {
            data(&[b"pmessage", name, channel.as_bytes(), payload])
        }
        (_, Heard::Interrupted | Heard::Ended(_)) => event_of_error(topic, heard),
    }
}

fn event_of_error(topic: &Topic, heard: &Heard) -> Rc<[u8]> {
    match heard {
        Heard::Ended(cause) => error(topic, &cause.to_string()),
        Heard::Interrupted | Heard::Listening | Heard::Message { .. } => error(topic, INTERRUPTED),
    }
}

fn error(topic: &Topic, text: &str) -> Rc<[u8]> {
    [b"event: error\n", &data(&[b"error", topic.name().as_bytes(), text.as_bytes()])[..]].concat().into()
}

/// Fields with commas between them. A line break within them begins another `data:` line, as the format has it.
fn data(fields: &[&[u8]]) -> Rc<[u8]> {
    let joined = fields.join(&b","[..]);
    let text = String::from_utf8_lossy(&joined);
    let lines: Vec<&str> = text.split("\r\n").flat_map(|part| part.split(['\r', '\n'])).collect();
    format!("data: {}\n\n", lines.join("\ndata: ")).into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use headwater::id::Key;

    fn channel() -> Topic {
        Topic::channel("news".into()).unwrap()
    }

    fn message(payload: impl Into<Bytes>) -> Heard {
        Heard::Message { channel: Key::new("news").unwrap(), payload: payload.into() }
    }

    fn text(event: &[u8]) -> &str {
        std::str::from_utf8(event).unwrap()
    }

    fn taken(events: &Events) -> Vec<String> {
        let mut queue = events.0.borrow_mut();
        std::iter::from_fn(|| queue.pop()).map(|event| text(&event).to_owned()).collect()
    }

    #[test]
    fn events_are_in_the_dialect_of_upstash() {
        let pattern = Topic::pattern("n*".into()).unwrap();
        for (topic, heard, line) in [
            (channel(), Heard::Listening, "data: subscribe,news,1\n\n"),
            (channel(), message("a,b"), "data: message,news,a,b\n\n"),
            (pattern.clone(), Heard::Listening, "data: psubscribe,n*,1\n\n"),
            (pattern, message("x"), "data: pmessage,n*,news,x\n\n"),
            (channel(), message("a\r\nb\nc"), "data: message,news,a\ndata: b\ndata: c\n\n"),
            (channel(), message(Bytes::from_static(b"\xff")), "data: message,news,\u{fffd}\n\n"),
        ] {
            assert_eq!(text(&event(&topic, &heard)), line);
        }
        let ended = event(&channel(), &Heard::Ended(ListenError::AtOrigin("NOPERM no".into())));
        assert_eq!(text(&ended), "event: error\ndata: error,news,NOPERM no\n\n");
    }

    #[test]
    fn a_stream_that_does_not_keep_up_is_told_so_and_ends() {
        let mut streams = Streams::default();
        let (events, mut opened) = streams.open(Listener(1), channel());
        assert_eq!(streams.tell(&[Listener(1)], &Heard::Listening), []);
        assert!(matches!(opened.try_recv(), Ok(Some(Ok(())))));
        let half = message(vec![b'x'; STREAM_BYTES_MAX / 2]);
        assert_eq!(streams.tell(&[Listener(1)], &half), []);
        assert_eq!(streams.tell(&[Listener(1)], &half), [Listener(1)]);
        let taken = taken(&events);
        assert_eq!(taken.len(), 3);
        assert!(taken[2].starts_with("event: error\n") && taken[2].contains("subscribe again"), "{}", taken[2]);
        assert!(events.0.borrow().has_ended);
        assert_eq!(streams.tell(&[Listener(1)], &message("later")), []);
        drop(events);
        assert_eq!(streams.bytes.get(), 0);
    }

    #[test]
    fn all_streams_together_are_bounded() {
        let mut streams = Streams::default();
        let listeners: Vec<Listener> = (0..64).map(Listener).collect();
        let opened: Vec<_> = listeners.iter().map(|listener| streams.open(*listener, channel())).collect();
        let large = message(vec![b'x'; STREAM_BYTES_MAX * 3 / 4]);
        let slow = streams.tell(&listeners, &large);
        assert!(!slow.is_empty() && slow.len() < listeners.len(), "{}", slow.len());
        assert!(streams.bytes.get() <= STREAMS_BYTES_MAX + listeners.len() * 256);
        drop((opened, streams));
    }

    #[test]
    fn what_never_began_is_an_error_and_no_event() {
        let mut streams = Streams::default();
        let (events, mut opened) = streams.open(Listener(1), channel());
        streams.tell(&[Listener(1)], &Heard::Ended(ListenError::OriginAway));
        assert!(matches!(opened.try_recv(), Ok(Some(Err(ListenError::OriginAway)))));
        assert_eq!(taken(&events), [""; 0]);
    }
}
