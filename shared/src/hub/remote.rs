//! Requests of which the origin answers a part: commands that it runs, and jobs of the outbox.
//!
//! A request is answered when all of it is. A job that is kept is done in any case, so one whose reply does not come in time
//! is answered without it, and provisionally.
//!
//! What was asked for is never asked for again, since it may have run. Where no answer comes, because the connection broke or
//! time is up, the client is told that the outcome is unknown. The same is stored under an `Idempotency-Key` before the
//! origin is asked, so that a retry under that key never runs the command twice, also after this hub was restarted.

use super::{Hub, HubEffect, Request, RowId};
use crate::{
    command::{CommandError, Passed, Reply},
    id::{No, TimestampMs},
    limits::{ROW_BYTES_MAX, RUN_BYTES_MAX, RUNS_MAX},
    message::{HubToOrigin, RunReply},
};
use bytes::Bytes;

/// How long a request waits for what Redis answers to its jobs, in milliseconds.
const JOB_MS_MAX: i64 = 5_000;

/// How long a request waits for the origin to run its commands, in milliseconds: longer than the origin gives them, so that it
/// is the origin that tells what became of them.
const RUN_MS_MAX: i64 = 15_000;

/// An answer that takes more in memory is not remembered under its idempotency key, since it is to fit a row; a retry is told
/// that the outcome is unknown.
const REMEMBERED_BYTES_MAX: usize = ROW_BYTES_MAX / 2;

/// The commands of one request that are to be run, and the jobs that were taken in, with their places in it.
#[derive(Debug, Default)]
pub(super) struct Passing {
    commands: Vec<Vec<Bytes>>,
    places: Vec<usize>,
    bytes: usize,
    jobs: Vec<(No, usize)>,
}

impl Passing {
    pub(super) fn is_empty(&self) -> bool {
        self.commands.is_empty() && self.jobs.is_empty()
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
    pub(super) request: Request,
    /// What is answered if nothing comes of the origin.
    pub(super) replies: Vec<Result<Reply, CommandError>>,
    pub(super) provisional: bool,
    pub(super) idempotency: Option<Bytes>,
    /// Which of the replies the origin's to the call are; none once it has answered.
    places: Vec<usize>,
    /// How many jobs have no reply.
    jobs: usize,
    pub(super) until: TimestampMs,
}

impl Remote {
    /// A request that waits from `now` on; its places are those of what is passed.
    pub(super) fn new(
        request: Request,
        replies: Vec<Result<Reply, CommandError>>,
        provisional: bool,
        idempotency: Option<Bytes>,
        now: TimestampMs,
    ) -> Self {
        Self { request, replies, provisional, idempotency, places: Vec::new(), jobs: 0, until: now }
    }

    fn is_open(&self) -> bool {
        !self.places.is_empty() || self.jobs > 0
    }

    fn into_effect(self) -> HubEffect {
        let provisional = self.provisional || self.jobs > 0;
        HubEffect::Reply { request: self.request, replies: self.replies, provisional }
    }
}

impl Hub {
    /// Puts a command among those that the origin is to run. Gives what it is answered until the origin has: that the outcome
    /// is unknown, or why it is not run.
    pub(super) fn pass(&self, passed: Passed, place: usize, passing: &mut Passing) -> CommandError {
        if self.origin.is_none() {
            return CommandError::OriginAway;
        }
        if self.remotes.len() >= RUNS_MAX {
            return CommandError::TooManyAtOrigin;
        }
        let bytes = passed.argv.iter().fold(passing.bytes, |sum, argument| sum.saturating_add(argument.len()));
        if bytes > RUN_BYTES_MAX {
            return CommandError::operation_too_large();
        }
        passing.bytes = bytes;
        passing.commands.push(passed.argv);
        passing.places.push(place);
        CommandError::OutcomeUnknown
    }

    /// Asks the origin to run them, and waits for it; with the origin away there is nothing to wait for. What is remembered
    /// under the request's idempotency key is stored before.
    pub(super) fn ask_remotely(&mut self, passing: Passing, mut remote: Remote) {
        let Passing { commands, places, jobs, .. } = passing;
        remote.jobs = jobs.len();
        let Some(connection) = self.origin.as_ref().map(|origin| origin.connection) else {
            self.effects.push(remote.into_effect());
            return;
        };
        // Random, so that an answer to a call of this machine's former life is no answer to one of this life.
        let call = self.keys.entropy();
        remote.until = remote.until.plus_ms(if places.is_empty() { JOB_MS_MAX } else { RUN_MS_MAX });
        remote.places = places;
        self.remotes.insert(call, remote);
        for (no, place) in jobs {
            self.outbox.wait(no, call, place);
        }
        if !commands.is_empty() {
            self.effects.push(HubEffect::ToOrigin(connection, HubToOrigin::Run { call, commands }));
        }
    }

    /// The origin has run them.
    pub(super) fn ran(&mut self, call: u64, replies: Vec<RunReply>) {
        let Some(remote) = self.remotes.get_mut(&call) else { return };
        for (place, reply) in std::mem::take(&mut remote.places).into_iter().zip(replies) {
            if let Some(answered) = remote.replies.get_mut(place) {
                *answered = reply.map_err(CommandError::AtOrigin);
            }
        }
        self.finish_remote(call);
    }

    /// A job of a request has run, now or before.
    pub(super) fn job_done(&mut self, call: u64, place: usize, reply: Option<RunReply>) {
        let Some(remote) = self.remotes.get_mut(&call) else { return };
        remote.jobs = remote.jobs.saturating_sub(1);
        match (reply, remote.replies.get_mut(place)) {
            (Some(reply), Some(answered)) => *answered = reply.map_err(CommandError::AtOrigin),
            _ => remote.provisional = true,
        }
        self.finish_remote(call);
    }

    /// Answers the request if all of it is answered.
    fn finish_remote(&mut self, call: u64) {
        if self.remotes.get(&call).is_none_or(Remote::is_open) {
            return;
        }
        let Some(remote) = self.remotes.remove(&call) else { return };
        if let Some(key) = &remote.idempotency
            && let Some(answer) = self.answers.get_mut(key)
        {
            let before = answer.memory_bytes(key);
            let former = std::mem::replace(&mut answer.replies, remote.replies.clone());
            if answer.memory_bytes(key) > REMEMBERED_BYTES_MAX {
                answer.replies = former;
            } else {
                answer.provisional = remote.provisional;
            }
            self.memory.count_beside(before, answer.memory_bytes(key));
            self.dirty.insert(RowId::Answer(key.clone()));
        }
        self.effects.push(remote.into_effect());
    }

    /// Nobody will answer what was asked of the origin: whoever waits is told.
    pub(super) fn give_up_remotes(&mut self) {
        self.outbox.forget_waiters();
        let given_up = std::mem::take(&mut self.remotes);
        self.effects.extend(given_up.into_values().map(Remote::into_effect));
    }

    /// Gives up what has waited too long. Linear in what waits.
    pub(super) fn end_remotes(&mut self, now: TimestampMs) {
        let late = self.remotes.extract_if(.., |_, remote| remote.until <= now);
        self.effects.extend(late.map(|(_, remote)| remote.into_effect()));
    }
}
