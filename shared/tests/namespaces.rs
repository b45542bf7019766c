//! Hubs of namespaces: clients and leaves have their own names, and nothing reaches a key that is another namespace's.

use bytes::Bytes;
use headwater::{
    command::{CommandError, Reply},
    grant::{Grant, Grants, Verb},
    hub::{Connection, Heard, Hub, HubConfig, HubEffect, HubInput, Listener, Request},
    id::{ClientId, Key, ReplicaId, Seq, SessionId, TimestampMs},
    message::{HubToLeaf, HubToOrigin, LeafToHub, Lifetime, OriginToHub, Published, RefusalCause},
    namespace::{Namespace, Namespaces},
    standings::StandingsQuery,
    state::{Effect, ElementId, Increment, Operation},
    topic::Topic,
};

const NOW: TimestampMs = TimestampMs(1_700_000_000_000);
const DAEMON: Connection = Connection(1);
const LEAF: Connection = Connection(2);

fn key(name: &str) -> Key {
    Key::new(name.to_owned()).unwrap()
}

fn argv(line: &str) -> Vec<Bytes> {
    line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
}

fn all() -> Namespaces {
    Namespaces::parse("shop,blog").unwrap()
}

fn shop() -> Hub {
    hub(all().named("shop").unwrap())
}

fn hub(namespace: Namespace) -> Hub {
    let config = HubConfig { namespace, ..HubConfig::from("eu/shop/0".to_owned()) };
    Hub::create(config, 1 << 32, NOW).0
}

fn connect(hub: &mut Hub) {
    let welcome = OriginToHub::Welcome { now: NOW, capabilities: Default::default() };
    hub.handle(HubInput::Origin(DAEMON, welcome), NOW);
}

fn run(hub: &mut Hub, lines: &[&str]) -> Vec<HubEffect> {
    let commands = lines.iter().map(|line| argv(line)).collect();
    hub.handle(HubInput::Commands { request: Request(1), commands, idempotency: None }, NOW)
}

fn replies(effects: &[HubEffect]) -> Vec<Result<Reply, CommandError>> {
    let replies = effects.iter().find_map(|effect| match effect {
        HubEffect::Reply { replies, .. } => Some(replies.clone()),
        _ => None,
    });
    replies.expect("an answer")
}

fn greet(hub: &mut Hub) -> SessionId {
    let hello = LeafToHub::Hello {
        client: ClientId(1),
        lifetime: Lifetime::Tab,
        resume: None,
        capabilities: Default::default(),
    };
    let effects = hub.handle(HubInput::Leaf(LEAF, hello), NOW);
    let session = effects.iter().find_map(|effect| match effect {
        HubEffect::ToLeaf(_, HubToLeaf::Welcome { session, .. }) => Some(*session),
        _ => None,
    });
    session.expect("a welcome")
}

fn operations(session: SessionId, names: &[&str]) -> LeafToHub {
    let effects = vec![Effect::Add { element: ElementId::String, by: Increment::Int(1) }];
    let operations = names.iter().map(|name| Operation { key: key(name), at: NOW, effects: effects.clone() });
    LeafToHub::Operations { session, settled: Seq(0), first: Seq(1), operations: operations.collect() }
}

fn refused(effects: &[HubEffect]) -> Vec<(Seq, CommandError)> {
    let refused = effects.iter().find_map(|effect| match effect {
        HubEffect::ToLeaf(_, HubToLeaf::Verdicts { refused, .. })
        | HubEffect::Relayed(_, HubToLeaf::Verdicts { refused, .. }) => Some(refused.clone()),
        _ => None,
    });
    refused.expect("verdicts")
}

/// The keys that the leaf was shown.
fn shown(effects: &[HubEffect]) -> Vec<String> {
    let shown = effects.iter().filter_map(|effect| match effect {
        HubEffect::ToLeaf(LEAF, HubToLeaf::State { key, .. }) => Some(key.to_string()),
        _ => None,
    });
    shown.collect()
}

#[test]
fn a_client_writes_under_its_namespace_and_reads_its_own_names() {
    let mut hub = shop();
    let effects = run(&mut hub, &["set k v", "get k", "incr {a}n", "get blog:k"]);
    assert_eq!(replies(&effects)[1], Ok(Reply::Bulk("v".into())));
    assert_eq!(replies(&effects)[3], Err(CommandError::NotHeld));
    assert_eq!(hub.keys(), [key("shop:k"), key("shop:{a}n")]);
}

#[test]
fn the_origin_hears_of_redis_keys_alone() {
    let mut hub = shop();
    connect(&mut hub);
    let mut effects = run(&mut hub, &["get k"]);
    effects.extend(run(&mut hub, &["set j v"]));
    effects.extend(hub.handle(HubInput::Origin(DAEMON, OriginToHub::Credit(1)), NOW));
    let mut heard = effects.iter().filter_map(|effect| match effect {
        HubEffect::ToOrigin(_, HubToOrigin::Subscribe(keys)) => Some(keys.clone()),
        HubEffect::ToOrigin(_, HubToOrigin::Delta(parts)) => {
            Some(parts.iter().flat_map(|part| part.keys.iter().map(|(key, _)| key.clone())).collect())
        }
        _ => None,
    });
    assert_eq!(heard.next(), Some(vec![key("shop:k")]), "asked for");
    assert_eq!(heard.next(), Some(vec![key("shop:j")]), "told of");
}

