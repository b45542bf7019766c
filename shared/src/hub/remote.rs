//! Requests of which the origin answers a part: commands that it runs, those that need one agreed order, and jobs of the outbox.
//!
//! A request is answered when all of it is. A job that is kept is done in any case, so one whose reply does not come in time
//! is answered without it, and provisionally.
//!
//! What needs one agreed order bears the hub's last numbers: the origin executes it once it has what the hub acknowledged
//! before. By the time of its answer the hub has been told what it did, so what follows in the request meets that; where its keys
//! are not held by then, it waits for them as a request that begins.
//!
//! What was asked for is never asked for again, since it may have run. Where no answer comes, because the connection broke or
//! time is up, the client is told that the outcome is unknown. The same is stored under an `Idempotency-Key` before the
//! origin is asked, so that a retry under that key never runs the command twice, also after this hub was restarted.

use super::{Connection, Hub, HubEffect, commands::Progress};
use crate::{
    command::{Command, CommandError, CommandName, Passed},
    id::{Key, No, TimestampMs},
    limits::{RUN_BYTES_MAX, RUNS_MAX},
    message::{HubToOrigin, RunReply},
    slot::Slot,
};
use bytes::Bytes;
use std::collections::BTreeSet;

/// How long the rest of a request waits for keys, in milliseconds: as long as a request that begins.
const REST_MS_MAX: i64 = 5_000;

/// How long a request waits for what Redis answers to its jobs, in milliseconds.
const JOB_MS_MAX: i64 = 5_000;

/// How long a request waits for the origin to run its commands, in milliseconds: longer than the origin gives them, so that it
/// is the origin that tells what became of them.
const RUN_MS_MAX: i64 = 15_000;

/// Commands of one request for the origin, with their places in it and their names.
#[derive(Debug, Default)]
struct Batch {
    commands: Vec<Vec<Bytes>>,
    places: Vec<(usize, CommandName)>,
}

/// The commands of one request that are to be run, and the jobs that were taken in, with their places in it.
#[derive(Debug, Default)]
pub(super) struct Passing {
    passed: Batch,
    ordered: Batch,
    /// The slots whose writes come before what is ordered; all of them where that concerns all keys.
    slots: BTreeSet<Slot>,
    is_of_keyspace: bool,
    bytes: usize,
    jobs: Vec<(No, usize)>,
}

impl Passing {
    pub(super) fn is_empty(&self) -> bool {
        self.passed.commands.is_empty() && self.ordered.commands.is_empty() && self.jobs.is_empty()
    }

    /// Whether something is passed through, which may write.
    pub(super) fn is_written(&self) -> bool {
        !self.passed.commands.is_empty() || self.has_jobs()
    }

    pub(super) fn has_orders(&self) -> bool {
        !self.ordered.commands.is_empty()
    }

    pub(super) fn has_jobs(&self) -> bool {
        !self.jobs.is_empty()
    }

    /// Notes a job and its place.
    pub(super) fn take_in(&mut self, no: No, place: usize) {
        self.jobs.push((no, place));
    }
}

/// A request some of whose commands the origin runs.
#[derive(Debug)]
pub(super) struct Remote {
    progress: Progress,
    /// Which of the replies the origin's to the call are; none once it has answered.
    places: Vec<(usize, CommandName)>,
    /// What is asked for once the call is answered, and which slots' writes precede it.
    ordered: Batch,
    slots: Option<BTreeSet<Slot>>,
    /// How many jobs have no reply.
    jobs: usize,
    /// Whether all is answered, and what is left waits for keys or rights.
    is_parked: bool,
    pub(super) until: TimestampMs,
}

impl Remote {
    fn is_open(&self) -> bool {
        !self.places.is_empty() || self.jobs > 0
    }

    /// The request, with what is not executed yet.
    pub(super) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// What is left of it, if that waits for keys or rights.
    pub(super) fn parked(&self) -> impl Iterator<Item = &Command> + '_ {
        let progress = Some(&self.progress).filter(|_| self.is_parked);
        progress.into_iter().flat_map(Progress::commands)
    }

    /// As far as it came, if no more is waited for.
    fn into_progress(mut self) -> Progress {
        self.progress.provisional |= self.jobs > 0;
        self.progress
    }
}

