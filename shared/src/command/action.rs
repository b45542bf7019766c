//! What a command does to its keys, for all commands that share the one shape [`Keyed`].
//!
//! The hottest and oldest commands are variants of [`super::Command`] itself; a new one is an action here, and its name, its keys
//! and what a proxy asks of it come from [`Keyed`] alone.

use super::{CommandName, Condition, Expiry, LexRange, LongDouble, ScoreRange, Script, Selection};
use crate::id::{Key, TimestampMs};
use bytes::Bytes;

/// A command as its name, the keys that it names in their order, and what it does to them.
#[derive(Clone, PartialEq, Debug)]
pub struct Keyed {
    /// The name under which it was sent.
    pub name: CommandName,
    /// Its keys, as many as the action takes: one, unless the action says otherwise.
    pub keys: Vec<Key>,
    /// What it does.
    pub action: Action,
}

/// What is done, by the type that it is done to.
#[derive(Clone, PartialEq, Debug)]
pub enum Action {
    /// To strings.
    String(StringAction),
    /// To keys of any type.
    Key(KeyAction),
    /// To sets.
    Set(SetAction),
    /// To hashes.
    Hash(HashAction),
    /// To sorted sets.
    Board(BoardAction),
    /// EVAL and EVALSHA of a script that is known.
    Script(Script),
    /// To locks.
    Lock(LockAction),
    /// To all keys, of which it names none.
    Keyspace(KeyspaceAction),
    /// TIME, which has no keys.
    Time,
}

/// What is done to strings.
#[derive(Clone, PartialEq, Debug)]
pub enum StringAction {
    /// INCRBYFLOAT.
    IncrementFloat(LongDouble),
    /// APPEND of these bytes.
    Append(Bytes),
    /// STRLEN.
    Length,
    /// GETRANGE and SUBSTR: the bytes from `start` to `stop`, both included; negative ones count from the end.
    Range {
        /// The first byte.
        start: i64,
        /// The last byte.
        stop: i64,
    },
    /// SETRANGE: `value` from `offset` on, zeros before it.
    Overwrite {
        /// Where `value` begins.
        offset: u64,
        /// The bytes.
        value: Bytes,
    },
    /// MSET: a value for each key.
    SetEach(Vec<Bytes>),
    /// MGET of all keys.
    Values,
    /// GETSET to this value.
    Replace(Bytes),
    /// SETEX and PSETEX.
    SetFor {
        /// The new value.
        value: Bytes,
        /// From now to the key's deadline, in milliseconds; positive.
        after_ms: i64,
    },
    /// GETEX; here `Keep` changes nothing and `None` is PERSIST.
    ValueAndExpiry(Expiry),
    /// SET with NX, XX or GET.
    SetIf {
        /// The new value.
        value: Bytes,
        /// What becomes of the key's deadline.
        expiry: Expiry,
        /// NX is `Absent`, XX is `Present`; else `Always`.
        condition: Condition,
        /// GET: answers the value before.
        get: bool,
    },
    /// SETNX.
    SetAbsent(Bytes),
    /// MSETNX: a value for each key, if none of them exists.
    SetEachAbsent(Vec<Bytes>),
    /// GETDEL.
    Take,
}

/// What is done to keys whatever their type.
#[derive(Clone, PartialEq, Debug)]
pub enum KeyAction {
    /// COPY of the first key to the second.
    Copy {
        /// Whether what stands there gives way.
        replace: bool,
    },
    /// RENAME of the first key to the second.
    Rename,
    /// RENAMENX of the first key to the second, if there is nothing.
    RenameAbsent,
    /// TOUCH of all keys.
    Touch,
    /// UNLINK of all keys.
    Unlink,
    /// EXPIREAT and PEXPIREAT.
    ExpireAt {
        /// The new deadline; in the past it deletes the key.
        at: TimestampMs,
        /// What must hold of the deadline that the key has.
        condition: Condition,
    },
    /// HW.REVOKE: nothing is there, whatever is written, until this time.
    Revoke(Expiry),
    /// HW.REVOKED: for how long yet.
    Revoked,
    /// HW.REFRESH: whether there is anything, at the origin.
    Refresh,
    /// EXPIRETIME.
    ExpireTime,
    /// PEXPIRETIME.
    PExpireTime,
}

/// What is done to sets.
#[derive(Clone, PartialEq, Debug)]
pub enum SetAction {
    /// SMISMEMBER.
    AreMembers(Vec<Bytes>),
    /// SMOVE of a member from the first key to the second.
    Move(Bytes),
    /// SINTER, SUNION, SDIFF of all keys.
    Combine(Combination),
    /// SINTERSTORE, SUNIONSTORE, SDIFFSTORE: what the other keys come to, into the first.
    CombineInto(Combination),
    /// SINTERCARD of all keys.
    CountCommon {
        /// Where counting ends; zero is never.
        limit: u64,
    },
    /// SRANDMEMBER: one, or so many; a negative count may repeat members.
    Random(Option<i64>),
    /// SPOP: one, or so many.
    Pop(Option<u64>),
    /// SSCAN.
    Scan(Scan),
}

