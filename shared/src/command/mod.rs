//! The Redis commands as values, already validated, and what they answer.
//!
//! [`parse`] is the only way from bytes to a [`Command`]; a value that exists has keys and values within the limits, numbers
//! in range and compatible options, so that execution need not ask again. The errors are Redis's own to the letter.
//! Nothing here knows what a key holds: that is execution's part.

mod action;
mod condition;
mod double;
mod error;
mod long_double;
mod name;
mod natural;
mod number;
mod parse;
mod passed;
mod pattern;
mod place;
mod range;
mod reply;
mod script;

pub use action::{
    Action, Aggregate, BoardAction, Combination, HashAction, KeyAction, Keyed, KeyspaceAction, LockAction, Scan,
    SetAction, StringAction, Weighted,
};
pub use condition::{Condition, Expiry, FieldExpiry, deadline_after};
pub use error::{CommandError, Part};
pub use long_double::LongDouble;
pub use name::{CommandName, UnknownCommandName};
pub use number::{format_score, parse_integer, parse_score, parse_score_bound};
pub use parse::parse;
pub use passed::{Family, Passed, UnknownFamily};
pub use pattern::matches;
pub use place::Placed;
pub use range::{LexBound, LexRange, Limit, RankRange, ScoreBound, ScoreRange, Selection};
pub use reply::Reply;
pub use script::{Place, Script};

use crate::{id::Key, limits::ARGUMENTS_MAX};
use bytes::Bytes;
use std::{num::NonZeroU64, slice};

/// Whether this build knows all commands, or those alone that the browser package's views are made of.
pub(crate) const ALL_COMMANDS: bool = cfg!(feature = "all-commands");

