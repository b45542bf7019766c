//! One leaf in several tabs: what mirrors do reaches the hub once, in one order, and every tab reads the same.
//!
//! The tabs here are the shells of a browser in small: one leader with its stored rows, mirrors, and between them channels
//! that keep each sender's order and deliver when the test says so.

use crate::common::{
    key,
    text::{argv, show, view},
};
use bytes::Bytes;
use headwater::{
    command::CommandError,
    hub::{Connection, Hub, HubConfig, HubEffect, HubInput, Request},
    id::{ClientId, Key, TimestampMs},
    leaf::{Leaf, LeafEffect, LeafInput, LeafRowId, LeafRowWrite, TabId},
    message::{HubToLeaf, LeafToHub, Lifetime},
    standings::{Ranking, StandingsQuery},
    state::KeyState,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};

const NOW: TimestampMs = TimestampMs(1_750_000_000_000);
const KEYS: [&str; 3] = ["counter", "set", "hash"];

/// What goes from the leader to a mirror.
#[derive(Clone, Debug)]
enum Down {
    Rows(u64, Vec<LeafRowWrite>),
    Whole(u64, u64, Vec<(LeafRowId, Bytes)>),
    Again,
    Share(Box<HubToLeaf>),
}

struct Tab {
    id: TabId,
    leaf: Leaf,
    down: VecDeque<Down>,
    up: VecDeque<(u64, u64, Bytes)>,
    /// Which leader's rows it has: the channel tells leaders apart, and no other takes what is meant for one.
    term: u64,
    /// What it read of each key since it was last told that the key has changed.
    kept: BTreeMap<Key, Option<String>>,
}

impl Tab {
    fn new(id: TabId, leaf: Leaf) -> Self {
        Self { id, leaf, down: VecDeque::new(), up: VecDeque::new(), term: 0, kept: BTreeMap::new() }
    }

    /// What it has read and was not told of reads as it did.
    fn read(&mut self, effects: &[LeafEffect]) {
        for effect in effects {
            if let LeafEffect::Changed(keys) = effect {
                keys.iter().for_each(|key| drop(self.kept.remove(key)));
            }
        }
        for key in KEYS.map(key) {
            let reading = self.leaf.key(&key).map(|state| format!("{:?}", view(state.view(), NOW)));
            let kept = self.kept.entry(key.clone()).or_insert_with(|| reading.clone());
            assert_eq!(*kept, reading, "{key} changed and no tab was told");
        }
    }
}

struct Browser {
    rows: BTreeMap<LeafRowId, Bytes>,
    version: u64,
    term: u64,
    leader: Tab,
    mirrors: Vec<Tab>,
    hub: Hub,
    connection: Connection,
    to_hub: VecDeque<LeafToHub>,
    from_hub: VecDeque<HubToLeaf>,
}

impl Browser {
    /// A leader that is connected and knows the keys, and two tabs that mirror it.
    fn open() -> Self {
        let leader = Tab::new(TabId(1 << 40), Leaf::stored(ClientId(5), Lifetime::Tab));
        let mut browser = Self {
            rows: BTreeMap::new(),
            version: 0,
            term: 0,
            leader,
            mirrors: Vec::new(),
            hub: Hub::create(HubConfig::from("hub".to_owned()), 1 << 32, NOW).0,
            connection: Connection(0),
            to_hub: VecDeque::new(),
            from_hub: VecDeque::new(),
        };
        // A key that is not empty is known though no origin says that it is whole.
        let commands = ["INCRBY counter 0", "SADD set z", "HSET hash z 1"].map(argv).to_vec();
        browser.give_hub(HubInput::Commands { request: Request(1), commands, idempotency: None });
        let effects = browser.leader.leaf.handle(LeafInput::Subscribe(KEYS.map(key).to_vec()), NOW);
        browser.perform(effects);
        browser.connect();
        for tab in 2..4 {
            let id = TabId(tab << 40);
            browser.mirrors.push(Tab::new(id, Leaf::mirror(id)));
            browser.send_whole(browser.mirrors.len() - 1);
        }
        browser.settle();
        browser
    }

