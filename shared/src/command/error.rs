//! Why a command was not executed, worded as Redis 7 words it.
//!
//! `Display` is the whole error line without RESP's leading `-`; clients match on its first word and some on all of it, so the
//! wording is pinned against redis-server 7.0.15. Conditions that Redis does not know begin with `ERR Headwater:`.

use super::CommandName;
use crate::{
    id::{BadKey, Key},
    limit::LimitError,
    limits,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Bytes of a client's own text that an error repeats, as in Redis.
const ECHOED_BYTES_MAX: usize = 128;

/// An error of parsing or of execution, also sent as the cause of a refusal.
///
/// New variants go at the end: the order is part of what is stored and sent.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
pub enum CommandError {
    /// There was not even a name.
    #[error("ERR empty command")]
    Empty,
    /// No command of this name is known here.
    #[error("ERR unknown command '{name}', with args beginning with: {arguments}")]
    Unknown {
        /// The name as sent, shortened.
        name: Box<str>,
        /// The first arguments, each quoted and followed by a space.
        arguments: Box<str>,
    },
    /// Too few, too many or an odd number of arguments.
    #[error("ERR wrong number of arguments for '{0}' command")]
    WrongArity(CommandName),
    /// More arguments than [`limits::ARGUMENTS_MAX`].
    #[error("ERR number of arguments is larger than the limit of {limit}")]
    TooManyArguments {
        /// How many are allowed.
        limit: u32,
    },
    /// An argument is longer than this store keeps.
    #[error("ERR {what} is longer than the limit of {limit} bytes")]
    TooLong {
        /// Which kind of argument.
        what: Part,
        /// How many bytes are allowed.
        limit: u32,
    },
    /// An option is unknown, doubled or misplaced.
    #[error("ERR syntax error")]
    Syntax,
    /// An argument, or the value of a string that is incremented, is no i64 as Redis writes it.
    #[error("ERR value is not an integer or out of range")]
    NotAnInteger,
    /// A score is no number.
    #[error("ERR value is not a valid float")]
    NotAFloat,
    /// A bound of a score range is no number.
    #[error("ERR min or max is not a float")]
    RangeNotAFloat,
    /// An expiry is zero, negative or beyond i64 milliseconds.
    #[error("ERR invalid expire time in '{0}' command")]
    InvalidExpireTime(CommandName),
    /// EXPIRE with an unknown option.
    #[error("ERR Unsupported option {0}")]
    UnsupportedOption(Box<str>),
    /// EXPIRE NX with one of the others.
    #[error("ERR NX and XX, GT or LT options at the same time are not compatible")]
    ExpireNxWithOthers,
    /// EXPIRE GT LT.
    #[error("ERR GT and LT options at the same time are not compatible")]
    ExpireGtWithLt,
    /// ZADD XX NX.
    #[error("ERR XX and NX options at the same time are not compatible")]
    ZAddXxWithNx,
    /// ZADD with two of GT, LT and NX.
    #[error("ERR GT, LT, and/or NX options at the same time are not compatible")]
    ZAddGtLtNx,
    /// ZADD INCR with several pairs.
    #[error("ERR INCR option supports a single increment-element pair")]
    ZAddIncrPairs,
    /// ZRANGE LIMIT over ranks.
    #[error("ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX")]
    LimitOverRanks,
    /// ZRANGE BYLEX WITHSCORES.
    #[error("ERR syntax error, WITHSCORES not supported in combination with BYLEX")]
    ByLexWithScores,
    /// ZRANGE BYLEX, which earlier releases did not have.
    #[error("ERR Headwater: BYLEX is not supported yet")]
    ByLexNotSupported,
    /// DECRBY of the least i64, which has no opposite.
    #[error("ERR decrement would overflow")]
    DecrementOverflow,
    /// SET NX and the like, which need one agreed order, asked of a node that hands it to nobody.
    #[error("ERR Headwater: this needs one agreed order and runs only at the origin")]
    NeedsOrigin,

    /// The key holds another type.
    #[error("WRONGTYPE Operation against a key holding the wrong kind of value")]
    WrongType,
    /// The sum is beyond i64.
    #[error("ERR increment or decrement would overflow")]
    Overflow,
    /// The value of a hash field that is incremented is no i64.
    #[error("ERR hash value is not an integer")]
    HashNotAnInteger,
    /// Infinity and its opposite were added.
    #[error("ERR resulting score is not a number (NaN)")]
    NanScore,
    /// The command needs a key that does not exist.
    #[error("ERR no such key")]
    NoSuchKey,
    /// The node holds as much as it may.
    #[error("OOM command not allowed when used memory > 'maxmemory'.")]
    OutOfMemory,
    /// The keys lie in different slots, and so perhaps in different shards.
    #[error("CROSSSLOT Keys in request don't hash to the same slot")]
    CrossSlot,
    /// The token does not grant this command.
    #[error("NOPERM this user has no permissions to run the '{0}' command")]
    CommandNotPermitted(CommandName),
    /// The token does not grant this key.
    #[error("NOPERM this user has no permissions to access one of the keys used as arguments")]
    KeyNotPermitted,
    /// The key was never fetched and cannot be now; it may well exist.
    #[error("ERR Headwater: the origin is away and this edge does not hold the key")]
    NotHeld,
    /// The session in which the operation was sent has ended before it was settled.
    #[error("ERR Headwater: the session has ended and with it what was sent but not settled")]
    SessionEnded,
    /// A leaf keeps as many unacknowledged operations as it may.
    #[error("ERR Headwater: too many writes wait to be acknowledged")]
    TooManyPending,
    /// The node did not catch up with the reader's session token in time.
    #[error("ERR Headwater: this edge has not yet seen what the session token demands")]
    Behind,
    /// A leaf's operation names numbers of its hub that the hub has not used.
    #[error("ERR Headwater: the operation claims to have seen what its hub has yet to do")]
    SeenAhead,
    /// SETRANGE before the value's first byte.
    #[error("ERR offset is out of range")]
    OffsetOutOfRange,
    /// INCRBYFLOAT and HINCRBYFLOAT to infinity.
    #[error("ERR increment would produce NaN or Infinity")]
    SumNotFinite,
    /// HINCRBYFLOAT by infinity.
    #[error("ERR value is NaN or Infinity")]
    IncrementNotFinite,
    /// HINCRBYFLOAT of a field that is no number.
    #[error("ERR hash value is not a float")]
    HashNotAFloat,
    /// COPY of a key to itself.
    #[error("ERR source and destination objects are the same")]
    SameObject,
    /// COPY to another database; there is one.
    #[error("ERR DB index is out of range")]
    NoSuchDatabase,
    /// SINTERCARD of no keys.
    #[error("ERR numkeys should be greater than 0")]
    NumKeysNotPositive,
    /// SINTERCARD of more keys than were sent.
    #[error("ERR Number of keys can't be greater than number of args")]
    NumKeysTooMany,
    /// A LIMIT of SINTERCARD or ZINTERCARD that is no count.
    #[error("ERR LIMIT can't be negative")]
    LimitNegative,
    /// ZUNION and the like of no keys.
    #[error("ERR at least 1 input key is needed for '{0}' command")]
    NoInputKeys(CommandName),
    /// A weight that is no number.
    #[error("ERR weight value is not a float")]
    WeightNotAFloat,
    /// A bound of BYLEX that does not begin with one of `-`, `+`, `[` and `(`.
    #[error("ERR min or max not valid string range item")]
    LexRange,
    /// A cursor that is no number.
    #[error("ERR invalid cursor")]
    InvalidCursor,
    /// A count of random elements beyond what may be asked for at once.
    #[error("ERR value is out of range")]
    CountOutOfRange,
    /// The command would change more elements than one operation may.
    #[error("ERR Headwater: the command would change more than {limit} elements at once")]
    TooManyChanges {
        /// How many may change.
        limit: u32,
    },
    /// HEXPIRE and its family without the word FIELDS.
    #[error("ERR Mandatory argument FIELDS is missing or not at the right position")]
    FieldsMissing,
    /// HEXPIRE and the like of no fields.
    #[error("ERR Parameter `numFields` should be greater than 0")]
    FieldCountNotPositive,
    /// HTTL, HPERSIST and the like of no fields.
    #[error("ERR Number of fields must be a positive integer")]
    NoFields,
    /// HEXPIRE and its family with more or fewer fields than announced.
    #[error("ERR The `numfields` parameter must match the number of arguments")]
    FieldCountMismatch,
    /// HEXPIRE and the like of a negative time.
    #[error("ERR invalid expire time, must be >= 0")]
    NegativeExpireTime,
    /// HW.LIMIT of what is no limit.
    #[error("ERR Headwater: {0}")]
    InvalidLimit(#[from] LimitError),
    /// An operation that no frame can carry to the hub.
    #[error("ERR Headwater: the command would send more than {limit_bytes} bytes at once")]
    OperationTooLarge {
        /// How many may be sent.
        limit_bytes: u32,
    },
    /// EVAL and EVALSHA of fewer than no keys.
    #[error("ERR Number of keys can't be negative")]
    NumKeysNegative,
    /// EVALSHA of a script that is not known here; clients send its text next.
    #[error("NOSCRIPT No matching script. Please use EVAL.")]
    NoScript,
    /// EVAL of a script that is not known here.
    #[error("ERR Headwater: no scripts are run here; those of @upstash/ratelimit are known by their text")]
    UnknownScript,
    /// What Redis at the origin answered to a command that was passed through, or why the origin did not ask it.
    #[error("{0}")]
    AtOrigin(Box<str>),
    /// A command that runs only at the origin, which is not connected. Nothing was done.
    #[error("ERR Headwater: the origin is away, and this command runs only there; nothing was done")]
    OriginAway,
    /// The origin was asked and did not answer.
    #[error("ERR Headwater: the origin did not answer, and whether the command was executed is unknown")]
    OutcomeUnknown,
    /// As many commands are under way at the origin as may be. Nothing was done.
    #[error("ERR Headwater: too many commands are under way at the origin; nothing was done")]
    TooManyAtOrigin,
    /// A key, channel or function of Headwater's own at the origin.
    #[error(
        "ERR Headwater: {name} is reserved: keys and channels that begin with hw: are Headwater's own, as are functions that \
         begin with headwater"
    )]
    Reserved {
        /// What was named, shortened.
        name: Box<str>,
    },
    /// A command that would wait for others.
    #[error("ERR Headwater: BLOCK is not served; ask again instead")]
    Blocking,
    /// A command that is passed through, in a transaction.
    #[error("ERR Headwater: a command that runs at the origin cannot be part of a transaction")]
    NotInTransaction,
    /// The hub keeps as many jobs for the origin as it may. Nothing was done.
    #[error("ERR Headwater: too many jobs wait for the origin; nothing was done")]
    OutboxFull,
    /// A count of SPOP and the like below zero.
    #[error("ERR value is out of range, must be positive")]
    CountNegative,
    /// A command that needs one agreed order, and whose keys lie in several slots: the origin has one order for each.
    #[error(
        "CROSSSLOT Headwater: the keys of a command that needs one agreed order must be of one slot, as by a hash tag"
    )]
    OrderedCrossSlot,
    /// The origin had not got what the hub had written before the command.
    #[error("ERR Headwater: what this edge wrote before did not reach the origin in time; nothing was done")]
    OriginBehind,
    /// A reply that no hub could hold.
    #[error("ERR Headwater: the reply would be larger than {limit_bytes} bytes; nothing was done")]
    ReplyTooLarge {
        /// How many it may take.
        limit_bytes: u32,
    },
    /// HW.LIMIT STRICT in a tab or another leaf, which has no rights.
    #[error("ERR Headwater: a strict limit is decided at an edge: ask one over HTTP")]
    StrictElsewhere,
    /// HW.LIMIT STRICT at an edge that has no rights left and gets none now. Nothing was counted.
    #[error(
        "ERR Headwater: this edge has no rights left under the strict limit, and the origin is away or grants none yet"
    )]
    NoRights,
    /// A key of another namespace.
    #[error("NOPERM Headwater: the key {name} is another namespace's")]
    OtherNamespace {
        /// The key, shortened.
        name: Box<str>,
    },
    /// A script that may touch any key, where not all keys are the client's namespace's.
    #[error(
        "NOPERM Headwater: a script that runs at the origin may touch any key, so none runs where there are namespaces"
    )]
    ScriptInNamespace,
    /// A write to a key that is revoked. Nothing was done.
    #[error("ERR Headwater: the key is revoked until {until_ms} (milliseconds since 1970); nothing was done")]
    Revoked {
        /// Until when.
        until_ms: i64,
    },
    /// HW.REVOKE for longer than revocations are kept.
    #[error("ERR Headwater: a key is revoked for at most {days} days")]
    RevokedTooLong {
        /// How long that is.
        days: u32,
    },
    /// A command that this build of a leaf leaves out, see the feature `all-commands`. Nothing was done.
    #[error(
        "ERR Headwater: the '{0}' command is not in the module that is loaded; open the store with commands: \"all\""
    )]
    NotBuiltIn(CommandName),
}

