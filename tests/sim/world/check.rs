//! The end: every node against the accounts, against each other, and against its own rows.

use super::*;
use headwater::state::KeyState;

impl World {
    pub(super) fn check(&mut self) {
        if !self.violations.is_empty() {
            return;
        }
        let now = TimestampMs(self.now);
        let mut wrong = Vec::new();
        let mut origin = BTreeMap::new();
        for key in Workload::keys() {
            let state =
                self.store.companion(&key, now).map(|c| headwater::origin::key_state(c).expect("companions decode"));
            origin.insert(key, state.unwrap_or_default());
        }
        for difference in self.ledger.audit(|key| origin.get(key).map(KeyState::view)) {
            wrong.push(format!("origin: {difference}"));
        }
        for (index, node) in self.hubs.iter().enumerate() {
            let Some(hub) = &node.machine else { continue };
            for difference in self.ledger.audit(|key| hub.key(key)) {
                wrong.push(format!("hub {index}: {difference}"));
            }
            for (key, at_origin) in &origin {
                let empty = KeyState::default();
                let at_hub = hub.key(key).unwrap_or(empty.view());
                crate::compare::states(&format!("hub {index} {key}"), at_hub, at_origin.view(), now, &mut wrong);
            }
            // What is persisted is what is in memory.
            let rows = node.rows.iter().map(|(id, body)| (RowId::from_bytes(id).expect("row ids parse"), body.clone()));
            match Hub::restore(format!("hub/{index}"), rows.collect::<Vec<_>>()) {
                Ok(restored) => {
                    for key in &hub.keys() {
                        if hub.key(key) != restored.key(key) {
                            wrong.push(format!("hub {index}: {key} differs from its rows"));
                        }
                    }
                }
                Err(error) => wrong.push(format!("hub {index} does not restore: {error}")),
            }
        }
        for (index, leaf) in self.leaves.iter().enumerate() {
            for difference in self.ledger.audit(|key| leaf.machine.key(key).map(KeyState::view)) {
                wrong.push(format!("leaf {index}: {difference}"));
            }
        }
        for (key, state) in &origin {
            crate::compare::plain(key, state.view(), self.store.plain(key, now), now, &mut wrong);
        }
        self.violations = wrong;
    }
}
