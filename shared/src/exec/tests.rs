//! What commands prepare of each type, against the effects that the states must be given.

use super::*;
use crate::{
    command::parse,
    hlc::Hlc,
    id::{Dot, No, ReplicaId},
    state::{DeadlineChange, Effect, ElementId, Increment, KeyState, Mint, NewBase, SeenCuts},
};
use bytes::Bytes;

const NOW: TimestampMs = TimestampMs(1_000_000);

fn key() -> Key {
    Key::new("k").unwrap()
}

fn command(line: &str) -> Command {
    let argv: Vec<Bytes> = line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
    parse(&argv).unwrap()
}

/// One node's key, on which what is prepared is also applied.
#[derive(Default)]
struct Node {
    state: KeyState,
    no: u64,
}

impl Node {
    fn after(lines: &[&str]) -> Self {
        let mut node = Self::default();
        for line in lines {
            let prepared = node.prepare(line, NOW).unwrap();
            node.apply(&prepared, NOW);
        }
        node
    }

    fn prepare_as(&self, line: &str, now: TimestampMs, is_held: bool) -> Result<Prepared, CommandError> {
        prepare(&command(line), |_| view_of(&self.state, is_held), now, 0)
    }

    fn prepare(&self, line: &str, now: TimestampMs) -> Result<Prepared, CommandError> {
        self.prepare_as(line, now, true)
    }

    /// The effects of a command; an operation never has none.
    fn effects(&self, line: &str, now: TimestampMs) -> Vec<Effect> {
        let mut operations = self.prepare(line, now).unwrap().operations;
        assert!(operations.len() <= 1 && operations.iter().all(|operation| !operation.effects.is_empty()));
        operations.pop().map_or(Vec::new(), |operation| operation.effects)
    }

    fn apply(&mut self, prepared: &Prepared, now: TimestampMs) {
        for effect in prepared.operations.iter().flat_map(|operation| &operation.effects) {
            self.no += 1;
            let dot = Dot { replica: ReplicaId::from_bits(1), no: No(self.no) };
            let _ = self.state.apply(effect, Mint { dot, hlc: Hlc::at(now) });
        }
    }
}

fn view_of(state: &KeyState, is_held: bool) -> View<'_> {
    View { state: Some(state.view()), is_held, vantage: Vantage::NOWHERE }
}

fn opens(at: Option<i64>) -> Effect {
    Effect::Deadline { change: DeadlineChange::Open(at.map(TimestampMs)), seen: None }
}

fn raises(at: i64) -> Effect {
    Effect::Deadline { change: DeadlineChange::Raise(TimestampMs(at)), seen: None }
}

#[test]
fn commands_that_change_nothing_make_no_operation() {
    let node = Node::after(&["SET k 5"]);
    let empty = Node::default();
    for line in ["GET k", "DEL missing", "EXPIRE k 10 XX", "PERSIST k", "TTL k", "EXISTS k k", "PING", "ECHO m"] {
        let view = |key: &Key| View {
            state: (key == &self::key()).then_some(node.state.view()),
            is_held: true,
            vantage: Vantage::NOWHERE,
        };
        assert_eq!(prepare(&command(line), view, NOW, 0).unwrap().operations, [], "{line}");
    }
    for line in
        ["DEL k", "SREM k m", "HDEL k f", "ZREM k m", "EXPIRE k 10", "PERSIST k", "ZADD k XX 1 m", "ZADD k XX INCR 1 m"]
    {
        assert_eq!(empty.effects(line, NOW), [], "{line}");
    }
}

#[test]
fn errors_make_no_operation() {
    let text = Node::after(&["SET k text"]);
    let most = Node::after(&["SET k 9223372036854775807"]);
    let field = Node::after(&["HSET k f text"]);
    let infinite = Node::after(&["ZADD k inf m"]);
    assert_eq!(text.prepare("INCR k", NOW), Err(CommandError::NotAnInteger));
    assert_eq!(text.prepare("SADD k m", NOW), Err(CommandError::WrongType));
    assert_eq!(most.prepare("INCR k", NOW), Err(CommandError::Overflow));
    assert_eq!(field.prepare("HINCRBY k f 1", NOW), Err(CommandError::HashNotAnInteger));
    assert_eq!(field.prepare("HINCRBY k f 1", TimestampMs(i64::MAX)), Err(CommandError::HashNotAnInteger));
    assert_eq!(infinite.prepare("ZINCRBY k -inf m", NOW), Err(CommandError::NanScore));
    let overflow = Err(CommandError::InvalidExpireTime(crate::command::CommandName::PExpire));
    assert_eq!(text.prepare("PEXPIRE k 9223372036854775807", NOW), overflow);
}

