//! A hub whose storage is an old copy begins anew, as the next incarnation of its site.
//!
//! A backup or a point-in-time restore brings back rows from before numbers that others have heard of; going on from there
//! would give those numbers to other operations. The origin's own word tells: whatever it knows of a hub the hub has said,
//! after it had stored it. So an acknowledged number that is higher than any that was stored or sent since proves that the
//! storage went back, and so does one in a context that is higher than any that was stored or made since. (No list of starts is kept or compared: a copy that was made within the last
//! start would carry the same list.)
//!
//! What was made since the copy has perhaps taken numbers of other operations, and what it was made on may be such; so all
//! goes, and the hub holds what the origin has. Lost is what was written at this hub after the copy was made and did not
//! reach the origin, and all that was written between the restore and the first word of the origin.

use super::{Hub, HubConfig, HubEffect, RowId};
use crate::{
    id::{No, TimestampMs},
    message::HubToOrigin,
    slot::Slot,
    wire::Capabilities,
};

impl Hub {
    /// Takes note of one of the hub's own numbers that the origin acknowledges.
    pub(super) fn heed_acknowledged(&mut self, slot: Slot, no: No) {
        let uttered = self.slots.at(slot).map_or(No::ZERO, |state| state.uttered);
        self.is_set_back |= no > uttered;
    }

    /// Takes note of one of the hub's own numbers in the context of a key. What a leaf saw here may have reached the origin by
    /// another hub, before this one said it.
    pub(super) fn heed_seen(&mut self, slot: Slot, no: No) {
        let made = self.slots.at(slot).map_or(No::ZERO, |state| state.latest.max(state.uttered));
        self.is_set_back |= no > made;
    }

    /// Drops all rows and all that is held, takes the next identity and greets everybody again. What the origin sends before
    /// it greets in turn was meant for the former identity, and is passed over.
    pub(super) fn begin_anew(&mut self, now: TimestampMs) {
        let config = HubConfig {
            name: self.name.clone(),
            seed: self.keys.seed(),
            memory: self.memory.limit(),
            namespace: self.namespace.clone(),
        };
        let mut next = Self::empty(config, self.id.next_incarnation());
        // The draws go on: numbers of the former life's calls are not given out again while their answers are under way.
        std::mem::swap(&mut next.keys.uses, &mut self.keys.uses);
        next.keys.uses.set_now(now);
        // Stamps go on above those that were given out, and sessions of both incarnations differ by their hub.
        next.clock = self.clock;
        next.is_meta_dirty = true;
        next.dirty.extend(self.rows());
        next.wake_at = self.wake_at;
        // Requests that wait for keys are carried out on what comes; what this input brought forth does not hold.
        next.waiting = std::mem::take(&mut self.waiting);
        let wanted: Vec<_> = next.waiting.iter().flat_map(|waiting| waiting.keys().cloned()).collect();
        next.want(&wanted);
        // What the origin runs for requests it runs all the same, and nobody will hear of it.
        next.remotes = std::mem::take(&mut self.remotes);
        next.give_up_remotes(now);
        next.seen = std::mem::take(&mut self.seen);
        next.give_up_behind();
        next.committing = std::mem::take(&mut self.committing);
        next.give_up_commits();
        // The sockets stay, and so does what their leaves may do.
        next.grants = std::mem::take(&mut self.grants);
        let leaves = self.leaves.connections();
        next.effects.extend(leaves.map(|leaf| HubEffect::ToLeaf(leaf, crate::message::HubToLeaf::Again)));
        let origins = self.spare_origins.iter().copied().chain(self.origin.as_ref().map(|origin| origin.connection));
        let hello = HubToOrigin::Hello {
            hub: next.id,
            name: next.name.clone(),
            now,
            unstable: Vec::new(),
            capabilities: Capabilities::CURRENT,
        };
        next.effects.extend(origins.map(|origin| HubEffect::ToOrigin(origin, hello.clone())));
        *self = next;
    }

    /// Every row that is stored but the hub's own.
    fn rows(&self) -> Vec<RowId> {
        let mut rows: Vec<RowId> = (0..self.stored_replicas).map(RowId::Replica).collect();
        rows.extend(self.slots.iter().map(|(slot, _)| RowId::Slot(slot)));
        for (no, _) in self.keys.iter() {
            let key = self.keys.key(no);
            let notes = self.keys.notes(no).into_iter().flat_map(|notes| notes.changed_after(No::ZERO));
            let gone = notes.map(|(id, _)| id.clone());
            let elements = self.keys.view(no).elements().into_iter().map(|(id, _)| id);
            rows.extend(elements.chain(gone).map(|id| RowId::Element(key.clone(), id)));
            rows.push(RowId::Key(key));
        }
        rows.extend(self.sessions.keys().map(|session| RowId::Session(*session)));
        rows.extend(self.answers.keys().map(|answer| RowId::Answer(answer.clone())));
        rows.extend(self.outbox.numbers().map(RowId::Job));
        rows.extend(self.strict.rows());
        // What was to be dropped in this input, elements that it removed among them.
        rows.extend(self.dirty_elements.iter().map(|(no, id)| RowId::Element(self.keys.key(*no), id.clone())));
        rows.extend(self.dirty.iter().filter(|row| **row != RowId::Meta).cloned());
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        grant::Grants,
        hub::{Connection, HubInput, Request},
        id::Key,
        message::{HubToLeaf, LeafToHub},
    };

    #[test]
    fn a_leaf_stays_bound_to_its_grants() {
        let (now, leaf) = (TimestampMs(1_700_000_000_000), Connection(1));
        let (mut hub, _) = Hub::create("eu/0".to_owned(), 1 << 32, now);
        hub.handle(HubInput::Granted(leaf, Grants::default()), now);
        hub.begin_anew(now);
        let key = Key::new(bytes::Bytes::from_static(b"k")).unwrap();
        let effects = hub.handle(HubInput::Leaf(leaf, LeafToHub::Subscribe(vec![key])), now);
        let is_refused = |effect: &HubEffect| matches!(effect, HubEffect::ToLeaf(_, HubToLeaf::Refused(_)));
        assert!(effects.iter().any(is_refused), "{effects:?}");
    }

    #[test]
    fn the_next_incarnation_draws_no_number_twice() {
        let now = TimestampMs(1_700_000_000_000);
        let (mut hub, _) = Hub::create("eu/0".to_owned(), 1 << 32, now);
        let before = hub.keys.entropy();
        hub.begin_anew(now);
        assert_ne!(hub.keys.entropy(), before);
    }

    #[test]
    fn a_number_that_a_leaf_carried_to_the_origin_by_another_hub_is_no_sign_of_a_copy() {
        let now = TimestampMs(1_700_000_000_000);
        let (mut hub, _) = Hub::create("eu/0".to_owned(), 1 << 32, now);
        let command = ["SADD", "k", "m"].map(|word| bytes::Bytes::from_static(word.as_bytes()));
        let commands = vec![command.to_vec()];
        hub.handle(HubInput::Commands { request: Request(0), commands, idempotency: None }, now);
        let slot = Slot::of(b"k");
        let made = hub.slots.at(slot).unwrap().latest;
        hub.heed_seen(slot, made);
        assert!(!hub.is_set_back);
        hub.heed_seen(slot, No(made.0 + 1));
        assert!(hub.is_set_back);
    }
}
