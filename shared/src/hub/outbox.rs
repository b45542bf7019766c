//! The outbox: jobs for lists and streams at the origin, each delivered exactly once, and per key in the order in which they
//! were taken in.
//!
//! A job is stored before it is acknowledged, takes the hub's next number, and is kept until the origin says that it is
//! stable. The jobs of a slot go to the origin in order, one message at a time; the origin runs those that lie after the
//! number which it keeps with the keys, so that what is sent again changes nothing. On a new connection all that is kept is
//! sent again: the origin may have lost what it had.

use super::{Hub, HubEffect, RowId, remote::Passing};
use crate::{
    command::{CommandError, Passed, Reply},
    id::{Key, No, TimestampMs},
    limits::{FRAME_BYTES_TARGET, JOB_ARGUMENTS_MAX, JOB_BYTES_MAX, JOBS_MAX, OUTBOX_BYTES_MAX},
    message::{HubToOrigin, Job, RunReply},
    slot::Slot,
    wire::{
        Invalid, WireError,
        run::{job_slot, read_arguments, write_arguments},
        stored::{from_stored, to_stored},
    },
};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Slots whose jobs are under way at once. Each message is filled up to a frame's target.
const UNDER_WAY_MAX: usize = 16;

/// What a job takes beside its arguments, in bytes: its number, the list, and each argument's handle.
fn job_bytes(argv: &[Bytes]) -> usize {
    let arguments = argv.iter().fold(0_usize, |sum, argument| sum.saturating_add(argument.len()));
    let handles = argv.len().saturating_mul(size_of::<Bytes>());
    arguments.saturating_add(handles).saturating_add(size_of::<Job>())
}

/// The jobs of one slot that are not known stable, in the order of their numbers.
#[derive(Debug, Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// All up to here have run, as the present connection knows.
    done: No,
    /// All up to here are on their way.
    sent: No,
}

impl Queue {
    fn is_waiting(&self) -> bool {
        self.sent <= self.done && self.jobs.back().is_some_and(|(no, _)| *no > self.done)
    }
}

/// What the outbox has for a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OutboxStatus {
    /// Jobs that the origin is not known to have run.
    pub stored: usize,
    /// Jobs that have run, and are kept until the origin's store cannot lose them.
    pub unstable: usize,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    slots: BTreeMap<Slot, Queue>,
    /// Slots with jobs to send and none on their way.
    ready: BTreeSet<Slot>,
    under_way: usize,
    bytes: usize,
    /// Requests that wait for what Redis answers to a job: the number of the call, and the place among its replies.
    waiters: BTreeMap<No, (u64, usize)>,
}

impl Outbox {
    /// What is kept, in bytes. Constant time.
    pub(super) fn memory_bytes(&self) -> usize {
        self.bytes
    }

    /// How many jobs have not run, as far as is known. Linear in the jobs that are kept.
    pub(super) fn waiting(&self) -> usize {
        let of = |queue: &Queue| queue.jobs.iter().filter(|(no, _)| *no > queue.done).count();
        self.slots.values().map(of).sum()
    }

    /// What is kept for one key. Linear in the jobs of its slot.
    fn of(&self, key: &Key) -> OutboxStatus {
        let queue = self.slots.get(&key.slot());
        let is_its = |argv: &[Bytes]| argv.get(1).is_some_and(|name| name == key.as_bytes());
        let jobs =
            queue.into_iter().flat_map(|queue| queue.jobs.iter().map(move |(no, argv)| (*no <= queue.done, argv)));
        let mut status = OutboxStatus::default();
        for (is_done, _) in jobs.filter(|(_, argv)| is_its(argv)) {
            let count = if is_done { &mut status.unstable } else { &mut status.stored };
            *count = count.saturating_add(1);
        }
        status
    }

    /// The last job of a slot that is kept.
    pub(super) fn last(&self, slot: Slot) -> No {
        self.slots.get(&slot).and_then(|queue| queue.jobs.back()).map(|(no, _)| *no).unwrap_or_default()
    }

