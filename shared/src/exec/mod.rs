//! A command against a node's view of its keys becomes a reply and prepared operations.
//!
//! Nothing changes here: whoever prepares (a leaf, or a hub for an HTTP command) hands the operations on to be numbered and
//! applied. Redis' own meaning holds inside one node; what concurrent operations come to is the states' business.

mod board;
mod hash;
mod keys;
mod set;
mod string;

use crate::{
    command::{Command, CommandError, Reply},
    id::{Key, TimestampMs},
    state::{Deadline, DeadlineChange, Effect, Element, ElementId, KeyState, KeyView, Kind, NewBase, Operation},
};
use std::sync::OnceLock;

/// A node's view of a key.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// What is known; `None` for nothing.
    pub state: Option<KeyView<'a>>,
    /// Whether the node holds the key as the origin has it, or knows only its own writes.
    pub is_held: bool,
}

/// What a command comes to.
#[derive(Clone, PartialEq, Debug)]
pub struct Prepared {
    /// What it answers.
    pub reply: Reply,
    /// What it does, at most one operation a key.
    pub operations: Vec<Operation>,
}

/// Whether a command's meaning rests on the key's present value, so that a node which does not hold the key must fetch it.
/// The other writes are blind: they can be made anywhere, and only their reply may be provisional.
pub fn needs_key(command: &Command) -> bool {
    use crate::command::Condition;
    match command {
        Command::Set { .. }
        | Command::Incr { .. }
        | Command::IncrBy { .. }
        | Command::Decr { .. }
        | Command::DecrBy { .. }
        | Command::SAdd { .. }
        | Command::HSet { .. }
        | Command::HIncrBy { .. }
        | Command::ZIncrBy { .. }
        | Command::Ping { .. }
        | Command::Echo { .. } => false,
        Command::ZAdd { condition, .. } => {
            !matches!(condition, Condition::Always | Condition::Greater | Condition::Less)
        }
        Command::ZAddIncr { condition, .. } => *condition != Condition::Always,
        _ => true,
    }
}

/// Executes `command` on what `view` shows at `now`.
///
/// # Errors
/// Redis' own where the command does not fit the value; then there is no operation.
pub fn prepare<'a>(
    command: &Command,
    view: impl Fn(&Key) -> View<'a>,
    now: TimestampMs,
) -> Result<Prepared, CommandError> {
    match command {
        Command::Ping { message } => Ok(message.clone().map_or(Reply::simple("PONG"), Reply::Bulk).into()),
        Command::Echo { message } => Ok(Reply::Bulk(message.clone()).into()),
        Command::Del { keys } => Ok(keys::del(keys, view, now)),
        Command::Exists { keys } => {
            let existing = keys.iter().filter(|key| Subject::new(key, view(key), now).shown.is_some());
            Ok(Reply::count(existing.count()).into())
        }
        _ => {
            let Some(key) = command.keys().next() else { return Err(CommandError::Empty) };
            prepare_one(command, Subject::new(key, view(key), now))
        }
    }
}

fn prepare_one(command: &Command, key: Subject<'_>) -> Result<Prepared, CommandError> {
    match command {
        Command::Set { value, expiry, .. } => string::set(key, value, *expiry),
        Command::Get { .. } => string::value(&key),
        Command::Incr { by, .. }
        | Command::IncrBy { by, .. }
        | Command::Decr { by, .. }
        | Command::DecrBy { by, .. } => string::increment(key, *by),
        Command::Expire { after_ms, condition, .. } | Command::PExpire { after_ms, condition, .. } => {
            keys::expire(key, *after_ms, *condition, command.name())
        }
        Command::Ttl { .. } => Ok(keys::time_to_live(&key, keys::Unit::Seconds)),
        Command::PTtl { .. } => Ok(keys::time_to_live(&key, keys::Unit::Milliseconds)),
        Command::Persist { .. } => Ok(keys::persist(key)),
        Command::Type { .. } => Ok(Reply::simple(key.shown.map_or("none", Kind::redis_name)).into()),
        Command::SAdd { members, .. } => set::add(key, members),
        Command::SRem { members, .. } => key.remove(Kind::Set, members),
        Command::SIsMember { member, .. } => {
            Ok(Reply::from(key.element_present(&ElementId::Member(member.clone()))?.is_some()).into())
        }
        Command::SMembers { .. } => set::members(&key),
        Command::SCard { .. } => key.count(Kind::Set),
        Command::HSet { fields, .. } => hash::set(key, fields),
        Command::HGet { field, .. } => hash::value(&key, field),
        Command::HGetAll { .. } => hash::all(&key),
        Command::HDel { fields, .. } => key.remove(Kind::Hash, fields),
        Command::HIncrBy { field, by, .. } => hash::increment(key, field, *by),
        Command::HLen { .. } => key.count(Kind::Hash),
        Command::ZAdd { condition, count_changed, entries, .. } => board::add(key, *condition, *count_changed, entries),
        Command::ZAddIncr { condition, increment, member, .. } => board::increment(key, *condition, *increment, member),
        Command::ZIncrBy { increment, member, .. } => {
            board::increment(key, crate::command::Condition::Always, *increment, member)
        }
        Command::ZScore { member, .. } => board::score(&key, member),
        Command::ZRank { member, with_score, .. } => board::rank(&key, member, false, *with_score),
        Command::ZRevRank { member, with_score, .. } => board::rank(&key, member, true, *with_score),
        Command::ZRange { selection, reverse, with_scores, .. } => {
            board::range(&key, selection, *reverse, *with_scores)
        }
        Command::ZCard { .. } => key.count(Kind::Board),
        Command::ZRem { members, .. } => key.remove(Kind::Board, members),
        // Answered by `prepare`.
        Command::Ping { .. } | Command::Echo { .. } | Command::Del { .. } | Command::Exists { .. } => {
            Err(CommandError::Empty)
        }
    }
}

