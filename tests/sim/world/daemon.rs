//! The daemons: their machines, crashes and pauses, and what they ask of the store.

use super::*;

impl World {
    pub(super) fn add_daemon(&mut self, index: usize) {
        let skew_ms = self.lane(Lane::Node(End::Daemon(index))).i64(-400..400);
        self.daemons.push(Daemon {
            machine: None,
            life: 0,
            skew_ms,
            wake_at: 0,
            paused_until: 0,
            crash_after: None,
            run_id: 0,
        });
        self.after(Lane::Node(End::Daemon(index)), 0, 500, Event::DaemonUp(index, 0));
    }

    pub(super) fn origin_input(&mut self, index: usize, input: OriginInput) {
        let now = self.clock(End::Daemon(index));
        self.trace.record(self.now, End::Daemon(index), &input);
        self.latest_clock = self.latest_clock.max(now);
        let daemon = &mut self.daemons[index];
        let (life, run_id) = (daemon.life, daemon.run_id);
        let Some(machine) = &mut daemon.machine else { return };
        let effects = machine.handle(input, now);
        for effect in effects {
            if self.crashes_before_effect(index) {
                return;
            }
            self.trace.record(self.now, End::Daemon(index), &effect);
            match effect {
                OriginEffect::ToHub(link, message) => {
                    let frame = framed(&message);
                    let is_hardy = !matches!(message, OriginToHub::Welcome { .. } | OriginToHub::Refused(_));
                    self.transmit(link.0, true, frame, Care::hardy_if(is_hardy));
                }
                OriginEffect::Close(link, reason) => {
                    let is_ahead = reason.contains("ahead") && self.has(Kind::Clock);
                    if !reason.contains("hello") && !is_ahead {
                        self.violate(Checker::Refusals, format!("the daemon refused a hub: {reason}"));
                    }
                    self.break_wire(link.0);
                }
                OriginEffect::Load(load) => {
                    self.after(Lane::Store(index), 0, 5, Event::StoreLoad { daemon: index, life, run_id, load });
                }
                OriginEffect::Commit(commit) => {
                    let slow = if self.chance(Lane::Store(index), 20) { 2_000 } else { 5 };
                    let commit = Box::new(commit);
                    self.after(Lane::Store(index), 0, slow, Event::StoreCommit { daemon: index, life, run_id, commit });
                }
                OriginEffect::Swap(swap) => {
                    let slow = if self.chance(Lane::Store(index), 20) { 2_000 } else { 5 };
                    let swap = Box::new(swap);
                    self.after(Lane::Store(index), 0, slow, Event::StoreSwap { daemon: index, life, run_id, swap });
                }
                OriginEffect::Run { link, call, commands, .. } => {
                    // The model has no such server; what a real one does is tried in the daemon's own tests.
                    let replies = vec![Err("ERR there is no server".into()); commands.len()];
                    self.origin_input(index, OriginInput::Ran(link, call, replies));
                    if self.daemons[index].life != life {
                        return;
                    }
                }
                // Whoever sends jobs tries this with a model of its own (shared/tests/outbox.rs).
                OriginEffect::Jobs { link, hub, slot, jobs } => {
                    let through = jobs.last().map_or(No::ZERO, |(no, _)| *no);
                    let done = JobsDone { hub, slot, through, replies: Vec::new() };
                    self.origin_input(index, OriginInput::JobsDone(link, done));
                    if self.daemons[index].life != life {
                        return;
                    }
                }
                OriginEffect::Foreign(key) => {
                    self.violate(Checker::Convergence, format!("a foreign value stands at {key}"));
                }
                OriginEffect::Adopted(_) | OriginEffect::Erased(_) => {}
                // Nobody listens to channels here.
                OriginEffect::Listen(_) | OriginEffect::Unlisten(_) => {}
                OriginEffect::Confirm(slots) => {
                    let run_id = self.daemons[index].run_id;
                    self.after(Lane::Store(index), 0, 300, Event::StoreConfirm { daemon: index, life, run_id, slots });
                }
                OriginEffect::WakeAt(at) => {
                    let delay = at.since_ms(now).max(0);
                    self.daemons[index].wake_at = self.now + delay;
                    self.at(delay, Event::OriginTick(index, life, self.now + delay));
                }
            }
        }
    }

