//! Commands of the clients of a namespace: placed among Redis' keys on their way in, and their replies on the way out.
//!
//! A command is read as its client sent it, so that errors speak of the client's names. Then its keys and patterns get the
//! namespace's name in front. What goes to the origin as arguments gets it there, and is read anew, so that what is executed
//! there is what was checked here. Invariant: no key and no pattern of a placed command is another namespace's.

use super::{Action, Command, CommandError, CommandName, Keyed, KeyspaceAction, Passed, Reply, Scan, Script, parse};
use crate::{id::Key, namespace::Namespace};
use bytes::Bytes;

/// A command with Redis' keys.
#[derive(Clone, PartialEq, Debug)]
pub struct Placed {
    /// The command.
    pub command: Command,
    /// Its arguments, where they are others than the client's and may go to the origin: those of a command that needs one
    /// agreed order.
    pub argv: Option<Vec<Bytes>>,
}

impl Namespace {
    /// Whether its clients may have this command executed, which has their own names.
    ///
    /// # Errors
    /// Where it could reach what is not the namespace's own, or a key has no room for the namespace's name.
    pub fn admits(&self, command: &Command) -> Result<(), CommandError> {
        if self.is_confined() && matches!(command, Command::Passed(passed) if passed.is_script()) {
            return Err(CommandError::ScriptInNamespace);
        }
        if self.is_default() {
            let other = command.keys().find(|key| !self.holds(key.as_bytes()));
            return other.map_or(Ok(()), |key| Err(CommandError::other_namespace(key)));
        }
        command.keys().try_for_each(|key| self.key(key).map(drop))
    }

    /// Reads a command that one of its clients sent.
    ///
    /// # Errors
    /// As of [`parse`], and where the command could reach what is not the namespace's own.
    pub fn read(&self, argv: &[Bytes]) -> Result<Placed, CommandError> {
        let mut command = parse(argv)?;
        self.admits(&command)?;
        if self.is_default() {
            return Ok(Placed { command, argv: None });
        }
        if command.needs_origin() {
            let argv = self.placed_arguments(&command, argv)?;
            let command = parse(&argv)?;
            self.check(&command)?;
            return Ok(Placed { command, argv: Some(argv) });
        }
        if let Command::Keyed(Keyed { action: Action::Script(Script::Reset { pattern }), .. }) = &mut command {
            *pattern = self.placed(pattern);
        }
        if let Command::Passed(passed) = &mut command {
            passed.place(|name| self.key(&Key::new(name.clone())?).map(Bytes::from))?;
        }
        for key in command.keys_mut() {
            *key = self.key(key)?;
        }
        self.check(&command)?;
        Ok(Placed { command, argv: None })
    }

    /// What the origin answered, as the client is told: keys by the client's names.
    pub(crate) fn unplaced(
        &self,
        name: CommandName,
        reply: Result<Reply, CommandError>,
    ) -> Result<Reply, CommandError> {
        if self.is_default() {
            return reply;
        }
        let own = |reply: Reply| match reply {
            Reply::Bulk(name) => Reply::Bulk(self.own_name(&name)),
            other => other,
        };
        let first = |reply: Reply| match reply {
            Reply::Array(parts) => {
                parts.into_iter().enumerate().map(|(at, part)| if at == 0 { own(part) } else { part }).collect()
            }
            other => other,
        };
        match (name, reply) {
            (CommandName::RandomKey, Ok(name)) => Ok(own(name)),
            (CommandName::Keys, Ok(Reply::Array(names))) => Ok(names.into_iter().map(own).collect()),
            (CommandName::Scan, Ok(Reply::Array(parts))) => {
                let names = |part: Reply| match part {
                    Reply::Array(names) => names.into_iter().map(own).collect(),
                    cursor => cursor,
                };
                Ok(parts.into_iter().map(names).collect())
            }
            (CommandName::LMPop, Ok(popped)) => Ok(first(popped)),
            (CommandName::XRead | CommandName::XReadGroup, Ok(Reply::Array(streams))) => {
                Ok(streams.into_iter().map(first).collect())
            }
            (_, Err(CommandError::AtOrigin(text))) => {
                // Redis quotes the keys that it speaks of.
                let prefix = format!("'{}:", self.as_str());
                Err(CommandError::AtOrigin(text.replace(&prefix, "'").into()))
            }
            (_, reply) => reply,
        }
    }

    /// Whether all that a command names is the namespace's own. It is so by construction; this is what holds it there.
    fn check(&self, command: &Command) -> Result<(), CommandError> {
        let prefix = self.prefix();
        let is_own = |pattern: &Bytes| pattern.starts_with(&prefix);
        if let Some(key) = command.keys().find(|key| !self.holds(key.as_bytes())) {
            return Err(CommandError::other_namespace(key));
        }
        let pattern = match (command.of_keyspace(), command.script()) {
            (Some(KeyspaceAction::Scan { scan: Scan { pattern, .. }, .. }), _) => pattern.as_ref(),
            (Some(KeyspaceAction::Keys(pattern)), _) => Some(pattern),
            (_, Some(script)) => script.pattern(),
            _ => None,
        };
        match pattern.filter(|pattern| !is_own(pattern)) {
            Some(pattern) => Err(CommandError::other_namespace_name(pattern)),
            None => Ok(()),
        }
    }

    /// The arguments of a command that needs one agreed order.
    fn placed_arguments(&self, command: &Command, argv: &[Bytes]) -> Result<Vec<Bytes>, CommandError> {
        let is_option = |at: usize| at >= 2 && at.is_multiple_of(2);
        // SCAN's options are pairs of a word and what it says.
        let is_match = |at: usize| {
            let word = at.checked_sub(1).filter(|at| is_option(*at)).and_then(|at| argv.get(at));
            word.is_some_and(|word| word.eq_ignore_ascii_case(b"match"))
        };
        let is_key = |at: usize| match command.name() {
            CommandName::MSetNx => at % 2 == 1,
            CommandName::RenameNx => at == 1 || at == 2,
            name if name.is_of_keyspace() => false,
            _ => at == 1,
        };
        let place = |(at, argument): (usize, &Bytes)| match command.name() {
            CommandName::Scan if is_match(at) => Ok(self.placed(argument)),
            CommandName::Keys if at == 1 => Ok(self.placed(argument)),
            _ if is_key(at) => self.key(&Key::new(argument.clone())?).map(Bytes::from),
            _ => Ok(argument.clone()),
        };
        argv.iter().enumerate().map(place).collect()
    }

    /// A pattern of the namespace's keys. A name has no sign that means anything in a pattern.
    fn placed(&self, pattern: &[u8]) -> Bytes {
        [&self.prefix()[..], pattern].concat().into()
    }
}

impl Passed {
    /// Whether it may touch keys that it does not name.
    pub(super) fn is_script(&self) -> bool {
        self.family() == super::Family::Scripts
    }
}

#[cfg(test)]
mod tests;
