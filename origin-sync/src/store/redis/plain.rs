//! The plain commands that a commit may bring, checked before they are sent.
//!
//! Redis runs them inside the one compare-and-set, where a command that fails after another wrote would leave half a
//! commit. So arity and numbers are checked here, only listed commands pass, and those that may still fail on what a
//! plain client left there are told apart. `commit.lua` probes each of them when the daemon connects.

use bytes::Bytes;
use headwater::id::Key;

/// Words of one command at most; longer ones are split. Lua passes some 8000 values to one call.
pub(super) const WORDS_MAX: usize = 4002;

/// A plain command that the store does not run.
#[derive(Debug, thiserror::Error)]
pub enum PlainError {
    /// Not on the list.
    #[error("{0:?} is not a plain command of a commit")]
    Unknown(Bytes),
    /// Wrong number or form of arguments.
    #[error("the arguments of the plain command {0:?} are malformed")]
    Arguments(Bytes),
    /// Its key is not the commit's.
    #[error("the plain command {0:?} names another key than its commit")]
    Key(Bytes),
}

/// A key's commands in the order in which they run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ordered<'a> {
    /// Up to the last that may fail on content; undone if one does.
    pub(super) may_fail: Vec<Command<'a>>,
    /// The others.
    pub(super) cannot_fail: Vec<Command<'a>>,
}

/// A command's verb, and its words behind the key.
pub(super) type Command<'a> = (&'a Bytes, &'a [Bytes]);

impl<'a> Ordered<'a> {
    /// Checks a key's commands.
    pub(super) fn new(key: &Key, commands: &'a [Vec<Bytes>]) -> Result<Self, PlainError> {
        let mut ordered = Self::default();
        for command in commands {
            let may_fail = check(key, command)?;
            ordered.cannot_fail.extend(split(command));
            if may_fail {
                ordered.may_fail.append(&mut ordered.cannot_fail);
            }
        }
        Ok(ordered)
    }
}

/// Checks a read that guards a commit.
pub(super) fn check_guard(key: &Key, read: &[Bytes]) -> Result<(), PlainError> {
    let [verb, name, arguments @ ..] = read else {
        return Err(PlainError::Arguments(read.first().cloned().unwrap_or_default()));
    };
    if name != key.as_bytes() {
        return Err(PlainError::Key(verb.clone()));
    }
    match (verb.as_ref(), arguments) {
        (b"GET", []) | (b"HGET" | b"ZSCORE" | b"SISMEMBER", [_]) => Ok(()),
        (b"GET" | b"HGET" | b"ZSCORE" | b"SISMEMBER", _) => Err(PlainError::Arguments(verb.clone())),
        _ => Err(PlainError::Unknown(verb.clone())),
    }
}

/// Whether the command may fail on content.
fn check(key: &Key, command: &[Bytes]) -> Result<bool, PlainError> {
    let [verb, name, arguments @ ..] = command else {
        return Err(PlainError::Arguments(command.first().cloned().unwrap_or_default()));
    };
    if name != key.as_bytes() {
        return Err(PlainError::Key(verb.clone()));
    }
    let (fits, may_fail) = match (verb.as_ref(), arguments) {
        (b"UNLINK" | b"PERSIST", rest) => (rest.is_empty(), false),
        (b"SET", [_value]) => (true, false),
        (b"SET", [_value, option]) => (option.as_ref() == b"KEEPTTL", false),
        (b"SET", [_value, option, at]) => (option.as_ref() == b"PXAT" && is_integer(at), false),
        (b"PEXPIREAT", [at]) => (is_integer(at), false),
        (b"SADD" | b"SREM" | b"HDEL" | b"ZREM", names) => (!names.is_empty(), false),
        (b"HSET", pairs) => (is_pairs(pairs), false),
        (b"ZADD", pairs) => (is_pairs(pairs) && pairs.iter().step_by(2).all(is_score), false),
        (b"INCRBY", [by]) => (is_integer(by), true),
        (b"HINCRBY", [_field, by]) => (is_integer(by), true),
        (b"ZINCRBY", [by, _member]) => (is_score(by), true),
        (b"SET" | b"PEXPIREAT" | b"INCRBY" | b"HINCRBY" | b"ZINCRBY", _) => (false, false),
        _ => return Err(PlainError::Unknown(verb.clone())),
    };
    if fits { Ok(may_fail) } else { Err(PlainError::Arguments(verb.clone())) }
}

