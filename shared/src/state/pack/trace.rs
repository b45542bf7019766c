//! What an own operation leaves in a key's header, written there without unpacking it: the claim, and the end of the
//! replica's own interval in the context. Only the common form is read: one claim and nothing else in the front.

use super::{
    Reader,
    patch::{Change, Fresh, Own, Scan, splice},
    varint,
    write::time_words,
};
use crate::{
    arena::{Arena, Block},
    hlc::Hlc,
    id::{Dot, ReplicaId, Stamp},
    state::{Kind, Mint},
};
use std::ops::Range;

/// More replicas than that in a context are counted in more bytes than one.
const REPLICAS_MAX: u64 = 0x7f;

/// The claim of a key that has no other and no deadline.
pub(super) struct Claim {
    time: Hlc,
    at: Range<usize>,
}

impl Claim {
    /// Reads the front of a key with a claim to this type; `None` if there is anything else.
    pub(super) fn read<'a>(arena: &'a Arena, scan: &mut Scan<'a>, kind: Kind) -> Option<Self> {
        if scan.byte()? != 8 << kind as u8 {
            return None;
        }
        let from = scan.at();
        let mut reader = Reader::new(arena, scan.rest);
        let time = reader.time();
        scan.rest = reader.rest();
        scan.skip(2)?;
        Some(Self { time, at: from..scan.at() })
    }

    /// Whether it comes before `mint`.
    fn is_before(&self, arena: &Arena, block: Block, mint: Mint) -> bool {
        let stamp = || {
            let claim = arena.heap.read(block).get(self.at.clone()).unwrap_or_default();
            Reader::new(arena, claim).stamp()
        };
        self.time < mint.hlc || stamp() < Stamp { hlc: mint.hlc, dot: mint.dot }
    }
}

/// A replica's only interval in the context, or where it is to stand.
pub(super) struct Known {
    /// Where the context's replicas are counted, and how many there are.
    replicas: (usize, u64),
    interval: Own<Interval>,
}

struct Interval {
    start: u64,
    end: u64,
    length: Range<usize>,
}

impl Known {
    /// Reads a context; `None` if the replica has several intervals there, or none and no room for one.
    pub(super) fn read(arena: &Arena, scan: &mut Scan<'_>, own: u64, replica: ReplicaId) -> Option<Self> {
        let replicas_at = scan.at();
        let replicas = scan.number()?;
        let mut interval = None;
        let mut behind = None;
        for _ in 0..replicas {
            let from = scan.at();
            let word = scan.number()?;
            let count = if word & 1 == 0 { 1 } else { scan.number()? };
            if word >> 1 != own {
                scan.skip(count.checked_mul(2)?)?;
                behind = behind.or_else(|| is_later(arena, word >> 1, replica).then_some(from));
                continue;
            }
            if count != 1 {
                return None;
            }
            let start = scan.number()?;
            let length_at = scan.at();
            let end = start.checked_add(scan.number()?)?;
            interval = Some(Interval { start, end, length: length_at..scan.at() });
        }
        let interval = interval.map_or_else(|| Own::Behind(behind.unwrap_or_else(|| scan.at())), Own::There);
        let can_grow = replicas.saturating_add(1) < REPLICAS_MAX;
        let is_sound = can_grow || matches!(interval, Own::There(_));
        is_sound.then_some(Self { replicas: (replicas_at, replicas), interval })
    }
}

/// Whether the replica of this number sorts behind `replica`.
pub(super) fn is_later(arena: &Arena, number: u64, replica: ReplicaId) -> bool {
    let other = u32::try_from(number).ok().and_then(|number| arena.replicas.id(number));
    other.is_some_and(|other| other > replica)
}

/// A claim, and what is known of the replica, to be moved on together.
pub(in crate::state) struct Trace {
    /// The replica's number.
    own: u64,
    claim: Claim,
    known: Known,
}

impl Trace {
    pub(super) fn new(own: u64, claim: Claim, known: Known) -> Self {
        Self { own, claim, known }
    }

