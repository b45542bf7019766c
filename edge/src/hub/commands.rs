//! Commands of one request, under what it asks of durability and consistency.
//!
//! Consistency `origin`: the origin is asked for the keys first, by HW.REFRESH in the order of all writes, so that this hub has heard of
//! what stands there, also of what plain clients wrote, when the commands are executed. Durability `origin`: the answer waits until the
//! origin has committed what this hub has of the keys. With the origin away neither executes anything.

use super::{
    Hub, INTERRUPTED,
    call::Commands,
    shell::{Answer, ShellError},
};
use crate::{clock, level, respond::Json, rest::Shape, session::Session};
use bytes::Bytes;
use headwater::{
    command::{Command, CommandError, parse},
    hub::HubInput,
    id::Key,
    limits::PIPELINE_MAX,
    namespace::Namespace,
};
use std::collections::BTreeSet;

const NOT_COMMITTED: &str = "ERR Headwater: the origin has not committed it in time. It was executed, this edge has stored it, and it \
                             will reach the origin. It is safe to retry with the same Idempotency-Key, which waits again.";

/// Why the origin was not asked for the keys. Nothing was executed.
#[derive(Debug, thiserror::Error)]
enum NotRefreshed {
    #[error("ERR Headwater: the origin is away, and {0} origin needs it; nothing of this request was executed")]
    Away(&'static str),
    #[error("ERR Headwater: {} origin takes at most {PIPELINE_MAX} keys; nothing was executed", level::CONSISTENCY)]
    TooMany,
    #[error("ERR Headwater: the origin was asked for the keys in vain, and nothing of this request was executed: {0}")]
    Refused(CommandError),
    #[error("ERR Headwater: the origin was asked for the keys in vain, and nothing of this request was executed")]
    Interrupted,
}

impl NotRefreshed {
    fn status(&self) -> u16 {
        if matches!(self, Self::TooMany) { 400 } else { 503 }
    }
}

impl Hub {
    pub(super) async fn commands(&self, body: &[u8]) -> Result<Json, ShellError> {
        let Ok(Commands { shape, encoding, sync_token, idempotency, levels, commands }) = postcard::from_bytes(body)
        else {
            // Only a Worker of another version sends what this one cannot read.
            return Ok(Json::error(503, &INTERRUPTED));
        };
        if commands.is_empty() && shape != Shape::Single {
            return Ok(Json::new(200, shape.answer(&[], encoding).1));
        }
        let namespace = self.shell.namespace()?;
        // One input of the machine is one step, which no other request comes between.
        if let Some(discarded) = shape.discarded(&commands, &namespace) {
            return Ok(Json::error(400, &discarded));
        }
        let session = match sync_token {
            None => None,
            Some(token) => {
                let secrets = self.shell.sync_secrets()?;
                match Session::read(&token, namespace.as_str(), &secrets, clock::now()) {
                    Ok(session) => Some((session, secrets)),
                    Err(error) => return Ok(Json::error(400, &error)),
                }
            }
        };
        let keys = session.as_ref().map(|_| keys_of(&commands, &namespace, |_| true)).unwrap_or_default();
        let written = if levels.writes_at_origin { keys_of(&commands, &namespace, writes_here) } else { vec![] };
        if !written.is_empty() && !self.shell.is_origin_connected()? {
            return Ok(Json::error(503, &NotRefreshed::Away(level::DURABILITY)));
        }
        if levels.reads_at_origin
            && let Err(error) = self.refresh(&commands).await?
        {
            return Ok(Json::error(error.status(), &error));
        }
        let asked = self.shell.ask(|request| match session.as_ref().map(|(session, _)| session.marks()) {
            None => HubInput::Commands { request, commands, idempotency },
            Some(marks) => HubInput::SessionCommands { marks, request, commands, idempotency },
        })?;
        let (results, provisional) = match self.answer(asked).await {
            Ok(Answer::Replies(results, provisional)) => (results, provisional),
            // The machine answers commands with replies only.
            Ok(_) => return Ok(Json::error(500, &INTERRUPTED)),
            Err((status, text)) => return Ok(Json::error(status, &text)),
        };
        let awaits_commit = levels.writes_at_origin && results.iter().any(Result::is_ok);
        if awaits_commit && let Err((status, text)) = self.await_commit(written).await? {
            return Ok(Json::error(status, &text));
        }
        let (status, body) = shape.answer(&results, encoding);
        let token = session.map(|(mut session, secrets)| {
            session.note(self.shell.marks(&keys), clock::now());
            session.write(namespace.as_str(), &secrets)
        });
        let json = Json::replies(status, body, provisional, token.as_deref());
        Ok(json.with(level::DURABILITY, awaits_commit.then_some(level::ORIGIN)))
    }

    /// Has the origin tell this hub of the keys of what is executed here.
    async fn refresh(&self, commands: &[Vec<Bytes>]) -> Result<Result<(), NotRefreshed>, ShellError> {
        let read: Vec<Command> = commands.iter().filter_map(|argv| parse(argv).ok()).collect();
        let here = read.iter().filter(|command| !command.is_passed() && !command.needs_origin());
        let keys: BTreeSet<&Key> = here.flat_map(Command::keys).collect();
        if keys.is_empty() {
            return Ok(Ok(()));
        }
        if keys.len() > PIPELINE_MAX {
            return Ok(Err(NotRefreshed::TooMany));
        }
        let refresh = |key: &Key| vec![Bytes::from_static(b"HW.REFRESH"), Bytes::copy_from_slice(key.as_bytes())];
        let commands = keys.into_iter().map(refresh).collect();
        let asked = self.shell.ask(|request| HubInput::Commands { request, commands, idempotency: None })?;
        let Ok(Answer::Replies(results, _)) = self.answer(asked).await else {
            return Ok(Err(NotRefreshed::Interrupted));
        };
        Ok(results.into_iter().try_for_each(|result| match result {
            // What stands there is of a type that edges do not have, and the command itself will say so.
            Ok(_) | Err(CommandError::WrongType) => Ok(()),
            Err(CommandError::AtOrigin(text)) if text.starts_with("WRONGTYPE") => Ok(()),
            Err(CommandError::OriginAway) => Err(NotRefreshed::Away(level::CONSISTENCY)),
            Err(error) => Err(NotRefreshed::Refused(error)),
        }))
    }

    /// Returns once the origin has committed what this hub has of the keys; else the status and text to answer with.
    async fn await_commit(&self, keys: Vec<Key>) -> Result<Result<(), (u16, &'static str)>, ShellError> {
        if keys.is_empty() {
            return Ok(Ok(()));
        }
        let asked = self.shell.ask(|request| HubInput::AwaitCommit { request, keys })?;
        Ok(match self.answer(asked).await {
            Ok(Answer::Committed(true)) => Ok(()),
            Ok(_) => Err((504, NOT_COMMITTED)),
            Err(error) => Err(error),
        })
    }
}

/// Whether a command writes what goes to the origin by this hub.
fn writes_here(command: &Command) -> bool {
    let is_here = match command {
        Command::Passed(passed) => passed.is_job(),
        command => !command.needs_origin(),
    };
    is_here && command.is_write()
}

/// The keys of what can be read of these, as Redis has them.
fn keys_of(commands: &[Vec<Bytes>], namespace: &Namespace, counts: impl Fn(&Command) -> bool) -> Vec<Key> {
    let read = commands.iter().filter_map(|argv| namespace.read(argv).ok()).filter(|placed| counts(&placed.command));
    read.flat_map(|placed| placed.command.keys().cloned().collect::<Vec<_>>()).collect()
}