#[test]
fn what_the_origin_executes_is_within_the_namespace_and_its_answer_has_the_clients_names() {
    let mut hub = shop();
    connect(&mut hub);
    let effects = run(&mut hub, &["keys *", "dbsize", "set k v nx"]);
    let asked = effects.iter().find_map(|effect| match effect {
        HubEffect::ToOrigin(_, HubToOrigin::Order { call, within, commands, .. }) => {
            Some((*call, within.clone(), commands.clone()))
        }
        _ => None,
    });
    let (call, within, commands) = asked.expect("an order");
    assert_eq!(within, all().named("shop").unwrap());
    assert_eq!(commands, [argv("keys shop:*"), argv("dbsize"), argv("set shop:k v nx")]);
    let names = Reply::Array(vec![Reply::Bulk("shop:a".into()), Reply::Bulk("shop:b".into())]);
    let ran = OriginToHub::Ran { call, replies: vec![Ok(names), Ok(Reply::Int(2)), Ok(Reply::Ok)] };
    let effects = hub.handle(HubInput::Origin(DAEMON, ran), NOW);
    let own = Reply::Array(vec![Reply::Bulk("a".into()), Reply::Bulk("b".into())]);
    assert_eq!(replies(&effects), [Ok(own), Ok(Reply::Int(2)), Ok(Reply::Ok)]);
}

#[test]
fn a_leaf_speaks_and_hears_of_its_own_names() {
    let mut hub = shop();
    let session = greet(&mut hub);
    let effects = hub.handle(HubInput::Leaf(LEAF, LeafToHub::Subscribe(vec![key("k"), key("blog:k")])), NOW);
    assert_eq!(shown(&effects), ["k", "blog:k"]);
    let effects = hub.handle(HubInput::Leaf(LEAF, operations(session, &["k", "other"])), NOW);
    assert_eq!(refused(&effects), []);
    assert_eq!(shown(&effects), ["k"]);
    assert_eq!(replies(&run(&mut hub, &["incr k", "incr other"])), [Ok(Reply::Int(2)), Ok(Reply::Int(2))]);
    assert_eq!(hub.keys(), [key("shop:blog:k"), key("shop:k"), key("shop:other")]);
    hub.handle(HubInput::Leaf(LEAF, LeafToHub::Unsubscribe(vec![key("k")])), NOW);
    assert_eq!(shown(&run(&mut hub, &["incr k"])), [""; 0]);
}

#[test]
fn a_leaf_watches_boards_of_its_own_names() {
    let mut hub = shop();
    run(&mut hub, &["ZADD board 5 ada"]);
    let session = greet(&mut hub);
    let query = StandingsQuery { top: 1, members: Vec::new() };
    let boards = |effects: &[HubEffect]| -> Vec<(Key, Seq)> {
        let shown = effects.iter().filter_map(|effect| match effect {
            HubEffect::ToLeaf(LEAF, HubToLeaf::Standings { key, standings, watermark, .. }) => {
                Some((key.clone(), *watermark)).filter(|_| standings.top == [("ada".into(), 5.0)])
            }
            _ => None,
        });
        shown.collect()
    };
    let effects = hub.handle(HubInput::Leaf(LEAF, LeafToHub::Watch(key("board"), query.clone())), NOW);
    assert_eq!(boards(&effects), [(key("board"), Seq(0))]);
    // Of its own operation it is told, though nothing reads differently.
    let effects = hub.handle(HubInput::Leaf(LEAF, operations(session, &["board"])), NOW);
    assert_eq!(boards(&effects), [(key("board"), Seq(1))]);
    let mut others = self::hub(all().default_one());
    greet(&mut others);
    let effects = others.handle(HubInput::Leaf(LEAF, LeafToHub::Watch(key("shop:board"), query)), NOW);
    let is_refused = |effect: &HubEffect| matches!(effect, HubEffect::ToLeaf(_, HubToLeaf::Refused(_)));
    assert!(effects.iter().any(is_refused), "{effects:?}");
}

