//! One value of every message, variant and row of the format, for the golden files.

use super::{START, World, key, text::argv};
use bytes::Bytes;
use headwater::{
    command::{CommandError, CommandName, Part, Reply},
    digest::Node,
    hlc::Hlc,
    hub::RowId,
    id::{ClientId, Dot, HashSeed, Key, No, ReplicaId, Seq, SessionId, Stamp, TimestampMs},
    limit::{Limit, LimitError, Wanted},
    message::{
        Ask, Cursor, Digest, HubToLeaf, HubToOrigin, Job, LeafToHub, Lifetime, Mark, OriginToHub, Published, Refusal,
        RefusalCause, RightsAnswer, RightsRequest, RunReply, SlotDelta,
    },
    namespace::Namespaces,
    slot::Slot,
    standings::{Place, Standings, StandingsQuery},
    state::{
        Ctx, Cut, DeadlineChange, Effect, ElementId, Increment, KeyDelta, KeyState, Mint, NewBase, Operation, SeenCut,
        SeenCuts,
    },
    topic::Topic,
    wire::{Capabilities, Features, Formats, Message, encode},
};

/// A name and its bytes.
type Sample = (String, Vec<u8>);

/// Those of some build, so that this one's may change.
const CAPABILITIES: Capabilities = Capabilities {
    formats: Formats { oldest: 0, newest: 3 },
    features: Features::NONE,
    frame_bytes_max: 1 << 24,
    batch_operations_max: 500,
};

/// Every golden file: its name, and its lines as (name, bytes).
pub fn files() -> Vec<(&'static str, Vec<Sample>)> {
    let rows = rows().into_iter().map(|(name, id)| (name.to_owned(), id.to_bytes())).collect();
    vec![
        ("leaf_to_hub", frames(leaf_to_hub())),
        ("hub_to_leaf", frames(hub_to_leaf())),
        ("hub_to_origin", frames(hub_to_origin())),
        ("origin_to_hub", frames(origin_to_hub())),
        ("row_ids", rows),
        ("stored", stored()),
    ]
}

fn frames<M: Message>(messages: Vec<(&'static str, M)>) -> Vec<Sample> {
    let frame = |message: &M| encode(message).expect("the corpus fits a frame");
    messages.into_iter().map(|(name, message)| (name.to_owned(), frame(&message))).collect()
}

pub fn leaf_to_hub() -> Vec<(&'static str, LeafToHub)> {
    let hello = |lifetime, resume| LeafToHub::Hello { client: client(), lifetime, resume, capabilities: CAPABILITIES };
    let operations = LeafToHub::Operations {
        session: session(),
        settled: Seq(6),
        first: Seq(7),
        operations: vec![
            Operation { key: key("k"), at: START, effects: effects() },
            Operation {
                key: key("{a}b"),
                at: TimestampMs(-1),
                effects: vec![Effect::Deadline { change: DeadlineChange::Open(None), seen: None }],
            },
        ],
    };
    let own = |first, operations| LeafToHub::Own { session: 258, settled: Seq(6), first: Seq(first), operations };
    let number = |name: &'static str, number: i64| Operation {
        key: key(name),
        at: TimestampMs(60_000),
        effects: vec![Effect::Write {
            element: ElementId::Field("v".into()),
            base: Some(NewBase::Bytes(number.to_string().into())),
            seen: vec![],
            cuts: SeenCuts::Int(vec![]),
        }],
    };
    vec![
        ("hello_tab", hello(Lifetime::Tab, None)),
        ("hello_isolate_resuming", hello(Lifetime::Isolate, Some(session()))),
        ("operations", operations),
        ("subscribe", LeafToHub::Subscribe(keys())),
        ("unsubscribe", LeafToHub::Unsubscribe(keys())),
        ("watch", LeafToHub::Watch(key("k"), StandingsQuery { top: 50, members: vec!["me".into(), Bytes::new()] })),
        ("unwatch", LeafToHub::Unwatch(keys())),
        ("own", own(7, vec![number("k", 1549), Operation { effects: effects(), ..number("k", 0) }])),
        ("own_settled_apart", own(300, vec![number("{a}b", -1)])),
        ("own_none", own(7, vec![])),
    ]
}