    /// Whether all jobs of a slot up to this one have run, as the present connection knows.
    pub(super) fn has_run(&self, slot: Slot, last: No) -> bool {
        self.slots.get(&slot).is_none_or(|queue| queue.done >= last || queue.jobs.is_empty())
    }

    /// The numbers of all that is kept.
    pub(super) fn numbers(&self) -> impl Iterator<Item = No> + '_ {
        self.slots.values().flat_map(|queue| queue.jobs.iter().map(|(no, _)| *no))
    }

    /// Whoever waits is not waited for any more.
    pub(super) fn forget_waiters(&mut self) {
        self.waiters.clear();
    }

    pub(super) fn wait(&mut self, no: No, call: u64, place: usize) {
        self.waiters.insert(no, (call, place));
    }

    fn keep(&mut self, slot: Slot, job: Job) {
        self.bytes = self.bytes.saturating_add(job_bytes(&job.1));
        let queue = self.slots.entry(slot).or_default();
        let at = queue.jobs.partition_point(|(no, _)| *no < job.0);
        queue.jobs.insert(at, job);
        if queue.is_waiting() {
            self.ready.insert(slot);
        }
    }

    /// A connection begins: nothing is on its way, and what ran before may be lost.
    pub(super) fn begin(&mut self) {
        self.under_way = 0;
        self.slots.retain(|_, queue| !queue.jobs.is_empty());
        for queue in self.slots.values_mut() {
            (queue.done, queue.sent) = (No::ZERO, No::ZERO);
        }
        self.ready = self.slots.keys().copied().collect();
    }

    /// The next message, where there is something to send.
    fn next_batch(&mut self) -> Option<(Slot, Vec<Job>)> {
        if self.under_way >= UNDER_WAY_MAX {
            return None;
        }
        let slot = self.ready.pop_first()?;
        let queue = self.slots.get_mut(&slot)?;
        let first = queue.jobs.partition_point(|(no, _)| *no <= queue.done);
        let mut bytes = 0_usize;
        let mut jobs = Vec::new();
        for job in queue.jobs.iter().skip(first).take(JOBS_MAX) {
            bytes = bytes.saturating_add(job_bytes(&job.1));
            if bytes > FRAME_BYTES_TARGET && !jobs.is_empty() {
                break;
            }
            jobs.push(job.clone());
        }
        queue.sent = jobs.last().map_or(queue.sent, |(no, _)| *no);
        self.under_way = self.under_way.saturating_add(1);
        Some((slot, jobs))
    }
}

impl Hub {
    /// What the outbox has for a key, by the name that clients of this hub's namespace give it.
    pub fn jobs_of(&self, key: &Key) -> OutboxStatus {
        self.namespace.key(key).map(|key| self.outbox.of(&key)).unwrap_or_default()
    }

    /// Keeps a job, to be stored with this input's rows, and gives what it is answered until the origin has run it: nothing.
    pub(super) fn take_in(
        &mut self,
        passed: Passed,
        place: usize,
        passing: &mut Passing,
    ) -> Result<Reply, CommandError> {
        let Passed { argv, keys, .. } = passed;
        let Some(slot) = keys.first().map(Key::slot) else { return Err(CommandError::Syntax) };
        if argv.len() > JOB_ARGUMENTS_MAX {
            return Err(CommandError::TooManyArguments { limit: u32::try_from(JOB_ARGUMENTS_MAX).unwrap_or(u32::MAX) });
        }
        let bytes = argv.iter().fold(0_usize, |sum, argument| sum.saturating_add(argument.len()));
        if bytes > JOB_BYTES_MAX {
            return Err(CommandError::OperationTooLarge {
                limit_bytes: u32::try_from(JOB_BYTES_MAX).unwrap_or(u32::MAX),
            });
        }
        if self.refuses_growth() {
            return Err(CommandError::OutOfMemory);
        }
        if self.outbox.memory_bytes().saturating_add(job_bytes(&argv)) > OUTBOX_BYTES_MAX {
            return Err(CommandError::OutboxFull);
        }
        self.last_no = self.last_no.next();
        self.is_meta_dirty = true;
        // What is kept must not hold on to the request that it came with.
        let argv = argv.iter().map(|argument| Bytes::copy_from_slice(argument)).collect();
        self.keep_job(slot, (self.last_no, argv));
        self.dirty.insert(RowId::Job(self.last_no));
        passing.take_in(self.last_no, place);
        Ok(Reply::Nil)
    }