    /// Another socket; what was under way on the one before is lost.
    fn connect(&mut self) {
        self.to_hub.clear();
        self.from_hub.clear();
        let effects = self.leader.leaf.handle(LeafInput::Closed, NOW);
        self.perform(effects);
        self.give_hub(HubInput::LeafClosed(self.connection));
        self.connection = Connection(self.connection.0 + 1);
        let effects = self.leader.leaf.handle(LeafInput::Opened, NOW);
        self.perform(effects);
    }

    fn give_hub(&mut self, input: HubInput) {
        for effect in self.hub.handle(input, NOW) {
            if let HubEffect::ToLeaf(connection, message) = effect
                && connection == self.connection
            {
                self.from_hub.push_back(message);
            }
        }
    }

    /// The hub takes the next message; false where there is none.
    fn hub_step(&mut self) -> bool {
        let Some(message) = self.to_hub.pop_front() else { return false };
        self.give_hub(HubInput::Leaf(self.connection, message));
        true
    }

    /// The leader takes the hub's next message; false where there is none.
    fn leader_step(&mut self) -> bool {
        let Some(message) = self.from_hub.pop_front() else { return false };
        let effects = self.leader.leaf.handle(LeafInput::Hub(message), NOW);
        self.perform(effects);
        true
    }

    /// What is under way between the leader and its hub arrives.
    fn exchange(&mut self) {
        while self.hub_step() || self.leader_step() {}
    }

    /// Performs the leader's effects.
    fn perform(&mut self, effects: Vec<LeafEffect>) {
        self.leader.read(&effects);
        for effect in effects {
            match effect {
                LeafEffect::Persist(writes) => {
                    self.version += 1;
                    for write in writes.clone() {
                        self.store(write);
                    }
                    for mirror in &mut self.mirrors {
                        mirror.down.push_back(Down::Rows(self.version, writes.clone()));
                    }
                }
                LeafEffect::Send(message) => self.to_hub.push_back(message),
                LeafEffect::Share(message) => {
                    let share = |mirror: &mut Tab| mirror.down.push_back(Down::Share(Box::new(message.clone())));
                    self.mirrors.iter_mut().for_each(share);
                }
                LeafEffect::Again(tab) => {
                    let mirror = self.mirrors.iter_mut().find(|mirror| mirror.id == tab).expect("a tab that is there");
                    mirror.down.push_back(Down::Again);
                }
                LeafEffect::Forward { .. } => panic!("the leader has no leader"),
                LeafEffect::Refused(key, error) => panic!("{key}: {error}"),
                LeafEffect::Changed(_) | LeafEffect::Redial | LeafEffect::WakeAt(_) => {}
            }
        }
    }

    fn store(&mut self, write: LeafRowWrite) {
        match write {
            LeafRowWrite::Put(row, body) => {
                self.rows.insert(row, body);
            }
            LeafRowWrite::Drop(row) => {
                self.rows.remove(&row);
            }
            LeafRowWrite::Done(no, _) => {
                self.rows.remove(&LeafRowId::Pending(no));
            }
            LeafRowWrite::DropKey(key) => {
                let prefix = LeafRowId::Key(key).to_bytes();
                self.rows.retain(|row, _| !row.to_bytes().starts_with(&prefix));
            }
        }
    }

    fn stored(&self) -> Vec<(LeafRowId, Bytes)> {
        self.rows.iter().map(|(row, body)| (row.clone(), body.clone())).collect()
    }

    fn send_whole(&mut self, at: usize) {
        let rows = self.leader.leaf.rows();
        assert_eq!(rows.iter().cloned().collect::<BTreeMap<_, _>>(), self.rows, "all is stored");
        let whole = Down::Whole(self.term, self.version, rows);
        self.mirrors[at].down.push_back(whole);
    }

