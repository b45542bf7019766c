//! The end: every node against the accounts, against each other, and against its own rows.

use super::*;
use headwater::{limits::STAMP_AHEAD_MS_MAX, standings::Standings, state::KeyState};

impl World {
    pub(super) fn check(&mut self) {
        if !self.violations.is_empty() {
            return;
        }
        let now = TimestampMs(self.now);
        let mut origin = BTreeMap::new();
        for key in Workload::keys() {
            let companion = self.store.companion(&key, now);
            let state = companion.map(|c| headwater::origin::key_state(c).expect("companions decode"));
            origin.insert(key, state.unwrap_or_default());
        }
        let mut wrong = Vec::new();
        self.check_accounts(&origin, &mut wrong);
        self.check_convergence(&origin, &mut wrong);
        self.check_rows(&mut wrong);
        self.violations.extend(wrong.into_iter().map(|(checker, text)| Violation { checker, text }));
    }

    /// No stamp in the store lies further ahead of all daemons' clocks than the bound.
    pub(super) fn check_stamps(&mut self) {
        let mut ahead = Vec::new();
        for (key, companion) in self.store.companions(TimestampMs(self.now)) {
            let state = headwater::origin::key_state(companion).expect("companions decode");
            let latest = state.to_complete_delta().latest_hlc();
            let ahead_ms = latest.map_or(0, |latest| latest.time().since_ms(self.latest_clock));
            if ahead_ms > STAMP_AHEAD_MS_MAX {
                ahead.push(format!("{key} bears a stamp that lies {ahead_ms} ms ahead"));
            }
        }
        ahead.into_iter().for_each(|text| self.violate(Checker::Stamps, text));
    }

    fn check_accounts(&self, origin: &BTreeMap<Key, KeyState>, wrong: &mut Vec<(Checker, String)>) {
        let auditor = self.ledger.auditor();
        let mut audited = vec![("origin".to_owned(), auditor.audit(|key| origin.get(key).map(KeyState::view), false))];
        for (index, node) in self.hubs.iter().enumerate() {
            let Some(hub) = &node.machine else { continue };
            audited.push((format!("hub {index}"), auditor.audit(|key| hub.key(key), false)));
        }
        let may_linger = self.has(Kind::Wipe);
        for (index, leaf) in self.leaves.iter().enumerate() {
            audited.push((
                format!("leaf {index}"),
                auditor.audit(|key| leaf.machine.key(key).map(KeyState::view), may_linger),
            ));
        }
        for (who, differences) in audited {
            wrong.extend(differences.into_iter().map(|text| (Checker::Accounts, format!("{who}: {text}"))));
        }
    }

    fn check_convergence(&self, origin: &BTreeMap<Key, KeyState>, wrong: &mut Vec<(Checker, String)>) {
        let now = TimestampMs(self.now);
        let empty = KeyState::default();
        let mut texts = Vec::new();
        for (index, node) in self.hubs.iter().enumerate() {
            let Some(hub) = &node.machine else { continue };
            for (key, at_origin) in origin {
                let at_hub = hub.key(key).unwrap_or(empty.view());
                crate::compare::states(&format!("hub {index} {key}"), at_hub, at_origin.view(), now, &mut texts);
            }
        }
        for (key, state) in origin {
            crate::compare::plain(key, state.view(), self.store.plain(key, now), now, &mut texts);
        }
        self.check_standings(&mut texts);
        wrong.extend(texts.into_iter().map(|text| (Checker::Convergence, text)));
    }

    /// What a leaf shows of the board that it watches is what its hub has, and nothing of its own is left on top.
    fn check_standings(&self, texts: &mut Vec<String>) {
        for (index, leaf) in self.leaves.iter().enumerate() {
            let hub = leaf.hub % self.hubs.len();
            let Some(machine) = self.hubs[hub].machine.as_ref().filter(|_| leaf.wire.is_some()) else { continue };
            let (board, query) = super::leaves::watched(index);
            let shown = leaf.machine.ranking(&board);
            let is_held = shown.as_ref().is_some_and(|shown| shown.is_held);
            let empty = KeyState::default();
            let view = machine.key(&board).unwrap_or(empty.view());
            let there = Standings::of(&view, &query, self.clock(End::Hub(hub))).with(is_held, []);
            if shown.as_ref() != Some(&there) {
                texts.push(format!("leaf {index} shows {shown:?} of {board}, where hub {hub} has {there:?}"));
            }
        }
    }

    /// What is persisted is what is in memory.
    fn check_rows(&self, wrong: &mut Vec<(Checker, String)>) {
        for (index, node) in self.hubs.iter().enumerate() {
            let Some(hub) = &node.machine else { continue };
            match self.restored(index) {
                Ok(restored) => {
                    let differs = |key: &Key| hub.key(key) != restored.key(key);
                    for key in hub.keys().into_iter().filter(differs) {
                        wrong.push((Checker::Rows, format!("hub {index}: {key} differs from its rows")));
                    }
                }
                Err(error) => wrong.push((Checker::Rows, format!("hub {index} does not restore: {error}"))),
            }
        }
    }
}
