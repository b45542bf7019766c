//! The daemon: its machine, its store, crashes, and failovers of the store.

use super::*;

impl World {
    pub(super) fn origin_input(&mut self, input: OriginInput) {
        let now = TimestampMs(self.now + self.daemon.skew_ms);
        let Some(machine) = &mut self.daemon.machine else { return };
        let effects = machine.handle(input, now);
        let (daemon, run_id) = (self.daemon.life, self.store.run_id);
        for effect in effects {
            if self.chance(5_000) {
                self.crash_daemon();
                return;
            }
            match effect {
                OriginEffect::ToHub(link, message) => {
                    let frame = wire::encode(&message).expect("messages fit a frame");
                    let is_hardy = !matches!(message, OriginToHub::Welcome { .. } | OriginToHub::Refused(_));
                    self.transmit(link.0, true, frame, is_hardy);
                }
                OriginEffect::Close(link, reason) => {
                    if !reason.contains("hello") {
                        self.violations.push(format!("the daemon refused a hub: {reason}"));
                    }
                    self.break_wire(link.0);
                }
                OriginEffect::Load(load) => self.after(0, 5, Event::StoreLoad { daemon, run_id, load }),
                OriginEffect::Commit(commit) => {
                    let slow = if self.chance(20) { 2_000 } else { 5 };
                    self.after(0, slow, Event::StoreCommit { daemon, run_id, commit: Box::new(commit) });
                }
                OriginEffect::Foreign(key) => self.violations.push(format!("a foreign value at {key}")),
                OriginEffect::WakeAt(at) => {
                    let at = (at.0 - self.daemon.skew_ms).max(self.now);
                    self.daemon.wake_at = at;
                    self.after(at - self.now, 0, Event::OriginTick(daemon, at));
                }
            }
        }
    }

    pub(super) fn crash_daemon(&mut self) {
        self.daemon.machine = None;
        self.daemon.life += 1;
        let wires: Vec<u64> = self
            .wires
            .iter()
            .filter(|(_, w)| w.is_open && matches!(w.peer, Peer::Daemon(_)))
            .map(|(id, _)| *id)
            .collect();
        for wire in wires {
            self.break_wire(wire);
        }
        self.after(100, 3_000, Event::DaemonUp);
    }

    pub(super) fn daemon_up(&mut self) {
        if self.daemon.machine.is_some() {
            return;
        }
        let config = OriginConfig {
            run_id: Bytes::from(self.store.run_id.to_string()),
            entropy: self.rng.u64(..),
            loss_window_ms: LOSS_WINDOW_MS,
            window_ms: 50,
        };
        self.daemon.machine = Some(Origin::new(config));
        self.after(0, 200, Event::DaemonDial(self.daemon.life));
    }

    pub(super) fn daemon_dial(&mut self, life: u64) {
        if life != self.daemon.life || self.daemon.machine.is_none() {
            return;
        }
        for hub in 0..self.hubs.len() {
            let is_dialled =
                self.wires.values().any(|wire| wire.is_open && wire.hub == hub && wire.peer == Peer::Daemon(life));
            if !is_dialled && self.hubs[hub].machine.is_some() {
                let wire = self.open_wire(Peer::Daemon(life), hub);
                self.origin_input(OriginInput::Opened(Link(wire)));
            }
        }
        if life == self.daemon.life {
            self.after(200, 1_000, Event::DaemonDial(life));
        }
    }

    pub(super) fn fail_over(&mut self) {
        let choice = self.rng.usize(..);
        self.store.fail_over(choice);
        if self.climate.loss_ms > LOSS_WINDOW_MS {
            // More is lost than the daemon was told could be: no promise holds, and hubs must make it good.
            self.promised.clear();
        }
        for ((hub, slot), no) in &self.promised {
            let kept = self.store.marker(*slot).and_then(|marker| marker.hubs.get(hub)).copied().unwrap_or_default();
            if kept < *no {
                self.violations.push(format!("{hub} was promised {no:?} of {slot:?} stable; a failover left {kept:?}"));
            }
        }
        self.crash_daemon();
    }
}