    fn crashes_before_effect(&mut self, index: usize) -> bool {
        let Some((after, down_ms)) = self.daemons[index].crash_after else { return false };
        if after > 0 {
            self.daemons[index].crash_after = Some((after - 1, down_ms));
            return false;
        }
        self.crash_daemon(index, down_ms);
        true
    }

    pub(super) fn has(&self, kind: Kind) -> bool {
        self.scenario.troubles.iter().any(|(other, _)| *other == kind)
    }

    pub(super) fn crash_daemon(&mut self, index: usize, down_ms: i64) {
        let daemon = &mut self.daemons[index];
        daemon.machine = None;
        daemon.crash_after = None;
        daemon.paused_until = 0;
        daemon.life += 1;
        let life = daemon.life;
        let wires = self.wires.iter().filter(|(_, wire)| wire.is_open && wire.peer == End::Daemon(index));
        let wires: Vec<u64> = wires.map(|(id, _)| *id).collect();
        wires.into_iter().for_each(|wire| self.break_wire(wire));
        let down_ms = if self.is_rough { down_ms } else { down_ms.min(3_000) };
        self.at(down_ms, Event::DaemonUp(index, life));
    }

    /// Its store connection broke: it makes a new machine.
    pub(super) fn daemon_lost(&mut self, index: usize, run_id: u64) {
        if self.daemons[index].machine.is_some() && self.daemons[index].run_id == run_id && self.is_stale(run_id) {
            self.crash_daemon(index, 200);
        }
    }

    /// Whether a connection was to a server that is gone. A client that reconnects by itself never finds out.
    fn is_stale(&self, run_id: u64) -> bool {
        run_id != self.store.run_id && !fault::is_active(Fault::StaleConnectionCommits)
    }

    pub(super) fn daemon_up(&mut self, index: usize, life: u64) {
        if self.daemons[index].machine.is_some() || self.daemons[index].life != life {
            return;
        }
        let config = OriginConfig {
            run_id: Bytes::from(self.store.run_id.to_string()),
            entropy: self.lane(Lane::Node(End::Daemon(index))).u64(..),
            seed: HashSeed(self.seed, index as u64),
            // Some daemons go by the window, some by the store's word, some by either.
            stable_by: [StableBy::Window, StableBy::Store, StableBy::Either][(self.seed % 3) as usize],
            loss_window_ms: LOSS_WINDOW_MS,
            window_ms: 5,
            window_ms_max: 100,
            audit_ms: self.scenario.audit_ms(),
        };
        let machine = Origin::new(config);
        // Some expect new keys where there are none, as after many that were.
        let expects_new = self.seed % 2 == 1;
        self.daemons[index].machine = Some(if expects_new { machine.expecting_new_keys() } else { machine });
        self.daemons[index].run_id = self.store.run_id;
        self.origin_input(index, OriginInput::Untracked);
        self.after(Lane::Node(End::Daemon(index)), 0, 200, Event::DaemonDial(index, life));
    }

    pub(super) fn daemon_dial(&mut self, index: usize, life: u64) {
        let peer = End::Daemon(index);
        for hub in 0..self.hubs.len() {
            if life != self.daemons[index].life {
                return;
            }
            let mut open = self.wires.values().filter(|wire| wire.is_open && wire.hub == hub);
            let is_dialled = open.any(|wire| wire.peer == peer && wire.life == life);
            if !is_dialled && self.hubs[hub].machine.is_some() && !self.is_parted(peer, hub) {
                let wire = self.open_wire(peer, life, hub);
                self.origin_input(index, OriginInput::Opened(Link(wire)));
            }
        }
        self.after(Lane::Node(peer), 200, 1_000, Event::DaemonDial(index, life));
    }

