//! What a command answers, before any protocol encodes it.
//!
//! Errors are no replies: execution returns `Result<Reply, CommandError>`.

use super::format_score;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// A reply in the types of RESP2.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Reply {
    /// Nothing: the key, member or field is not there.
    Nil,
    /// The simple string `OK`.
    Ok,
    /// Another simple string, such as a type's name.
    Simple(Cow<'static, str>),
    /// A number: a count, a rank, a value.
    Int(i64),
    /// A byte string: a value, a member, a score.
    Bulk(Bytes),
    /// Several replies in order.
    Array(Vec<Reply>),
}

impl Reply {
    /// A simple string known beforehand.
    pub const fn simple(text: &'static str) -> Self {
        Self::Simple(Cow::Borrowed(text))
    }

    /// What it has allocated beside its own size, in bytes. Linear in the reply.
    pub fn memory_bytes(&self) -> usize {
        match self {
            Self::Nil | Self::Ok | Self::Int(_) => 0,
            Self::Simple(text) => text.len(),
            Self::Bulk(bytes) => bytes.len(),
            Self::Array(replies) => {
                let own = replies.capacity().saturating_mul(size_of::<Self>());
                replies.iter().fold(own, |sum, reply| sum.saturating_add(reply.memory_bytes()))
            }
        }
    }

    /// A score, formatted as Redis does.
    pub fn score(score: f64) -> Self {
        Self::Bulk(format_score(score))
    }

    /// A count or rank. No node holds more than i64 can say.
    pub fn count(count: usize) -> Self {
        Self::Int(i64::try_from(count).unwrap_or(i64::MAX))
    }
}

impl From<bool> for Reply {
    /// 1 for yes, 0 for no.
    fn from(yes: bool) -> Self {
        Self::Int(yes.into())
    }
}

impl From<i64> for Reply {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<Bytes> for Reply {
    fn from(bytes: Bytes) -> Self {
        Self::Bulk(bytes)
    }
}

impl<T: Into<Reply>> From<Option<T>> for Reply {
    /// Nil for nothing.
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Nil, Into::into)
    }
}

impl FromIterator<Reply> for Reply {
    fn from_iter<I: IntoIterator<Item = Self>>(replies: I) -> Self {
        Self::Array(replies.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_the_replies_that_redis_gives() {
        assert_eq!(Reply::from(true), Reply::Int(1));
        assert_eq!(Reply::from(None::<Bytes>), Reply::Nil);
        assert_eq!(Reply::from(Some(Bytes::from_static(b"a"))), Reply::Bulk(Bytes::from_static(b"a")));
        assert_eq!(Reply::score(1.5), Reply::Bulk(Bytes::from_static(b"1.5")));
        // On wasm32 every count fits.
        assert_eq!(Reply::count(usize::MAX), Reply::Int(i64::try_from(usize::MAX).unwrap_or(i64::MAX)));
        assert_eq!([Reply::Nil, Reply::Ok].into_iter().collect::<Reply>(), Reply::Array(vec![Reply::Nil, Reply::Ok]));
    }
}