pub fn hub_to_leaf() -> Vec<(&'static str, HubToLeaf)> {
    let (session, watermark) = (session(), Seq(5));
    let until = START.plus_ms(3_600_000);
    let welcome =
        HubToLeaf::Welcome { hub: replica(1), now: START, session, until, watermark, capabilities: CAPABILITIES };
    let verdicts = HubToLeaf::Verdicts {
        session,
        through: Seq(300),
        accepted: vec![(Seq(6), No(9), No(11)), (Seq(7), No(11), No(11))],
        refused: errors().into_iter().zip(8..).map(|(error, seq)| (Seq(seq), error)).collect(),
    };
    let state =
        |push, delta, held, more| HubToLeaf::State { push, key: key("k"), delta, held, more, session, watermark };
    vec![
        ("welcome", welcome),
        ("verdicts", verdicts),
        ("expired", HubToLeaf::Expired(session)),
        ("state_complete", state(1, full_key().to_complete_delta(), true, false)),
        ("state_change", state(u64::MAX, change(), false, false)),
        ("state_empty", state(2, KeyState::default().to_complete_delta(), true, false)),
        ("state_piece", state(3, full_key().to_complete_delta(), true, true)),
        ("standings", HubToLeaf::Standings { key: key("k"), standings: standings(), held: true, session, watermark }),
        ("again", HubToLeaf::Again),
        ("refused", HubToLeaf::Refused(Refusal::new(RefusalCause::Malformed, "why \u{e9}"))),
    ]
}

fn standings() -> Standings {
    Standings {
        size: 1_000_000,
        top: vec![("ada".into(), 12.5), ("bob".into(), f64::NEG_INFINITY)],
        members: vec![("me".into(), Some(Place { rank: 300, score: -1.0 })), (Bytes::new(), None)],
    }
}

pub fn hub_to_origin() -> Vec<(&'static str, HubToOrigin)> {
    let slot = key("k").slot();
    let hello = HubToOrigin::Hello {
        hub: replica(1),
        name: "eu/0".to_owned(),
        now: START,
        unstable: vec![Slot::of(b""), slot],
        capabilities: CAPABILITIES,
    };
    let held = || vec![(slot, cursor(), vec![key("k")]), (Slot::of(b""), Cursor::default(), vec![])];
    let last = SlotDelta {
        slot,
        history: Some(replica(3)),
        from: No(3),
        to: No(300),
        keys: vec![(key("k"), full_key().to_complete_delta())],
    };
    let part = SlotDelta { to: No(3), keys: vec![(key("k"), change())], ..last };
    vec![
        ("hello", hello),
        ("held", HubToOrigin::Held { slots: held(), more: false }),
        ("held_more", HubToOrigin::Held { slots: held(), more: true }),
        ("delta", HubToOrigin::Delta(vec![part, last])),
        ("subscribe", HubToOrigin::Subscribe(keys())),
        ("unsubscribe", HubToOrigin::Unsubscribe(keys())),
        ("gap", HubToOrigin::Gap(slot, cursor())),
        ("lost", HubToOrigin::Lost(vec![Slot::of(b""), slot])),
        (
            "digests",
            HubToOrigin::Digests { round: 300, digests: digests(), contexts: vec![(key("k"), full_key().ctx())] },
        ),
        (
            "exchanged",
            HubToOrigin::Exchanged {
                round: 300,
                last: true,
                cursors: vec![(slot, cursor())],
                keys: vec![(key("k"), change()), (key("other"), change())],
            },
        ),
        ("jobs", HubToOrigin::Jobs { slot: key("jobs").slot(), jobs: jobs() }),
        (
            "order",
            HubToOrigin::Order {
                call: 1 << 62,
                after: vec![(key("k").slot(), No(300)), (key("lock").slot(), No(1))],
                within: Namespaces::parse("shop,blog").expect("names").default_one(),
                commands: vec![argv("SET k v NX"), argv("HW.LOCK lock me 1000")],
            },
        ),
        (
            "order_in_a_namespace",
            HubToOrigin::Order {
                call: 1 << 62,
                after: vec![],
                within: Namespaces::parse("shop").expect("names").named("shop").expect("it is one"),
                commands: vec![argv("KEYS shop:*")],
            },
        ),
        (
            "await",
            HubToOrigin::Await { call: 1 << 61, marks: vec![mark(No(300), cursor()), mark(No(0), Cursor::default())] },
        ),
        ("rights", HubToOrigin::Rights(rights_request(Limit::sliding_window(100, 60_000)))),
        ("listen", HubToOrigin::Listen(vec![channel(), Topic::Pattern(key("room:*"))])),
        ("unlisten", HubToOrigin::Unlisten(vec![channel()])),
        ("rights_of_bucket", HubToOrigin::Rights(rights_request(Limit::token_bucket(10, 1_000, 20)))),
        ("run", HubToOrigin::Run { call: 1 << 63, commands: vec![argv("LRANGE jobs 0 -1"), argv("RPUSH jobs \\xff")] }),
    ]
}