/// A command with its arguments. Lists are never empty, and keep doubled elements as they were sent.
#[derive(Clone, PartialEq, Debug)]
pub enum Command {
    /// `SET key value [EX s | PX ms | EXAT s | PXAT ms | KEEPTTL]`
    Set {
        /// The key.
        key: Key,
        /// Its new value.
        value: Bytes,
        /// What becomes of its deadline.
        expiry: Expiry,
    },
    /// `GET key`
    Get {
        /// The key.
        key: Key,
    },
    /// `DEL key...`
    Del {
        /// The keys.
        keys: Vec<Key>,
    },
    /// `EXISTS key...`; a key named twice counts twice.
    Exists {
        /// The keys.
        keys: Vec<Key>,
    },
    /// `EXPIRE key seconds [NX | XX | GT | LT]`
    Expire {
        /// The key.
        key: Key,
        /// From now to its deadline, in milliseconds; zero or less deletes it. See [`deadline_after`].
        after_ms: i64,
        /// What must hold of the deadline it has.
        condition: Condition,
    },
    /// `PEXPIRE key milliseconds [NX | XX | GT | LT]`
    PExpire {
        /// The key.
        key: Key,
        /// From now to its deadline, in milliseconds; zero or less deletes it. See [`deadline_after`].
        after_ms: i64,
        /// What must hold of the deadline it has.
        condition: Condition,
    },
    /// `TTL key`
    Ttl {
        /// The key.
        key: Key,
    },
    /// `PTTL key`
    PTtl {
        /// The key.
        key: Key,
    },
    /// `PERSIST key`
    Persist {
        /// The key.
        key: Key,
    },
    /// `TYPE key`
    Type {
        /// The key.
        key: Key,
    },
    /// `INCR key`
    Incr {
        /// The key.
        key: Key,
        /// What is added: 1.
        by: i64,
    },
    /// `INCRBY key by`
    IncrBy {
        /// The key.
        key: Key,
        /// What is added.
        by: i64,
    },
    /// `DECR key`
    Decr {
        /// The key.
        key: Key,
        /// What is added: −1.
        by: i64,
    },
    /// `DECRBY key by`
    DecrBy {
        /// The key.
        key: Key,
        /// What is added: the opposite of what was sent.
        by: i64,
    },
    /// `SADD key member...`
    SAdd {
        /// The key.
        key: Key,
        /// The members to add.
        members: Vec<Bytes>,
    },
    /// `SREM key member...`
    SRem {
        /// The key.
        key: Key,
        /// The members to remove.
        members: Vec<Bytes>,
    },
    /// `SISMEMBER key member`
    SIsMember {
        /// The key.
        key: Key,
        /// The member asked for.
        member: Bytes,
    },
    /// `SMEMBERS key`
    SMembers {
        /// The key.
        key: Key,
    },
    /// `SCARD key`
    SCard {
        /// The key.
        key: Key,
    },
    /// `HSET key field value...`
    HSet {
        /// The key.
        key: Key,
        /// The fields with their new values; of a field named twice the last counts.
        fields: Vec<(Bytes, Bytes)>,
    },
    /// `HGET key field`
    HGet {
        /// The key.
        key: Key,
        /// The field asked for.
        field: Bytes,
    },
    /// `HGETALL key`
    HGetAll {
        /// The key.
        key: Key,
    },
    /// `HDEL key field...`
    HDel {
        /// The key.
        key: Key,
        /// The fields to remove.
        fields: Vec<Bytes>,
    },
    /// `HINCRBY key field by`
    HIncrBy {
        /// The key.
        key: Key,
        /// The field.
        field: Bytes,
        /// What is added.
        by: i64,
    },
    /// `HLEN key`
    HLen {
        /// The key.
        key: Key,
    },
    /// `ZADD key [NX | XX] [GT | LT] [CH] score member...`
    ZAdd {
        /// The key.
        key: Key,
        /// What must hold of the score that a member has.
        condition: Condition,
        /// CH: the reply counts the members changed, not only those added.
        count_changed: bool,
        /// The scores with their members.
        entries: Vec<(f64, Bytes)>,
    },
    /// `ZADD key [NX | XX] [GT | LT] INCR increment member`, which replies the score, or nil if the condition failed.
    ZAddIncr {
        /// The key.
        key: Key,
        /// What must hold of the score that the member has, against the sum.
        condition: Condition,
        /// What is added to the score; perhaps infinite.
        increment: f64,
        /// The member.
        member: Bytes,
    },
    /// `ZINCRBY key increment member`
    ZIncrBy {
        /// The key.
        key: Key,
        /// What is added to the score; perhaps infinite.
        increment: f64,
        /// The member.
        member: Bytes,
    },
    /// `ZSCORE key member`
    ZScore {
        /// The key.
        key: Key,
        /// The member asked for.
        member: Bytes,
    },
    /// `ZRANK key member [WITHSCORE]`
    ZRank {
        /// The key.
        key: Key,
        /// The member asked for.
        member: Bytes,
        /// Whether its score is wanted too.
        with_score: bool,
    },
    /// `ZREVRANK key member [WITHSCORE]`
    ZRevRank {
        /// The key.
        key: Key,
        /// The member asked for.
        member: Bytes,
        /// Whether its score is wanted too.
        with_score: bool,
    },
    /// `ZRANGE key start stop [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES]`
    ZRange {
        /// The key.
        key: Key,
        /// The members wanted. Ranks count in the direction of the reply; the bounds of scores are in order also under REV.
        selection: Selection,
        /// REV: the highest score first.
        reverse: bool,
        /// Whether the scores are wanted too.
        with_scores: bool,
    },
    /// `ZCARD key`
    ZCard {
        /// The key.
        key: Key,
    },
    /// `ZREM key member...`
    ZRem {
        /// The key.
        key: Key,
        /// The members to remove.
        members: Vec<Bytes>,
    },
    /// `HEXPIRE key seconds [NX | XX | GT | LT] FIELDS count field...`, and HPEXPIRE, HEXPIREAT, HPEXPIREAT
    HExpire {
        /// Which of them.
        command: CommandName,
        /// The key.
        key: Key,
        /// When the fields are to end.
        expiry: FieldExpiry,
        /// What must hold of the deadline that a field has; never one of the combined conditions.
        condition: Condition,
        /// The fields, in the order of the replies.
        fields: Vec<Bytes>,
    },
    /// `HTTL key FIELDS count field...`, and HPTTL, HEXPIRETIME, HPEXPIRETIME
    HTtl {
        /// Which of them.
        command: CommandName,
        /// The key.
        key: Key,
        /// The fields, in the order of the replies.
        fields: Vec<Bytes>,
    },
    /// `HPERSIST key FIELDS count field...`
    HPersist {
        /// The key.
        key: Key,
        /// The fields, in the order of the replies.
        fields: Vec<Bytes>,
    },
    /// `HW.LIMIT key FIXED | SLIDING | BUCKET limit window_ms [BURST n] [COST n] [NODES n | STRICT] [PEEK]`
    Limit {
        /// The key; its windows are fields of a hash.
        key: Key,
        /// The limit.
        limit: crate::limit::Limit,
        /// What the request costs; 0 asks what is left.
        cost: u64,
        /// How many nodes at most decide on the limit, where the client says.
        nodes: Option<NonZeroU64>,
        /// PEEK: decides and counts nothing.
        peek: bool,
        /// STRICT: decides by rights that the origin granted, so that all nodes together keep to the limit.
        strict: bool,
    },
    /// `PING [message]`
    Ping {
        /// What to reply instead of PONG.
        message: Option<Bytes>,
    },
    /// `ECHO message`
    Echo {
        /// What to reply.
        message: Bytes,
    },
    /// A command that is passed through to the origin.
    Passed(Passed),
    /// Every other command.
    Keyed(Keyed),
}