impl Hub {
    /// Puts a command among those that the origin is to run. Gives what it is answered until the origin has: that the outcome
    /// is unknown, or why it is not run.
    pub(super) fn pass(&self, passed: Passed, place: usize, passing: &mut Passing) -> CommandError {
        let admitted = self.admit_remotely(&passed.argv, passing);
        if admitted == CommandError::OutcomeUnknown {
            passing.passed.commands.push(passed.argv);
            passing.passed.places.push((place, passed.name));
        }
        admitted
    }

    /// Likewise a command that needs one agreed order.
    pub(super) fn order(
        &mut self,
        command: &Command,
        argv: Vec<Bytes>,
        place: usize,
        passing: &mut Passing,
    ) -> CommandError {
        let admitted = self.admit_remotely(&argv, passing);
        if admitted == CommandError::OutcomeUnknown {
            passing.is_of_keyspace |= command.of_keyspace().is_some();
            passing.slots.extend(command.keys().map(Key::slot));
            // The origin tells what it did to a key before it answers, if it was asked for the key.
            self.want(command.keys().as_slice());
            passing.ordered.commands.push(argv);
            passing.ordered.places.push((place, command.name()));
        }
        admitted
    }

    fn admit_remotely(&self, argv: &[Bytes], passing: &mut Passing) -> CommandError {
        if self.origin.is_none() {
            return CommandError::OriginAway;
        }
        if self.remotes.len() >= RUNS_MAX {
            return CommandError::TooManyAtOrigin;
        }
        let bytes = argv.iter().fold(passing.bytes, |sum, argument| sum.saturating_add(argument.len()));
        if bytes > RUN_BYTES_MAX {
            return CommandError::operation_too_large();
        }
        passing.bytes = bytes;
        CommandError::OutcomeUnknown
    }

    /// Asks the origin to run them, and waits for it; with the origin away there is nothing to wait for. What is remembered
    /// under the request's idempotency key is stored before.
    pub(super) fn ask_remotely(&mut self, passing: Passing, mut progress: Progress, now: TimestampMs) {
        let Passing { passed, ordered, slots, is_of_keyspace, jobs, .. } = passing;
        let Some(connection) = self.origin.as_ref().map(|origin| origin.connection) else {
            // Only jobs came so far, and they are kept.
            progress.provisional = true;
            self.go_on(progress, &[], now);
            return;
        };
        // Random, so that an answer to a call of this machine's former life is no answer to one of this life.
        let call = self.keys.entropy();
        let until = now.plus_ms(if passed.places.is_empty() { JOB_MS_MAX } else { RUN_MS_MAX });
        let slots = Some(slots).filter(|_| !is_of_keyspace);
        let mut remote =
            Remote { progress, places: passed.places, ordered, slots, jobs: jobs.len(), is_parked: false, until };
        for (no, place) in jobs {
            self.outbox.wait(no, call, place);
        }
        if !passed.commands.is_empty() {
            let run = HubToOrigin::Run { call, commands: passed.commands };
            self.effects.push(HubEffect::ToOrigin(connection, run));
        } else if !remote.ordered.commands.is_empty() {
            self.ask_in_order(connection, call, &mut remote, now);
        }
        self.remotes.insert(call, remote);
    }

    /// Asks the origin for what needs one agreed order, after all that this hub wrote there before.
    fn ask_in_order(&mut self, connection: Connection, call: u64, remote: &mut Remote, now: TimestampMs) {
        let Batch { commands, places } = std::mem::take(&mut remote.ordered);
        remote.places = places;
        remote.until = now.plus_ms(RUN_MS_MAX);
        let is_before = |slot: &Slot| remote.slots.as_ref().is_none_or(|slots| slots.contains(slot));
        let slots = self.slots.iter().filter(|(slot, _)| is_before(slot) && !fault!(OrderedBeforeOwnWrites));
        // Also what was committed: until it is stable the store may have lost it, and this hub may not have heard.
        let after = slots.filter(|(_, state)| state.latest > state.stable).map(|(slot, state)| (slot, state.latest));
        let within = self.namespace.clone();
        let order = HubToOrigin::Order { call, after: after.collect(), within, commands };
        self.effects.push(HubEffect::ToOrigin(connection, order));
    }