pub fn origin_to_hub() -> Vec<(&'static str, OriginToHub)> {
    let slot = key("k").slot();
    let numbers = || vec![(slot, No(0)), (Slot::of(b""), No(u64::MAX))];
    let at = cursor();
    let whole = |more| OriginToHub::Whole { slot, at, more, keys: vec![(key("k"), full_key().to_complete_delta())] };
    vec![
        ("welcome", OriginToHub::Welcome { now: START, capabilities: CAPABILITIES }),
        ("resume", OriginToHub::Resume(numbers())),
        ("credit", OriginToHub::Credit(200)),
        ("committed", OriginToHub::Committed(numbers())),
        ("stable", OriginToHub::Stable(numbers())),
        ("down", OriginToHub::Down { slot, from: Cursor::default(), to: at, keys: vec![(key("k"), change())] }),
        ("whole", whole(false)),
        ("whole_more", whole(true)),
        ("begun", OriginToHub::Begun(vec![(slot, at, vec![key("k")]), (Slot::of(b""), Cursor::default(), Vec::new())])),
        ("refused", OriginToHub::Refused(Refusal::new(RefusalCause::Clock, "check the clock"))),
        ("compare", OriginToHub::Compare { round: 300, seed: HashSeed(1, u64::MAX), asks: asks(), keys: keys() }),
        (
            "exchange",
            OriginToHub::Exchange {
                round: 300,
                seed: HashSeed(1, u64::MAX),
                nodes: vec![node(14, 700), node(34, 1 << 33), node(64, u64::MAX)],
                keys: vec![(key("k"), change())],
            },
        ),
        ("compared", OriginToHub::Compared(vec![Slot::of(b""), slot])),
        ("arrived", OriginToHub::Arrived(1 << 61)),
        ("ran", OriginToHub::Ran { call: 1 << 63, replies: run_replies() }),
        (
            "jobs_done",
            OriginToHub::JobsDone { slot, through: No(300), replies: (298..).map(No).zip(run_replies()).collect() },
        ),
        ("jobs_stable", OriginToHub::JobsStable(numbers())),
        ("listening", OriginToHub::Listening(channel(), Ok(()))),
        ("listening_no_more", OriginToHub::Listening(Topic::Pattern(key("room:*")), Err("NOPERM no".into()))),
        (
            "published",
            OriginToHub::Published(Published {
                topic: channel(),
                channel: key("news"),
                payload: b"\xffhello"[..].into(),
            }),
        ),
        (
            "rights",
            OriginToHub::Rights(RightsAnswer {
                key: key("login:ada"),
                request: 1 << 63,
                granted: 12,
                lease_ms: 5_000,
                room: 300,
                retry_ms: 0,
                is_silent: false,
            }),
        ),
    ]
}

fn channel() -> Topic {
    Topic::Channel(key("news"))
}

fn rights_request(limit: Result<Limit, LimitError>) -> RightsRequest {
    let wanted = Wanted { least: 1, needed: 2, ahead: 12 };
    let used = vec![(1 << 62, 300), (1 << 61, 0)];
    RightsRequest { key: key("login:ada"), request: 1 << 63, limit: limit.expect("a limit"), wanted, used }
}

fn node(bits: u8, index: u64) -> Node {
    Node::new(bits, index).expect("the index has no more bits than these")
}

fn asks() -> Vec<Ask> {
    let ask = |bits, index, split| Ask { node: node(bits, index), split };
    vec![ask(0, 0, 0), ask(20, 7, 12), ask(43, 1 << 40, 2), ask(43, (1 << 40) + 300, 2), ask(60, 5, 4)]
}

