//! The hub counts plain counters and boards without preparing an operation first. Replies and states are those of the
//! general way: a command prepared against the state, and its effects applied one by one.

use bytes::Bytes;
use headwater::{
    command::{Reply, parse},
    exec::{self, Vantage, View},
    hlc::Clock,
    hub::{Connection, Hub, HubEffect, HubInput, Request},
    id::{Dot, Key, No, ReplicaId, TimestampMs},
    message::{Cursor, OriginToHub},
    state::{Board, KeyDelta, KeyState, Mint},
    wire::Capabilities,
};
use proptest::prelude::*;

/// One key in the general way.
#[derive(Default)]
struct General {
    state: KeyState,
    clock: Clock,
    no: No,
}

impl General {
    fn run(&mut self, line: &str, replica: ReplicaId, now: TimestampMs) -> Result<Reply, String> {
        let command = parse(&words(line)).expect("lines of this test parse");
        let view = |_: &Key| View { state: Some(self.state.view()), is_held: true, vantage: Vantage::NOWHERE };
        let prepared = exec::prepare(&command, view, now, 0).map_err(|error| error.to_string())?;
        for operation in &prepared.operations {
            let hlc = self.clock.tick(now);
            for effect in &operation.effects {
                self.no = self.no.next();
                let _ = self.state.apply(effect, Mint { dot: Dot { replica, no: self.no }, hlc });
            }
        }
        Ok(prepared.reply)
    }
}

fn words(line: &str) -> Vec<Bytes> {
    line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
}

fn key() -> Key {
    Key::new("k").expect("a short key")
}

/// What happens to the key next.
#[derive(Clone, Debug)]
enum Step {
    /// The hub runs a command.
    Own(String),
    /// Another replica runs one, on the hub's state or on its own alone, and the hub hears of it.
    Other { is_last: bool, sees: bool, line: String },
}

/// A hub that holds the empty key.
fn holding(now: TimestampMs) -> Hub {
    let (mut hub, _) = Hub::create("hub".to_owned(), 1 << 32, now);
    let daemon = Connection(0);
    hub.handle(HubInput::Origin(daemon, OriginToHub::Welcome { now, capabilities: Capabilities::CURRENT }), now);
    ask(&mut hub, "EXISTS k", now);
    let empty = KeyDelta { complete: true, ..KeyDelta::default() };
    let at = Cursor { incarnation: Some(ReplicaId::from_bits(1 << 20)), seq: 1 };
    let whole = OriginToHub::Whole { slot: key().slot(), at, more: false, keys: vec![(key(), empty)] };
    hub.handle(HubInput::Origin(daemon, whole), now);
    hub
}

fn ask(hub: &mut Hub, line: &str, now: TimestampMs) -> Option<Result<Reply, String>> {
    let input = HubInput::Commands { request: Request(1), commands: vec![words(line)], idempotency: None };
    hub.handle(input, now).into_iter().find_map(|effect| match effect {
        HubEffect::Reply { mut replies, .. } => Some(replies.remove(0).map_err(|error| error.to_string())),
        _ => None,
    })
}

/// The hub hears of the key as another replica has it.
fn tell(hub: &mut Hub, seq: u64, delta: KeyDelta, now: TimestampMs) {
    let at = |seq| Cursor { incarnation: Some(ReplicaId::from_bits(1 << 20)), seq };
    let (slot, keys) = (key().slot(), vec![(key(), delta)]);
    hub.handle(HubInput::Origin(Connection(0), OriginToHub::Down { slot, from: at(seq), to: at(seq + 1), keys }), now);
}

/// The hub sends what it did, and hears that the origin has it: only then can others have seen it.
fn send(hub: &mut Hub, now: TimestampMs) {
    if hub.status().pending > 0 {
        hub.handle(HubInput::Origin(Connection(0), OriginToHub::Credit(1)), now);
        let committed = OriginToHub::Committed(vec![(key().slot(), No(hub.status().last_no))]);
        hub.handle(HubInput::Origin(Connection(0), committed), now);
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => line().prop_map(Step::Own),
        1 => (any::<bool>(), any::<bool>(), line())
            .prop_map(|(is_last, sees, line)| Step::Other { is_last, sees, line }),
    ]
}

fn line() -> impl Strategy<Value = String> {
    let by = prop_oneof![Just(1_i64), -50_i64..50, Just(i64::MAX), Just(i64::MIN + 1)];
    let score = prop_oneof![
        (-40_i32..40).prop_map(|n| f64::from(n) / 8.0),
        Just(f64::MAX),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY)
    ];
    let member = prop_oneof![Just("a"), Just("b"), Just("c")];
    prop_oneof![
        4 => by.prop_map(|by| format!("INCRBY k {by}")),
        4 => (score, member.clone()).prop_map(|(by, member)| format!("ZINCRBY k {by} {member}")),
        1 => Just("SET k 7".to_owned()),
        1 => Just("SET k word".to_owned()),
        1 => Just("DEL k".to_owned()),
        1 => Just("PEXPIRE k 50".to_owned()),
        1 => Just("PERSIST k".to_owned()),
        1 => Just("HSET k f v".to_owned()),
        1 => member.clone().prop_map(|member| format!("ZADD k 3 {member}")),
        1 => member.clone().prop_map(|member| format!("ZADD k GT 5 {member}")),
        1 => member.prop_map(|member| format!("ZADD k LT 2 {member}")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn counting_at_once_is_preparing_and_applying(steps in proptest::collection::vec((step(), 0_i64..30), 1..30)) {
        let mut now = TimestampMs(1_700_000_000_000);
        let mut hub = holding(now);
        let mut general = General::default();
        // One sorts before the hub, one behind it.
        let mut others = [9 << 20, u64::MAX / 3].map(|bits| (ReplicaId::from_bits(bits), General::default()));
        let mut seq = 1;
        for (step, later_ms) in steps {
            now = now.plus_ms(later_ms);
            match &step {
                Step::Own(line) => {
                    let expected = general.run(line, hub.id(), now);
                    prop_assert_eq!(ask(&mut hub, line, now), Some(expected), "{}", line);
                }
                Step::Other { is_last, sees, line } => {
                    let (replica, other) = &mut others[usize::from(*is_last)];
                    if *sees {
                        send(&mut hub, now);
                        let _ = other.state.join(&general.state.to_complete_delta());
                    }
                    let _ = other.run(line, *replica, now);
                    let delta = other.state.to_complete_delta();
                    let latest = delta.latest_hlc().unwrap_or_default();
                    prop_assert!(general.clock.observe(latest, now).is_ok());
                    let _ = general.state.join(&delta);
                    tell(&mut hub, seq, delta, now);
                    seq += 1;
                }
            }
            let found = hub.key(&key()).map(|view| view.to_complete_delta());
            prop_assert_eq!(found, Some(general.state.to_complete_delta()), "after {:?}", step);
            let listed = |board: Board<'_>| board.listed(0..board.len(), false);
            let ranked = hub.key(&key()).map(|view| listed(view.board()));
            prop_assert_eq!(ranked, Some(listed(general.state.board())), "after {:?}", step);
        }
    }
}
