//! Commands that Headwater does not execute itself: read for their keys, and passed through to the Redis of the origin.
//!
//! What they do is Redis' business, and so are their errors; here stands only what a proxy must know: which keys they name,
//! so that grants and shards apply, and which they must not name. Their keys are not those of an edge: no edge holds what
//! they write, unless it is of a type that Headwater has (bitmaps are strings, places are sorted sets). Then it is what a
//! plain client wrote.

use super::{CommandError, CommandName, Part, parse::bounded, parse_integer};
use crate::id::Key;
use bytes::Bytes;
use std::{fmt, ops::Range, str::FromStr};

/// Functions of Headwater's own at the origin begin so.
const RESERVED_FUNCTIONS: &[u8] = b"headwater";

/// A command that is passed through.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Passed {
    /// Its name.
    pub name: CommandName,
    /// The keys that it names, or the channel of PUBLISH. A script may touch others.
    pub keys: Vec<Key>,
    /// All of it, as it was sent.
    pub argv: Vec<Bytes>,
}

/// Commands that an operator allows together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Family {
    /// LPUSH, RPOP, LRANGE and the like, as far as they do not wait.
    Lists,
    /// XADD, XREADGROUP and the like, as far as they do not wait.
    Streams,
    /// SETBIT, BITCOUNT and the like.
    Bitmaps,
    /// PFADD, PFCOUNT, PFMERGE.
    HyperLogLogs,
    /// GEOADD, GEOSEARCH and the like.
    Geo,
    /// PUBLISH.
    Publish,
    /// EVAL, EVALSHA and FCALL, which may read and write anything.
    Scripts,
}

/// Not the name of a family.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is no family of commands; there are lists, streams, bitmaps, hyperloglogs, geo, publish and scripts")]
pub struct UnknownFamily(String);

impl Family {
    /// Every family.
    pub const ALL: [Self; 7] =
        [Self::Lists, Self::Streams, Self::Bitmaps, Self::HyperLogLogs, Self::Geo, Self::Publish, Self::Scripts];

    /// What an operator calls it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lists => "lists",
            Self::Streams => "streams",
            Self::Bitmaps => "bitmaps",
            Self::HyperLogLogs => "hyperloglogs",
            Self::Geo => "geo",
            Self::Publish => "publish",
            Self::Scripts => "scripts",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Family {
    type Err = UnknownFamily;

    fn from_str(name: &str) -> Result<Self, UnknownFamily> {
        let found = Self::ALL.into_iter().find(|family| family.as_str() == name);
        found.ok_or_else(|| UnknownFamily(name.to_owned()))
    }
}

impl Passed {
    /// Whether it brings a job, which a hub keeps until the origin has it: XADD, RPUSH and LPUSH.
    pub fn is_job(&self) -> bool {
        matches!(self.name, CommandName::XAdd | CommandName::RPush | CommandName::LPush)
    }

    /// To which family it belongs.
    pub fn family(&self) -> Family {
        // EVAL and EVALSHA come here only with scripts that are not known.
        self.name.passes().unwrap_or(Family::Scripts)
    }

    /// Reads a command whose name and number of arguments fit.
    ///
    /// # Errors
    /// Where its keys cannot be told, one of them is reserved or too long, an argument is too long, or it would wait.
    pub(super) fn read(name: CommandName, argv: &[Bytes]) -> Result<Self, CommandError> {
        let keys = argv.get(keys(name, argv)?).unwrap_or_default().iter().map(|key| Ok(Key::new(key.clone())?));
        let keys = keys.collect::<Result<Vec<_>, CommandError>>()?;
        let argv = argv.iter().map(|argument| bounded(argument, Part::Value)).collect::<Result<_, _>>()?;
        Ok(Self { name, keys, argv })
    }