    /// What a tab answers; nothing where it does not know the key.
    fn try_run(&mut self, at: usize, line: &str) -> Option<String> {
        let leaf = if at == 0 { &mut self.leader.leaf } else { &mut self.mirrors[at - 1].leaf };
        let (reply, effects) = leaf.command(&argv(line), NOW);
        if at == 0 {
            self.perform(effects);
        } else {
            self.forward(at - 1, effects);
        }
        (reply != Err(CommandError::NotHeld)).then(|| show(&reply))
    }

    fn run(&mut self, at: usize, line: &str) -> String {
        self.try_run(at, line).unwrap_or_else(|| panic!("{line}: the key is not known"))
    }

    fn forward(&mut self, at: usize, effects: Vec<LeafEffect>) {
        self.mirrors[at].read(&effects);
        for effect in effects {
            match effect {
                LeafEffect::Forward { .. } if self.mirrors[at].term != self.term => {}
                LeafEffect::Forward { no, version, operation } => {
                    self.mirrors[at].up.push_back((no, version, operation));
                }
                LeafEffect::Changed(_) => {}
                other => panic!("a mirror says {other:?}"),
            }
        }
    }

    /// A mirror takes the next message; false where there is none.
    fn down_step(&mut self, at: usize) -> bool {
        let Some(message) = self.mirrors[at].down.pop_front() else { return false };
        let leaf = &mut self.mirrors[at].leaf;
        let effects = match message {
            Down::Rows(version, writes) => leaf.take_up(version, writes, NOW).expect("the leader's own rows"),
            Down::Whole(term, version, rows) => {
                self.mirrors[at].term = term;
                let leaf = &mut self.mirrors[at].leaf;
                leaf.take_whole(version, rows, NOW).expect("the leader's own rows")
            }
            Down::Again => leaf.handle(LeafInput::Again, NOW),
            Down::Share(message) => leaf.handle(LeafInput::Hub(*message), NOW),
        };
        self.forward(at, effects);
        true
    }

    /// The leader takes the next operation of a mirror; false where there is none.
    fn up_step(&mut self, at: usize) -> bool {
        let tab = self.mirrors[at].id;
        let Some((no, version, operation)) = self.mirrors[at].up.pop_front() else { return false };
        let effects = self.leader.leaf.adopt(tab, no, version, &operation, NOW).expect("the mirror's own bytes");
        self.perform(effects);
        true
    }

    /// The leader is gone with all that it had under way, and the first mirror leads; the others begin again.
    fn lose_leader(&mut self) {
        if self.mirrors.is_empty() {
            return;
        }
        self.leader = self.mirrors.remove(0);
        self.to_hub.clear();
        self.version = 0;
        self.term += 1;
        let stored = self.stored();
        for mirror in &mut self.mirrors {
            mirror.down.clear();
            mirror.up.clear();
        }
        let effects = self.leader.leaf.lead(ClientId(6), stored, NOW).expect("stored rows");
        self.perform(effects);
        for mirror in &mut self.mirrors {
            // It joins before it hears of changes.
            mirror.down.clear();
        }
        for at in 0..self.mirrors.len() {
            self.send_whole(at);
        }
        let effects = self.leader.leaf.handle(LeafInput::Subscribe(KEYS.map(key).to_vec()), NOW);
        self.perform(effects);
        self.connect();
    }

    /// Delivers everything, until nothing is under way.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            let mut is_busy = self.hub_step() | self.leader_step();
            for at in 0..self.mirrors.len() {
                is_busy |= self.up_step(at);
                is_busy |= self.down_step(at);
            }
            if !is_busy {
                return;
            }
        }
        panic!("the tabs never come to rest");
    }

    fn leaves(&self) -> impl Iterator<Item = &Leaf> {
        std::iter::once(&self.leader.leaf).chain(self.mirrors.iter().map(|mirror| &mirror.leaf))
    }

    /// All is settled, and every tab reads what the hub has.
    fn assert_agreed(&mut self) {
        self.settle();
        for (tab, leaf) in self.leaves().enumerate() {
            assert_eq!(leaf.status().pending, 0, "tab {tab}");
            for name in KEYS {
                let at_hub = self.hub.key(&key(name)).and_then(|state| view(state, NOW));
                let here = leaf.key(&key(name)).map(KeyState::view).and_then(|state| view(state, NOW));
                assert_eq!(here, at_hub, "{name} in tab {tab}");
            }
        }
    }
}