/// A kind of argument that has a limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Part {
    /// A key.
    Key,
    /// The value of a string or a hash field, or a message.
    Value,
    /// A member of a set or a board.
    Member,
    /// The name of a hash field.
    Field,
}

impl Part {
    /// How many bytes it may have.
    pub const fn bytes_max(self) -> usize {
        match self {
            Self::Key => limits::KEY_BYTES_MAX,
            Self::Value | Self::Member | Self::Field => limits::VALUE_BYTES_MAX,
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key => "key",
            Self::Value => "value",
            Self::Member => "member",
            Self::Field => "field",
        })
    }
}

impl CommandError {
    /// `what` has too many bytes.
    pub(crate) fn too_long(what: Part) -> Self {
        Self::TooLong { what, limit: u32::try_from(what.bytes_max()).unwrap_or(u32::MAX) }
    }

    /// A key has more bytes than there is room for.
    pub(crate) fn key_too_long(bytes_max: usize) -> Self {
        Self::TooLong { what: Part::Key, limit: u32::try_from(bytes_max).unwrap_or(u32::MAX) }
    }

    /// A key is another namespace's.
    pub(crate) fn other_namespace(key: &Key) -> Self {
        Self::other_namespace_name(key.as_bytes())
    }

    /// What names keys names another namespace's.
    pub(super) fn other_namespace_name(name: &[u8]) -> Self {
        Self::OtherNamespace { name: one_line(beginning(name, ECHOED_BYTES_MAX)) }
    }