    /// Puts another name in the place of each key among the arguments.
    pub(super) fn place(&mut self, name: impl Fn(&Bytes) -> Result<Bytes, CommandError>) -> Result<(), CommandError> {
        let places = keys(self.name, &self.argv)?;
        for argument in self.argv.get_mut(places).unwrap_or_default() {
            *argument = name(argument)?;
        }
        Ok(())
    }
}

/// Which arguments are keys.
fn keys(name: CommandName, argv: &[Bytes]) -> Result<Range<usize>, CommandError> {
    let some = |from: usize, to: usize| argv.get(from..to).map(|_| from..to).ok_or(CommandError::WrongArity(name));
    match name {
        CommandName::LMove | CommandName::RPopLPush | CommandName::GeoSearchStore => some(1, 3),
        CommandName::PfCount | CommandName::PfMerge => some(1, argv.len()),
        CommandName::BitOp => some(2, argv.len()),
        CommandName::XGroup | CommandName::XInfo => some(2, 3),
        CommandName::LMPop => counted(argv, 1),
        CommandName::Eval | CommandName::EvalSha | CommandName::FCall | CommandName::FCallRo => {
            let function = argv.get(1).map_or(&[][..], |name| name);
            let is_own = function.get(..RESERVED_FUNCTIONS.len());
            let is_own = is_own.is_some_and(|beginning| beginning.eq_ignore_ascii_case(RESERVED_FUNCTIONS));
            if is_own && matches!(name, CommandName::FCall | CommandName::FCallRo) {
                return Err(CommandError::reserved(function));
            }
            counted(argv, 2)
        }
        CommandName::XRead => streams(argv, 1),
        CommandName::XReadGroup => streams(argv, 4),
        _ => some(1, 2),
    }
}

/// Keys behind their number.
fn counted(argv: &[Bytes], at: usize) -> Result<Range<usize>, CommandError> {
    let number = argv.get(at).ok_or(CommandError::Syntax)?;
    let count = parse_integer(number).ok_or(CommandError::NotAnInteger)?;
    let count = usize::try_from(count).or(Err(CommandError::NumKeysNegative))?;
    let first = at.saturating_add(1);
    let keys = first..first.saturating_add(count);
    if keys.end > argv.len() { Err(CommandError::NumKeysTooMany) } else { Ok(keys) }
}

/// The first half of what follows the word STREAMS, of XREAD and XREADGROUP with options from `at` on.
fn streams(argv: &[Bytes], at: usize) -> Result<Range<usize>, CommandError> {
    let mut rest = argv.get(at..).unwrap_or_default();
    loop {
        let (option, after) = rest.split_first().ok_or(CommandError::Syntax)?;
        let is = |name: &str| option.eq_ignore_ascii_case(name.as_bytes());
        rest = match () {
            () if is("streams") => {
                let first = argv.len().saturating_sub(after.len());
                let count = after.len().div_euclid(2);
                let is_balanced = count > 0 && after.len().is_multiple_of(2);
                return if is_balanced { Ok(first..first.saturating_add(count)) } else { Err(CommandError::Syntax) };
            }
            () if is("block") => return Err(CommandError::Blocking),
            () if is("noack") => after,
            () if is("count") => after.get(1..).ok_or(CommandError::Syntax)?,
            () => return Err(CommandError::Syntax),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Command, parse};

    fn read(line: &str) -> Result<Passed, CommandError> {
        let argv: Vec<Bytes> = line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        match parse(&argv)? {
            Command::Passed(passed) => Ok(passed),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_name_tells_its_keys() {
        for (line, keys) in [
            ("RPUSH k a b", "k"),
            ("lmove a b left right", "a b"),
            ("lmpop 2 a b left", "a b"),
            ("xadd k * f v", "k"),
            ("xgroup create k g $", "k"),
            ("xinfo stream k", "k"),
            ("xread count 2 streams a b 0 0", "a b"),
            ("xreadgroup group streams block noack streams a >", "a"),
            ("bitop and d a b", "d a b"),
            ("bitcount k", "k"),
            ("pfcount a b", "a b"),
            ("geosearchstore d k frommember m byradius 1 m", "d k"),
            ("publish channel text", "channel"),
            ("eval text 2 a b c", "a b"),
            ("evalsha 0123 0", ""),
            ("fcall mine 1 a b", "a"),
        ] {
            let passed = read(line).unwrap();
            let named: Vec<String> = passed.keys.iter().map(Key::to_string).collect();
            assert_eq!(named.join(" "), keys, "{line}");
            assert_eq!(passed.argv.len(), line.split(' ').count(), "{line}");
        }
    }

    #[test]
    fn what_is_reserved_is_not_passed_on() {
        for (line, name) in [
            ("rpush hw:m:{0} a", "hw:m:{0}"),
            ("publish hw:changed x", "hw:changed"),
            ("xread streams a hw:b 0 0", "hw:b"),
            ("bitop not d hw:c", "hw:c"),
            ("eval text 1 hw:m", "hw:m"),
            ("fcall headwater_commits 0", "headwater_commits"),
            ("fcall HEADWATER_commits 0", "HEADWATER_commits"),
        ] {
            assert_eq!(read(line), Err(CommandError::Reserved { name: name.into() }), "{line}");
        }
    }

    #[test]
    fn what_would_wait_is_not_passed_on() {
        for line in ["xread block 0 streams a $", "xreadgroup group g c count 1 BLOCK 10 streams a >"] {
            assert_eq!(read(line), Err(CommandError::Blocking), "{line}");
        }
        assert!(matches!(read("blpop a 0"), Err(CommandError::Unknown { .. })));
    }

    #[test]
    fn keys_that_cannot_be_told_are_an_error() {
        for (line, error) in [
            ("xread streams a b 0", CommandError::Syntax),
            ("xread count streams a 0", CommandError::Syntax),
            ("lmpop 3 a left", CommandError::NumKeysTooMany),
            ("eval text -1 a", CommandError::NumKeysNegative),
            ("eval text x a", CommandError::NotAnInteger),
            ("rpush k", CommandError::WrongArity(CommandName::RPush)),
        ] {
            assert_eq!(read(line), Err(error), "{line}");
        }
    }

    #[test]
    fn families_are_read_by_name() {
        for family in Family::ALL {
            assert_eq!(family.as_str().parse(), Ok(family));
        }
        assert!("list".parse::<Family>().is_err());
        assert_eq!(read("eval text 0").unwrap().family(), Family::Scripts);
        assert_eq!(read("lpop k").unwrap().family(), Family::Lists);
    }
}