/// The keys of a command, by reference or to be changed: the one place that knows where each variant has them.
macro_rules! keys_of {
    ($command:expr, $iter:ident, $one:path) => {
        match $command {
            Command::Del { keys }
            | Command::Exists { keys }
            | Command::Passed(Passed { keys, .. })
            | Command::Keyed(Keyed { keys, .. }) => keys.$iter(),
            Command::Ping { .. } | Command::Echo { .. } => [].$iter(),
            Command::Set { key, .. }
            | Command::Get { key }
            | Command::Expire { key, .. }
            | Command::PExpire { key, .. }
            | Command::Ttl { key }
            | Command::PTtl { key }
            | Command::Persist { key }
            | Command::Type { key }
            | Command::Incr { key, .. }
            | Command::IncrBy { key, .. }
            | Command::Decr { key, .. }
            | Command::DecrBy { key, .. }
            | Command::SAdd { key, .. }
            | Command::SRem { key, .. }
            | Command::SIsMember { key, .. }
            | Command::SMembers { key }
            | Command::SCard { key }
            | Command::HSet { key, .. }
            | Command::HGet { key, .. }
            | Command::HGetAll { key }
            | Command::HDel { key, .. }
            | Command::HIncrBy { key, .. }
            | Command::HLen { key }
            | Command::ZAdd { key, .. }
            | Command::ZAddIncr { key, .. }
            | Command::ZIncrBy { key, .. }
            | Command::ZScore { key, .. }
            | Command::ZRank { key, .. }
            | Command::ZRevRank { key, .. }
            | Command::ZRange { key, .. }
            | Command::ZCard { key }
            | Command::ZRem { key, .. }
            | Command::HExpire { key, .. }
            | Command::HTtl { key, .. }
            | Command::HPersist { key, .. }
            | Command::Limit { key, .. } => $one(key).$iter(),
        }
    };
}

