//! The commands' names, with what a proxy needs to know of each before it looks at the arguments.
//!
//! One table; the enum, the look-up and the properties are generated from it so that they cannot drift apart.

use super::Family;
use serde::{Deserialize, Serialize};
use std::{fmt, ops::RangeInclusive};

const ANY: usize = usize::MAX;

macro_rules! command_names {
    ($($variant:ident $name:literal $arguments:expr, $access:ident;)*) => {
        /// The name of a command that Headwater runs. New names go at the end: the order is part of stored and sent errors.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        #[serde(try_from = "u32", into = "u32")]
        #[allow(missing_docs, reason = "each is the Redis command of that name")]
        pub enum CommandName {
            $($variant,)*
        }

        impl CommandName {
            /// Every name, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name in lower case, as Redis gives it in errors.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// Whether the command may change a key.
            pub const fn is_write(self) -> bool {
                match self {
                    $(Self::$variant => matches!(
                        Access::$access,
                        Access::Write | Access::Grow | Access::OrderedWrite | Access::OrderedGrow | Access::Flush
                    ),)*
                }
            }

            /// Whether the command may take more memory than before, so that a full node refuses it: Redis' flag `denyoom`.
            pub const fn may_grow(self) -> bool {
                match self {
                    $(Self::$variant => matches!(Access::$access, Access::Grow | Access::OrderedGrow),)*
                }
            }

            /// Whether the command needs one agreed order of all writes, so that no edge can execute it alone. SET does with
            /// some of its options, which its name does not tell.
            pub const fn needs_origin(self) -> bool {
                match self {
                    $(Self::$variant => matches!(
                        Access::$access,
                        Access::OrderedRead
                            | Access::OrderedWrite
                            | Access::OrderedGrow
                            | Access::Keyspace
                            | Access::Flush
                    ),)*
                }
            }

            /// Whether the command asks for the names of keys, or deletes such as it does not name.
            pub const fn is_of_keyspace(self) -> bool {
                match self {
                    $(Self::$variant => matches!(Access::$access, Access::Keyspace | Access::Flush),)*
                }
            }

            /// Whether the command deletes keys that it does not name, all of them or a person's.
            pub const fn flushes(self) -> bool {
                match self {
                    $(Self::$variant => matches!(Access::$access, Access::Flush),)*
                }
            }

            /// The family of the command, if it is one that is passed through to the origin. EVAL and EVALSHA, of which known
            /// scripts run at the edge, are not.
            pub const fn passes(self) -> Option<Family> {
                match self {
                    $(Self::$variant => Access::$access.family(),)*
                }
            }

            /// How many arguments it takes, its own name included.
            pub(super) const fn arguments(self) -> RangeInclusive<usize> {
                match self {
                    $(Self::$variant => $arguments,)*
                }
            }
        }
    };
}

impl From<CommandName> for u32 {
    /// Its place in the order, which a stored or sent error bears.
    fn from(name: CommandName) -> Self {
        name as Self
    }
}

impl TryFrom<u32> for CommandName {
    type Error = UnknownCommandName;

    fn try_from(number: u32) -> Result<Self, UnknownCommandName> {
        let name = usize::try_from(number).ok().and_then(|number| Self::ALL.get(number));
        name.copied().ok_or(UnknownCommandName(number))
    }
}

/// A number that is no command's name here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no command has the number {0}")]
pub struct UnknownCommandName(u32);

enum Access {
    Read,
    /// Changes a key and takes no more memory.
    Write,
    /// Changes a key and may take more memory.
    Grow,
    /// Needs one agreed order of all writes, which only the origin has, and changes nothing.
    OrderedRead,
    /// Likewise; changes a key and takes no more memory.
    OrderedWrite,
    /// Likewise, and may take more memory.
    OrderedGrow,
    /// Tells of all keys, which only the origin knows.
    Keyspace,
    /// Deletes keys that it does not name.
    Flush,
    /// Passes through to the origin, as one of a family.
    Lists,
    Streams,
    Bitmaps,
    HyperLogLogs,
    Geo,
    Publish,
    Scripts,
}

