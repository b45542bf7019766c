//! What each end of a connection says that it reads, and what both therefore send.
//!
//! Hello and Welcome carry [`Capabilities`]; [`Terms`] are what the two ends have in common. A greeting and a refusal are
//! written in version 0 for ever, so that ends which share no version can still say so.

use super::{Invalid, WireError, reader::Reader, writer::Writer};
use crate::limits::{
    BATCH_OPERATIONS_MAX, CAPABILITIES_BYTES_MAX, FRAME_BYTES_MAX, FRAME_BYTES_MAX_LEAST, FRAME_BYTES_TARGET,
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A range of format versions, both ends included.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Formats {
    /// The oldest.
    pub oldest: u8,
    /// The newest.
    pub newest: u8,
}

impl Formats {
    /// What this build reads.
    pub const CURRENT: Self = Self { oldest: super::VERSION, newest: super::VERSION };

    /// Whether `version` is in the range.
    pub fn contains(self, version: u8) -> bool {
        (self.oldest..=self.newest).contains(&version)
    }

    /// The newest version in both ranges.
    pub fn common(self, other: Self) -> Option<u8> {
        let newest = self.newest.min(other.newest);
        (newest >= self.oldest.max(other.oldest)).then_some(newest)
    }
}

impl fmt::Display for Formats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.oldest == self.newest {
            write!(f, "{}", self.newest)
        } else {
            write!(f, "{} to {}", self.oldest, self.newest)
        }
    }
}

/// A set of what an end can do beyond its format version. Bits that this build does not know are kept and mean nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Features(u64);

impl Features {
    /// None.
    pub const NONE: Self = Self(0);

    /// Reads frames whose body is compressed.
    pub const LZ4: Self = Self(1);

    /// Reads brief frames, and operations that name the session by its number alone.
    pub const BRIEF: Self = Self(1 << 1);

    /// The set with these bits.
    pub fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Its bits.
    pub fn to_bits(self) -> u64 {
        self.0
    }

    /// Whether all of `other` are in this set.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Those in either.
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those in both.
    pub fn common(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

/// What one end reads, and how much at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capabilities {
    /// The format versions that it reads.
    pub formats: Formats,
    /// What it understands beyond these.
    pub features: Features,
    /// The largest body of a frame that it accepts, in bytes, as it travels and unpacked.
    pub frame_bytes_max: u32,
    /// The most operations that it accepts in one batch.
    pub batch_operations_max: u32,
}

impl Capabilities {
    /// Those of this build.
    pub const CURRENT: Self = Self {
        formats: Formats::CURRENT,
        features: Features::LZ4.union(Features::BRIEF),
        frame_bytes_max: FRAME_BYTES_MAX as u32,
        batch_operations_max: BATCH_OPERATIONS_MAX as u32,
    };

    /// A block with its length before it, so that a later version may add to its end.
    pub(super) fn write(&self, w: &mut Writer) {
        let mut block = Writer::default();
        block.u8(self.formats.oldest);
        block.u8(self.formats.newest);
        block.varint(self.features.to_bits());
        block.varint(self.frame_bytes_max.into());
        block.varint(self.batch_operations_max.into());
        match block.finish() {
            Ok(block) => w.bytes(&block),
            Err(invalid) => w.refuse(invalid),
        }
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, Invalid> {
        let block = r.bytes("capabilities", CAPABILITIES_BYTES_MAX)?;
        let mut block = Reader::new(&block);
        let number = |block: &mut Reader<'_>| u32::try_from(block.varint()?).or(Err(Invalid::Number));
        let capabilities = Self {
            formats: Formats { oldest: block.u8()?, newest: block.u8()? },
            features: Features::from_bits(block.varint()?),
            frame_bytes_max: number(&mut block)?,
            batch_operations_max: number(&mut block)?,
        };
        let is_ordered = capabilities.formats.oldest <= capabilities.formats.newest;
        if is_ordered { Ok(capabilities) } else { Err(Invalid::Range) }
    }
}

impl Default for Capabilities {
    fn default() -> Self {
        Self::CURRENT
    }
}

/// What one end may send to the other. Until the other has greeted, what every build reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Terms {
    /// The format version to write.
    pub format: u8,
    /// What may be used.
    pub features: Features,
    /// The largest body of a frame, in bytes.
    pub frame_bytes_max: u32,
    /// The most operations in one batch.
    pub batch_operations_max: u32,
}

impl Terms {
    /// What both ends have in common.
    ///
    /// # Errors
    /// [`WireError::Incompatible`] without a common version; [`WireError::PeerLimit`] when the other end accepts less than
    /// this one can split its messages into.
    pub fn between(own: &Capabilities, theirs: &Capabilities) -> Result<Self, WireError> {
        let incompatible = WireError::Incompatible { own: own.formats, theirs: theirs.formats };
        let format = own.formats.common(theirs.formats).ok_or(incompatible)?;
        let least = FRAME_BYTES_MAX_LEAST as u32;
        if theirs.frame_bytes_max < least {
            return Err(WireError::PeerLimit { what: "bytes of a frame", least, theirs: theirs.frame_bytes_max });
        }
        if theirs.batch_operations_max == 0 {
            return Err(WireError::PeerLimit { what: "operations in a batch", least: 1, theirs: 0 });
        }
        Ok(Self {
            format,
            features: own.features.common(theirs.features),
            frame_bytes_max: own.frame_bytes_max.min(theirs.frame_bytes_max),
            batch_operations_max: own.batch_operations_max.min(theirs.batch_operations_max),
        })
    }
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            format: Formats::CURRENT.oldest,
            features: Features::NONE,
            frame_bytes_max: FRAME_BYTES_MAX as u32,
            batch_operations_max: BATCH_OPERATIONS_MAX as u32,
        }
    }
}

const _: () = assert!(FRAME_BYTES_MAX_LEAST > FRAME_BYTES_TARGET && FRAME_BYTES_MAX_LEAST <= FRAME_BYTES_MAX);
const _: () = assert!(FRAME_BYTES_MAX <= u32::MAX as usize);
const _: () = assert!(BATCH_OPERATIONS_MAX <= u32::MAX as usize);
