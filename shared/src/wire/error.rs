//! Why bytes are no message, and which rule was broken.

use super::Formats;
use crate::{id::BadKey, limits::FRAME_BYTES_MAX};

/// Why bytes are no message.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WireError {
    /// Fewer bytes than a frame's header, or than its length says.
    #[error("the frame is cut short: {have} of {need} bytes")]
    Short {
        /// What there was.
        have: usize,
        /// What the frame needs.
        need: usize,
    },
    /// Not a Headwater frame.
    #[error("the frame does not begin with the Headwater magic")]
    Magic,
    /// Another format.
    #[error("the format version is {0}; this build reads {reads}", reads = Formats::CURRENT)]
    Version(u8),
    /// Another message than this end of the connection may receive.
    #[error("the frame has kind {0}, which is not expected here")]
    Kind(u8),
    /// A flag in the frame's header that this build does not know.
    #[error("the frame has flags {0:#04x}, of which this build does not know all")]
    Flags(u8),
    /// Longer than the limit, or bytes after the end.
    #[error(
        "the frame's body has {0} bytes; at most {FRAME_BYTES_MAX} are accepted after the header, and none after its end"
    )]
    Length(usize),
    /// Damaged on the way.
    #[error("the frame's checksum does not match its body")]
    Checksum,
    /// A body in postcard's format, of a row that is stored, does not decode.
    #[error("the stored body is malformed")]
    Body(#[source] postcard::Error),
    /// The two ends of a connection share no format version.
    #[error("the peer reads format version {theirs}, this build {own}: upgrade whichever is older")]
    Incompatible {
        /// What this build reads.
        own: Formats,
        /// What the other end says that it reads.
        theirs: Formats,
    },
    /// The other end accepts less than this one can send.
    #[error("the peer accepts at most {theirs} {what}; this build needs {least}: raise the peer's limit")]
    PeerLimit {
        /// Of what.
        what: &'static str,
        /// The least that this build can do with.
        least: u32,
        /// What the other end accepts.
        theirs: u32,
    },
    /// The body breaks a rule of its encoding, an invariant of a value, or a limit.
    #[error("the body is refused: {0}")]
    Invalid(#[from] Invalid),
}

/// The rule that a body breaks.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Invalid {
    /// It ends within a value.
    #[error("it ends within a value")]
    Truncated,
    /// It goes on after its value.
    #[error("{0} bytes follow its value")]
    Trailing(usize),
    /// A number is longer than its type, or written longer than need be.
    #[error("a number is beyond its type, or not in its shortest form")]
    Number,
    /// A tag, a flag or a bool that means nothing.
    #[error("a tag of a {0} is unknown")]
    Tag(&'static str),
    /// A string is not UTF-8.
    #[error("a string is not UTF-8")]
    Utf8,
    /// A list counts more than the bytes that are left can hold.
    #[error("a list counts more than the body holds")]
    Count,
    /// More than a limit allows.
    #[error("there are more {0} than the limit allows")]
    TooMany(&'static str),
    /// Longer than a limit allows.
    #[error("a {0} is longer than the limit allows")]
    TooLong(&'static str),
    /// Bytes that cannot be a key.
    #[error("{0}")]
    Key(#[from] BadKey),
    /// It would take more memory than one frame may.
    #[error("it would take more memory than one frame may")]
    Memory,
    /// A replica is referred to before it is named.
    #[error("a replica is referred to before it is named")]
    Replica,
    /// A replica is named twice, or is a leaf's name for itself.
    #[error("a leaf's provisional name for itself is used")]
    Leaf,
    /// What must ascend strictly does not.
    #[error("{0} do not ascend strictly")]
    Order(&'static str),
    /// Intervals are empty, unordered or adjacent.
    #[error("a context or its intervals are not in their one form")]
    Context,
    /// A base's dot is not in the context.
    #[error("a base's dot is not in the context")]
    UnknownDot,
    /// A wipe is not in the context.
    #[error("a wipe is not in the context")]
    UnknownWipe,
    /// A score is no number, or negative zero, or an increment is not finite.
    #[error("a score or an amount is no number that may stand there")]
    Score,
    /// A sum's part says nothing, or its cut does not.
    #[error("a sum is not in its one form")]
    Sum,
    /// A base, sum, increment or cut of another type than the element's.
    #[error("a part of an element is of another type than the element")]
    Type,
    /// An operation that does nothing.
    #[error("an operation has no effect")]
    NoEffect,
    /// A key that is not of the slot beside it.
    #[error("a key is not of the slot beside it")]
    Slot,
    /// A range that ends before it begins.
    #[error("a range ends before it begins")]
    Range,
    /// A compressed body says that it is longer than the limit or out of proportion to what came.
    #[error("a compressed body would unpack to more than the limit or its proportion allows")]
    Expansion,
    /// A compressed body does not unpack to its length.
    #[error("a compressed body does not unpack to the length that it says")]
    Compression,
    /// A plain value inside does not decode.
    #[error("a value inside is malformed")]
    Value,
}
