//! What can be listened to at the origin's Redis: a channel by its name, or all channels that a pattern matches.

use crate::{
    command::CommandError,
    id::{Key, KeyTooLong},
};
use bytes::Bytes;
use std::fmt;

/// Channels of Headwater's own begin so.
const RESERVED: &[u8] = b"hw:";

/// A channel, or the channels that a pattern matches as Redis' PSUBSCRIBE has it. To the same message of one channel and of a
/// pattern that matches it listen two.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Topic {
    /// SUBSCRIBE.
    Channel(Key),
    /// PSUBSCRIBE.
    Pattern(Key),
}

/// Why a name is no topic.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadTopic {
    /// It begins as Headwater's own channels do.
    #[error("{}", CommandError::Reserved)]
    Reserved,
    /// It is longer than a key may be.
    #[error("ERR a channel is at most a key's length: {0}")]
    TooLong(#[from] KeyTooLong),
}

impl Topic {
    /// The channel of this name.
    ///
    /// # Errors
    /// [`BadTopic`].
    pub fn channel(name: Bytes) -> Result<Self, BadTopic> {
        Ok(Self::Channel(checked(name)?))
    }

    /// The channels that this pattern matches, but for Headwater's own.
    ///
    /// # Errors
    /// [`BadTopic`].
    pub fn pattern(pattern: Bytes) -> Result<Self, BadTopic> {
        Ok(Self::Pattern(checked(pattern)?))
    }

    /// The channel's name, or the pattern.
    pub fn name(&self) -> &Key {
        match self {
            Self::Channel(name) | Self::Pattern(name) => name,
        }
    }

    /// Whether it is Headwater's own, which nobody may listen to.
    pub fn is_reserved(&self) -> bool {
        is_reserved(self.name().as_bytes())
    }
}

/// Whether the channel is Headwater's own; patterns may match it.
pub fn is_reserved(channel: &[u8]) -> bool {
    channel.starts_with(RESERVED)
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Channel(name) => write!(f, "the channel {name}"),
            Self::Pattern(pattern) => write!(f, "the channels {pattern}"),
        }
    }
}

fn checked(name: Bytes) -> Result<Key, BadTopic> {
    if is_reserved(&name) { Err(BadTopic::Reserved) } else { Ok(Key::new(name)?) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::KEY_BYTES_MAX;

    #[test]
    fn headwaters_own_channels_and_endless_names_are_no_topics() {
        assert_eq!(Topic::channel("hw:changed".into()), Err(BadTopic::Reserved));
        assert_eq!(Topic::pattern("hw:*".into()), Err(BadTopic::Reserved));
        assert!(matches!(Topic::channel(vec![b'x'; KEY_BYTES_MAX + 1].into()), Err(BadTopic::TooLong(_))));
        let news = Topic::channel("news".into()).unwrap();
        assert!(!news.is_reserved() && news != Topic::pattern("news".into()).unwrap());
    }
}