impl Access {
    const fn family(self) -> Option<Family> {
        match self {
            Self::Read
            | Self::Write
            | Self::Grow
            | Self::OrderedRead
            | Self::OrderedWrite
            | Self::OrderedGrow
            | Self::Keyspace
            | Self::Flush => None,
            Self::Lists => Some(Family::Lists),
            Self::Streams => Some(Family::Streams),
            Self::Bitmaps => Some(Family::Bitmaps),
            Self::HyperLogLogs => Some(Family::HyperLogLogs),
            Self::Geo => Some(Family::Geo),
            Self::Publish => Some(Family::Publish),
            Self::Scripts => Some(Family::Scripts),
        }
    }
}

command_names! {
    Set "set" 3..=ANY, Grow;
    Get "get" 2..=2, Read;
    Del "del" 2..=ANY, Write;
    Exists "exists" 2..=ANY, Read;
    Expire "expire" 3..=ANY, Write;
    PExpire "pexpire" 3..=ANY, Write;
    Ttl "ttl" 2..=2, Read;
    PTtl "pttl" 2..=2, Read;
    Persist "persist" 2..=2, Write;
    Type "type" 2..=2, Read;
    Incr "incr" 2..=2, Grow;
    IncrBy "incrby" 3..=3, Grow;
    Decr "decr" 2..=2, Grow;
    DecrBy "decrby" 3..=3, Grow;
    SAdd "sadd" 3..=ANY, Grow;
    SRem "srem" 3..=ANY, Write;
    SIsMember "sismember" 3..=3, Read;
    SMembers "smembers" 2..=2, Read;
    SCard "scard" 2..=2, Read;
    HSet "hset" 4..=ANY, Grow;
    HGet "hget" 3..=3, Read;
    HGetAll "hgetall" 2..=2, Read;
    HDel "hdel" 3..=ANY, Write;
    HIncrBy "hincrby" 4..=4, Grow;
    HLen "hlen" 2..=2, Read;
    ZAdd "zadd" 4..=ANY, Grow;
    ZIncrBy "zincrby" 4..=4, Grow;
    ZScore "zscore" 3..=3, Read;
    ZRank "zrank" 3..=4, Read;
    ZRevRank "zrevrank" 3..=4, Read;
    ZRange "zrange" 4..=ANY, Read;
    ZCard "zcard" 2..=2, Read;
    ZRem "zrem" 3..=ANY, Write;
    Ping "ping" 1..=2, Read;
    Echo "echo" 2..=2, Read;
    IncrByFloat "incrbyfloat" 3..=3, Grow;
    Append "append" 3..=3, Grow;
    StrLen "strlen" 2..=2, Read;
    GetRange "getrange" 4..=4, Read;
    SubStr "substr" 4..=4, Read;
    SetRange "setrange" 4..=4, Grow;
    MSet "mset" 3..=ANY, Grow;
    MGet "mget" 2..=ANY, Read;
    GetSet "getset" 3..=3, Grow;
    SetEx "setex" 4..=4, Grow;
    PSetEx "psetex" 4..=4, Grow;
    GetEx "getex" 2..=ANY, Write;
    Copy "copy" 3..=ANY, Grow;
    Rename "rename" 3..=3, Write;
    Touch "touch" 2..=ANY, Read;
    Unlink "unlink" 2..=ANY, Write;
    ExpireAt "expireat" 3..=ANY, Write;
    PExpireAt "pexpireat" 3..=ANY, Write;
    ExpireTime "expiretime" 2..=2, Read;
    PExpireTime "pexpiretime" 2..=2, Read;
    SMIsMember "smismember" 3..=ANY, Read;
    SMove "smove" 4..=4, Write;
    SInter "sinter" 2..=ANY, Read;
    SInterStore "sinterstore" 3..=ANY, Grow;
    SInterCard "sintercard" 3..=ANY, Read;
    SUnion "sunion" 2..=ANY, Read;
    SUnionStore "sunionstore" 3..=ANY, Grow;
    SDiff "sdiff" 2..=ANY, Read;
    SDiffStore "sdiffstore" 3..=ANY, Grow;
    SRandMember "srandmember" 2..=ANY, Read;
    SScan "sscan" 3..=ANY, Read;
    HMGet "hmget" 3..=ANY, Read;
    HMSet "hmset" 4..=ANY, Grow;
    HExists "hexists" 3..=3, Read;
    HSetNx "hsetnx" 4..=4, Grow;
    HIncrByFloat "hincrbyfloat" 4..=4, Grow;
    HKeys "hkeys" 2..=2, Read;
    HVals "hvals" 2..=2, Read;
    HStrLen "hstrlen" 3..=3, Read;
    HRandField "hrandfield" 2..=ANY, Read;
    HScan "hscan" 3..=ANY, Read;
    ZRangeByScore "zrangebyscore" 4..=ANY, Read;
    ZRevRangeByScore "zrevrangebyscore" 4..=ANY, Read;
    ZRangeByLex "zrangebylex" 4..=ANY, Read;
    ZRevRangeByLex "zrevrangebylex" 4..=ANY, Read;
    ZRevRange "zrevrange" 4..=ANY, Read;
    ZRangeStore "zrangestore" 5..=ANY, Grow;
    ZCount "zcount" 4..=4, Read;
    ZLexCount "zlexcount" 4..=4, Read;
    ZRemRangeByRank "zremrangebyrank" 4..=4, Write;
    ZRemRangeByScore "zremrangebyscore" 4..=4, Write;
    ZRemRangeByLex "zremrangebylex" 4..=4, Write;
    ZMScore "zmscore" 3..=ANY, Read;
    ZInter "zinter" 3..=ANY, Read;
    ZInterStore "zinterstore" 4..=ANY, Grow;
    ZInterCard "zintercard" 3..=ANY, Read;
    ZUnion "zunion" 3..=ANY, Read;
    ZUnionStore "zunionstore" 4..=ANY, Grow;
    ZDiff "zdiff" 3..=ANY, Read;
    ZDiffStore "zdiffstore" 4..=ANY, Grow;
    ZRandMember "zrandmember" 2..=ANY, Read;
    ZScan "zscan" 3..=ANY, Read;
    Time "time" 1..=1, Read;
    SetNx "setnx" 3..=3, OrderedGrow;
    MSetNx "msetnx" 3..=ANY, OrderedGrow;
    GetDel "getdel" 2..=2, OrderedWrite;
    RenameNx "renamenx" 3..=3, OrderedWrite;
    SPop "spop" 2..=ANY, OrderedWrite;
    ZPopMin "zpopmin" 2..=ANY, OrderedWrite;
    ZPopMax "zpopmax" 2..=ANY, OrderedWrite;
    Scan "scan" 2..=ANY, Keyspace;
    Keys "keys" 2..=2, Keyspace;
    DbSize "dbsize" 1..=1, Keyspace;
    RandomKey "randomkey" 1..=1, Keyspace;
    FlushDb "flushdb" 1..=ANY, Flush;
    FlushAll "flushall" 1..=ANY, Flush;
    HExpire "hexpire" 6..=ANY, Grow;
    HPExpire "hpexpire" 6..=ANY, Grow;
    HExpireAt "hexpireat" 6..=ANY, Grow;
    HPExpireAt "hpexpireat" 6..=ANY, Grow;
    HTtl "httl" 5..=ANY, Read;
    HPTtl "hpttl" 5..=ANY, Read;
    HExpireTime "hexpiretime" 5..=ANY, Read;
    HPExpireTime "hpexpiretime" 5..=ANY, Read;
    HPersist "hpersist" 5..=ANY, Write;
    Limit "hw.limit" 5..=ANY, Grow;
    Eval "eval" 3..=ANY, Grow;
    EvalSha "evalsha" 3..=ANY, Grow;
    LIndex "lindex" 3..=3, Lists;
    LInsert "linsert" 5..=5, Lists;
    LLen "llen" 2..=2, Lists;
    LMove "lmove" 5..=5, Lists;
    LMPop "lmpop" 4..=ANY, Lists;
    LPop "lpop" 2..=3, Lists;
    LPos "lpos" 3..=ANY, Lists;
    LPush "lpush" 3..=ANY, Lists;
    LPushX "lpushx" 3..=ANY, Lists;
    LRange "lrange" 4..=4, Lists;
    LRem "lrem" 4..=4, Lists;
    LSet "lset" 4..=4, Lists;
    LTrim "ltrim" 4..=4, Lists;
    RPop "rpop" 2..=3, Lists;
    RPopLPush "rpoplpush" 3..=3, Lists;
    RPush "rpush" 3..=ANY, Lists;
    RPushX "rpushx" 3..=ANY, Lists;
    XAck "xack" 4..=ANY, Streams;
    XAdd "xadd" 5..=ANY, Streams;
    XAutoClaim "xautoclaim" 6..=ANY, Streams;
    XClaim "xclaim" 6..=ANY, Streams;
    XDel "xdel" 3..=ANY, Streams;
    XGroup "xgroup" 3..=ANY, Streams;
    XInfo "xinfo" 3..=ANY, Streams;
    XLen "xlen" 2..=2, Streams;
    XPending "xpending" 3..=ANY, Streams;
    XRange "xrange" 4..=ANY, Streams;
    XRead "xread" 4..=ANY, Streams;
    XReadGroup "xreadgroup" 7..=ANY, Streams;
    XRevRange "xrevrange" 4..=ANY, Streams;
    XSetId "xsetid" 3..=ANY, Streams;
    XTrim "xtrim" 4..=ANY, Streams;
    BitCount "bitcount" 2..=ANY, Bitmaps;
    BitField "bitfield" 2..=ANY, Bitmaps;
    BitFieldRo "bitfield_ro" 2..=ANY, Bitmaps;
    BitOp "bitop" 4..=ANY, Bitmaps;
    BitPos "bitpos" 3..=ANY, Bitmaps;
    GetBit "getbit" 3..=3, Bitmaps;
    SetBit "setbit" 4..=4, Bitmaps;
    PfAdd "pfadd" 2..=ANY, HyperLogLogs;
    PfCount "pfcount" 2..=ANY, HyperLogLogs;
    PfMerge "pfmerge" 2..=ANY, HyperLogLogs;
    GeoAdd "geoadd" 5..=ANY, Geo;
    GeoDist "geodist" 4..=ANY, Geo;
    GeoHash "geohash" 2..=ANY, Geo;
    GeoPos "geopos" 2..=ANY, Geo;
    GeoSearch "geosearch" 7..=ANY, Geo;
    GeoSearchStore "geosearchstore" 8..=ANY, Geo;
    Publish "publish" 3..=3, Publish;
    FCall "fcall" 3..=ANY, Scripts;
    FCallRo "fcall_ro" 3..=ANY, Scripts;
    Lock "hw.lock" 4..=4, OrderedGrow;
    Extend "hw.extend" 4..=4, OrderedWrite;
    Unlock "hw.unlock" 3..=3, OrderedWrite;
    Revoke "hw.revoke" 4..=4, Write;
    Revoked "hw.revoked" 2..=2, Read;
    Erase "hw.erase" 2..=2, Flush;
    Refresh "hw.refresh" 2..=2, OrderedRead;
}

