//! Parts of a collection: random elements, and the steps of a scan.

use super::Subject;
use crate::{
    checksum::CRC32,
    command::{CommandError, Reply, Scan, matches},
    ordered::sort,
    random::Random,
    state::{Element, ElementId, Kind},
};
use bytes::Bytes;
use std::collections::BTreeSet;

/// Collections of no more elements are scanned in one step, as Redis does with those that it keeps packed.
const WHOLE_MAX: usize = 128;

/// Into how many steps a scan is cut at most, whatever COUNT asks for: each step looks at every name.
const STEPS_MAX: usize = 64;

/// The places drawn from `len`: one, or `count` different ones, or as many as a negative count says, which may repeat.
pub(super) fn places(len: usize, count: Option<i64>, random: &mut Random) -> Vec<usize> {
    let bound = u32::try_from(len).unwrap_or(u32::MAX);
    if bound == 0 {
        return Vec::new();
    }
    let mut draw = |bound: u32| random.below(bound) as usize;
    match count {
        None => vec![draw(bound)],
        Some(count) if count < 0 => (0..count.unsigned_abs()).map(|_| draw(bound)).collect(),
        Some(count) => {
            let wanted = usize::try_from(count).unwrap_or(usize::MAX).min(len);
            // Floyd's: each subset is as likely as any other, in as many draws as are wanted.
            let mut chosen = BTreeSet::new();
            for last in len.saturating_sub(wanted)..len {
                let place = draw(u32::try_from(last).unwrap_or(u32::MAX).saturating_add(1));
                if !chosen.insert(place) {
                    chosen.insert(last);
                }
            }
            chosen.into_iter().collect()
        }
    }
}

/// Random names of a set or hash. Linear.
pub(super) fn names(
    key: &Subject<'_>,
    kind: Kind,
    count: Option<i64>,
    random: &mut Random,
) -> Result<Vec<Bytes>, CommandError> {
    let names = key.names(kind)?;
    let chosen = places(names.len(), count, random);
    Ok(chosen.into_iter().filter_map(|place| names.get(place)).map(|name| Bytes::copy_from_slice(name)).collect())
}

/// One step of a scan. Linear.
///
/// Elements pass in the order of a checksum of their names, and the cursor is the least checksum to come. So whatever is there
/// from the first step to the last is met, though others come and go, and though the machine is rebuilt meanwhile.
pub(super) fn scan(
    key: &Subject<'_>,
    kind: Kind,
    scan: &Scan,
    reply: impl Fn(Bytes, &Element) -> Vec<Reply>,
) -> Result<Reply, CommandError> {
    let names = key.names(kind)?;
    let is_whole = scan.cursor == 0 && names.len() <= WHOLE_MAX;
    let count = usize::try_from(scan.count).unwrap_or(usize::MAX).max(names.len().div_ceil(STEPS_MAX));
    let checksum = |name: &[u8]| if is_whole { 0 } else { u64::from(CRC32.checksum(name)) };
    let checksums = names.into_iter().map(|name| (checksum(name), name));
    let mut ahead: Vec<(u64, &[u8])> = checksums.filter(|(checksum, _)| *checksum >= scan.cursor).collect();
    sort(&mut ahead);
    // Names of one checksum pass together.
    let last = ahead.get(count.saturating_sub(1)).or(ahead.last()).map_or(0, |(checksum, _)| *checksum);
    let end = ahead.partition_point(|(checksum, _)| *checksum <= last);
    let cursor = if end < ahead.len() { last.saturating_add(1) } else { 0 };
    ahead.truncate(end);
    let is_wanted = |name: &[u8]| scan.pattern.as_ref().is_none_or(|pattern| matches(pattern, name));
    let found = ahead.into_iter().filter(|(_, name)| is_wanted(name)).flat_map(|(_, name)| {
        let name = Bytes::copy_from_slice(name);
        let element = key.state.element(&ElementId::of(kind, name.clone()));
        element.map_or_else(Vec::new, |element| reply(name, &element))
    });
    let found = found.collect();
    Ok(Reply::Array(vec![Reply::Bulk(cursor.to_string().into()), found]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_places_are_drawn_evenly() {
        let mut random = Random::new(1);
        let mut drawn = [0_u32; 5];
        for _ in 0..10_000 {
            let chosen = places(5, Some(2), &mut random);
            assert!(chosen.len() == 2 && chosen[0] < chosen[1], "{chosen:?}");
            chosen.into_iter().for_each(|place| drawn[place] += 1);
        }
        // Each is in two of five pairs; six standard deviations are 294.
        assert!(drawn.iter().all(|times| times.abs_diff(4_000) < 300), "{drawn:?}");
    }

    #[test]
    fn counts_are_kept() {
        let mut random = Random::new(1);
        for (len, count, expected) in
            [(0, None, 0), (0, Some(-3), 0), (3, None, 1), (3, Some(0), 0), (3, Some(9), 3), (3, Some(-9), 9)]
        {
            let chosen = places(len, count, &mut random);
            assert!(chosen.len() == expected && chosen.iter().all(|place| *place < len), "{chosen:?}");
        }
    }
}