/// One key as a command meets it.
struct Subject<'a> {
    key: &'a Key,
    state: KeyView<'a>,
    is_held: bool,
    now: TimestampMs,
    shown: Option<Kind>,
    deadline: Deadline,
    string: Element,
}

impl<'a> Subject<'a> {
    fn new(key: &'a Key, view: View<'a>, now: TimestampMs) -> Self {
        static NOTHING: OnceLock<KeyState> = OnceLock::new();
        let state = view.state.unwrap_or_else(|| NOTHING.get_or_init(KeyState::default).view());
        let (deadline, shown, string) = state.front(now);
        Self { key, state, is_held: view.is_held, now, shown, deadline, string }
    }

    /// Refuses a key that shows another type.
    fn expect(&self, kind: Kind) -> Result<(), CommandError> {
        if self.shown.is_none_or(|shown| shown == kind) { Ok(()) } else { Err(CommandError::WrongType) }
    }

    /// An element that a reader sees.
    fn element_present(&self, id: &ElementId) -> Result<Option<Element>, CommandError> {
        self.expect(id.kind())?;
        Ok(self.shown.and_then(|_| self.element(id)).filter(Element::is_present))
    }

    fn element(&self, id: &ElementId) -> Option<Element> {
        match id {
            ElementId::String => Some(self.string.clone()).filter(|string| !string.is_empty()),
            _ => self.state.element(id),
        }
    }

    fn count(&self, kind: Kind) -> Result<Prepared, CommandError> {
        self.expect(kind)?;
        Ok(Reply::count(self.shown.map_or(0, |_| self.state.count(kind))).into())
    }

    /// SREM, HDEL, ZREM: takes away what was seen of each name.
    fn remove(self, kind: Kind, names: &[bytes::Bytes]) -> Result<Prepared, CommandError> {
        self.expect(kind)?;
        let mut ids: Vec<ElementId> = names.iter().map(|name| ElementId::of(kind, name.clone())).collect();
        ids.sort();
        ids.dedup();
        ids.retain(|id| self.shown.is_some() && self.state.element(id).is_some_and(|element| element.is_present()));
        let reply = Reply::count(ids.len());
        let effects = ids.into_iter().map(|id| self.write(id, None)).collect();
        Ok(self.done(reply, effects))
    }

    /// A write of one element that resets all that is seen of it.
    fn write(&self, element: ElementId, base: Option<NewBase>) -> Effect {
        // What an expired key held is wiped whole before.
        let (seen, cuts) = if self.is_expired() {
            (Vec::new(), Element::empty(element.kind()).sum.seen())
        } else {
            self.state.seen(&element)
        };
        Effect::Write { element, base, seen, cuts }
    }

    /// A change of the deadline in, or over, the epoch that is seen.
    fn moves(&self, change: DeadlineChange) -> Effect {
        Effect::Deadline { change, seen: self.deadline.epoch() }
    }

    fn is_expired(&self) -> bool {
        self.deadline.is_past(self.now)
    }

    /// What goes before a write so that it starts afresh: a write at or after the deadline is an observed wipe of what the
    /// node holds and opens a new epoch; so does one to a key that vanished otherwise and still bears a deadline.
    fn afresh(&self) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.is_expired() {
            effects.push(self.state.seen_whole());
        }
        if self.shown.is_none() && self.deadline.at().is_some() {
            effects.push(self.moves(DeadlineChange::Open(None)));
        }
        effects
    }

    /// A write that may create the key.
    fn created(self, reply: Reply, effects: Vec<Effect>) -> Prepared {
        let mut all = if effects.is_empty() { Vec::new() } else { self.afresh() };
        all.extend(effects);
        self.done(reply, all)
    }

    fn done(self, reply: Reply, effects: Vec<Effect>) -> Prepared {
        let operation = Operation { key: self.key.clone(), at: self.now, effects };
        Prepared { reply, operations: if operation.effects.is_empty() { Vec::new() } else { vec![operation] } }
    }
}

impl From<Reply> for Prepared {
    /// A command that changes nothing.
    fn from(reply: Reply) -> Self {
        Self { reply, operations: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        command::parse,
        hlc::Hlc,
        id::{Dot, No, ReplicaId},
        state::{Increment, Mint, SeenCuts},
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
            prepare(&command(line), |_| View { state: Some(self.state.view()), is_held }, now)
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
            let view = |key: &Key| View { state: (key == &self::key()).then_some(node.state.view()), is_held: true };
            assert_eq!(prepare(&command(line), view, NOW).unwrap().operations, [], "{line}");
        }
        for line in [
            "DEL k",
            "SREM k m",
            "HDEL k f",
            "ZREM k m",
            "EXPIRE k 10",
            "PERSIST k",
            "ZADD k XX 1 m",
            "ZADD k XX INCR 1 m",
        ] {
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
        };
        let prepared = prepare(&command("DEL k other k missing"), view, NOW).unwrap();
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
        ] {
            assert!(needs_key(&command(line)), "{line}");
        }
    }
}