impl CommandName {
    /// The command of this name, in any case.
    pub fn find(name: &[u8]) -> Option<Self> {
        let front = front_at_once(name);
        let bucket = bucket(front);
        let (from, to) = (BUCKETS.ends.get(bucket)?, BUCKETS.ends.get(bucket.wrapping_add(1))?);
        let alike =
            BUCKETS.names.get(usize::from(*from)..usize::from(*to))?.iter().filter(|(known, _)| *known == front);
        alike.map(|(_, known)| *known).find(|known| known.as_str().as_bytes().eq_ignore_ascii_case(name))
    }
}

/// All commands by the first eight bytes of their names, in buckets, so that a name is found by comparing a word or two.
#[cfg(feature = "hub")]
static BUCKETS: Buckets = Buckets::filled();
/// As there, filled with the first command: a browser fills them in less than it takes to load them.
#[cfg(not(feature = "hub"))]
static BUCKETS: std::sync::LazyLock<Buckets> = std::sync::LazyLock::new(Buckets::filled);

const BUCKET_BITS: u32 = 9;
const BUCKET_COUNT: usize = 1 << BUCKET_BITS;

struct Buckets {
    /// The names, bucket after bucket.
    names: [(u64, CommandName); CommandName::ALL.len()],
    /// Where each bucket begins, and the last one ends.
    ends: [u8; BUCKET_COUNT + 1],
}