    /// There are too many arguments.
    pub(super) fn too_many_arguments() -> Self {
        Self::TooManyArguments { limit: u32::try_from(limits::ARGUMENTS_MAX).unwrap_or(u32::MAX) }
    }

    /// More elements would change than [`limits::EFFECTS_MAX`].
    pub(crate) fn too_many_changes() -> Self {
        Self::TooManyChanges { limit: u32::try_from(limits::EFFECTS_MAX).unwrap_or(u32::MAX) }
    }

    /// An operation takes more than [`limits::OPERATION_BYTES_MAX`].
    pub(crate) fn operation_too_large() -> Self {
        Self::OperationTooLarge { limit_bytes: u32::try_from(limits::OPERATION_BYTES_MAX).unwrap_or(u32::MAX) }
    }

    /// A reply takes more than all of a call may: [`limits::RUN_REPLY_BYTES_MAX`].
    pub(crate) fn reply_too_large() -> Self {
        Self::ReplyTooLarge { limit_bytes: u32::try_from(limits::RUN_REPLY_BYTES_MAX).unwrap_or(u32::MAX) }
    }

    /// No command is called `name`.
    pub(super) fn unknown(name: &[u8], arguments: &[Bytes]) -> Self {
        let mut quoted = Vec::new();
        for argument in arguments {
            // Redis measures with the quotes of the arguments before, and stops once it has reached the limit.
            let Some(room) = ECHOED_BYTES_MAX.checked_sub(quoted.len()).filter(|&room| room > 0) else { break };
            quoted.push(b'\'');
            quoted.extend_from_slice(beginning(argument, room));
            quoted.extend_from_slice(b"' ");
        }
        Self::Unknown { name: one_line(beginning(name, ECHOED_BYTES_MAX)), arguments: one_line(&quoted) }
    }