    /// Reads a key that shows a collection of this type; `None` unless it is of the common form and has no string.
    pub(in crate::state) fn read(arena: &Arena, block: Block, replica: ReplicaId, kind: Kind) -> Option<Self> {
        let own = u64::from(arena.replicas.number(replica)?);
        let mut scan = Scan::new(arena.heap.read(block));
        scan.name()?;
        let claim = Claim::read(arena, &mut scan, kind)?;
        if scan.byte()? != 0 {
            return None;
        }
        let known = Known::read(arena, &mut scan, own, replica)?;
        Some(Self::new(own, claim, known))
    }

    /// Writes the operation down; returns where the key is then.
    pub(in crate::state) fn put(self, arena: &mut Arena, block: Block, mint: Mint) -> Block {
        if let Some(overwriting) = self.overwriting(mint) {
            overwriting.overwrite(arena.heap.read_mut(block));
            return block;
        }
        let mut fresh = Fresh::new();
        let changes = self.changes(arena, block, mint, &mut fresh);
        splice(arena, block, &changes, &fresh)
    }

    /// What to write over what is there; `None` if that is not as long, or not there, or the claim may not be earlier.
    #[inline]
    pub(super) fn overwriting(&self, mint: Mint) -> Option<Overwriting> {
        let Own::There(interval) = &self.known.interval else { return None };
        let no = mint.dot.no.0;
        let (ms, counter) = time_words(mint.hlc);
        let length = varint::short(no.max(interval.end).saturating_sub(interval.start))?;
        let counter = counter.map_or(Some(varint::Short::NOTHING), varint::short)?;
        let claim = [varint::short(ms)?, counter, varint::short(self.own << 3)?, varint::short(no)?];
        let claim_length = claim.iter().fold(0, |sum: usize, part| sum.wrapping_add(part.length));
        let is_as_long = claim_length == self.claim.at.len() && length.length == interval.length.len();
        let (claim_at, length_at) = (self.claim.at.start, interval.length.start);
        (is_as_long && self.claim.time < mint.hlc).then_some(Overwriting { claim, claim_at, length, length_at })
    }

    /// The claim, the count of replicas and the interval, as they are to be.
    pub(super) fn changes(self, arena: &Arena, block: Block, mint: Mint, fresh: &mut Fresh) -> [Change; 3] {
        let Mint { dot: Dot { no, .. }, hlc } = mint;
        let mut claim = Change::default();
        if self.claim.is_before(arena, block, mint) {
            let (ms, counter) = time_words(hlc);
            let words = [ms, counter.unwrap_or_default(), self.own << 3, no.0];
            let words = words.into_iter().enumerate().filter(|(at, _)| *at != 1 || counter.is_some());
            claim = Change(self.claim.at, fresh.numbers(words.map(|(_, word)| word)));
        }
        match self.known.interval {
            Own::There(own) => {
                let length = fresh.numbers([no.0.max(own.end).saturating_sub(own.start)]);
                [claim, Change::default(), Change(own.length, length)]
            }
            Own::Behind(at) => {
                let (replicas_at, count) = self.known.replicas;
                let count = fresh.numbers([count.saturating_add(1)]);
                let interval = fresh.numbers([self.own << 1, no.0.saturating_sub(1), 1]);
                [claim, Change(replicas_at..replicas_at.saturating_add(1), count), Change(at..at, interval)]
            }
        }
    }
}

/// A claim and the length of an interval, which go where others of the same length are.
pub(super) struct Overwriting {
    claim: [varint::Short; 4],
    claim_at: usize,
    length: varint::Short,
    length_at: usize,
}

impl Overwriting {
    #[inline]
    pub(super) fn overwrite(self, bytes: &mut [u8]) {
        let mut at = self.claim_at;
        for part in self.claim {
            part.overwrite(bytes, at);
            at = at.wrapping_add(part.length);
        }
        self.length.overwrite(bytes, self.length_at);
    }
}