const _: () = assert!(CommandName::ALL.len() <= u8::MAX as usize);

impl Buckets {
    #[allow(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        reason = "the same steps with every run, and the compiler, to which one out of bounds is an error, runs them too"
    )]
    const fn filled() -> Self {
        let mut names = [(0, CommandName::Set); CommandName::ALL.len()];
        let mut ends = [0; BUCKET_COUNT + 1];
        let mut at = 0;
        while at < names.len() {
            let name = CommandName::ALL[at];
            let entry = (front(name.as_str().as_bytes()), name);
            let mut to = at;
            while to > 0 && bucket(names[to - 1].0) > bucket(entry.0) {
                names[to] = names[to - 1];
                to -= 1;
            }
            names[to] = entry;
            ends[bucket(entry.0) + 1] += 1;
            at += 1;
        }
        let mut bucket = 0;
        while bucket < BUCKET_COUNT {
            ends[bucket + 1] += ends[bucket];
            bucket += 1;
        }
        Self { names, ends }
    }
}

/// The bucket of a name by its first eight bytes: the highest bits of a product, which all of them move.
const fn bucket(front: u64) -> usize {
    (front.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - BUCKET_BITS)) as usize
}

/// The first eight bytes in lower case, the first the most significant.
const fn front(name: &[u8]) -> u64 {
    let (mut word, mut rest) = (0_u64, name);
    let mut shift = u64::BITS;
    while shift > 0
        && let [byte, after @ ..] = rest
    {
        shift = shift.wrapping_sub(8);
        word |= (byte.to_ascii_lowercase() as u64) << shift;
        rest = after;
    }
    word
}