impl Command {
    /// The name under which the command was sent.
    pub fn name(&self) -> CommandName {
        match self {
            Self::Set { .. } => CommandName::Set,
            Self::Get { .. } => CommandName::Get,
            Self::Del { .. } => CommandName::Del,
            Self::Exists { .. } => CommandName::Exists,
            Self::Expire { .. } => CommandName::Expire,
            Self::PExpire { .. } => CommandName::PExpire,
            Self::Ttl { .. } => CommandName::Ttl,
            Self::PTtl { .. } => CommandName::PTtl,
            Self::Persist { .. } => CommandName::Persist,
            Self::Type { .. } => CommandName::Type,
            Self::Incr { .. } => CommandName::Incr,
            Self::IncrBy { .. } => CommandName::IncrBy,
            Self::Decr { .. } => CommandName::Decr,
            Self::DecrBy { .. } => CommandName::DecrBy,
            Self::SAdd { .. } => CommandName::SAdd,
            Self::SRem { .. } => CommandName::SRem,
            Self::SIsMember { .. } => CommandName::SIsMember,
            Self::SMembers { .. } => CommandName::SMembers,
            Self::SCard { .. } => CommandName::SCard,
            Self::HSet { .. } => CommandName::HSet,
            Self::HGet { .. } => CommandName::HGet,
            Self::HGetAll { .. } => CommandName::HGetAll,
            Self::HDel { .. } => CommandName::HDel,
            Self::HIncrBy { .. } => CommandName::HIncrBy,
            Self::HLen { .. } => CommandName::HLen,
            Self::ZAdd { .. } | Self::ZAddIncr { .. } => CommandName::ZAdd,
            Self::ZIncrBy { .. } => CommandName::ZIncrBy,
            Self::ZScore { .. } => CommandName::ZScore,
            Self::ZRank { .. } => CommandName::ZRank,
            Self::ZRevRank { .. } => CommandName::ZRevRank,
            Self::ZRange { .. } => CommandName::ZRange,
            Self::ZCard { .. } => CommandName::ZCard,
            Self::ZRem { .. } => CommandName::ZRem,
            Self::HExpire { command, .. } | Self::HTtl { command, .. } => *command,
            Self::HPersist { .. } => CommandName::HPersist,
            Self::Limit { .. } => CommandName::Limit,
            Self::Ping { .. } => CommandName::Ping,
            Self::Echo { .. } => CommandName::Echo,
            Self::Keyed(Keyed { name, .. }) | Self::Passed(Passed { name, .. }) => *name,
        }
    }

    /// Whether the command may take more memory than before, here.
    pub fn may_grow(&self) -> bool {
        !self.is_passed() && self.script().map_or_else(|| self.name().may_grow(), Script::may_grow)
    }

    /// Whether the command may change a key. What is passed through might.
    pub fn is_write(&self) -> bool {
        self.is_passed() || self.script().map_or_else(|| self.name().is_write(), Script::is_write)
    }

    /// Whether it is passed through to the origin.
    pub fn is_passed(&self) -> bool {
        matches!(self, Self::Passed(_))
    }

    /// Whether it needs one agreed order of all writes, so that only the origin executes it.
    pub fn needs_origin(&self) -> bool {
        match self {
            Self::Keyed(Keyed { name, action, .. }) => {
                name.needs_origin() || matches!(action, Action::String(StringAction::SetIf { .. }))
            }
            _ => false,
        }
    }

    /// What it asks of all keys, if that is what it does.
    pub fn of_keyspace(&self) -> Option<&KeyspaceAction> {
        match self {
            Self::Keyed(Keyed { action: Action::Keyspace(action), .. }) => Some(action),
            _ => None,
        }
    }

    /// Whether it is decided by rights that the origin granted, and by no key.
    pub fn is_strict(&self) -> bool {
        matches!(self, Self::Limit { strict: true, .. })
    }

    /// The script that it stands for, if any.
    pub fn script(&self) -> Option<&Script> {
        match self {
            Self::Keyed(Keyed { action: Action::Script(script), .. }) => Some(script),
            _ => None,
        }
    }

    /// Whether it means keys by a pattern, and has yet to be told which they are.
    pub fn has_pattern(&self) -> bool {
        self.keys().len() == 0 && self.script().is_some_and(|script| script.pattern().is_some())
    }

