//! Numbers in groups of seven bits, the least significant first; every byte but the last has its high bit set.
//!
//! Numbers below 2^56, which all but absurd ones are, go eight bytes at a time: their groups are spread over the bytes of one
//! word, or gathered from it, in three steps that halve the distance (as in Knuth, The Art of Computer Programming 4A, 7.1.3).

/// A number takes at most so many bytes.
pub(super) const BYTES_MAX: usize = 10;

/// The high bits of eight bytes.
const MORE: u64 = 0x8080_8080_8080_8080;

/// Appends a number.
#[inline]
pub(super) fn write(bytes: &mut Vec<u8>, number: u64) {
    if number < 0x80 {
        bytes.push(number.to_le_bytes()[0]);
    } else if number < LONG {
        let Short { word, length } = spelt(number);
        let end = bytes.len().wrapping_add(length);
        bytes.extend_from_slice(&word.to_le_bytes());
        bytes.truncate(end);
    } else {
        write_long(bytes, number);
    }
}

/// Writes a number into `bytes` from `at` on, eight bytes at a time; returns where it ends. Nothing is written beyond the end.
#[inline]
pub(super) fn put(bytes: &mut [u8], at: usize, number: u64) -> usize {
    if number < 0x80 {
        if let Some(byte) = bytes.get_mut(at) {
            *byte = number.to_le_bytes()[0];
        }
        return at.wrapping_add(1);
    }
    if number < LONG {
        let Short { word, length } = spelt(number);
        if let Some(chunk) = bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut::<8>()) {
            *chunk = word.to_le_bytes();
        }
        return at.wrapping_add(length);
    }
    put_long(bytes, at, number)
}

/// The bytes behind a number. `None` as for [`read`].
#[inline]
pub(super) fn skip(bytes: &[u8]) -> Option<&[u8]> {
    if let [byte, rest @ ..] = bytes
        && *byte < 0x80
    {
        return Some(rest);
    }
    if let Some(chunk) = bytes.first_chunk::<8>() {
        let ends = !u64::from_le_bytes(*chunk) & MORE;
        if ends != 0 {
            return bytes.get((ends.trailing_zeros() >> 3) as usize..)?.get(1..);
        }
    }
    read_long(bytes).map(|(_, rest)| rest)
}

/// Reads a number: it, and the bytes behind it. `None` if the bytes end within, or it takes too many of them.
#[inline]
pub(super) fn read(bytes: &[u8]) -> Option<(u64, &[u8])> {
    if let [byte, rest @ ..] = bytes
        && *byte < 0x80
    {
        return Some(((*byte).into(), rest));
    }
    if let Some(chunk) = bytes.first_chunk::<8>() {
        let word = u64::from_le_bytes(*chunk);
        let ends = !word & MORE;
        if ends != 0 {
            let last = ends.trailing_zeros();
            // All bits up to the last byte's highest.
            let own = ends ^ ends.wrapping_sub(1);
            let rest = bytes.get((last >> 3) as usize..)?.get(1..)?;
            return Some((gather(word & own & !MORE), rest));
        }
    }
    read_long(bytes)
}

/// A number below 2^56 as the bytes of a word, of which it takes the first.
#[derive(Clone, Copy)]
pub(super) struct Short {
    word: u64,
    pub(super) length: usize,
}

/// Numbers from here on are not short.
const LONG: u64 = 1 << 56;

impl Short {
    /// No number at all.
    pub(super) const NOTHING: Self = Self { word: 0, length: 0 };

    /// Writes the number over others from `at` on, which take as many bytes.
    #[inline]
    pub(super) fn overwrite(self, bytes: &mut [u8], at: usize) {
        let Some(rest) = bytes.get_mut(at..) else { return };
        let kept = u64::MAX.checked_shl(u32::try_from(self.length << 3).unwrap_or(u32::MAX)).unwrap_or(0);
        match rest.first_chunk_mut::<8>() {
            Some(chunk) => *chunk = (u64::from_le_bytes(*chunk) & kept | self.word).to_le_bytes(),
            None => rest.iter_mut().zip(self.word.to_le_bytes()).take(self.length).for_each(|(old, new)| *old = new),
        }
    }
}

