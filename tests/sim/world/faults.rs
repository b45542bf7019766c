//! The planned troubles, as they come.

use super::*;
use crate::plan::Trouble;

impl World {
    pub(super) fn trouble(&mut self, trouble: Trouble) {
        match trouble {
            Trouble::Cut { leaf } => self.cut(leaf),
            Trouble::Roam { leaf, hub } => {
                self.leaves[leaf].hub = hub;
                self.cut(leaf);
            }
            Trouble::Away { leaf, ms } => {
                self.leaves[leaf].away_until = self.now + ms;
                self.cut(leaf);
                self.at(ms, Event::LeafDial(leaf));
            }
            Trouble::CrashHub { hub, after, down_ms } => self.hubs[hub].crash_after = Some((after, down_ms)),
            Trouble::Sleep { hub } => self.hibernate(hub),
            Trouble::Wipe { hub } => self.wipe(hub),
            Trouble::CrashDaemon { daemon, after, down_ms } => {
                self.daemons[daemon].crash_after = Some((after, down_ms));
            }
            Trouble::Pause { daemon, ms } => self.daemons[daemon].paused_until = self.now + ms,
            Trouble::FailOver { back_ms } => {
                let kept = self.store.fail_over(TimestampMs(self.now - back_ms));
                self.ledger.doubt_since(&self.by_plain, kept.map_or(0, |at| at.0), None);
                self.after_failover();
            }
            Trouble::Flush { is_restart } => {
                self.store.flush(is_restart);
                if !is_restart {
                    // An account that is deleted while the server lives is forgotten.
                    self.void_strict_limits();
                }
                self.ledger.doubt_since(&self.by_plain, 0, None);
                self.promised.clear();
                self.has_losses = true;
                self.lose_store();
            }
            Trouble::Evict { key } => {
                self.store.evict(&key);
                // What no daemon had seen is gone.
                self.ledger.doubt_since(&self.by_plain, 0, Some(&key));
                self.evicted.insert(key);
                self.has_losses = true;
            }
            Trouble::Lose { key } => {
                self.store.lose(&key);
                self.ledger.doubt_since(&self.by_plain, 0, Some(&key));
            }
            Trouble::Part { hub, peer, to_hub, from_hub, ms } => {
                self.part(Partition { hub, peer, to_hub, from_hub, until: self.now + ms });
            }
            Trouble::Clock { node, by_ms, ms } => {
                self.clocks_off.insert(node, by_ms);
                self.at(ms, Event::ClockBack(node));
            }
        }
    }

    fn cut(&mut self, leaf: usize) {
        if let Some(wire) = self.leaves[leaf].wire {
            self.break_wire(wire);
        }
        self.reopen(leaf);
    }

    fn after_failover(&mut self) {
        if self.scenario.loss_ms > LOSS_WINDOW_MS {
            // More is lost than the daemon was told could be: no promise holds, and hubs must make it good.
            self.promised.clear();
            self.has_losses = true;
        }
        let mut broken = Vec::new();
        for ((hub, slot), no) in &self.promised {
            let kept = self.store.marker(*slot).and_then(|marker| marker.hubs.get(hub)).copied().unwrap_or_default();
            if kept < *no {
                broken.push(format!("{hub} was promised {no:?} of {slot:?} stable; a failover left {kept:?}"));
            }
        }
        broken.into_iter().for_each(|text| self.violate(Checker::Stability, text));
        self.lose_store();
    }

    /// Each daemon notices in its own time that its connection is gone.
    fn lose_store(&mut self) {
        for daemon in 0..self.daemons.len() {
            let run_id = self.daemons[daemon].run_id;
            if run_id != self.store.run_id {
                self.after(Lane::Store(daemon), 0, 1_000, Event::DaemonLost(daemon, run_id));
            }
        }
    }

    /// A hub loses its storage and comes back as somebody else. What it acknowledged and the origin does not have is lost:
    /// more was not promised.
    fn wipe(&mut self, hub: usize) {
        let id = self.hubs[hub].id;
        self.crash_hub(hub, 500);
        self.ledger.doubt_kept();
        self.hubs[hub].rows.clear();
        self.hubs[hub].former.push(id);
        self.hubs[hub].reader.forget();
        let committed = |store: &Store, slot: Slot| {
            store.marker(slot).and_then(|marker| marker.hubs.get(&id)).copied().unwrap_or_default()
        };
        for (_, _, _, number) in
            self.landed.iter().filter(|(of, slot, no, _)| *of == id && *no > committed(&self.store, *slot))
        {
            self.ledger.doubt(*number);
        }
        for leaf in &self.leaves {
            let open = leaf.sent.iter().filter(|((session, _), _)| session.hub == id);
            open.for_each(|(_, (_, number))| self.ledger.doubt(*number));
        }
        // Clients that have no answer give up: a second try would be a second operation.
        let asked: Vec<u64> =
            self.https.iter().filter(|(_, http)| http.hub == hub && !http.is_done).map(|(id, _)| *id).collect();
        asked.into_iter().for_each(|id| self.give_up(id));
    }
}
