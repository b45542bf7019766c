//! Channels of the origin's Redis: what hubs ask of the origin, and what those hear that listen at a hub.

use bytes::Bytes;
use headwater::{
    hub::{Connection, Heard, Hub, HubEffect, HubInput, ListenError, Listener},
    id::{HashSeed, Key, TimestampMs},
    limits::{LISTENERS_MAX, TOPICS_MAX},
    message::{HubToOrigin, OriginToHub, Published},
    origin::{Link, Origin, OriginConfig, OriginEffect, OriginInput, StableBy},
    topic::Topic,
};

const NOW: TimestampMs = TimestampMs(1_700_000_000_000);
const DAEMON: Connection = Connection(1);
const OTHER_DAEMON: Connection = Connection(2);

fn channel(name: &'static str) -> Topic {
    Topic::channel(name.into()).unwrap()
}

fn pattern(name: &'static str) -> Topic {
    Topic::pattern(name.into()).unwrap()
}

fn published(topic: Topic, to: &'static str, payload: &'static str) -> Published {
    Published { topic, channel: Key::new(to).unwrap(), payload: payload.into() }
}

/// A hub, and what it said to listeners and to origins since that was last asked.
struct Node {
    hub: Hub,
    heard: Vec<(u64, Heard)>,
    asked: Vec<(Connection, HubToOrigin)>,
}

impl Node {
    fn away() -> Self {
        let (hub, _persisted) = Hub::create("eu/0".to_owned(), 1 << 32, NOW);
        Self { hub, heard: Vec::new(), asked: Vec::new() }
    }

    fn connected() -> Self {
        let mut node = Self::away();
        node.greeted(DAEMON);
        node.asked.clear();
        node
    }

    fn greeted(&mut self, daemon: Connection) {
        self.origin(daemon, OriginToHub::Welcome { now: NOW, capabilities: Default::default() });
    }

    fn give(&mut self, input: HubInput) {
        for effect in self.hub.handle(input, NOW) {
            match effect {
                HubEffect::ToListeners(listeners, heard) => {
                    self.heard.extend(listeners.into_iter().map(|listener| (listener.0, heard.clone())));
                }
                HubEffect::ToOrigin(to, message @ (HubToOrigin::Listen(_) | HubToOrigin::Unlisten(_))) => {
                    self.asked.push((to, message));
                }
                _ => {}
            }
        }
    }

    fn listen(&mut self, listener: u64, topic: Topic) {
        self.give(HubInput::Listen(Listener(listener), topic));
    }

    fn origin(&mut self, daemon: Connection, message: OriginToHub) {
        self.give(HubInput::Origin(daemon, message));
    }

    /// The origin says that it listens.
    fn listening(&mut self, topic: Topic) {
        self.origin(DAEMON, OriginToHub::Listening(topic, Ok(())));
    }

    fn heard(&mut self) -> Vec<(u64, Heard)> {
        std::mem::take(&mut self.heard)
    }

    fn asked(&mut self) -> Vec<(Connection, HubToOrigin)> {
        std::mem::take(&mut self.asked)
    }
}

fn message(to: &'static str, payload: &'static str) -> Heard {
    Heard::Message { channel: Key::new(to).unwrap(), payload: payload.into() }
}

#[test]
fn who_listens_hears_what_is_published_from_then_on() {
    let mut node = Node::connected();
    node.listen(1, channel("news"));
    assert_eq!(node.asked(), [(DAEMON, HubToOrigin::Listen(vec![channel("news")]))]);
    assert_eq!(node.heard(), []);
    node.listening(channel("news"));
    assert_eq!(node.heard(), [(1, Heard::Listening)]);
    node.origin(DAEMON, OriginToHub::Published(published(channel("news"), "news", "a")));
    assert_eq!(node.heard(), [(1, message("news", "a"))]);
}

#[test]
fn the_origin_is_asked_once_for_a_topic_and_let_go_with_the_last_listener() {
    let mut node = Node::connected();
    node.listen(1, pattern("n*"));
    node.listening(pattern("n*"));
    node.asked();
    node.heard();
    node.listen(2, pattern("n*"));
    assert_eq!((node.asked(), node.heard()), (vec![], vec![(2, Heard::Listening)]));
    node.origin(DAEMON, OriginToHub::Published(published(pattern("n*"), "news", "a")));
    assert_eq!(node.heard(), [(1, message("news", "a")), (2, message("news", "a"))]);
    node.give(HubInput::Unlisten(Listener(1)));
    assert_eq!(node.asked(), []);
    node.give(HubInput::Unlisten(Listener(2)));
    node.give(HubInput::Unlisten(Listener(2)));
    assert_eq!(node.asked(), [(DAEMON, HubToOrigin::Unlisten(vec![pattern("n*")]))]);
    node.origin(DAEMON, OriginToHub::Published(published(pattern("n*"), "news", "b")));
    assert_eq!(node.heard(), []);
}