/// The command itself, or several that together do the same.
fn split(command: &[Bytes]) -> impl Iterator<Item = Command<'_>> {
    let (verb, rest) = command.split_first().map_or((None, command), |(verb, rest)| (Some(verb), rest));
    let rest = rest.get(1..).unwrap_or_default();
    // A chunk is even, so that pairs stay together. Only lists grow beyond it; without arguments there is one part.
    let whole = rest.is_empty().then_some(rest);
    verb.into_iter()
        .flat_map(move |verb| whole.into_iter().chain(rest.chunks(WORDS_MAX - 2)).map(move |part| (verb, part)))
}

fn is_pairs(words: &[Bytes]) -> bool {
    !words.is_empty() && words.len().is_multiple_of(2)
}

fn is_integer(word: &Bytes) -> bool {
    text(word).is_some_and(|text| text.parse::<i64>().is_ok() && !text.starts_with('+'))
}

fn is_score(word: &Bytes) -> bool {
    text(word).and_then(|text| text.parse::<f64>().ok()).is_some_and(|score| !score.is_nan())
}

fn text(word: &Bytes) -> Option<&str> {
    std::str::from_utf8(word).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(words: &[&str]) -> Vec<Bytes> {
        words.iter().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
    }

    /// The commands that may fail and those that cannot, without the key.
    fn ordered(commands: &[&[&str]]) -> Result<[Vec<Vec<Bytes>>; 2], PlainError> {
        let commands: Vec<_> = commands.iter().map(|words| command(words)).collect();
        let Ordered { may_fail, cannot_fail } = Ordered::new(&Key::new("k").unwrap(), &commands)?;
        let words = |(verb, arguments): Command<'_>| [std::slice::from_ref(verb), arguments].concat();
        Ok([may_fail, cannot_fail].map(|commands| commands.into_iter().map(words).collect()))
    }

    #[test]
    fn all_up_to_the_last_that_may_fail_is_undoable() {
        let [may_fail, cannot_fail] =
            ordered(&[&["SET", "k", "1"], &["INCRBY", "k", "-5"], &["PERSIST", "k"]]).unwrap();
        assert_eq!(may_fail, [command(&["SET", "1"]), command(&["INCRBY", "-5"])]);
        assert_eq!(cannot_fail, [command(&["PERSIST"])]);
    }

    #[test]
    fn long_commands_are_split_between_pairs() {
        let mut long = command(&["HSET", "k"]);
        for pair in 0..4500 {
            long.extend([Bytes::from(format!("f{pair}")), Bytes::from(format!("v{pair}"))]);
        }
        let commands = [long.clone()];
        let ordered = Ordered::new(&Key::new("k").unwrap(), &commands).unwrap();
        assert_eq!(ordered.cannot_fail.len(), 3);
        let fits = |(_, words): &Command<'_>| words.len() <= WORDS_MAX - 2 && words.len().is_multiple_of(2);
        assert!(ordered.cannot_fail.iter().all(fits));
        let joined: Vec<_> = ordered.cannot_fail.iter().flat_map(|(_, words)| words.to_vec()).collect();
        assert_eq!(joined, long[2..]);
    }

    #[test]
    fn malformed_foreign_and_unknown_commands_are_refused() {
        for words in [&["INCRBY", "k"][..], &["INCRBY", "k", "x"], &["HSET", "k", "f"], &["ZADD", "k", "nan", "m"]] {
            assert!(matches!(ordered(&[words]), Err(PlainError::Arguments(_))), "{words:?}");
        }
        for words in [&["SET"][..], &["SET", "k"], &["SET", "k", "v", "NX"], &["PEXPIREAT", "k", "+5"], &["SADD", "k"]]
        {
            assert!(matches!(ordered(&[words]), Err(PlainError::Arguments(_))), "{words:?}");
        }
        assert!(matches!(ordered(&[&["SET", "other", "v"]]), Err(PlainError::Key(_))));
        assert!(matches!(ordered(&[&["FLUSHALL", "k"]]), Err(PlainError::Unknown(_))));
    }
}