    fn keep_job(&mut self, slot: Slot, job: Job) {
        let before = self.outbox.memory_bytes();
        self.outbox.keep(slot, job);
        self.memory.count_beside(before, self.outbox.memory_bytes());
    }

    /// Sends what no connection has sent yet.
    pub(super) fn send_jobs(&mut self) {
        let Some(connection) = self.origin.as_ref().map(|origin| origin.connection) else { return };
        while let Some((slot, jobs)) = self.outbox.next_batch() {
            self.effects.push(HubEffect::ToOrigin(connection, HubToOrigin::Jobs { slot, jobs }));
        }
    }

    /// The origin has run the jobs of a slot up to here.
    pub(super) fn jobs_done(&mut self, slot: Slot, through: No, replies: Vec<(No, RunReply)>, now: TimestampMs) {
        // Whatever number the origin knows this hub has given, unless its storage is an old copy.
        self.is_set_back |= through > self.last_no;
        for (no, reply) in replies {
            if let Some((call, place)) = self.outbox.waiters.remove(&no) {
                self.job_done(call, place, Some(reply), now);
            }
        }
        let Some(queue) = self.outbox.slots.get_mut(&slot) else { return };
        if queue.sent > queue.done {
            self.outbox.under_way = self.outbox.under_way.saturating_sub(1);
        }
        let before = queue.done;
        queue.done = before.max(through);
        queue.sent = queue.done;
        if queue.is_waiting() {
            self.outbox.ready.insert(slot);
        }
        // These had run before: what Redis answered then is not known.
        let ran = queue.jobs.iter().map(|(no, _)| *no).filter(|no| *no > before && *no <= through);
        let told: Vec<(u64, usize)> = ran.filter_map(|no| self.outbox.waiters.remove(&no)).collect();
        for (call, place) in told {
            self.job_done(call, place, None, now);
        }
    }

    /// What is stable is kept no longer.
    pub(super) fn jobs_stable(&mut self, slots: Vec<(Slot, No)>) {
        let before = self.outbox.memory_bytes();
        for (slot, stable) in slots {
            let Some(queue) = self.outbox.slots.get_mut(&slot) else { continue };
            while let Some((no, argv)) = queue.jobs.pop_front_if(|(no, _)| *no <= stable) {
                self.outbox.bytes = self.outbox.bytes.saturating_sub(job_bytes(&argv));
                self.dirty.insert(RowId::Job(no));
            }
            if queue.jobs.is_empty() && queue.sent <= queue.done {
                self.outbox.slots.remove(&slot);
                self.outbox.ready.remove(&slot);
            }
        }
        self.memory.count_beside(before, self.outbox.memory_bytes());
    }

    /// A job's row: its arguments.
    pub(super) fn job_body(&self, no: No) -> Option<Vec<u8>> {
        let argv = self.outbox.slots.values().find_map(|queue| {
            let at = queue.jobs.binary_search_by_key(&no, |(no, _)| *no).ok()?;
            queue.jobs.get(at).map(|(_, argv)| argv)
        })?;
        Some(to_stored(|w| write_arguments(w, argv)))
    }

    /// Puts back what [`Hub::job_body`] gave.
    pub(super) fn restore_job(&mut self, no: No, body: &[u8]) -> Result<(), WireError> {
        let argv = from_stored(body, read_arguments)?;
        let slot = job_slot(&argv).ok_or(Invalid::Truncated)?;
        self.keep_job(slot, (no, argv));
        Ok(())
    }
}