fn mark(no: No, cursor: Cursor) -> Mark {
    Mark { slot: key("k").slot(), hub: ReplicaId::from_bits(7 << 16), no, cursor }
}

fn jobs() -> Vec<Job> {
    vec![(No(7), argv("RPUSH jobs \\xff a")), (No(300), argv("XADD jobs * f v"))]
}

fn run_replies() -> Vec<RunReply> {
    let bulk = |bytes: &'static [u8]| Reply::Bulk(Bytes::from_static(bytes));
    vec![
        Ok(Reply::Array(vec![bulk(b"a\xff"), Reply::Nil, Reply::Array(vec![Reply::Int(-3), Reply::Ok])])),
        Ok(Reply::simple("list")),
        Err("WRONGTYPE Operation against a key holding the wrong kind of value".into()),
    ]
}

fn digests() -> Vec<Digest> {
    let mut many = vec![0; 4095];
    many[4094] = u16::MAX;
    vec![
        Digest::Whole(u64::MAX),
        Digest::Parts(many),
        Digest::Parts(vec![1, 0, 256]),
        Digest::Parts(vec![0, 0, 0]),
        Digest::Parts((1..16).collect()),
        Digest::Parts(vec![9]),
    ]
}

pub fn rows() -> Vec<(&'static str, RowId)> {
    let element = |id| RowId::Element(key("k"), id);
    let name = || Bytes::from_static(b"m\xff\0");
    vec![
        ("meta", RowId::Meta),
        ("slot", RowId::Slot(key("k").slot())),
        ("key", RowId::Key(key("k"))),
        ("key_empty", RowId::Key(key(""))),
        ("element_string", element(ElementId::String)),
        ("element_member", element(ElementId::Member(name()))),
        ("element_field", element(ElementId::Field(name()))),
        ("element_ranked", element(ElementId::Ranked(name()))),
        ("element_empty_name", element(ElementId::Member(Bytes::new()))),
        ("session", RowId::Session(session())),
        ("answer", RowId::Answer(Bytes::from_static(b"8f1c"))),
        ("job", RowId::Job(No(300))),
        ("rights", RowId::Rights(key("login:ada"))),
    ]
}

/// The rows that a hub stores after a short life, by their primary keys.
pub fn hub_rows() -> Vec<(Vec<u8>, Vec<u8>)> {
    let world = lived();
    world.rows(0).iter().map(|(id, body)| (id.clone(), body.clone())).collect()
}

/// The bodies that a hub and the origin store after a short life.
fn stored() -> Vec<Sample> {
    let world = lived();
    let rows = world.rows(0).iter().map(|(id, body)| (format!("row_{}", id.escape_ascii()), body.clone()));
    let companion = world.store.companion(&key("b"), world.now).expect("the board was committed");
    let fields = companion.fields.iter();
    let fields = fields.map(|(name, body)| (format!("companion_{}", name.escape_ascii()), body.to_vec()));
    rows.chain(fields).map(|(name, body)| (name.replace(' ', "\\s"), body)).collect()
}

/// A hub, a leaf and the origin after a short life.
fn lived() -> World {
    let mut world = World::new(1);
    world.hold(&["s", "b"]);
    world.run(0, "SET s text");
    world.settle();
    world.run(0, "INCRBY n 5");
    world.run(0, "SADD set a b");
    world.run(0, "SREM set b");
    world.run(0, "HSET h f v g 7");
    world.run(0, "HINCRBY h g 2");
    world.run(0, "ZADD b 1.5 x");
    world.run(0, "ZADD b GT 2.5 y");
    world.run(0, "ZADD b LT 3.5 z");
    world.run(0, "ZINCRBY b 0.25 x");
    world.run(0, "EXPIRE b 100");
    world.pipeline(0, &["INCR once", "GET once", "INCR s"], Some("8f1c"));
    let leaf = world.leaf_at(0, &["s"]);
    world.run_leaf(leaf, "SET s leaf");
    world.run_leaf(leaf, "INCR n");
    world.run_leaf(leaf, "SADD s m");
    // One hub's deliveries, so that some rows are committed, some stable and some neither.
    world.settle();
    world.part(0);
    world.run(0, "DEL b");
    world.run(0, "RPUSH jobs a b");
    world
}