#[test]
fn a_mirror_reads_its_own_write_at_once_and_the_others_read_it_when_it_is_adopted() {
    let mut browser = Browser::open();
    assert_eq!(browser.run(1, "INCRBY counter 5"), ":5");
    assert_eq!(browser.run(1, "GET counter"), "$5");
    assert_eq!(browser.run(2, "GET counter"), "$0");
    assert!(browser.up_step(0) && browser.down_step(1));
    assert_eq!(browser.run(2, "GET counter"), "$5");
    assert_eq!(browser.run(0, "INCR counter"), ":6");
    browser.assert_agreed();
}

#[test]
fn every_tab_shows_a_board_that_one_watches_with_what_each_did_on_top() {
    let mut browser = Browser::open();
    let commands = ["ZADD board 10 ada 5 bob 1 cy"].map(argv).to_vec();
    browser.give_hub(HubInput::Commands { request: Request(2), commands, idempotency: None });
    let watch = |members: &[&'static str]| {
        let members = members.iter().map(|member| Bytes::from_static(member.as_bytes())).collect();
        LeafInput::Watch(key("board"), StandingsQuery { top: 2, members })
    };
    let effects = browser.leader.leaf.handle(watch(&["cy"]), NOW);
    browser.perform(effects);
    browser.settle();
    // A tab that comes later is shown what the leader was shown before.
    for mirror in &mut browser.mirrors {
        assert!(mirror.leaf.handle(watch(&["cy"]), NOW).is_empty());
    }
    let effects = browser.leader.leaf.handle(LeafInput::Share, NOW);
    browser.perform(effects);
    browser.settle();
    let shown = |browser: &Browser| -> Vec<String> {
        let text = |ranking: Ranking| {
            let rows = ranking.top.iter().chain(&ranking.members);
            let rows = rows.map(|row| format!("{} {}", String::from_utf8_lossy(&row.member), row.score));
            rows.collect::<Vec<_>>().join(", ")
        };
        browser.leaves().map(|leaf| leaf.ranking(&key("board")).map(text).unwrap_or_default()).collect()
    };
    assert_eq!(shown(&browser), ["ada 10, bob 5, cy 1"; 3]);
    browser.run(1, "ZINCRBY board 7 cy");
    assert_eq!(shown(&browser)[1], "ada 10, cy 8, bob 5, cy 8");
    // Step by step no tab goes back.
    let mut steps = 0;
    loop {
        let is_busy = browser.up_step(0) || browser.hub_step() || browser.leader_step() || browser.down_step(0);
        assert!(shown(&browser)[1].contains("cy 8"), "{:?}", shown(&browser));
        if !is_busy {
            break;
        }
        steps += 1;
    }
    assert!(steps > 4);
    browser.settle();
    assert_eq!(shown(&browser), ["ada 10, cy 8, cy 8"; 3]);
    browser.assert_agreed();
}

#[test]
fn what_was_adopted_and_handed_over_again_counts_once() {
    let mut browser = Browser::open();
    browser.run(1, "INCR counter");
    let twice = browser.mirrors[0].up[0].clone();
    browser.mirrors[0].up.push_back(twice);
    browser.assert_agreed();
    assert_eq!(browser.run(0, "GET counter"), "$1");
}

#[test]
fn a_removal_sees_what_the_same_tab_added_while_the_hub_settled_it() {
    let mut browser = Browser::open();
    browser.run(1, "SADD set a");
    // Adopted, settled and shown, of which the tab has not heard.
    assert!(browser.up_step(0));
    browser.exchange();
    browser.run(1, "SREM set a");
    browser.assert_agreed();
    assert_eq!(browser.run(2, "SCARD set"), ":1");
}

