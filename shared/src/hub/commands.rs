//! Commands over HTTP: executed at once, or when the keys that they need have come from the origin.

use super::{Hub, HubEffect, Request, RowId};
use crate::{
    command::{self, Command, CommandError, Reply},
    exec::{self, View},
    id::{Key, TimestampMs},
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
    replies: Vec<Result<Reply, CommandError>>,
    provisional: bool,
}

impl Waiting {
    /// The keys that its commands name.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> + '_ {
        self.commands.iter().flatten().flat_map(Command::keys)
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
        let touched: Vec<Key> = commands.iter().flatten().flat_map(Command::keys).cloned().collect();
        if self.origin.is_some() {
            self.want(&touched);
        }
        let waiting = Waiting { request, commands, idempotency, until: now.plus_ms(FETCH_MS_MAX) };
        if self.origin.is_some() && self.is_missing_keys(&waiting) {
            self.waiting.push(waiting);
        } else {
            self.answer(waiting, now);
        }
    }

    /// Answers the requests whose keys have come, or whose time is up.
    pub(super) fn answer_ready(&mut self, now: TimestampMs) {
        let waiting = std::mem::take(&mut self.waiting);
        for waiting in waiting {
            if now < waiting.until && self.is_missing_keys(&waiting) {
                self.waiting.push(waiting);
            } else {
                self.answer(waiting, now);
            }
        }
    }

    /// Answers every request with what there is: the origin is away.
    pub(super) fn answer_all(&mut self, now: TimestampMs) {
        for waiting in std::mem::take(&mut self.waiting) {
            self.answer(waiting, now);
        }
    }

    fn is_missing_keys(&self, waiting: &Waiting) -> bool {
        let mut needed = waiting.commands.iter().flatten().filter(|command| exec::needs_key(command));
        needed.any(|command| command.keys().any(|key| !self.is_held(key)))
    }

    fn is_held(&self, key: &Key) -> bool {
        self.keys.find(key).is_some_and(|no| self.keys.entry(no).is_held)
    }

    fn answer(&mut self, waiting: Waiting, now: TimestampMs) {
        let Waiting { request, commands, idempotency, .. } = waiting;
        if let Some(answer) = idempotency.as_ref().and_then(|key| self.answers.get(key)) {
            let Answer { replies, provisional, .. } = answer.clone();
            self.effects.push(HubEffect::Reply { request, replies, provisional });
            return;
        }
        let mut is_written = false;
        let mut provisional = false;
        let replies: Vec<_> = commands
            .into_iter()
            .map(|command| {
                let command = command?;
                provisional |= command.keys().any(|key| !self.is_held(key));
                let reply = self.execute(&command, now);
                is_written |= command.is_write() && reply.is_ok();
                reply
            })
            .collect();
        // What changed nothing may be tried again: the origin may be there by then.
        if let Some(key) = idempotency.filter(|_| is_written && !fault!(IdempotencyForgotten)) {
            self.answers.insert(key.clone(), Answer { at: now, replies: replies.clone(), provisional });
            self.dirty.insert(RowId::Answer(key));
        }
        self.effects.push(HubEffect::Reply { request, replies, provisional });
    }

    /// Executes one command on what this hub has, and makes its operations the hub's own.
    fn execute(&mut self, command: &Command, now: TimestampMs) -> Result<Reply, CommandError> {
        // Of a key that is not held this hub can only tell what it wrote itself; unknown is never empty.
        let is_known = |key: &Key| {
            self.keys.find(key).is_some_and(|no| self.keys.entry(no).is_held || !self.keys.view(no).is_empty())
        };
        if exec::needs_key(command) && !command.keys().all(is_known) {
            return Err(CommandError::NotHeld);
        }
        let view = |key: &Key| {
            let no = self.keys.find(key);
            View { state: no.map(|no| self.keys.view(no)), is_held: no.is_some_and(|no| self.keys.entry(no).is_held) }
        };
        let prepared = exec::prepare(command, view, now)?;
        for operation in &prepared.operations {
            self.apply_prepared(operation, now);
        }
        Ok(prepared.reply)
    }
}