/// Every way in which one key can be changed.
pub fn effects() -> Vec<Effect> {
    let name = |name: &'static [u8]| Bytes::from_static(name);
    let ints = || SeenCuts::Int(vec![SeenCut { replica: replica(2), cut: Cut { m: No(4), acc: -(1_i128 << 70) } }]);
    let floats = || SeenCuts::Float(vec![SeenCut { replica: replica(2), cut: Cut { m: No(4), acc: -0.5 } }]);
    let write = |element, base, cuts| Effect::Write { element, base, seen: vec![dot(2, 3), dot(3, 200)], cuts };
    let touch = |change, epoch| Effect::Touch {
        element: ElementId::Field(name(b"f")),
        change,
        epoch,
        seen: vec![dot(2, 5), dot(3, 7)],
    };
    let epoch = Stamp { hlc: Hlc::at(START.plus_ms(-7)), dot: dot(2, 2) };
    let mut seen = Ctx::new();
    seen.insert_interval(replica(2), No(1), No(4));
    seen.insert_interval(replica(2), No(6), No(300));
    seen.insert_interval(replica(3), No(0), No(1));
    vec![
        write(ElementId::String, Some(NewBase::Bytes(name(b"text"))), ints()),
        write(ElementId::String, None, SeenCuts::Int(vec![])),
        write(ElementId::Member(name(b"m")), Some(NewBase::Member), SeenCuts::Int(vec![])),
        write(ElementId::Field(name(b"f")), Some(NewBase::Bytes(Bytes::new())), ints()),
        write(ElementId::Ranked(name(b"r")), Some(NewBase::Abs(1.5)), floats()),
        write(ElementId::Ranked(name(b"r")), Some(NewBase::Max(f64::INFINITY)), floats()),
        write(ElementId::Ranked(name(b"r")), Some(NewBase::Min(-1e300)), SeenCuts::Float(vec![])),
        Effect::Add { element: ElementId::String, by: Increment::Int(i128::MAX) },
        Effect::Add { element: ElementId::Field(name(b"f")), by: Increment::Int(-1) },
        Effect::Add { element: ElementId::Ranked(name(b"r")), by: Increment::Float(0.25) },
        Effect::Spend { element: ElementId::Field(name(b"w60000:0")), amount: 7, until: START },
        touch(DeadlineChange::Raise(START), Some(epoch)),
        touch(DeadlineChange::Open(Some(TimestampMs(5))), None),
        touch(DeadlineChange::Open(None), None),
        Effect::Wipe { seen, cuts: vec![(ElementId::String, ints()), (ElementId::Ranked(name(b"r")), floats())] },
        Effect::Deadline { change: DeadlineChange::Raise(START), seen: Some(epoch) },
        Effect::Deadline { change: DeadlineChange::Raise(START), seen: None },
        Effect::Deadline { change: DeadlineChange::Open(Some(TimestampMs(0))), seen: None },
        Effect::Deadline { change: DeadlineChange::Open(None), seen: Some(epoch) },
        Effect::Deadline { change: DeadlineChange::Revoke(START.plus_ms(3_600_000)), seen: None },
    ]
}

/// A key with something of every type, with removals, resets and a deadline.
pub fn full_key() -> KeyState {
    let mut state = KeyState::default();
    for (no, effect) in (1..).zip(effects()) {
        let _ = state.apply(&effect, Mint { dot: dot(1, no), hlc: Hlc::at(START.plus_ms(no as i64)) });
    }
    // After the wipe, something alive of each kind again.
    for (no, effect) in (100..).zip(effects().into_iter().filter(|effect| !matches!(effect, Effect::Wipe { .. }))) {
        let _ = state.apply(&effect, Mint { dot: dot(3, no), hlc: Hlc::at(START.plus_ms(no as i64)).next() });
    }
    let written_by_other = Effect::Write {
        element: ElementId::String,
        base: Some(NewBase::Bytes(Bytes::from_static(b"-12"))),
        seen: Vec::new(),
        cuts: SeenCuts::Int(Vec::new()),
    };
    let _ = state.apply(&written_by_other, Mint { dot: dot(4, 1), hlc: Hlc::from_bits(u64::MAX) });
    state
}

/// A delta of some elements, one of them gone.
pub fn change() -> KeyDelta {
    let state = full_key();
    let ids = [
        ElementId::String,
        ElementId::Member(Bytes::from_static(b"gone")),
        ElementId::Field(Bytes::from_static(b"f")),
        ElementId::Ranked(Bytes::from_static(b"r")),
    ];
    state.to_delta(state.header().ctx, &ids)
}