#[test]
fn a_removal_sees_what_another_tab_added_though_the_hub_has_settled_it_since() {
    let mut browser = Browser::open();
    browser.run(0, "SADD set a");
    assert!(browser.down_step(0));
    browser.exchange();
    browser.run(1, "SREM set a");
    browser.assert_agreed();
    assert_eq!(browser.run(2, "SCARD set"), ":1");
}

#[test]
fn a_mirror_that_comes_to_lead_adopts_what_the_leader_lost() {
    let mut browser = Browser::open();
    browser.run(1, "INCRBY counter 5");
    browser.run(1, "SADD set a b");
    browser.run(1, "SREM set a");
    browser.run(2, "INCRBY counter 7");
    // One is stored and not told, the rest is under way.
    assert!(browser.up_step(0));
    browser.lose_leader();
    browser.assert_agreed();
    assert_eq!(browser.run(0, "GET counter"), "$12");
    assert_eq!(browser.run(1, "SMEMBERS set"), "[$b $z]");
}

#[test]
fn mirrors_hand_everything_over_again_where_nothing_is_stored() {
    let mut browser = Browser::open();
    browser.run(1, "INCRBY counter 5");
    browser.assert_agreed();
    browser.run(1, "INCRBY counter 2");
    browser.mirrors[0].up.clear();
    let whole = vec![(LeafRowId::Meta, browser.rows[&LeafRowId::Meta].clone())];
    let mut empty = Leaf::mirror(TabId(9 << 40));
    let _ = empty.lead(ClientId(8), Vec::new(), NOW).expect("a new leaf");
    // The tab hears of the leader that adopted five, then of one that adopted nothing, and numbers accordingly.
    browser.mirrors[0].down.push_back(Down::Whole(0, 9, whole));
    assert!(browser.down_step(0));
    let (no, ..) = browser.mirrors[0].up[0];
    assert_eq!(no, 2);
}

#[derive(Clone, Debug)]
enum Step {
    Run(usize, &'static str),
    Up(usize),
    Down(usize),
    Hub,
    Leader,
    Lost,
    Reconnect,
}

fn step() -> impl Strategy<Value = Step> {
    let line = prop::sample::select(vec![
        "INCR counter",
        "INCRBY counter 3",
        "SADD set a",
        "SADD set a b",
        "SREM set a",
        "HSET hash f 1",
        "HINCRBY hash f 2",
        "HDEL hash f",
        "DEL set",
        "EXPIRE hash 1000",
        "PERSIST hash",
    ]);
    prop_oneof![
        6 => (0..3_usize, line).prop_map(|(tab, line)| Step::Run(tab, line)),
        4 => (0..2_usize).prop_map(Step::Up),
        4 => (0..2_usize).prop_map(Step::Down),
        3 => Just(Step::Hub),
        3 => Just(Step::Leader),
        1 => Just(Step::Lost),
        1 => Just(Step::Reconnect),
    ]
}

proptest! {
    /// Increments are counted in the test, and nothing that removes them: each counts once, whoever leads when.
    #[test]
    fn tabs_agree_with_the_hub_however_messages_and_leaders_come_and_go(steps in prop::collection::vec(step(), 0..60)) {
        let mut browser = Browser::open();
        let mut sum = 0_i64;
        for step in steps {
            let tabs = browser.mirrors.len();
            match step {
                Step::Run(tab, line) => {
                    let is_done = browser.try_run(tab.min(tabs), line).is_some();
                    sum += match line {
                        "INCR counter" if is_done => 1,
                        "INCRBY counter 3" if is_done => 3,
                        _ => 0,
                    };
                }
                Step::Up(at) if at < tabs => drop(browser.up_step(at)),
                Step::Down(at) if at < tabs => drop(browser.down_step(at)),
                Step::Up(_) | Step::Down(_) => {}
                Step::Hub => drop(browser.hub_step()),
                Step::Leader => drop(browser.leader_step()),
                Step::Lost => browser.lose_leader(),
                Step::Reconnect => browser.connect(),
            }
        }
        browser.assert_agreed();
        prop_assert_eq!(browser.run(0, "GET counter"), format!("${sum}"));
    }
}
