//! What is kept is bounded by what lives: after everything has settled, and again after all that ends has ended.

use super::*;

/// Longer than any ticket, any remembered answer and any deadline of the workload, in milliseconds.
const MONTH_MS: i64 = 31 * 86_400_000;

/// A session's row when its leaf has told what it knows: its identity, its end, and the last few verdicts.
const SESSION_BYTES_MAX: usize = 1_000;

/// More intervals in a key's context than replicas: one may stand open where a number went to another key.
const INTERVALS_MORE: usize = 2;

/// A removed element's field is dropped once there are more of them than elements, and than this.
const TOMBSTONES_MAX: usize = 64;

impl World {
    pub(super) fn check_memory(&mut self) {
        if !self.violations.is_empty() {
            return;
        }
        // Each leaf tells its hub twice what it knows: of what came before, and of the telling.
        for _ in 0..2 {
            for leaf in 0..self.leaves.len() {
                self.leaf_work(leaf, &Work::line("INCRBY sum:{a} 0"));
            }
            self.settle("after the last word");
        }
        if !self.violations.is_empty() {
            return;
        }
        let mut wrong = Vec::new();
        self.bound_states(&mut wrong);
        self.bound_sessions(&mut wrong);
        self.bound_rows(&mut wrong);
        wrong.into_iter().for_each(|text| self.violate(Checker::Memory, text));
        if !self.violations.is_empty() {
            return;
        }
        self.now += MONTH_MS;
        self.run_until(self.now + 240_000);
        if !self.violations.is_empty() {
            return;
        }
        let mut wrong = Vec::new();
        self.bound_rows(&mut wrong);
        self.bound_ended(&mut wrong);
        self.bound_machines(&mut wrong);
        wrong.into_iter().for_each(|text| self.violate(Checker::Memory, format!("a month later {text}")));
    }