/// Every cause of a refusal.
pub fn errors() -> Vec<CommandError> {
    let argv = super::text::argv("foo bar \\xff");
    let (name, arguments) = argv.split_first().expect("there is a name");
    let unknown = CommandError::Unknown {
        name: String::from_utf8_lossy(name).into(),
        arguments: arguments.iter().map(|a| format!("'{}' ", String::from_utf8_lossy(a))).collect::<String>().into(),
    };
    let mut errors = vec![
        CommandError::Empty,
        unknown,
        CommandError::TooManyArguments { limit: 16384 },
        CommandError::TooLong { what: Part::Key, limit: 1024 },
        CommandError::TooLong { what: Part::Value, limit: 1 },
        CommandError::TooLong { what: Part::Member, limit: 1 },
        CommandError::TooLong { what: Part::Field, limit: 1 },
        CommandError::Syntax,
        CommandError::NotAnInteger,
        CommandError::NotAFloat,
        CommandError::RangeNotAFloat,
        CommandError::InvalidExpireTime(CommandName::PExpire),
        CommandError::UnsupportedOption("zz".into()),
        CommandError::ExpireNxWithOthers,
        CommandError::ExpireGtWithLt,
        CommandError::ZAddXxWithNx,
        CommandError::ZAddGtLtNx,
        CommandError::ZAddIncrPairs,
        CommandError::LimitOverRanks,
        CommandError::ByLexWithScores,
        CommandError::ByLexNotSupported,
        CommandError::DecrementOverflow,
        CommandError::NeedsOrigin,
        CommandError::WrongType,
        CommandError::Overflow,
        CommandError::HashNotAnInteger,
        CommandError::NanScore,
        CommandError::NoSuchKey,
        CommandError::OutOfMemory,
        CommandError::CrossSlot,
        CommandError::CommandNotPermitted(CommandName::Get),
        CommandError::KeyNotPermitted,
        CommandError::NotHeld,
        CommandError::SessionEnded,
        CommandError::TooManyPending,
        CommandError::Behind,
        CommandError::SeenAhead,
        CommandError::OffsetOutOfRange,
        CommandError::SumNotFinite,
        CommandError::IncrementNotFinite,
        CommandError::HashNotAFloat,
        CommandError::SameObject,
        CommandError::NoSuchDatabase,
        CommandError::NumKeysNotPositive,
        CommandError::NumKeysTooMany,
        CommandError::LimitNegative,
        CommandError::NoInputKeys(CommandName::ZInter),
        CommandError::WeightNotAFloat,
        CommandError::LexRange,
        CommandError::InvalidCursor,
        CommandError::CountOutOfRange,
        CommandError::TooManyChanges { limit: 16384 },
        CommandError::FieldsMissing,
        CommandError::FieldCountNotPositive,
        CommandError::NoFields,
        CommandError::FieldCountMismatch,
        CommandError::NegativeExpireTime,
        CommandError::InvalidLimit(LimitError::Amount(0)),
        CommandError::InvalidLimit(LimitError::Window(0)),
        CommandError::InvalidLimit(LimitError::Burst(0)),
        CommandError::InvalidLimit(LimitError::FillsTooSlowly { burst: 1, fills_in_ms: 1 << 70 }),
        CommandError::OperationTooLarge { limit_bytes: 6 << 20 },
        CommandError::NumKeysNegative,
        CommandError::NoScript,
        CommandError::UnknownScript,
        CommandError::AtOrigin("ERR as Redis says it".into()),
        CommandError::OriginAway,
        CommandError::OutcomeUnknown,
        CommandError::TooManyAtOrigin,
        CommandError::Reserved { name: "hw:m:{0}".into() },
        CommandError::Blocking,
        CommandError::NotInTransaction,
        CommandError::OutboxFull,
        CommandError::CountNegative,
        CommandError::OrderedCrossSlot,
        CommandError::OriginBehind,
        CommandError::ReplyTooLarge { limit_bytes: 1 },
        CommandError::StrictElsewhere,
        CommandError::NoRights,
        CommandError::OtherNamespace { name: "shop:k".into() },
        CommandError::ScriptInNamespace,
        CommandError::Revoked { until_ms: START.0 },
        CommandError::RevokedTooLong { days: 400 },
        CommandError::NotBuiltIn(CommandName::SInter),
    ];
    errors.extend(CommandName::ALL.iter().map(|name| CommandError::WrongArity(*name)));
    errors
}