    /// The origin has run them.
    pub(super) fn ran(&mut self, call: u64, replies: Vec<RunReply>, now: TimestampMs) {
        let Some(remote) = self.remotes.get_mut(&call) else { return };
        for ((place, name), reply) in std::mem::take(&mut remote.places).into_iter().zip(replies) {
            if let Some(answered) = remote.progress.replies.get_mut(place) {
                *answered = self.namespace.unplaced(name, reply.map_err(CommandError::AtOrigin));
            }
        }
        self.finish_remote(call, now);
    }

    /// A job of a request has run, now or before.
    pub(super) fn job_done(&mut self, call: u64, place: usize, reply: Option<RunReply>, now: TimestampMs) {
        let Some(remote) = self.remotes.get_mut(&call) else { return };
        remote.jobs = remote.jobs.saturating_sub(1);
        match (reply, remote.progress.replies.get_mut(place)) {
            (Some(reply), Some(answered)) => {
                // What a job is answered names no key, but an error may.
                *answered = self.namespace.unplaced(CommandName::XAdd, reply.map_err(CommandError::AtOrigin));
            }
            _ => remote.progress.provisional = true,
        }
        self.finish_remote(call, now);
    }

    /// Goes on with the request if all that was asked for is answered.
    fn finish_remote(&mut self, call: u64, now: TimestampMs) {
        if self.remotes.get(&call).is_none_or(|remote| remote.is_open() || remote.is_parked) {
            return;
        }
        let Some(mut remote) = self.remotes.remove(&call) else { return };
        match self.origin.as_ref().map(|origin| origin.connection) {
            Some(connection) if !remote.ordered.commands.is_empty() => {
                self.ask_in_order(connection, call, &mut remote, now);
                self.remotes.insert(call, remote);
            }
            Some(_) if self.awaits_rest(&remote, now) => {
                remote.is_parked = true;
                remote.until = now.plus_ms(REST_MS_MAX);
                self.remotes.insert(call, remote);
            }
            _ => self.go_on(remote.into_progress(), &[], now),
        }
    }

    /// Whether what is left of a request is to wait for keys, which may have been forgotten since it began, and are asked for; or
    /// for rights, which may be used up, and are asked for as long as it waits.
    fn awaits_rest(&mut self, remote: &Remote, now: TimestampMs) -> bool {
        let is_missing = self.is_missing_rest(&remote.progress, now);
        if is_missing {
            let keys: Vec<Key> = remote.progress.keys().cloned().collect();
            self.want(&keys);
        }
        is_missing
    }

    /// Goes on with the requests whose last keys or rights have come.
    pub(super) fn resume_remotes(&mut self, now: TimestampMs) {
        let parked = self.remotes.iter().filter(|(_, remote)| remote.is_parked).map(|(call, _)| *call);
        // One after the other, since each may use the rights that the next one waits for.
        for call in parked.collect::<Vec<u64>>() {
            let is_missing = |remote: &Remote| self.is_missing_rest(&remote.progress, now);
            if !self.remotes.get(&call).is_none_or(is_missing)
                && let Some(remote) = self.remotes.remove(&call)
            {
                self.go_on(remote.into_progress(), &[], now);
            }
        }
    }

    /// Nobody will answer what was asked of the origin: whoever waits is told, and what else was asked for is executed.
    pub(super) fn give_up_remotes(&mut self, now: TimestampMs) {
        self.outbox.forget_waiters();
        for remote in std::mem::take(&mut self.remotes).into_values() {
            self.go_on(remote.into_progress(), &[], now);
        }
    }

    /// Gives up what has waited too long. Linear in what waits.
    pub(super) fn end_remotes(&mut self, now: TimestampMs) {
        let late: Vec<Remote> =
            self.remotes.extract_if(.., |_, remote| remote.until <= now).map(|(_, remote)| remote).collect();
        for remote in late {
            self.go_on(remote.into_progress(), &[], now);
        }
    }
}