    /// A context has no more intervals than replicas wrote the key, and a few.
    fn bound_states(&self, wrong: &mut Vec<String>) {
        // Of a hub that is gone for good nobody knows what its missing numbers were.
        let former: usize = self.hubs.iter().map(|node| node.former.len()).sum();
        let mut bound = |who: String, key: &Key, state: headwater::state::KeyView<'_>| {
            let ctx = state.ctx();
            let (intervals, replicas) = (ctx.interval_count(), ctx.replicas().count());
            if intervals > replicas + INTERVALS_MORE + former {
                wrong.push(format!("{who}: {key} has {intervals} intervals of {replicas} replicas: {ctx:?}"));
            }
        };
        for (key, companion) in self.store.companions(TimestampMs(self.now)) {
            bound("origin".to_owned(), key, headwater::origin::key_state(companion).expect("companions decode").view());
        }
        for (index, node) in self.hubs.iter().enumerate() {
            let Some(hub) = &node.machine else { continue };
            for key in &hub.keys() {
                if let Some(state) = hub.key(key) {
                    bound(format!("hub {index}"), key, state);
                }
            }
        }
    }

    /// A leaf's present session remembers next to nothing of what it did.
    fn bound_sessions(&self, wrong: &mut Vec<String>) {
        for (index, leaf) in self.leaves.iter().enumerate() {
            let Some(session) = leaf.session else { continue };
            let row = RowId::Session(session).to_bytes();
            let bytes = self.hubs.iter().find_map(|hub| hub.rows.get(&row)).map_or(0, Vec::len);
            if bytes > SESSION_BYTES_MAX {
                wrong.push(format!("the session of leaf {index} has a row of {bytes} bytes"));
            }
            if !leaf.sent.is_empty() {
                wrong.push(format!("leaf {index} has no verdict on {} operations", leaf.sent.len()));
            }
        }
    }

    /// A hub keeps a row per key and slot that it knows and per element that is there, and none for what is gone.
    fn bound_rows(&self, wrong: &mut Vec<String>) {
        for (index, node) in self.hubs.iter().enumerate() {
            let Some(hub) = &node.machine else { continue };
            let keys = hub.keys();
            let elements: usize = keys.iter().map(|key| hub.key(key).map_or(0, |state| state.elements().len())).sum();
            let mut found = [0_usize; 3];
            for row in node.rows.keys().filter_map(|id| RowId::from_bytes(id)) {
                match row {
                    RowId::Key(_) => found[0] += 1,
                    RowId::Element(..) => found[1] += 1,
                    RowId::Slot(_) => found[2] += 1,
                    RowId::Meta | RowId::Replica(_) | RowId::Session(_) | RowId::Answer(_) | RowId::Job(_) => {}
                    RowId::Rights(_) => {}
                }
            }
            let slots = Workload::keys().len() + 1;
            if found[0] > keys.len() || found[1] > elements || found[2] > slots {
                wrong.push(format!(
                    "hub {index} has {found:?} rows for {} keys, {elements} elements and at most {slots} slots",
                    keys.len()
                ));
            }
            let status = hub.status();
            if status.unstable > 0 || status.pending > 0 {
                wrong.push(format!("hub {index} holds {} unstable, {} pending", status.unstable, status.pending));
            }
        }
        for (key, companion) in self.store.companions(TimestampMs(self.now)) {
            let state = headwater::origin::key_state(companion).expect("companions decode");
            let live = state.elements().len();
            if companion.fields.len() > 1 + live + live.max(TOMBSTONES_MAX) {
                wrong.push(format!("the companion of {key} has {} fields for {live} elements", companion.fields.len()));
            }
        }
    }

    /// What ends is gone everywhere: keys with deadlines, answers, tickets.
    fn bound_ended(&self, wrong: &mut Vec<String>) {
        let now = TimestampMs(self.now);
        for (key, companion) in self.store.companions(now) {
            let state = headwater::origin::key_state(companion).expect("companions decode");
            if state.deadline().is_past(now) {
                wrong.push(format!("the origin keeps a companion of {key}"));
            }
        }
        for key in self.store.plain_keys(now).filter(|key| self.store.companion(key, now).is_none()) {
            wrong.push(format!("Redis keeps {key}"));
        }
        for key in self.store.feed().filter(|key| self.store.companion(key, now).is_none()) {
            wrong.push(format!("the change feed keeps {key}, which is gone"));
        }
        for (index, node) in self.hubs.iter().enumerate() {
            let Some(hub) = &node.machine else { continue };
            let has_ended = |key: &Key| hub.key(key).is_some_and(|state| state.deadline().is_past(now));
            for key in hub.keys().into_iter().filter(has_ended) {
                wrong.push(format!("hub {index} keeps {key}"));
            }
            let rows = || node.rows.keys().filter_map(|id| RowId::from_bytes(id));
            let answers = rows().filter(|row| matches!(row, RowId::Answer(_))).count();
            let sessions = rows().filter(|row| matches!(row, RowId::Session(_))).count();
            if answers > 0 || sessions > 3 * self.leaves.len() {
                wrong.push(format!("hub {index} keeps {answers} answers and {sessions} sessions"));
            }
        }
    }

    /// A machine that has run for long holds little more than one that was made anew of what is stored.
    fn bound_machines(&self, wrong: &mut Vec<String>) {
        let size = |machine: &dyn Debug| format!("{machine:?}").len();
        for (index, node) in self.hubs.iter().enumerate() {
            let (Some(hub), Ok(restored)) = (&node.machine, self.restored(index)) else { continue };
            let (now, anew) = (size(hub), size(&restored));
            if now > anew * 2 + 2_000 + 2_000 * self.leaves.len() {
                wrong.push(format!("hub {index} prints as {now} bytes, one made anew as {anew}"));
            }
        }
        let live: usize = self.store.companions(TimestampMs(self.now)).map(|(_, companion)| size(companion)).sum();
        for (index, daemon) in self.daemons.iter().enumerate() {
            let Some(origin) = &daemon.machine else { continue };
            let now = size(origin);
            let most = live * 20 + 10_000 + 4_000 * self.hubs.len() * Workload::keys().len();
            if now > most {
                wrong.push(format!("daemon {index} prints as {now} bytes; what lives gives it {most}"));
            }
        }
        for (index, leaf) in self.leaves.iter().enumerate() {
            let keys = Workload::keys();
            let states: usize = keys.iter().filter_map(|key| leaf.machine.key(key)).map(|state| size(state)).sum();
            let now = size(&leaf.machine);
            if now > states * 2 + 8_000 {
                wrong.push(format!("leaf {index} prints as {now} bytes, its view as {states}"));
            }
        }
    }
}