#[test]
fn del_wipes_each_key_once_and_counts_what_was_there() {
    let node = Node::after(&["SADD k m"]);
    let view = |key: &Key| View {
        state: (key != &Key::new("missing").unwrap()).then_some(node.state.view()),
        is_held: true,
        vantage: Vantage::NOWHERE,
    };
    let prepared = prepare(&command("DEL k other k missing"), view, NOW, 0).unwrap();
    assert_eq!(prepared.reply, Reply::Int(2));
    assert_eq!(
        prepared.operations.iter().map(|operation| operation.key.to_string()).collect::<Vec<_>>(),
        ["k", "other"]
    );
}

#[test]
fn a_write_sees_the_dots_and_sums_that_it_replaces() {
    let node = Node::after(&["SET k 5", "INCRBY k 2"]);
    let [Effect::Write { seen, cuts: SeenCuts::Int(cuts), .. }] = &node.effects("SET k 1", NOW)[..] else {
        panic!("SET writes once")
    };
    assert_eq!(seen.iter().map(|dot| dot.no.0).collect::<Vec<_>>(), [1]);
    assert_eq!(cuts.iter().map(|seen| (seen.cut.m.0, seen.cut.acc)).collect::<Vec<_>>(), [(2, 2)]);
}

#[test]
fn an_increment_sees_nothing() {
    let node = Node::after(&["SET k 5"]);
    let add = Effect::Add { element: ElementId::String, by: Increment::Int(-3) };
    assert_eq!(node.effects("DECRBY k 3", NOW), [add]);
}

