//! Commands over HTTP: executed at once, or when the keys that they need have come from the origin. What is passed through
//! is asked of it once the others are executed. What needs one agreed order is asked of it in its place: what follows in the
//! same request waits for the answer, and meets what it did.

use super::{Hub, HubEffect, Request, RowId, keyspace::KeyNo, remote::Passing, slots::SlotState};
use crate::{
    command::{Command, CommandError, Placed, Reply},
    exec::{self, Vantage, View},
    hlc::Clock,
    id::{Dot, Key, No, ReplicaId, TimestampMs},
    limits::ROW_BYTES_MAX,
    message::Mark,
    slot::Slot,
    state::{ElementId, Mint},
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// How long a request waits for keys to come from the origin, in milliseconds: a few round trips around the world.
const FETCH_MS_MAX: i64 = 5_000;

/// An answer of the origin that takes more in memory is not remembered under its idempotency key, since it is to fit a row; a
/// retry is told that the outcome is unknown.
const REMEMBERED_BYTES_MAX: usize = ROW_BYTES_MAX / 2;

/// A request that waits for keys.
#[derive(Debug)]
pub(super) struct Waiting {
    request: Request,
    commands: Vec<Result<Command, CommandError>>,
    /// The arguments of those that need one agreed order, by their places.
    ordered: BTreeMap<usize, Vec<Bytes>>,
    idempotency: Option<Bytes>,
    /// Slots in which the client was at another hub: what is answered there is to rest on what it saw.
    pub(super) roamed: BTreeSet<Slot>,
    pub(super) until: TimestampMs,
}

/// A request as far as it is executed.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) request: Request,
    pub(super) idempotency: Option<Bytes>,
    /// One a command; of what is not executed yet, that its outcome is unknown.
    pub(super) replies: Vec<Result<Reply, CommandError>>,
    pub(super) provisional: bool,
    pub(super) is_written: bool,
    /// What is not executed yet, with its places.
    pub(super) rest: VecDeque<(usize, Result<Command, CommandError>)>,
    pub(super) ordered: BTreeMap<usize, Vec<Bytes>>,
    /// As of what waits: what is answered there is to rest on what the client saw.
    roamed: BTreeSet<Slot>,
}

impl Progress {
    /// What is not executed yet.
    pub(super) fn commands(&self) -> impl Iterator<Item = &Command> + '_ {
        self.rest.iter().filter_map(|(_, command)| command.as_ref().ok())
    }

    /// The keys that what is not executed yet names here.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> + '_ {
        self.commands().filter(|command| !is_keyless(command)).flat_map(Command::keys)
    }
}

/// What an idempotency key was answered.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Answer {
    pub(super) at: TimestampMs,
    pub(super) replies: Vec<Result<Reply, CommandError>>,
    pub(super) provisional: bool,
}

impl Answer {
    /// What it takes with its key, in bytes; a reply that shares a large value counts it too.
    pub(super) fn memory_bytes(&self, key: &Bytes) -> usize {
        let entries = size_of::<[(Bytes, Self); 2]>().saturating_add(size_of::<[(TimestampMs, Bytes); 2]>());
        let room = self.replies.capacity().saturating_mul(size_of::<Result<Reply, CommandError>>());
        let replies = self.replies.iter().flatten().map(Reply::memory_bytes).sum::<usize>();
        entries.saturating_add(key.len()).saturating_add(room).saturating_add(replies)
    }
}

impl Waiting {
    /// Whether a command is executed on keys that are held alone, while the origin is there.
    fn needs_key(&self, command: &Command) -> bool {
        needs_key(command, &self.roamed)
    }

    /// Its commands in order.
    pub(super) fn commands(&self) -> &[Result<Command, CommandError>] {
        &self.commands
    }

    /// The keys that its commands name here.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> + '_ {
        self.commands.iter().flatten().filter(|command| !is_keyless(command)).flat_map(Command::keys)
    }
}