    /// `name` is Headwater's own.
    pub(super) fn reserved(name: &[u8]) -> Self {
        Self::Reserved { name: one_line(beginning(name, ECHOED_BYTES_MAX)) }
    }

    /// EXPIRE has no such option.
    pub(super) fn unsupported_option(option: &[u8]) -> Self {
        let text = beginning(option, ECHOED_BYTES_MAX);
        let blank_from = text.iter().rposition(|byte| !b"\r\n".contains(byte)).map_or(0, |last| last.saturating_add(1));
        Self::UnsupportedOption(one_line(text.get(..blank_from).unwrap_or_default()))
    }
}

impl From<BadKey> for CommandError {
    fn from(bad: BadKey) -> Self {
        match bad {
            BadKey::TooLong { .. } => Self::too_long(Part::Key),
            BadKey::Reserved { name } => Self::reserved(&name),
        }
    }
}

/// What C's `%.{bytes_max}s` prints.
fn beginning(text: &[u8], bytes_max: usize) -> &[u8] {
    let end = text.iter().take(bytes_max).position(|&byte| byte == 0).unwrap_or(text.len().min(bytes_max));
    text.get(..end).unwrap_or_default()
}

/// Text without line ends, which would break the protocol.
fn one_line(text: &[u8]) -> Box<str> {
    String::from_utf8_lossy(text).replace(['\r', '\n'], " ").into_boxed_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_commands_are_repeated_as_redis_does() {
        let x = |n: usize| "x".repeat(n);
        // name, arguments, what redis-server 7.0.15 answers
        let table: &[(&str, &[&str], String)] = &[
            ("foo", &["a", "b"], "ERR unknown command 'foo', with args beginning with: 'a' 'b' ".into()),
            ("foo", &[], "ERR unknown command 'foo', with args beginning with: ".into()),
            ("foo", &[""], "ERR unknown command 'foo', with args beginning with: '' ".into()),
            ("", &[], "ERR unknown command '', with args beginning with: ".into()),
            ("FoO", &[&x(200), "b"], format!("ERR unknown command 'FoO', with args beginning with: '{}' ", x(128))),
            (&x(200), &["a"], format!("ERR unknown command '{}', with args beginning with: 'a' ", x(128))),
            (
                "foo",
                &[&x(124), "yy", "zz"],
                format!("ERR unknown command 'foo', with args beginning with: '{}' 'y' ", x(124)),
            ),
            ("foo", &[&x(125), "y"], format!("ERR unknown command 'foo', with args beginning with: '{}' ", x(125))),
            ("fo\r\no", &["a\nb"], "ERR unknown command 'fo  o', with args beginning with: 'a b' ".into()),
            ("fo\r\n", &["a\n"], "ERR unknown command 'fo  ', with args beginning with: 'a ' ".into()),
            ("f\0oo", &["a\0b", "c"], "ERR unknown command 'f', with args beginning with: 'a' 'c' ".into()),
        ];
        for (name, arguments, expected) in table {
            let arguments: Vec<Bytes> = arguments.iter().map(|a| Bytes::copy_from_slice(a.as_bytes())).collect();
            assert_eq!(CommandError::unknown(name.as_bytes(), &arguments).to_string(), *expected);
        }
    }

    #[test]
    fn errors_survive_the_wire() {
        let errors = [
            CommandError::unknown(b"foo", &[Bytes::from_static(b"\xff")]),
            CommandError::WrongArity(CommandName::Get),
            CommandError::too_long(Part::Member),
            CommandError::NotHeld,
        ];
        for error in errors {
            let bytes = postcard::to_allocvec(&error).unwrap();
            assert_eq!(postcard::from_bytes::<CommandError>(&bytes).unwrap(), error);
        }
    }

    #[test]
    fn the_number_of_an_error_never_changes() {
        let table = [
            (CommandError::Empty, 0),
            (CommandError::Syntax, 5),
            (CommandError::NeedsOrigin, 20),
            (CommandError::WrongType, 21),
            (CommandError::Overflow, 22),
            (CommandError::OutOfMemory, 26),
            (CommandError::NotHeld, 30),
            (CommandError::Behind, 33),
            (CommandError::SeenAhead, 34),
            (CommandError::OffsetOutOfRange, 35),
            (CommandError::CountOutOfRange, 48),
            (CommandError::UnknownScript, 59),
            (CommandError::OriginAway, 61),
            (CommandError::NotInTransaction, 66),
            (CommandError::OutboxFull, 67),
            (CommandError::CountNegative, 68),
            (CommandError::OriginBehind, 70),
            (CommandError::StrictElsewhere, 72),
            (CommandError::NoRights, 73),
            (CommandError::ScriptInNamespace, 75),
        ];
        for (error, number) in table {
            assert_eq!(postcard::to_allocvec(&error).unwrap(), [number], "{error}");
        }
    }
}