    /// Names the keys that match its pattern, of those that a node knows.
    pub(crate) fn name_matching(&mut self, known: impl Iterator<Item = Key>) -> Result<(), CommandError> {
        if let Self::Keyed(Keyed { keys, action: Action::Script(Script::Reset { pattern }), .. }) = self {
            *keys =
                known.filter(|key| matches(pattern, key.as_bytes())).take(ARGUMENTS_MAX.saturating_add(1)).collect();
            if keys.len() > ARGUMENTS_MAX {
                return Err(CommandError::too_many_arguments());
            }
        }
        Ok(())
    }

    /// The keys it names, in order and as often as named.
    pub fn keys(&self) -> slice::Iter<'_, Key> {
        keys_of!(self, iter, slice::from_ref)
    }

    /// Likewise, to put others in their places. What passes through has them among its arguments too.
    fn keys_mut(&mut self) -> slice::IterMut<'_, Key> {
        keys_of!(self, iter_mut, slice::from_mut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Command {
        let argv: Vec<Bytes> = line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        parse(&argv).unwrap()
    }

    #[test]
    fn every_command_knows_its_name_and_keys() {
        let table: &[(&str, &[&str], bool)] = &[
            ("set k v", &["k"], true),
            ("get k", &["k"], false),
            ("del a b a", &["a", "b", "a"], true),
            ("exists a a", &["a", "a"], false),
            ("expire k 1", &["k"], true),
            ("pexpire k 1", &["k"], true),
            ("ttl k", &["k"], false),
            ("pttl k", &["k"], false),
            ("persist k", &["k"], true),
            ("type k", &["k"], false),
            ("incr k", &["k"], true),
            ("incrby k 2", &["k"], true),
            ("decr k", &["k"], true),
            ("decrby k 2", &["k"], true),
            ("sadd k m", &["k"], true),
            ("srem k m", &["k"], true),
            ("sismember k m", &["k"], false),
            ("smembers k", &["k"], false),
            ("scard k", &["k"], false),
            ("hset k f v", &["k"], true),
            ("hget k f", &["k"], false),
            ("hgetall k", &["k"], false),
            ("hdel k f", &["k"], true),
            ("hincrby k f 1", &["k"], true),
            ("hlen k", &["k"], false),
            ("zadd k 1 m", &["k"], true),
            ("zincrby k 1 m", &["k"], true),
            ("zscore k m", &["k"], false),
            ("zrank k m", &["k"], false),
            ("zrevrank k m", &["k"], false),
            ("zrange k 0 -1", &["k"], false),
            ("zcard k", &["k"], false),
            ("zrem k m", &["k"], true),
            ("ping", &[], false),
            ("echo m", &[], false),
            ("incrbyfloat k 1", &["k"], true),
            ("append k v", &["k"], true),
            ("strlen k", &["k"], false),
            ("getrange k 0 1", &["k"], false),
            ("substr k 0 1", &["k"], false),
            ("setrange k 0 v", &["k"], true),
            ("mset a 1 b 2", &["a", "b"], true),
            ("mget a b a", &["a", "b", "a"], false),
            ("getset k v", &["k"], true),
            ("setex k 1 v", &["k"], true),
            ("psetex k 1 v", &["k"], true),
            ("getex k", &["k"], true),
            ("copy a b", &["a", "b"], true),
            ("rename a b", &["a", "b"], true),
            ("touch a b", &["a", "b"], false),
            ("unlink a b", &["a", "b"], true),
            ("expireat k 1", &["k"], true),
            ("pexpireat k 1", &["k"], true),
            ("expiretime k", &["k"], false),
            ("pexpiretime k", &["k"], false),
            ("smismember k m", &["k"], false),
            ("smove a b m", &["a", "b"], true),
            ("sinter a b", &["a", "b"], false),
            ("sinterstore d a b", &["d", "a", "b"], true),
            ("sintercard 2 a b", &["a", "b"], false),
            ("sunion a b", &["a", "b"], false),
            ("sunionstore d a", &["d", "a"], true),
            ("sdiff a b", &["a", "b"], false),
            ("sdiffstore d a", &["d", "a"], true),
            ("srandmember k", &["k"], false),
            ("sscan k 0", &["k"], false),
            ("hmget k f", &["k"], false),
            ("hmset k f v", &["k"], true),
            ("hexists k f", &["k"], false),
            ("hsetnx k f v", &["k"], true),
            ("hincrbyfloat k f 1", &["k"], true),
            ("hkeys k", &["k"], false),
            ("hvals k", &["k"], false),
            ("hstrlen k f", &["k"], false),
            ("hrandfield k", &["k"], false),
            ("hscan k 0", &["k"], false),
            ("zrangebyscore k 0 1", &["k"], false),
            ("zrevrangebyscore k 1 0", &["k"], false),
            ("zrangebylex k - +", &["k"], false),
            ("zrevrangebylex k + -", &["k"], false),
            ("zrevrange k 0 1", &["k"], false),
            ("zrangestore d k 0 1", &["d", "k"], true),
            ("zcount k 0 1", &["k"], false),
            ("zlexcount k - +", &["k"], false),
            ("zremrangebyrank k 0 1", &["k"], true),
            ("zremrangebyscore k 0 1", &["k"], true),
            ("zremrangebylex k - +", &["k"], true),
            ("zmscore k m", &["k"], false),
            ("zinter 2 a b", &["a", "b"], false),
            ("zinterstore d 2 a b", &["d", "a", "b"], true),
            ("zintercard 2 a b", &["a", "b"], false),
            ("zunion 1 a", &["a"], false),
            ("zunionstore d 1 a", &["d", "a"], true),
            ("zdiff 1 a", &["a"], false),
            ("zdiffstore d 1 a", &["d", "a"], true),
            ("zrandmember k", &["k"], false),
            ("zscan k 0", &["k"], false),
            ("time", &[], false),
            ("hexpire k 1 fields 1 f", &["k"], true),
            ("hpexpire k 1 fields 1 f", &["k"], true),
            ("hexpireat k 1 fields 1 f", &["k"], true),
            ("hpexpireat k 1 fields 1 f", &["k"], true),
            ("httl k fields 1 f", &["k"], false),
            ("hpttl k fields 1 f", &["k"], false),
            ("hexpiretime k fields 1 f", &["k"], false),
            ("hpexpiretime k fields 1 f", &["k"], false),
            ("hpersist k fields 1 f", &["k"], true),
            ("hw.limit k fixed 1 1000", &["k"], true),
            ("set k v nx", &["k"], true),
            ("setnx k v", &["k"], true),
            ("msetnx a 1 b 2", &["a", "b"], true),
            ("getdel k", &["k"], true),
            ("renamenx a b", &["a", "b"], true),
            ("spop k 2", &["k"], true),
            ("zpopmin k", &["k"], true),
            ("zpopmax k 2", &["k"], true),
            ("scan 0", &[], false),
            ("keys *", &[], false),
            ("dbsize", &[], false),
            ("randomkey", &[], false),
            ("flushdb", &[], true),
            ("flushall", &[], true),
            ("hw.lock k me 1000", &["k"], true),
            ("hw.extend k me 1000", &["k"], true),
            ("hw.unlock k me", &["k"], true),
            ("hw.erase ada", &[], true),
            ("hw.refresh k", &["k"], false),
            ("hw.revoke k ex 10", &["k"], true),
            ("hw.revoked k", &["k"], false),
            ("evalsha b2efc02798c8e9b471a10f9b1d5745db89923ff3 2 k l 10 1000 1", &["k", "l"], true),
        ];
        for &(line, keys, is_write) in table {
            let command = parsed(line);
            assert_eq!(Some(command.name().as_str()), line.split(' ').next());
            assert_eq!(command.keys().map(Key::to_string).collect::<Vec<_>>(), keys, "{line}");
            assert_eq!(command.is_write(), is_write, "{line}");
        }
        let named = CommandName::ALL.iter().filter(|name| name.passes().is_none());
        // SET is there twice; EVAL takes the text of a script, which a line does not hold.
        assert_eq!(table.len(), named.count());
        assert_eq!(parsed("zadd k incr 1 m").name(), CommandName::ZAdd);
    }
}