/// What is done to hashes.
#[derive(Clone, PartialEq, Debug)]
pub enum HashAction {
    /// HMGET.
    Values(Vec<Bytes>),
    /// HMSET.
    Set(Vec<(Bytes, Bytes)>),
    /// HEXISTS.
    Exists(Bytes),
    /// HSETNX.
    SetAbsent {
        /// The field.
        field: Bytes,
        /// Its value, if it has none.
        value: Bytes,
    },
    /// HINCRBYFLOAT.
    IncrementFloat {
        /// The field.
        field: Bytes,
        /// What is added.
        by: LongDouble,
    },
    /// HKEYS.
    Fields,
    /// HVALS.
    AllValues,
    /// HSTRLEN.
    Length(Bytes),
    /// HRANDFIELD: one, or so many; a negative count may repeat fields.
    Random {
        /// How many.
        count: Option<i64>,
        /// Whether their values are wanted too.
        with_values: bool,
    },
    /// HSCAN.
    Scan(Scan),
}

/// What is done to sorted sets.
#[derive(Clone, PartialEq, Debug)]
pub enum BoardAction {
    /// ZREVRANGE, ZRANGEBYSCORE, ZRANGEBYLEX and their reverses.
    Range {
        /// The members wanted.
        selection: Selection,
        /// Whether the highest comes first.
        reverse: bool,
        /// Whether the scores are wanted too.
        with_scores: bool,
    },
    /// ZRANGESTORE: a range of the second key into the first.
    RangeInto {
        /// The members wanted.
        selection: Selection,
        /// Whether ranks and the limit count from the highest.
        reverse: bool,
    },
    /// ZCOUNT.
    Count(ScoreRange),
    /// ZLEXCOUNT.
    CountLex(LexRange),
    /// ZREMRANGEBYRANK, ZREMRANGEBYSCORE, ZREMRANGEBYLEX.
    RemoveRange(Selection),
    /// ZMSCORE.
    Scores(Vec<Bytes>),
    /// ZINTER, ZUNION, ZDIFF of all keys, which may also be sets.
    Combine {
        /// How.
        weighted: Weighted,
        /// Whether the scores are wanted too.
        with_scores: bool,
    },
    /// ZINTERSTORE, ZUNIONSTORE, ZDIFFSTORE: what the other keys come to, into the first.
    CombineInto(Weighted),
    /// ZINTERCARD of all keys.
    CountCommon {
        /// Where counting ends; zero is never.
        limit: u64,
    },
    /// ZRANDMEMBER: one, or so many; a negative count may repeat members.
    Random {
        /// How many.
        count: Option<i64>,
        /// Whether their scores are wanted too.
        with_scores: bool,
    },
    /// ZPOPMIN and ZPOPMAX.
    Pop {
        /// How many; one where the command does not say.
        count: u64,
        /// Whether the highest go first.
        highest: bool,
    },
    /// ZSCAN.
    Scan(Scan),
}

/// What is done to a lock. Its owner is whatever name its holder chose.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LockAction {
    /// HW.LOCK: takes it, or prolongs what the owner holds.
    Take {
        /// Who.
        owner: Bytes,
        /// For how long from now, in milliseconds; positive.
        ttl_ms: i64,
    },
    /// HW.EXTEND: prolongs or shortens what the owner holds.
    Extend {
        /// Who.
        owner: Bytes,
        /// For how long from now, in milliseconds; positive.
        ttl_ms: i64,
    },
    /// HW.UNLOCK: gives back what the owner holds.
    Release {
        /// Who.
        owner: Bytes,
    },
}

/// What is asked of all keys, or done to them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KeyspaceAction {
    /// SCAN.
    Scan {
        /// Where, which names and how many.
        scan: Scan,
        /// TYPE: as Redis calls it.
        kind: Option<Bytes>,
    },
    /// KEYS that match the pattern.
    Keys(Bytes),
    /// DBSIZE.
    Count,
    /// RANDOMKEY.
    Random,
    /// FLUSHDB and FLUSHALL.
    Flush,
    /// HW.ERASE: the keys of this person, as the operator's patterns name them.
    Erase(Bytes),
}

impl KeyspaceAction {
    /// The names that it may tell of.
    pub fn pattern(&self) -> &[u8] {
        match self {
            Self::Scan { scan: Scan { pattern: Some(pattern), .. }, .. } | Self::Keys(pattern) => pattern,
            Self::Scan { .. } | Self::Count | Self::Random | Self::Flush | Self::Erase(_) => b"*",
        }
    }
}

/// An operation of set algebra.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Combination {
    /// What all have.
    Intersection,
    /// What any has.
    Union,
    /// What the first has and no other.
    Difference,
}

/// Set algebra over scores.
#[derive(Clone, PartialEq, Debug)]
pub struct Weighted {
    /// The operation.
    pub combination: Combination,
    /// By what the scores of each key are multiplied; empty for one each. Perhaps infinite.
    pub weights: Vec<f64>,
    /// What the scores of a member come to.
    pub aggregate: Aggregate,
}

/// What several scores of one member come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Aggregate {
    /// Their sum.
    #[default]
    Sum,
    /// The least.
    Min,
    /// The greatest.
    Max,
}

/// One step of SSCAN, HSCAN or ZSCAN.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scan {
    /// Where it goes on; zero begins.
    pub cursor: u64,
    /// MATCH: which names are wanted.
    pub pattern: Option<Bytes>,
    /// COUNT: how many elements to look at, a hint.
    pub count: u64,
}

impl Action {
    /// Whether it is a write that needs no prior value.
    pub fn is_blind(&self) -> bool {
        matches!(
            self,
            Self::String(StringAction::SetEach(_) | StringAction::SetFor { .. })
                | Self::Hash(HashAction::Set(_))
                | Self::Key(KeyAction::Revoke(_))
                | Self::Time
        )
    }
}
