//! Commands over HTTP: executed at once, or when the keys that they need have come from the origin. What the origin runs
//! itself is asked of it once the others are executed.

use super::{
    Hub, HubEffect, Request, RowId,
    keyspace::KeyNo,
    remote::{Passing, Remote},
};
use crate::{
    command::{self, Command, CommandError, Reply},
    exec::{self, Vantage, View},
    hlc::Clock,
    id::{Dot, Key, No, ReplicaId, TimestampMs},
    state::{ElementId, Mint},
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// How long a request waits for keys to come from the origin, in milliseconds: a few round trips around the world.
const FETCH_MS_MAX: i64 = 5_000;

/// A request that waits for keys.
#[derive(Debug)]
pub(super) struct Waiting {
    request: Request,
    commands: Vec<Result<Command, CommandError>>,
    idempotency: Option<Bytes>,
    pub(super) until: TimestampMs,
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
    /// The keys that its commands name here.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> + '_ {
        self.commands.iter().flatten().filter(|command| !command.is_passed()).flat_map(Command::keys)
    }
}

impl Hub {
    pub(super) fn commands(
        &mut self,
        request: Request,
        commands: &[Vec<Bytes>],
        idempotency: Option<Bytes>,
        now: TimestampMs,
    ) {
        let commands: Vec<_> = commands.iter().map(|argv| command::parse(argv)).collect();
        let waiting = Waiting { request, commands, idempotency, until: now.plus_ms(FETCH_MS_MAX) };
        let mut firsts = Vec::with_capacity(waiting.commands.len());
        let mut is_missing = false;
        let mut wanted = Vec::new();
        for command in waiting.commands.iter().map(Result::as_ref) {
            // What is refused or passed on needs no keys.
            let is_refused = |command: &Command| self.memory.is_full && command.may_grow();
            let command = command.ok().filter(|command| !command.is_passed() && !is_refused(command));
            let mut keys = command.map(|command| command.keys()).unwrap_or_default().enumerate();
            let needs_key = command.is_some_and(exec::needs_key);
            let mut first = None;
            for (at, key) in &mut keys {
                let no = self.touch(key, &mut wanted);
                if let Some(no) = no {
                    self.keys.note_use(no);
                }
                is_missing |= needs_key && !no.is_some_and(|no| self.keys.entry(no).is_held);
                first = first.or(no.filter(|_| at == 0));
            }
            firsts.push(first);
        }
        self.ask_origin(&wanted);
        if self.origin.is_some() && is_missing {
            self.waiting.push(waiting);
        } else {
            self.answer(waiting, &firsts, now);
        }
    }

    /// The number of a key that a command names; with an origin to ask, every such key gets one.
    fn touch(&mut self, key: &Key, wanted: &mut Vec<Key>) -> Option<KeyNo> {
        if self.origin.is_none() {
            return self.keys.find(key);
        }
        let (no, is_new) = self.keys.resolve(key);
        if is_new {
            self.dirty_key(no);
            wanted.push(key.clone());
        }
        Some(no)
    }

    /// Answers the requests whose keys have come, or whose time is up.
    pub(super) fn answer_ready(&mut self, now: TimestampMs) {
        let waiting = std::mem::take(&mut self.waiting);
        for waiting in waiting {
            if now < waiting.until && self.is_missing_keys(&waiting) {
                self.waiting.push(waiting);
            } else {
                self.answer(waiting, &[], now);
            }
        }
    }

    /// Answers every request with what there is: the origin is away.
    pub(super) fn answer_all(&mut self, now: TimestampMs) {
        for waiting in std::mem::take(&mut self.waiting) {
            self.answer(waiting, &[], now);
        }
    }

    fn is_missing_keys(&self, waiting: &Waiting) -> bool {
        let mut needed = waiting.commands.iter().flatten().filter(|command| exec::needs_key(command));
        needed.any(|command| command.keys().any(|key| !self.is_held(key)))
    }

    fn is_held(&self, key: &Key) -> bool {
        self.keys.find(key).is_some_and(|no| self.keys.entry(no).is_held)
    }

    /// Answers a request. `firsts` has the number of each command's first key, where it was looked up already.
    fn answer(&mut self, waiting: Waiting, firsts: &[Option<KeyNo>], now: TimestampMs) {
        let Waiting { request, commands, idempotency, .. } = waiting;
        if let Some(answer) = idempotency.as_ref().and_then(|key| self.answers.get(key)) {
            let Answer { replies, provisional, .. } = answer.clone();
            self.effects.push(HubEffect::Reply { request, replies, provisional });
            return;
        }
        let mut is_written = false;
        let mut provisional = false;
        let mut passing = Passing::default();
        let mut replies = Vec::with_capacity(commands.len());
        for (at, command) in commands.into_iter().enumerate() {
            let reply = command.and_then(|mut command| {
                if let Command::Passed(passed) = command {
                    if passed.is_job() {
                        return self.take_in(passed, at, &mut passing);
                    }
                    return Err(self.pass(passed, at, &mut passing));
                }
                if command.has_pattern() {
                    command.name_matching(self.keys.iter().map(|(no, _)| self.keys.key(no)))?;
                }
                let first = firsts.get(at).copied().flatten();
                let first = first.or_else(|| command.keys().next().and_then(|key| self.keys.find(key)));
                let mut others = command.keys().skip(1);
                provisional |= command.keys().len() > 0 && !first.is_some_and(|no| self.keys.entry(no).is_held);
                provisional |= others.any(|key| !self.is_held(key));
                if command.may_grow() && self.refuses_growth() {
                    return Err(CommandError::OutOfMemory);
                }
                let reply = self.execute(&command, first, now);
                is_written |= command.is_write() && reply.is_ok();
                reply
            });
            replies.push(reply);
        }
        is_written |= !passing.is_empty();
        // What changed nothing may be tried again: the origin may be there by then.
        let idempotency = idempotency.filter(|_| is_written && !fault!(IdempotencyForgotten));
        if let Some(key) = &idempotency {
            let provisional = provisional || passing.has_jobs();
            self.add_answer(key.clone(), Answer { at: now, replies: replies.clone(), provisional });
            self.dirty.insert(RowId::Answer(key.clone()));
        }
        if passing.is_empty() {
            self.effects.push(HubEffect::Reply { request, replies, provisional });
        } else {
            self.ask_remotely(passing, Remote::new(request, replies, provisional, idempotency, now));
        }
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
        if exec::needs_key(command) && !exec::takes_unheld(command) && !command.keys().all(is_known) {
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
        let (score, touched) = self.keys.increment_member(no, ElementId::Ranked(member.clone()), by, mint)?;
        self.note_own(no, touched);
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