#[test]
fn a_channel_and_a_pattern_of_one_name_are_two_topics() {
    let mut node = Node::connected();
    node.listen(1, channel("news"));
    node.listen(2, pattern("news"));
    node.listening(channel("news"));
    node.listening(pattern("news"));
    node.heard();
    node.origin(DAEMON, OriginToHub::Published(published(pattern("news"), "news", "a")));
    assert_eq!(node.heard(), [(2, message("news", "a"))]);
}

#[test]
fn with_the_origin_away_nobody_waits() {
    let away = Heard::Ended(ListenError::OriginAway);
    let mut node = Node::away();
    node.listen(1, channel("news"));
    assert_eq!(node.heard(), [(1, away.clone())]);
    node.greeted(DAEMON);
    assert_eq!(node.asked(), []);
    node.listen(2, channel("news"));
    node.give(HubInput::OriginClosed(DAEMON));
    assert_eq!(node.heard(), [(2, away)]);
}

#[test]
fn an_open_stream_is_told_of_the_gap_and_goes_on_with_the_next_origin() {
    let mut node = Node::connected();
    node.listen(1, channel("news"));
    node.listening(channel("news"));
    node.heard();
    node.asked();
    node.give(HubInput::OriginClosed(DAEMON));
    assert_eq!(node.heard(), [(1, Heard::Interrupted)]);
    node.greeted(OTHER_DAEMON);
    assert_eq!(node.asked(), [(OTHER_DAEMON, HubToOrigin::Listen(vec![channel("news")]))]);
    assert_eq!(node.heard(), [], "the gap is told once");
    node.origin(OTHER_DAEMON, OriginToHub::Listening(channel("news"), Ok(())));
    assert_eq!(node.heard(), [(1, Heard::Listening)]);
}

#[test]
fn a_daemon_that_listens_anew_may_have_missed_something() {
    let mut node = Node::connected();
    node.listen(1, channel("news"));
    node.listening(channel("news"));
    node.heard();
    node.listening(channel("news"));
    assert_eq!(node.heard(), [(1, Heard::Interrupted), (1, Heard::Listening)]);
    node.greeted(OTHER_DAEMON);
    assert_eq!(node.heard(), [(1, Heard::Interrupted)]);
    node.origin(DAEMON, OriginToHub::Published(published(channel("news"), "news", "of the one before")));
    assert_eq!(node.heard(), []);
}

#[test]
fn what_the_origin_refuses_ends_the_stream() {
    let mut node = Node::connected();
    node.listen(1, channel("news"));
    node.origin(DAEMON, OriginToHub::Listening(channel("news"), Err("NOPERM no".into())));
    assert_eq!(node.heard(), [(1, Heard::Ended(ListenError::AtOrigin("NOPERM no".into())))]);
    node.asked();
    node.give(HubInput::Unlisten(Listener(1)));
    assert_eq!(node.asked(), [], "there is nothing left to let go");
    node.listen(2, channel("news"));
    assert_eq!(node.asked(), [(DAEMON, HubToOrigin::Listen(vec![channel("news")]))]);
}

#[test]
fn a_hub_has_a_bound_of_listeners() {
    let mut node = Node::connected();
    for listener in 0..LISTENERS_MAX as u64 {
        node.listen(listener, channel("news"));
    }
    assert_eq!(node.heard(), []);
    node.listen(u64::MAX, channel("news"));
    assert_eq!(node.heard(), [(u64::MAX, Heard::Ended(ListenError::TooMany))]);
    node.give(HubInput::Unlisten(Listener(0)));
    node.listen(u64::MAX, channel("news"));
    assert_eq!(node.heard(), []);
}

/// An origin with hubs that have said hello.
struct Daemon(Origin);

impl Daemon {
    fn with_hubs(hubs: u64) -> Self {
        let config = OriginConfig {
            run_id: Bytes::from_static(b"run"),
            entropy: 1 << 40,
            seed: HashSeed(1, 2),
            stable_by: StableBy::Window,
            loss_window_ms: 1_000,
            window_ms: 5,
            window_ms_max: 50,
            audit_ms: 600_000,
        };
        let mut daemon = Self(Origin::new(config));
        for hub in 0..hubs {
            daemon.give(OriginInput::Opened(Link(hub)));
            daemon.say(hub, hello(hub));
        }
        daemon
    }