impl Hub {
    pub(super) fn commands(
        &mut self,
        request: Request,
        commands: &[Vec<Bytes>],
        idempotency: Option<Bytes>,
        marks: Vec<Mark>,
        now: TimestampMs,
    ) {
        if self.answer_again(request, idempotency.as_ref()) {
            return;
        }
        let mut ordered = BTreeMap::new();
        let mut parsed = Vec::with_capacity(commands.len());
        for (at, argv) in commands.iter().enumerate() {
            parsed.push(self.namespace.read(argv).map(|Placed { command, argv: placed }| {
                if command.needs_origin() {
                    ordered.insert(at, placed.unwrap_or_else(|| argv.clone()));
                }
                command
            }));
        }
        let (roamed, until) = (BTreeSet::new(), now.plus_ms(FETCH_MS_MAX));
        let waiting = Waiting { request, commands: parsed, ordered, idempotency, roamed, until };
        let ready = if marks.is_empty() { Some(waiting) } else { self.await_seen(waiting, marks, now) };
        if let Some(waiting) = ready {
            self.take_up(waiting, now);
        }
    }

    /// See [`Keyspace::warm`].
    pub(super) fn warm<'a>(&self, keys: impl Iterator<Item = &'a Key>) {
        self.keys.warm(keys, |slot| self.slots.at(slot).map_or(0, SlotState::skim));
    }

    /// Executes a request, or has it wait for the keys that it needs.
    pub(super) fn take_up(&mut self, mut waiting: Waiting, now: TimestampMs) {
        waiting.until = now.plus_ms(FETCH_MS_MAX);
        if waiting.commands.len() > 1 {
            self.warm(waiting.keys());
        }
        let mut firsts = Vec::with_capacity(waiting.commands.len());
        let mut is_missing = false;
        let mut wanted = Vec::new();
        let mut last: Option<(&Key, Option<KeyNo>)> = None;
        for command in waiting.commands.iter().map(Result::as_ref) {
            // What is refused or passed on needs no keys.
            let is_refused = |command: &Command| self.memory.is_full && command.may_grow();
            let command = command.ok().filter(|command| !is_keyless(command) && !is_refused(command));
            let mut keys = command.map(|command| command.keys()).unwrap_or_default().enumerate();
            let needs_key = command.is_some_and(|command| waiting.needs_key(command));
            let mut first = None;
            for (at, key) in &mut keys {
                let same = last.filter(|(other, _)| *other == key);
                let no = same.map_or_else(|| self.touch(key), |(_, no)| no);
                last = Some((key, no));
                if let Some(no) = no {
                    self.keys.note_use(no);
                    if needs_key && self.keys.entry(no).is_unasked() {
                        wanted.push(key.clone());
                    }
                }
                is_missing |= needs_key && !no.is_some_and(|no| self.keys.entry(no).is_held);
                first = first.or(no.filter(|_| at == 0));
            }
            firsts.push(first);
        }
        self.ask_origin(&wanted);
        is_missing = is_missing || self.awaits_rights(waiting.commands.iter().flatten(), now);
        if self.origin.is_some() && is_missing {
            self.waiting.push(waiting);
        } else {
            self.answer(waiting, &firsts, now);
        }
    }

    /// The number of a key that a command names; with an origin to ask, every such key gets one.
    fn touch(&mut self, key: &Key) -> Option<KeyNo> {
        if self.origin.is_none() {
            return self.keys.find(key);
        }
        Some(self.want_written(key))
    }

    /// Answers the requests whose keys have come, or whose time is up.
    pub(super) fn answer_ready(&mut self, now: TimestampMs) {
        let waiting = std::mem::take(&mut self.waiting);
        for waiting in waiting {
            let awaits_rights = || self.awaits_rights(waiting.commands.iter().flatten(), now);
            if now < waiting.until && (self.is_missing_keys(&waiting) || awaits_rights()) {
                self.waiting.push(waiting);
            } else {
                self.answer(waiting, &[], now);
            }
        }
        self.resume_remotes(now);
    }

    /// Answers every request with what there is: the origin is away.
    pub(super) fn answer_all(&mut self, now: TimestampMs) {
        for waiting in std::mem::take(&mut self.waiting) {
            self.answer(waiting, &[], now);
        }
    }

    fn is_missing_keys(&self, waiting: &Waiting) -> bool {
        let mut needed = waiting.commands.iter().flatten().filter(|command| waiting.needs_key(command));
        needed.any(|command| command.keys().any(|key| !self.is_held(key)))
    }

    fn is_held(&self, key: &Key) -> bool {
        self.keys.find(key).is_some_and(|no| self.keys.entry(no).is_held)
    }

    /// Whether what is left of a request needs keys that are not held, or rights.
    pub(super) fn is_missing_rest(&self, progress: &Progress, now: TimestampMs) -> bool {
        let commands = progress.commands();
        if self.awaits_rights(progress.commands(), now) {
            return true;
        }
        let is_refused = |command: &Command| self.memory.is_full && command.may_grow();
        let mut needed = commands.filter(|command| !is_refused(command) && needs_key(command, &progress.roamed));
        needed.any(|command| command.keys().any(|key| !self.is_held(key)))
    }

    /// Whether a command is to rest on what its client saw at another hub, of a key that has not come from there.
    fn lacks_seen(&self, waiting: &Waiting) -> bool {
        let is_refused = |command: &Command| self.memory.is_full && command.may_grow();
        let mut executed = waiting.commands.iter().flatten().filter(|command| !is_refused(command));
        executed.any(|command| roamed_keys(command, &waiting.roamed).any(|key| !self.is_held(key)))
    }

    /// Executes nothing of a request, and answers each of its commands with the error; with what its idempotency key was answered,
    /// if a like request was executed meanwhile.
    pub(super) fn refuse_all(&mut self, waiting: Waiting, error: &CommandError) {
        let Waiting { request, commands, idempotency, .. } = waiting;
        if !self.answer_again(request, idempotency.as_ref()) {
            let replies = vec![Err(error.clone()); commands.len()];
            self.effects.push(HubEffect::Reply { request, replies, provisional: false });
        }
    }

    /// Gives a request the answer that its idempotency key was given before; says whether there is one.
    fn answer_again(&mut self, request: Request, idempotency: Option<&Bytes>) -> bool {
        let Some(answer) = idempotency.and_then(|key| self.answers.get(key)) else { return false };
        let Answer { replies, provisional, .. } = answer.clone();
        self.effects.push(HubEffect::Reply { request, replies, provisional });
        true
    }

    /// Answers a request. `firsts` has the number of each command's first key, where it was looked up already.
    fn answer(&mut self, waiting: Waiting, firsts: &[Option<KeyNo>], now: TimestampMs) {
        if self.answer_again(waiting.request, waiting.idempotency.as_ref()) {
            return;
        }
        if self.lacks_seen(&waiting) {
            self.refuse_all(waiting, &CommandError::Behind);
            return;
        }
        let Waiting { request, commands, ordered, idempotency, roamed, .. } = waiting;
        let progress = Progress {
            request,
            idempotency,
            replies: vec![Err(CommandError::OutcomeUnknown); commands.len()],
            provisional: false,
            is_written: false,
            rest: commands.into_iter().enumerate().collect(),
            ordered,
            roamed,
        };
        self.go_on(progress, firsts, now);
    }

    /// Executes what is left of a request, up to what waits for the origin, and asks that of it. With nothing left, answers.
    pub(super) fn go_on(&mut self, mut progress: Progress, firsts: &[Option<KeyNo>], now: TimestampMs) {
        let mut passing = Passing::default();
        while let Some((at, command)) = progress.rest.pop_front() {
            let is_ordered = command.as_ref().is_ok_and(Command::needs_origin);
            if passing.has_orders() && !is_ordered {
                // It is to meet what those do.
                progress.rest.push_front((at, command));
                break;
            }
            let reply = command.and_then(|command| {
                if is_ordered {
                    if command.may_grow() && self.refuses_growth() {
                        return Err(CommandError::OutOfMemory);
                    }
                    let argv = progress.ordered.remove(&at).unwrap_or_default();
                    let error = self.order(&command, argv, at, &mut passing);
                    progress.is_written |= command.is_write() && error == CommandError::OutcomeUnknown;
                    return Err(error);
                }
                self.execute_at(at, command, firsts.get(at).copied().flatten(), &mut progress, &mut passing, now)
            });
            if let Some(place) = progress.replies.get_mut(at) {
                *place = reply;
            }
        }
        // What is still to come may write, and a retry must not do it beside this request.
        let may_write = |command: &Result<Command, CommandError>| command.as_ref().is_ok_and(Command::is_write);
        progress.is_written |= passing.is_written() || progress.rest.iter().any(|(_, command)| may_write(command));
        self.remember(&progress, passing.has_jobs(), now);
        if passing.is_empty() {
            let Progress { request, replies, provisional, .. } = progress;
            self.effects.push(HubEffect::Reply { request, replies, provisional });
        } else {
            self.ask_remotely(passing, progress, now);
        }
    }

    /// Executes one command of a request, or has it passed on.
    fn execute_at(
        &mut self,
        at: usize,
        mut command: Command,
        first: Option<KeyNo>,
        progress: &mut Progress,
        passing: &mut Passing,
        now: TimestampMs,
    ) -> Result<Reply, CommandError> {
        if let Command::Passed(passed) = command {
            if passed.is_job() {
                return self.take_in(passed, at, passing);
            }
            return Err(self.pass(passed, at, passing));
        }
        if let Command::Limit { key, limit, cost, peek, strict: true, .. } = &command {
            let reply = self.check_strictly(key, limit, *cost, *peek, now);
            progress.is_written |= reply.is_ok();
            return reply;
        }
        if command.has_pattern() {
            command.name_matching(self.keys.iter().map(|(no, _)| self.keys.key(no)))?;
        }
        let first = first.or_else(|| command.keys().next().and_then(|key| self.keys.find(key)));
        let mut others = command.keys().skip(1);
        progress.provisional |= command.keys().len() > 0 && !first.is_some_and(|no| self.keys.entry(no).is_held);
        progress.provisional |= others.any(|key| !self.is_held(key));
        if command.may_grow() && self.refuses_growth() {
            return Err(CommandError::OutOfMemory);
        }
        if roamed_keys(&command, &progress.roamed).any(|key| !self.is_held(key)) {
            // Only behind what the origin was asked for: else nothing is executed.
            return Err(CommandError::Behind);
        }
        let reply = self.execute(&command, first, now);
        progress.is_written |= command.is_write() && reply.is_ok();
        reply
    }

    /// Remembers what a request that wrote was answered so far, under its idempotency key. What changed nothing may be tried
    /// again: the origin may be there by then.
    fn remember(&mut self, progress: &Progress, has_jobs: bool, now: TimestampMs) {
        let Some(key) = progress.idempotency.as_ref().filter(|_| progress.is_written && !fault!(IdempotencyForgotten))
        else {
            return;
        };
        let provisional = progress.provisional || has_jobs;
        match self.answers.get_mut(key) {
            None => {
                let answer = Answer { at: now, replies: progress.replies.clone(), provisional };
                self.add_answer(key.clone(), answer);
            }
            Some(answer) => {
                let before = answer.memory_bytes(key);
                let former = std::mem::replace(&mut answer.replies, progress.replies.clone());
                if answer.memory_bytes(key) > REMEMBERED_BYTES_MAX {
                    answer.replies = former;
                } else {
                    answer.provisional = provisional;
                }
                self.memory.count_beside(before, answer.memory_bytes(key));
            }
        }
        self.dirty.insert(RowId::Answer(key.clone()));
    }

    /// Remembers what an idempotency key was answered.
    pub(super) fn add_answer(&mut self, key: Bytes, answer: Answer) {
        self.memory.count_beside(0, answer.memory_bytes(&key));
        self.ends.add_answer(answer.at, key.clone());
        self.answers.insert(key, answer);
    }

    /// Executes one command on what this hub has, and makes its operations the hub's own. `first` is the number of its
    /// first key.
    fn execute(&mut self, command: &Command, first: Option<KeyNo>, now: TimestampMs) -> Result<Reply, CommandError> {
        if let Command::Incr { by, .. }
        | Command::IncrBy { by, .. }
        | Command::Decr { by, .. }
        | Command::DecrBy { by, .. } = command
            && let Some(reply) = first.and_then(|no| self.increment(no, *by, now))
        {
            return reply;
        }
        if let Command::ZIncrBy { increment, member, .. } = command
            && let Some(reply) = first.and_then(|no| self.increment_member(no, member, *increment, now))
        {
            return Ok(reply);
        }
        let entropy = self.keys.entropy();
        let first_key = command.keys().next();
        let find = |key: &Key| if Some(key) == first_key { first } else { self.keys.find(key) };
        // Of a key that is not held this hub can only tell what it wrote itself; unknown is never empty.
        let is_known =
            |key: &Key| find(key).is_some_and(|no| self.keys.entry(no).is_held || !self.keys.view(no).is_empty());
        // A token's rate is kept within the region where the origin is away; to refuse its bearer would be no better.
        let takes_unheld = exec::takes_unheld(command) || self.namespace.is_of_rates();
        if exec::needs_key(command) && !takes_unheld && !command.keys().all(is_known) {
            return Err(CommandError::NotHeld);
        }
        let view = |key: &Key| {
            let no = find(key);
            View {
                state: no.map(|no| self.keys.view(no)),
                is_held: no.is_some_and(|no| self.keys.entry(no).is_held),
                vantage: Vantage { replica: self.id, heard_at: self.heard_at },
            }
        };
        let prepared = exec::prepare(command, view, now, entropy)?;
        for operation in &prepared.operations {
            self.apply_prepared(operation, now);
        }
        Ok(prepared.reply)
    }

    /// INCR and its like on a plain counter, without preparing an operation first; `None` if the key is anything else.
    fn increment(&mut self, no: KeyNo, by: i64, now: TimestampMs) -> Option<Result<Reply, CommandError>> {
        let mint = mint(&mut self.clock, &mut self.last_no, self.id, now);
        match self.keys.increment(no, by, mint)? {
            Ok(total) => {
                self.note_own_string(no);
                Some(Ok(Reply::Int(total)))
            }
            Err(error) => Some(Err(error)),
        }
    }

    /// ZINCRBY on a plain board, without preparing an operation first; `None` if the key is anything else.
    fn increment_member(&mut self, no: KeyNo, member: &Bytes, by: f64, now: TimestampMs) -> Option<Reply> {
        let mint = mint(&mut self.clock, &mut self.last_no, self.id, now);
        let member = ElementId::Ranked(member.clone());
        let (score, was_dirty) = self.keys.increment_member(no, &member, by, mint)?;
        self.note_own_element(no, member, was_dirty);
        Some(Reply::score(score))
    }
}

/// Takes the hub's next number, and the time.
fn mint(clock: &mut Clock, last_no: &mut No, id: ReplicaId, now: TimestampMs) -> impl FnMut() -> Mint {
    move || {
        *last_no = last_no.next();
        Mint { dot: Dot { replica: id, no: *last_no }, hlc: clock.tick(now) }
    }
}

/// Whether a command is executed on keys that are held alone, while the origin is there.
fn needs_key(command: &Command, roamed: &BTreeSet<Slot>) -> bool {
    exec::needs_key(command) || roamed_keys(command, roamed).next().is_some()
}

/// The keys of a command in slots in which its client was at another hub.
fn roamed_keys<'a>(command: &'a Command, roamed: &'a BTreeSet<Slot>) -> impl Iterator<Item = &'a Key> + 'a {
    let has_roamed = !roamed.is_empty() && !is_keyless(command);
    let keys = has_roamed.then(|| command.keys()).into_iter().flatten();
    keys.filter(|key| roamed.contains(&key.slot()))
}

/// Whether a hub decides it by no key: it is passed on, or by rights.
fn is_keyless(command: &Command) -> bool {
    command.is_passed() || command.is_strict()
}