/// As [`front`], without a step for each byte.
fn front_at_once(name: &[u8]) -> u64 {
    let mut word = [0; 8];
    let length = name.len().min(word.len());
    if let (Some(place), Some(part)) = (word.get_mut(..length), name.get(..length)) {
        place.copy_from_slice(part);
    }
    word.make_ascii_lowercase();
    u64::from_be_bytes(word)
}

impl fmt::Display for CommandName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case_and_only_whole() {
        for &name in CommandName::ALL {
            assert_eq!(CommandName::find(name.as_str().as_bytes()), Some(name));
            assert_eq!(CommandName::find(name.as_str().to_uppercase().as_bytes()), Some(name));
            assert_eq!(front_at_once(name.as_str().to_uppercase().as_bytes()), front(name.as_str().as_bytes()));
        }
        for unknown in ["", "ge", "gett", "get ", "blpop", "get\0"] {
            assert_eq!(CommandName::find(unknown.as_bytes()), None, "{unknown:?}");
        }
    }

    #[test]
    fn the_number_of_a_name_never_changes() {
        for (name, number) in [
            (CommandName::Set, 0),
            (CommandName::SAdd, 14),
            (CommandName::ZAdd, 25),
            (CommandName::Echo, 34),
            (CommandName::IncrByFloat, 35),
            (CommandName::FlushAll, 110),
            (CommandName::EvalSha, 122),
            (CommandName::LIndex, 123),
        ] {
            assert_eq!(postcard::to_allocvec(&name).unwrap(), [number]);
        }
    }
}