    /// What concerns topics.
    fn give(&mut self, input: OriginInput) -> Vec<OriginEffect> {
        let concerns = |effect: &OriginEffect| {
            matches!(
                effect,
                OriginEffect::Listen(_)
                    | OriginEffect::Unlisten(_)
                    | OriginEffect::ToHub(_, OriginToHub::Listening(..) | OriginToHub::Published(_))
            )
        };
        self.0.handle(input, NOW).into_iter().filter(concerns).collect()
    }

    fn say(&mut self, hub: u64, message: HubToOrigin) -> Vec<OriginEffect> {
        self.give(OriginInput::Hub(Link(hub), message))
    }
}

fn hello(hub: u64) -> HubToOrigin {
    HubToOrigin::Hello {
        hub: headwater::id::ReplicaId::from_entropy((hub + 1) << 32),
        name: format!("eu/{hub}"),
        now: NOW,
        unstable: Vec::new(),
        capabilities: Default::default(),
    }
}

fn told(hub: u64, topic: Topic, heard: Result<(), &str>) -> OriginEffect {
    OriginEffect::ToHub(Link(hub), OriginToHub::Listening(topic, heard.map_err(Into::into)))
}

#[test]
fn the_daemon_listens_once_for_all_hubs() {
    let mut daemon = Daemon::with_hubs(2);
    let news = || channel("news");
    assert_eq!(daemon.say(0, HubToOrigin::Listen(vec![news()])), [OriginEffect::Listen(news())]);
    assert_eq!(daemon.say(1, HubToOrigin::Listen(vec![news()])), []);
    let both = [told(0, news(), Ok(())), told(1, news(), Ok(()))];
    assert_eq!(daemon.give(OriginInput::Listening(news(), Ok(()))), both);
    let message = published(news(), "news", "a");
    let sent = [0, 1].map(|hub| OriginEffect::ToHub(Link(hub), OriginToHub::Published(message.clone())));
    assert_eq!(daemon.give(OriginInput::Published(message)), sent);
    assert_eq!(daemon.say(0, HubToOrigin::Unlisten(vec![news()])), []);
    assert_eq!(daemon.say(0, HubToOrigin::Listen(vec![news()])), [told(0, news(), Ok(()))]);
    assert_eq!(daemon.give(OriginInput::Closed(Link(0))), []);
    assert_eq!(daemon.say(1, hello(1)), [OriginEffect::Unlisten(news())], "a hub that began again listens to nothing");
}

#[test]
fn an_error_of_redis_reaches_every_hub_and_ends_the_subscription() {
    let mut daemon = Daemon::with_hubs(1);
    daemon.say(0, HubToOrigin::Listen(vec![channel("news")]));
    let refused = daemon.give(OriginInput::Listening(channel("news"), Err("NOPERM no".into())));
    assert_eq!(refused, [told(0, channel("news"), Err("NOPERM no"))]);
    let again = daemon.say(0, HubToOrigin::Listen(vec![channel("news")]));
    assert_eq!(again, [OriginEffect::Listen(channel("news"))]);
}

#[test]
fn a_hub_that_takes_nothing_in_listens_to_nothing() {
    let mut daemon = Daemon::with_hubs(2);
    for hub in 0..2 {
        daemon.say(hub, HubToOrigin::Listen(vec![channel("news")]));
    }
    daemon.say(1, HubToOrigin::Listen(vec![pattern("n*")]));
    daemon.give(OriginInput::Listening(channel("news"), Ok(())));
    let effects = daemon.give(OriginInput::Overrun(Link(1)));
    assert!(effects.contains(&OriginEffect::Unlisten(pattern("n*"))), "{effects:?}");
    let ended = |effect: &&OriginEffect| matches!(effect, OriginEffect::ToHub(Link(1), OriginToHub::Listening(_, Err(error))) if error.contains("lost"));
    assert_eq!((effects.iter().filter(ended).count(), effects.len()), (2, 3));
    let sent = daemon.give(OriginInput::Published(published(channel("news"), "news", "a")));
    assert!(matches!(sent[..], [OriginEffect::ToHub(Link(0), OriginToHub::Published(_))]), "{sent:?}");
}

#[test]
fn a_hub_listens_to_a_bounded_number_of_topics() {
    let mut daemon = Daemon::with_hubs(2);
    let numbered = |no: usize| Topic::channel(no.to_string().into()).unwrap();
    let all = daemon.say(0, HubToOrigin::Listen((0..TOPICS_MAX).map(numbered).collect()));
    assert_eq!(all.len(), TOPICS_MAX);
    let more = daemon.say(0, HubToOrigin::Listen(vec![channel("one more")]));
    assert!(matches!(more[..], [OriginEffect::ToHub(Link(0), OriginToHub::Listening(_, Err(_)))]), "{more:?}");
    let other = daemon.say(1, HubToOrigin::Listen(vec![channel("one more")]));
    assert_eq!(other, [OriginEffect::Listen(channel("one more"))]);
}