    pub(super) fn store_load(&mut self, daemon: usize, life: u64, run_id: u64, load: &Load) {
        if self.is_stale(run_id) {
            self.at(0, Event::DaemonLost(daemon, run_id));
            return;
        }
        let loaded = Box::new(self.store.load(load, TimestampMs(self.now)));
        self.after(Lane::Store(daemon), 0, 5, Event::StoreLoaded { daemon, life, loaded });
    }

    /// Also of a daemon that died meanwhile, as with a commit.
    pub(super) fn store_swap(&mut self, daemon: usize, life: u64, run_id: u64, swap: LedgerSwap) {
        if self.is_stale(run_id) {
            self.at(0, Event::DaemonLost(daemon, run_id));
            return;
        }
        let outcome = self.store.swap(&swap);
        self.trace.record(self.now, "store", &outcome);
        let answer = Box::new((swap.key, outcome));
        self.after(Lane::Store(daemon), 0, 5, Event::StoreSwapped { daemon, life, answer });
    }

    /// The store asks its replicas how far they are; not all of them answer in time.
    pub(super) fn store_confirm(&mut self, daemon: usize, life: u64, run_id: u64, mut slots: Vec<Slot>) {
        if self.is_stale(run_id) {
            self.at(0, Event::DaemonLost(daemon, run_id));
            return;
        }
        let lane = Lane::Store(daemon);
        if self.chance(lane, 4) {
            slots.pop();
        }
        if !slots.is_empty() {
            self.store.replicate(TimestampMs(self.now));
        }
        self.after(lane, 0, 300, Event::StoreConfirmed { daemon, life, slots });
    }

    /// Tells the daemons that a slot changed; such a hint is easily lost.
    fn publish(&mut self, commit: &Commit) {
        let (slot, seq) = (commit.slot, commit.marker.seq);
        for daemon in 0..self.daemons.len() {
            let lane = Lane::Store(daemon);
            if self.daemons.len() > 1 && !self.chance(lane, 4) && !fault::is_active(Fault::OthersNotHeard) {
                self.after(lane, 0, 20, Event::Hint { daemon, slot, seq });
            }
        }
    }

    /// A plain client writes at the store, which acknowledges at once.
    pub(super) fn plain_write(&mut self, work: &Work) {
        let Some(key) = work.entry.key() else { return };
        self.store.write_plainly(key, &work.commands[0], TimestampMs(self.now));
        let number = self.ledger.book(work.entry.clone(), None, self.now, self.now);
        if self.evicted.contains(key) {
            // A value that begins anew is told from one that went on only by its size.
            self.ledger.doubt(number);
        }
        self.by_plain.push(number);
        self.tell_of(vec![key.clone()]);
    }

    /// The store tracks keys, and tells the daemons what was written; that is easily lost.
    fn tell_of(&mut self, keys: Vec<Key>) {
        for daemon in 0..self.daemons.len() {
            let (lane, life) = (Lane::Store(daemon), self.daemons[daemon].life);
            if !keys.is_empty() && !self.chance(lane, 6) {
                self.after(lane, 0, 20, Event::Touched { daemon, life, keys: keys.clone() });
            }
        }
    }

    /// Also one of a daemon that died meanwhile: it was on its way.
    pub(super) fn store_commit(&mut self, daemon: usize, life: u64, run_id: u64, commit: &Commit) {
        if self.is_stale(run_id) {
            self.at(0, Event::DaemonLost(daemon, run_id));
            return;
        }
        let outcome = self.store.commit(commit, TimestampMs(self.now));
        self.trace.record(self.now, "store", &outcome);
        if matches!(outcome, Outcome::Committed | Outcome::Drifted(_)) {
            self.publish(commit);
            let written = commit.keys.iter().filter(|key| !key.plain.commands.is_empty());
            self.tell_of(written.map(|key| key.key.clone()).collect());
        }
        self.after(Lane::Store(daemon), 0, 5, Event::StoreCommitted { daemon, life, slot: commit.slot, outcome });
    }
}