#[test]
fn a_field_named_twice_is_written_once_with_its_last_value() {
    let effects = Node::default().effects("HSET k f 1 g 2 f 3", NOW);
    let bases: Vec<_> = effects
        .iter()
        .map(|effect| match effect {
            Effect::Write { element, base: Some(NewBase::Bytes(value)), .. } => (element.name(), value.clone()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(bases, [("f".into(), "3".into()), ("g".into(), "2".into())] as [(Bytes, Bytes); 2]);
}

#[test]
fn a_member_named_twice_under_gt_keeps_the_greatest() {
    let prepared = Node::default().prepare("ZADD k GT 5 m 3 m 7 m", NOW).unwrap();
    let [Effect::Write { base, .. }] = &prepared.operations[0].effects[..] else {
        panic!("one member is written once")
    };
    assert_eq!(base, &Some(NewBase::Max(7.0)));
    assert_eq!(prepared.reply, Reply::Int(1));
}

#[test]
fn a_write_after_the_deadline_wipes_and_opens_an_epoch_first() {
    let node = Node::after(&["SADD k a", "PEXPIRE k 10"]);
    let after = NOW.plus_ms(10);
    for line in ["SADD k b", "HSET k f v", "INCR k", "ZADD k 1 m", "ZINCRBY k 1 m", "HINCRBY k f 1"] {
        let effects = node.effects(line, after);
        assert!(
            matches!(&effects[..], [Effect::Wipe { .. }, epoch, _] if *epoch == opens(None)),
            "{line}: {effects:?}"
        );
    }
    // At the last instant before it the key is still there.
    assert_eq!(node.prepare("HSET k f v", NOW.plus_ms(9)), Err(CommandError::WrongType));
}

#[test]
fn nothing_but_creation_touches_an_expired_key() {
    let node = Node::after(&["SADD k a", "PEXPIRE k 10"]);
    for line in ["SREM k a", "DEL k", "EXPIRE k 100", "PERSIST k", "ZADD k XX 1 m"] {
        assert_eq!(node.effects(line, NOW.plus_ms(10)), [], "{line}");
    }
    for (line, reply) in [
        ("SMEMBERS k", Reply::Array(vec![])),
        ("SCARD k", Reply::Int(0)),
        ("TYPE k", Reply::simple("none")),
        ("TTL k", Reply::Int(-2)),
        ("GET k", Reply::Nil),
        ("ZRANGE k 0 -1", Reply::Array(vec![])),
    ] {
        assert_eq!(node.prepare(line, NOW.plus_ms(10)).unwrap().reply, reply, "{line}");
    }
}

#[test]
fn a_key_emptied_under_a_deadline_starts_without_one() {
    let node = Node::after(&["SADD k a", "EXPIRE k 100", "SREM k a"]);
    let effects = node.effects("SADD k b", NOW);
    assert!(matches!(&effects[..], [epoch, Effect::Write { .. }] if *epoch == opens(None)), "{effects:?}");
}

#[test]
fn set_moves_the_deadline_within_its_epoch_only_later_and_only_where_it_is_known() {
    let at = |ms| NOW.0 + ms;
    let plain = Node::after(&["SET k v"]);
    let timed = Node::after(&["SET k v PX 50000"]);
    let last = |node: &Node, line: &str| node.effects(line, NOW).pop().unwrap();
    assert_eq!(last(&plain, "SET k w PX 10000"), raises(at(10_000)));
    assert_eq!(last(&timed, "SET k w PX 60000"), raises(at(60_000)));
    assert_eq!(last(&timed, "SET k w PX 10000"), opens(Some(at(10_000))));
    assert_eq!(last(&timed, "SET k w"), opens(None));
    assert!(matches!(last(&plain, "SET k w"), Effect::Write { .. }));
    assert!(matches!(last(&timed, "SET k w KEEPTTL"), Effect::Write { .. }));
    for (line, epoch) in [("SET k w PX 60000", opens(Some(at(60_000)))), ("SET k w", opens(None))] {
        let mut operations = timed.prepare_as(line, NOW, false).unwrap().operations;
        assert_eq!(operations[0].effects.pop(), Some(epoch), "{line} of a key that is not held");
    }
}

#[test]
fn set_with_a_deadline_that_has_passed_removes_what_it_saw() {
    let node = Node::after(&["SET k v"]);
    assert_eq!(node.effects("SET k w PXAT 1", NOW), [node.state.seen_whole()]);
}

#[test]
fn set_over_another_type_wipes_it() {
    let node = Node::after(&["SADD k m"]);
    let effects = node.effects("SET k v", NOW);
    assert!(
        matches!(&effects[..], [Effect::Wipe { .. }, Effect::Write { seen, .. }] if seen.is_empty()),
        "{effects:?}"
    );
}

#[test]
fn expire_opens_an_epoch_only_for_a_clear_shortening() {
    let node = Node::after(&["SET k v PX 50000"]);
    let at = |ms| NOW.0 + ms;
    assert_eq!(node.effects("PEXPIRE k 60000", NOW), [raises(at(60_000))]);
    assert_eq!(node.effects("PEXPIRE k 49000", NOW), [raises(at(49_000))]);
    assert_eq!(node.effects("PEXPIRE k 48999", NOW), [opens(Some(at(48_999)))]);
    assert_eq!(node.effects("PEXPIRE k 0", NOW), [node.state.seen_whole()]);
    assert_eq!(node.effects("PERSIST k", NOW), [opens(None)]);
}

#[test]
fn time_to_live_is_rounded_to_the_nearest_second() {
    let node = Node::after(&["SET k v PX 1500"]);
    for (later, left) in [(0, 2), (1, 1), (1_000, 1), (1_001, 0), (1_499, 0)] {
        assert_eq!(node.prepare("TTL k", NOW.plus_ms(later)).unwrap().reply, Reply::Int(left), "{later} ms later");
    }
}

#[test]
fn fields_are_answered_as_by_redis_7_4() {
    let node = Node::after(&["HSET k f 1 g 2 h 3", "HPEXPIRE k 5000 FIELDS 1 g"]);
    let replies = |line: &str, later_ms| node.prepare(line, NOW.plus_ms(later_ms)).unwrap().reply;
    let ints = |ints: &[i64]| Reply::Array(ints.iter().copied().map(Reply::Int).collect());
    for (line, answers) in [
        ("HEXPIRE k 10 FIELDS 3 f g x", &[1, 1, -2][..]),
        ("HEXPIRE k 10 NX FIELDS 2 f g", &[1, 0]),
        ("HEXPIRE k 10 XX FIELDS 2 f g", &[0, 1]),
        ("HPEXPIRE k 4000 GT FIELDS 2 f g", &[0, 0]),
        ("HPEXPIRE k 6000 GT FIELDS 2 f g", &[0, 1]),
        ("HPEXPIRE k 4000 LT FIELDS 2 f g", &[1, 1]),
        ("HPEXPIRE k 6000 LT FIELDS 2 f g", &[1, 0]),
        ("HEXPIRE k 0 FIELDS 2 f x", &[2, -2]),
        ("HEXPIRE k 0 FIELDS 2 f f", &[2, -2]),
        ("HEXPIRE k 10 NX FIELDS 2 f f", &[1, 0]),
        ("HPEXPIREAT k 1 FIELDS 1 f", &[2]),
        ("HTTL k FIELDS 3 f g x", &[-1, 5, -2]),
        ("HPTTL k FIELDS 1 g", &[5000]),
        ("HPEXPIRETIME k FIELDS 1 g", &[1_005_000]),
        ("HEXPIRETIME k FIELDS 1 g", &[1005]),
        ("HPERSIST k FIELDS 4 f g x g", &[-1, 1, -2, -1]),
    ] {
        assert_eq!(replies(line, 0), ints(answers), "{line}");
    }
    assert_eq!(replies("HPTTL k FIELDS 1 g", 1), ints(&[4999]));
    assert_eq!(replies("HTTL k FIELDS 1 g", 1), ints(&[5]));
    assert_eq!(replies("HPTTL k FIELDS 1 g", 5000), ints(&[-2]));
    assert_eq!(replies("HSET k g 1", 5000), Reply::Int(1));
    assert_eq!(replies("HDEL k g", 5000), Reply::Int(0));
    assert_eq!(replies("HLEN k", 5000), Reply::Int(2));
    let missing = |_: &Key| View { state: None, is_held: true, vantage: Vantage::NOWHERE };
    let prepared = prepare(&command("HEXPIRE none 10 FIELDS 2 f g"), missing, NOW, 0).unwrap();
    assert_eq!(prepared, Prepared::from(ints(&[-2, -2])));
}

#[test]
fn hset_clears_a_fields_deadline_and_hincrby_keeps_it() {
    let node = Node::after(&[
        "HSET k f 1 g 2",
        "HEXPIRE k 5 FIELDS 2 f g",
        "HSET k f 7",
        "HINCRBY k g 1",
        "HINCRBYFLOAT k g 1.5",
    ]);
    let left = Reply::Array(vec![Reply::Int(-1), Reply::Int(5)]);
    assert_eq!(node.prepare("HTTL k FIELDS 2 f g", NOW).unwrap().reply, left);
    let after = NOW.plus_ms(5_000);
    assert_eq!(node.prepare("HGET k f", after).unwrap().reply, Reply::Bulk("7".into()));
    let afresh = node.prepare("HINCRBY k g 1", after).unwrap();
    assert_eq!(afresh.reply, Reply::Int(1));
    assert!(matches!(&afresh.operations[0].effects[..], [Effect::Write { base: None, .. }, Effect::Add { .. }]));
}

#[test]
fn scores_that_leave_the_range_are_written_outright() {
    let node = Node::after(&["ZADD k 1e308 m", "ZADD k inf i", "ZADD k -1e308 n", "ZINCRBY k 1e308 n"]);
    for (line, score) in [
        ("ZINCRBY k 1e308 m", f64::INFINITY),
        ("ZINCRBY k inf m", f64::INFINITY),
        ("ZINCRBY k -inf m", f64::NEG_INFINITY),
        // The score is finite, the sum of its increments would not be.
        ("ZINCRBY k 1e308 n", 1e308),
    ] {
        let [Effect::Write { base, .. }] = &node.effects(line, NOW)[..] else { panic!("{line} is a write") };
        assert_eq!(base, &Some(NewBase::Abs(score)), "{line}");
    }
    let [Effect::Add { by, .. }] = &node.effects("ZINCRBY k 5 i", NOW)[..] else { panic!("infinity absorbs") };
    assert_eq!(by, &Increment::Float(5.0));
}

#[test]
fn of_two_types_only_the_one_that_shows_is_read_and_written() {
    let mut node = Node::after(&["SADD k m"]);
    // As a concurrent write elsewhere, which saw no set, arrives.
    let hash = Node::default().prepare("HSET k f v", NOW.plus_ms(1)).unwrap();
    node.apply(&hash, NOW.plus_ms(1));
    assert_eq!(node.prepare("TYPE k", NOW).unwrap().reply, Reply::simple("hash"));
    assert_eq!(node.prepare("SCARD k", NOW), Err(CommandError::WrongType));
    let removal = node.prepare("HDEL k f", NOW).unwrap();
    node.apply(&removal, NOW);
    assert_eq!(node.prepare("TYPE k", NOW).unwrap().reply, Reply::simple("set"));
}

#[test]
fn what_rests_on_the_present_value_needs_the_key() {
    for line in [
        "SET k v",
        "INCR k",
        "DECRBY k 1",
        "SADD k m",
        "HSET k f v",
        "HINCRBY k f 1",
        "ZADD k 1 m",
        "ZADD k GT 1 m",
        "ZADD k CH 1 m",
        "ZADD k INCR 1 m",
        "ZINCRBY k 1 m",
        "MSET k v",
        "SETEX k 1 v",
        "HMSET k f v",
        "TIME",
        "PING",
    ] {
        assert!(!needs_key(&command(line)), "{line}");
    }
    for line in [
        "GET k",
        "DEL k",
        "EXPIRE k 1",
        "PERSIST k",
        "SREM k m",
        "HDEL k f",
        "ZREM k m",
        "ZADD k NX 1 m",
        "ZADD k XX 1 m",
        "ZADD k XX GT 1 m",
        "ZADD k GT INCR 1 m",
        "ZRANGE k 0 -1",
        "TYPE k",
        "APPEND k v",
        "INCRBYFLOAT k 1",
        "SETRANGE k 0 v",
        "GETSET k v",
        "GETEX k",
        "MGET k",
        "COPY k j",
        "RENAME k j",
        "UNLINK k",
        "EXPIREAT k 1",
        "SMOVE k j m",
        "SUNIONSTORE k j",
        "HSETNX k f v",
        "HINCRBYFLOAT k f 1",
        "ZREMRANGEBYRANK k 0 -1",
        "ZUNIONSTORE k 1 j",
        "SSCAN k 0",
        "SRANDMEMBER k",
    ] {
        assert!(needs_key(&command(line)), "{line}");
    }
}

/// What two keys, `a` of `from` and `b` of `to`, are prepared for a command.
fn prepare_two(line: &str, from: &Node, to: &Node) -> Vec<Operation> {
    let view = |key: &Key| {
        let node = if key == &Key::new("a").unwrap() { from } else { to };
        View { state: Some(node.state.view()), is_held: true, vantage: Vantage::NOWHERE }
    };
    prepare(&command(line), view, NOW, 0).unwrap().operations
}

#[test]
fn a_rename_wipes_what_it_saw_of_both_keys_and_adds_the_source_again() {
    let (from, to) = (Node::after(&["SADD k m", "EXPIRE k 100"]), Node::after(&["SET k v"]));
    let operations = prepare_two("RENAME a b", &from, &to);
    let [removed, added] = &operations[..] else { panic!("{operations:?}") };
    assert_eq!(removed.effects, [from.state.seen_whole()]);
    let [wipe, Effect::Write { element, seen, .. }, deadline] = &added.effects[..] else { panic!("{added:?}") };
    assert_eq!(wipe, &to.state.seen_whole());
    assert_eq!((element.name(), seen.len()), ("m".into(), 0));
    assert_eq!(*deadline, raises(NOW.0 + 100_000));
}

#[test]
fn a_stored_result_replaces_the_target_and_its_deadline() {
    let (from, to) = (Node::after(&["SADD k m"]), Node::after(&["SET k v PX 50000"]));
    let operations = prepare_two("SUNIONSTORE b a", &from, &to);
    let [Operation { effects, .. }] = &operations[..] else { panic!("{operations:?}") };
    assert!(
        matches!(&effects[..], [wipe, Effect::Write { base: Some(NewBase::Member), .. }, epoch]
            if *wipe == to.state.seen_whole() && *epoch == opens(None)),
        "{effects:?}"
    );
    let emptied = prepare_two("SDIFFSTORE b a a", &from, &to);
    assert_eq!(emptied[0].effects, [to.state.seen_whole()]);
}

#[test]
fn results_of_parts_are_written_and_no_increments() {
    let node = Node::after(&["SET k 5", "INCRBY k 2"]);
    for (line, value) in [("APPEND k 0", "70"), ("SETRANGE k 1 x", "7x"), ("INCRBYFLOAT k 0.5", "7.5")] {
        let effects = node.effects(line, NOW);
        let [Effect::Write { base: Some(NewBase::Bytes(bytes)), cuts: SeenCuts::Int(cuts), .. }] = &effects[..] else {
            panic!("{effects:?}")
        };
        assert_eq!((&bytes[..], cuts.len()), (value.as_bytes(), 1), "{line}");
    }
}

#[test]
fn what_would_change_too_many_elements_at_once_is_refused() {
    let mut node = Node::default();
    for start in (0..20_000).step_by(5_000) {
        let entries: String = (start..start + 5_000).map(|n| format!(" {n} m{n}")).collect();
        let prepared = node.prepare(&format!("ZADD k{entries}"), NOW).unwrap();
        node.apply(&prepared, NOW);
    }
    let too_many = Err(CommandError::TooManyChanges { limit: 16384 });
    assert_eq!(node.prepare("ZREMRANGEBYRANK k 0 -1", NOW), too_many);
    assert_eq!(node.prepare("ZRANGESTORE k k 0 -1", NOW), too_many);
    assert_eq!(node.prepare("ZREMRANGEBYRANK k 0 9999", NOW).unwrap().reply, Reply::Int(10_000));
}

#[test]
fn a_scan_in_steps_meets_every_element_that_stays() {
    let mut node = Node::default();
    let members: String = (0..2_000).map(|n| format!(" m{n}")).collect();
    let prepared = node.prepare(&format!("SADD k{members}"), NOW).unwrap();
    node.apply(&prepared, NOW);
    let (mut cursor, mut steps, mut met) = (Bytes::from("0"), 0, std::collections::BTreeSet::new());
    loop {
        let line = format!("SSCAN k {} COUNT 100", String::from_utf8_lossy(&cursor));
        let Reply::Array(parts) = node.prepare(&line, NOW).unwrap().reply else { panic!("a scan answers two parts") };
        let [Reply::Bulk(next), Reply::Array(found)] = &parts[..] else { panic!("{parts:?}") };
        assert!(found.len() < 200, "a step is about as long as was asked for: {}", found.len());
        met.extend(found.iter().map(|reply| format!("{reply:?}")));
        // Others come and go meanwhile.
        let churn = node.prepare(&format!("SADD k other{steps}"), NOW).unwrap();
        node.apply(&churn, NOW);
        let churn = node.prepare(&format!("SREM k other{steps}"), NOW).unwrap();
        node.apply(&churn, NOW);
        steps += 1;
        cursor = next.clone();
        if &cursor[..] == b"0" {
            break;
        }
    }
    assert_eq!(met.len(), 2_000);
    assert!(steps >= 10, "{steps}");
}

#[test]
fn draws_follow_the_entropy() {
    let node = Node::after(&["SADD k a b c d e f g h"]);
    let draw = |entropy| {
        let view = |_: &Key| View { state: Some(node.state.view()), is_held: true, vantage: Vantage::NOWHERE };
        prepare(&command("SRANDMEMBER k -20"), view, NOW, entropy).unwrap().reply
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
}