fn keys() -> Vec<Key> {
    vec![key("k"), key(""), key("{user:1}:\u{e9}")]
}

pub fn replica(n: u64) -> ReplicaId {
    ReplicaId::from_bits(n << 16 | 0x1_0000_0000_0000)
}

fn dot(replica_no: u64, no: u64) -> Dot {
    Dot { replica: replica(replica_no), no: No(no) }
}

fn client() -> ClientId {
    ClientId(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef)
}

fn session() -> SessionId {
    SessionId { hub: replica(1), client: client(), no: 258 }
}

fn cursor() -> Cursor {
    Cursor { incarnation: Some(replica(9)), seq: 1 << 40 }
}

/// Named so that a new variant does not compile before it is in the corpus above.
pub fn variant_of_leaf_to_hub(message: &LeafToHub) -> &'static str {
    match message {
        LeafToHub::Hello { .. } => "hello",
        LeafToHub::Operations { .. } => "operations",
        LeafToHub::Subscribe(_) => "subscribe",
        LeafToHub::Unsubscribe(_) => "unsubscribe",
        LeafToHub::Watch(..) => "watch",
        LeafToHub::Unwatch(_) => "unwatch",
        LeafToHub::Own { .. } => "own",
    }
}

/// As [`variant_of_leaf_to_hub`].
pub fn variant_of_hub_to_leaf(message: &HubToLeaf) -> &'static str {
    match message {
        HubToLeaf::Welcome { .. } => "welcome",
        HubToLeaf::Verdicts { .. } => "verdicts",
        HubToLeaf::Expired(_) => "expired",
        HubToLeaf::State { .. } => "state",
        HubToLeaf::Standings { .. } => "standings",
        HubToLeaf::Again => "again",
        HubToLeaf::Refused(_) => "refused",
    }
}

/// As [`variant_of_leaf_to_hub`].
pub fn variant_of_hub_to_origin(message: &HubToOrigin) -> &'static str {
    match message {
        HubToOrigin::Hello { .. } => "hello",
        HubToOrigin::Held { .. } => "held",
        HubToOrigin::Delta(_) => "delta",
        HubToOrigin::Subscribe(_) => "subscribe",
        HubToOrigin::Unsubscribe(_) => "unsubscribe",
        HubToOrigin::Gap(..) => "gap",
        HubToOrigin::Lost(_) => "lost",
        HubToOrigin::Digests { .. } => "digests",
        HubToOrigin::Exchanged { .. } => "exchanged",
        HubToOrigin::Run { .. } => "run",
        HubToOrigin::Order { .. } => "order",
        HubToOrigin::Await { .. } => "await",
        HubToOrigin::Jobs { .. } => "jobs",
        HubToOrigin::Rights(_) => "rights",
        HubToOrigin::Listen(_) => "listen",
        HubToOrigin::Unlisten(_) => "unlisten",
    }
}

/// As [`variant_of_leaf_to_hub`].
pub fn variant_of_origin_to_hub(message: &OriginToHub) -> &'static str {
    match message {
        OriginToHub::Welcome { .. } => "welcome",
        OriginToHub::Resume(_) => "resume",
        OriginToHub::Credit(_) => "credit",
        OriginToHub::Committed(_) => "committed",
        OriginToHub::Stable(_) => "stable",
        OriginToHub::Down { .. } => "down",
        OriginToHub::Whole { .. } => "whole",
        OriginToHub::Begun(_) => "begun",
        OriginToHub::Refused(_) => "refused",
        OriginToHub::Compare { .. } => "compare",
        OriginToHub::Exchange { .. } => "exchange",
        OriginToHub::Compared(_) => "compared",
        OriginToHub::Ran { .. } => "ran",
        OriginToHub::Arrived(_) => "arrived",
        OriginToHub::JobsDone { .. } => "jobs_done",
        OriginToHub::JobsStable(_) => "jobs_stable",
        OriginToHub::Rights(_) => "rights",
        OriginToHub::Listening(..) => "listening",
        OriginToHub::Published(_) => "published",
    }
}