/// A number, unless it is too long.
#[inline]
pub(super) fn short(number: u64) -> Option<Short> {
    match number {
        0..0x80 => Some(Short { word: number, length: 1 }),
        0x80..LONG => Some(spelt(number)),
        LONG.. => None,
    }
}

/// A number from 2^7 to 2^56.
#[inline]
fn spelt(number: u64) -> Short {
    let spread = spread(number);
    let last = (u64::BITS.wrapping_sub(1).wrapping_sub(spread.leading_zeros()) >> 3) as usize;
    let more = MORE & (1_u64 << (last << 3)).wrapping_sub(1);
    Short { word: spread | more, length: last.wrapping_add(1) }
}

/// Groups of seven bits to one byte each.
fn spread(number: u64) -> u64 {
    let halves = (number & 0x00ff_ffff_f000_0000) << 4 | number & 0x0fff_ffff;
    let quarters = (halves & 0x0fff_c000_0fff_c000) << 2 | halves & 0x0000_3fff_0000_3fff;
    (quarters & 0x3f80_3f80_3f80_3f80) << 1 | quarters & 0x007f_007f_007f_007f
}

/// Undoes [`spread`].
fn gather(bytes: u64) -> u64 {
    let quarters = (bytes & 0x7f00_7f00_7f00_7f00) >> 1 | bytes & 0x007f_007f_007f_007f;
    let halves = (quarters & 0x3fff_0000_3fff_0000) >> 2 | quarters & 0x0000_3fff_0000_3fff;
    (halves & 0x0fff_ffff_0000_0000) >> 4 | halves & 0x0fff_ffff
}

#[cold]
fn write_long(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

#[cold]
fn put_long(bytes: &mut [u8], at: usize, number: u64) -> usize {
    let mut all = Vec::with_capacity(BYTES_MAX);
    write_long(&mut all, number);
    let end = at.wrapping_add(all.len());
    if let Some(place) = bytes.get_mut(at..end) {
        place.copy_from_slice(&all);
    }
    end
}

fn read_long(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0_u64;
    let mut shift = 0_u32;
    for (at, byte) in bytes.iter().take(BYTES_MAX).enumerate() {
        number |= u64::from(byte & 0x7f).wrapping_shl(shift);
        shift = shift.wrapping_add(7);
        if *byte < 0x80 {
            return Some((number, bytes.get(at.wrapping_add(1)..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of_any_length() -> impl Strategy<Value = u64> {
        (any::<u64>(), 0_u32..64).prop_map(|(number, shift)| number >> shift)
    }

    proptest! {
        #[test]
        fn a_number_is_written_as_its_groups_and_read_again(number in of_any_length(), behind in proptest::collection::vec(any::<u8>(), 0..12)) {
            let mut groups = Vec::new();
            write_long(&mut groups, number);
            let mut bytes = Vec::new();
            write(&mut bytes, number);
            prop_assert_eq!(&bytes, &groups);
            bytes.extend_from_slice(&behind);
            prop_assert_eq!(read(&bytes), Some((number, &behind[..])));
            prop_assert_eq!(skip(&bytes), Some(&behind[..]));
            let mut placed = [0; 32];
            let end = put(&mut placed, 3, number);
            prop_assert_eq!(&placed[3..end], &groups[..]);
            if let Some(short) = short(number) {
                for room in [0, 12] {
                    let mut over = vec![0xff; 3 + groups.len() + room];
                    short.overwrite(&mut over, 3);
                    prop_assert_eq!(&over[3..end], &groups[..]);
                    prop_assert!(over[..3].iter().chain(&over[end..]).all(|byte| *byte == 0xff));
                }
            }
        }

        #[test]
        fn any_bytes_are_read_as_one_after_the_other(bytes in proptest::collection::vec(prop_oneof![any::<u8>(), 0x80_u8..], 0..16)) {
            prop_assert_eq!(read(&bytes), read_long(&bytes));
            prop_assert_eq!(skip(&bytes), read_long(&bytes).map(|(_, rest)| rest));
        }
    }
}