#[test]
fn channels_are_a_namespaces_own_and_the_default_ones_patterns_pass_over_what_is_anothers() {
    let listener = Listener(1);
    let heard = |effects: &[HubEffect]| -> Vec<String> {
        let heard = effects.iter().filter_map(|effect| match effect {
            HubEffect::ToListeners(_, Heard::Message { channel, .. }) => Some(channel.to_string()),
            HubEffect::ToListeners(_, Heard::Ended(error)) => Some(error.to_string()),
            _ => None,
        });
        heard.collect()
    };
    let listen = |hub: &mut Hub, topic: Topic, at_redis: &Topic| {
        connect(hub);
        let effects = hub.handle(HubInput::Listen(listener, topic), NOW);
        let asked = HubEffect::ToOrigin(DAEMON, HubToOrigin::Listen(vec![at_redis.clone()]));
        assert!(effects.contains(&asked), "{effects:?}");
        hub.handle(HubInput::Origin(DAEMON, OriginToHub::Listening(at_redis.clone(), Ok(()))), NOW);
    };
    let published = |hub: &mut Hub, topic: &Topic, channel: &str| {
        let published = Published { topic: topic.clone(), channel: key(channel), payload: Bytes::new() };
        heard(&hub.handle(HubInput::Origin(DAEMON, OriginToHub::Published(published)), NOW))
    };
    let mut hub = shop();
    let at_redis = Topic::pattern("shop:n*".into()).unwrap();
    listen(&mut hub, Topic::pattern("n*".into()).unwrap(), &at_redis);
    assert_eq!(published(&mut hub, &at_redis, "shop:news"), ["news"]);
    let mut default = self::hub(all().default_one());
    let everything = Topic::pattern("*".into()).unwrap();
    listen(&mut default, everything.clone(), &everything);
    assert_eq!(published(&mut default, &everything, "news"), ["news"]);
    assert!(published(&mut default, &everything, "shop:news").is_empty());
    let foreign = Topic::channel("shop:news".into()).unwrap();
    let refused = heard(&default.handle(HubInput::Listen(Listener(2), foreign), NOW));
    assert!(refused.len() == 1 && refused[0].starts_with("NOPERM"), "{refused:?}");
}

#[test]
fn grants_speak_of_the_clients_names() {
    let mut hub = shop();
    let grants =
        Grants::from(vec![Grant { verbs: vec![Verb::Read, Verb::Write], keys: vec!["a*".into()], rate: None }]);
    hub.handle(HubInput::Granted(LEAF, grants), NOW);
    let session = greet(&mut hub);
    let effects = hub.handle(HubInput::Leaf(LEAF, operations(session, &["a1", "b1"])), NOW);
    assert_eq!(refused(&effects), [(Seq(2), CommandError::KeyNotPermitted)]);
    let effects = hub.handle(HubInput::Leaf(LEAF, LeafToHub::Subscribe(vec![key("a1")])), NOW);
    assert_eq!(shown(&effects), ["a1"]);
}

#[test]
fn a_leaf_of_the_default_namespace_is_refused_what_is_anothers() {
    let mut hub = hub(all().default_one());
    let session = greet(&mut hub);
    let other = CommandError::OtherNamespace { name: "shop:k".into() };
    let effects = hub.handle(HubInput::Leaf(LEAF, operations(session, &["k", "shop:k"])), NOW);
    assert_eq!(refused(&effects), [(Seq(2), other.clone())]);
    for message in [LeafToHub::Subscribe(vec![key("k"), key("shop:k")]), operations(foreign(), &["shop:k"])] {
        let effects = hub.handle(HubInput::Leaf(LEAF, message), NOW);
        let refusal = effects.iter().find_map(|effect| match effect {
            HubEffect::ToLeaf(LEAF, HubToLeaf::Refused(refusal)) => Some(refusal.clone()),
            _ => None,
        });
        let refusal = refusal.expect("a refusal");
        assert_eq!((refusal.cause, refusal.detail), (RefusalCause::NotPermitted, other.to_string()));
    }
    assert_eq!(replies(&run(&mut hub, &["get shop:k"])), [Err(other)]);
    assert_eq!(hub.keys(), [key("k")]);
}

/// A session of another hub.
fn foreign() -> SessionId {
    SessionId { hub: ReplicaId::from_entropy(2 << 32), client: ClientId(1), no: 1 }
}

#[test]
fn what_is_handed_on_to_another_hub_has_redis_keys_and_is_settled_only_within_its_namespace() {
    let mut hub = shop();
    let session = greet(&mut hub);
    let effects = hub.handle(HubInput::Leaf(LEAF, operations(foreign(), &["k"])), NOW);
    let forwarded = effects.iter().find_map(|effect| match effect {
        HubEffect::Forward { message, .. } => Some(message.clone()),
        _ => None,
    });
    assert_eq!(forwarded, Some(operations(foreign(), &["shop:k"])));
    let effects = hub.handle(HubInput::Relay(Request(9), operations(session, &["shop:k", "blog:k", "k"])), NOW);
    let other = |name: &str| CommandError::OtherNamespace { name: name.into() };
    assert_eq!(refused(&effects), [(Seq(2), other("blog:k")), (Seq(3), other("k"))]);
    assert_eq!(hub.keys(), [key("shop:k")]);
}

#[test]
fn a_rate_is_kept_by_what_a_hub_counts_itself_where_the_origin_is_away() {
    let limit = "hw.limit :0:sub:ada sliding 2 60000";
    let mut rates = hub(Namespace::rates());
    let allowed: Vec<bool> = replies(&run(&mut rates, &[limit, limit, limit]))
        .into_iter()
        .map(|reply| matches!(reply, Ok(Reply::Array(numbers)) if numbers[0] == Reply::Int(1)))
        .collect();
    assert_eq!(allowed, [true, true, false]);
    assert_eq!(replies(&run(&mut shop(), &[limit])), [Err(CommandError::NotHeld)]);
}
