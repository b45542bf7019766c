//! What can be listened to at the origin's Redis: a channel by its name, or all channels that a pattern matches.

use crate::{
    command::CommandError,
    id::{BadKey, Key, RESERVED},
    namespace::Namespace,
};
use bytes::Bytes;
use std::fmt;

/// A channel, or the channels that a pattern matches as Redis' PSUBSCRIBE has it. To the same message of one channel and of a
/// pattern that matches it listen two.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Topic {
    /// SUBSCRIBE.
    Channel(Key),
    /// PSUBSCRIBE.
    Pattern(Key),
}

impl Topic {
    /// The channel of this name.
    ///
    /// # Errors
    /// Where it is Headwater's own, or longer than a key may be.
    pub fn channel(name: Bytes) -> Result<Self, BadKey> {
        Ok(Self::Channel(Key::new(name)?))
    }

    /// The channels that this pattern matches, but for Headwater's own.
    ///
    /// # Errors
    /// As of [`Topic::channel`].
    pub fn pattern(pattern: Bytes) -> Result<Self, BadKey> {
        Ok(Self::Pattern(Key::new(pattern)?))
    }

    /// The channel's name, or the pattern.
    pub fn name(&self) -> &Key {
        match self {
            Self::Channel(name) | Self::Pattern(name) => name,
        }
    }

    /// The topic as Redis has it, of one that a namespace's clients name. Of the default namespace's patterns some of what they
    /// match may be another's.
    ///
    /// # Errors
    /// Where it is too long, or another namespace's.
    pub fn within(&self, namespace: &Namespace) -> Result<Self, CommandError> {
        Ok(match self {
            Self::Channel(name) => Self::Channel(namespace.key(name)?),
            // A name of a namespace has nothing that a pattern reads otherwise.
            Self::Pattern(pattern) => Self::Pattern(namespace.key(pattern)?),
        })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::KEY_BYTES_MAX;

    fn reserved(name: &[u8]) -> BadKey {
        BadKey::Reserved { name: name.into() }
    }

    #[test]
    fn headwaters_own_channels_and_endless_names_are_no_topics() {
        assert_eq!(Topic::channel("hw:changed".into()), Err(reserved(b"hw:changed")));
        assert_eq!(Topic::pattern("hw:*".into()), Err(reserved(b"hw:*")));
        assert!(matches!(Topic::channel(vec![b'x'; KEY_BYTES_MAX + 1].into()), Err(BadKey::TooLong { .. })));
        assert_ne!(Topic::channel("news".into()).unwrap(), Topic::pattern("news".into()).unwrap());
    }
}
