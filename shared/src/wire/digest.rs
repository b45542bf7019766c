//! Digests of what is held, and what asks for them.
//!
//! Nodes of as many bits that are split alike stand together, each as the difference to the one before. Of the parts of a
//! node those with nothing in them are left out by a map of bits: where a key has a slot to itself, most parts are empty.

use super::{Invalid, reader::Reader, writer::Writer};
use crate::{
    digest::Node,
    id::HashSeed,
    limits::{DIGEST_SPLIT_MAX, DIGESTS_MAX, NODES_MAX},
    message::{Ask, Digest},
};

/// Bits, a split, a count and one node.
const RUN_BYTES_MIN: usize = 4;
/// The tag of a node's own digest.
const WHOLE: u8 = 0;
/// The flag of a node split in four: the map of its first three parts stands in the tag.
const FOUR: u8 = 0x10;
/// How a node is split in four.
const FOUR_SPLIT: u8 = 2;

pub(super) fn write_seed(w: &mut Writer, HashSeed(a, b): HashSeed) {
    w.raw(&a.to_le_bytes());
    w.raw(&b.to_le_bytes());
}

pub(super) fn read_seed(r: &mut Reader<'_>) -> Result<HashSeed, Invalid> {
    Ok(HashSeed(u64::from_le_bytes(r.array()?), u64::from_le_bytes(r.array()?)))
}

pub(super) fn write_nodes(w: &mut Writer, nodes: &[Node]) {
    let asks: Vec<Ask> = nodes.iter().map(|node| Ask { node: *node, split: 0 }).collect();
    write_asks(w, &asks);
}

pub(super) fn read_nodes(r: &mut Reader<'_>) -> Result<Vec<Node>, Invalid> {
    let asks = read_asks(r)?;
    if asks.iter().any(|ask| ask.split != 0) {
        return Err(Invalid::Tag("split"));
    }
    Ok(asks.into_iter().map(|ask| ask.node).collect())
}

pub(super) fn write_asks(w: &mut Writer, asks: &[Ask]) {
    let runs: Vec<&[Ask]> = asks.chunk_by(|a, b| (a.node.bits(), a.split) == (b.node.bits(), b.split)).collect();
    w.count(runs.len());
    for run in runs {
        let Some(first) = run.first() else { continue };
        w.u8(first.node.bits());
        w.u8(first.split);
        w.count(run.len());
        let mut before = 0;
        for ask in run {
            w.difference(before, ask.node.index());
            before = ask.node.index();
        }
    }
}

pub(super) fn read_asks(r: &mut Reader<'_>) -> Result<Vec<Ask>, Invalid> {
    let mut asks = Vec::new();
    let mut left = DIGESTS_MAX;
    for _ in 0..r.count("nodes", NODES_MAX, RUN_BYTES_MIN)? {
        let (bits, split) = (r.u8()?, r.u8()?);
        if split > DIGEST_SPLIT_MAX || bits.saturating_add(split) > 64 {
            return Err(Invalid::Tag("split"));
        }
        let mut before = 0;
        let run = r.list("nodes", NODES_MAX.saturating_sub(asks.len()), 1, |r| {
            before = r.difference(before)?;
            Ok(Ask { node: Node::new(bits, before).ok_or(Invalid::Range)?, split })
        })?;
        // A node that is not split is answered by one digest.
        let parts = run.len().saturating_mul(1_usize.wrapping_shl(split.into()));
        left = left.checked_sub(parts).ok_or(Invalid::TooMany("digests"))?;
        asks.extend(run);
    }
    Ok(asks)
}

pub(super) fn write_digests(w: &mut Writer, digests: &[Digest]) {
    w.count(digests.len());
    for digest in digests {
        match digest {
            Digest::Whole(sum) => {
                w.u8(WHOLE);
                w.raw(&sum.to_le_bytes());
            }
            Digest::Parts(parts) => write_parts(w, parts),
        }
    }
}

pub(super) fn read_digests(r: &mut Reader<'_>) -> Result<Vec<Digest>, Invalid> {
    let mut left = DIGESTS_MAX;
    r.list("digests", NODES_MAX, 1, |r| {
        let tag = r.u8()?;
        if tag == WHOLE {
            return Ok(Digest::Whole(u64::from_le_bytes(r.array()?)));
        }
        let parts = read_parts(r, tag)?;
        left = left.checked_sub(parts.len()).ok_or(Invalid::TooMany("digests"))?;
        Ok(Digest::Parts(parts))
    })
}

fn write_parts(w: &mut Writer, parts: &[u16]) {
    let split = split_of(parts.len());
    let Some(split) = split else { return w.refuse(Invalid::Count) };
    let mut map = vec![0_u8; parts.len().div_ceil(8)];
    for (at, _) in parts.iter().enumerate().filter(|(_, part)| **part != 0) {
        if let Some(byte) = map.get_mut(at / 8) {
            *byte |= bit(at);
        }
    }
    if split == FOUR_SPLIT {
        w.u8(FOUR | map.first().copied().unwrap_or_default());
    } else {
        w.u8(split);
        w.raw(&map);
    }
    parts.iter().filter(|part| **part != 0).for_each(|part| w.raw(&part.to_le_bytes()));
}

fn read_parts(r: &mut Reader<'_>, tag: u8) -> Result<Vec<u16>, Invalid> {
    let four = [tag & !FOUR];
    let (count, map) = if tag & FOUR != 0 {
        (3_usize, &four[..])
    } else if tag <= DIGEST_SPLIT_MAX && tag != FOUR_SPLIT {
        let count = 1_usize.wrapping_shl(tag.into()).saturating_sub(1);
        (count, r.raw(count.div_ceil(8))?)
    } else {
        return Err(Invalid::Tag("digest"));
    };
    let is_set = |at: usize| map.get(at / 8).is_some_and(|byte| byte & bit(at) != 0);
    if (count..map.len().saturating_mul(8)).any(is_set) {
        return Err(Invalid::Tag("digest"));
    }
    r.spend(count.saturating_mul(size_of::<u16>()))?;
    let mut parts = Vec::with_capacity(count);
    for at in 0..count {
        let part = if is_set(at) { u16::from_le_bytes(r.array()?) } else { 0 };
        if is_set(at) && part == 0 {
            return Err(Invalid::Number);
        }
        parts.push(part);
    }
    Ok(parts)
}

/// How a node is split that has so many parts but the last.
fn split_of(parts: usize) -> Option<u8> {
    (1..=DIGEST_SPLIT_MAX).find(|split| parts.saturating_add(1) == 1_usize.wrapping_shl((*split).into()))
}

fn bit(at: usize) -> u8 {
    1_u8.wrapping_shl((at % 8) as u32)
}
