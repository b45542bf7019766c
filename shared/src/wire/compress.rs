//! Large bodies travel compressed, where both ends can: the length unpacked as u32, then one LZ4 block.
//!
//! A receiver believes the length only within a frame's limit and a ratio to what came, before it allocates.

use super::Invalid;
use crate::limits::{COMPRESS_BYTES_MIN, EXPANSION_MAX, FRAME_BYTES_MAX};
use lz4_flex::block::{compress_into, decompress_into, get_maximum_output_size};
use std::borrow::Cow;

const LENGTH_BYTES: usize = 4;

/// The body compressed, if it is large enough, gets smaller, and not smaller than a receiver believes.
pub(super) fn compressed(body: &[u8]) -> Option<Vec<u8>> {
    if body.len() < COMPRESS_BYTES_MIN {
        return None;
    }
    let length = u32::try_from(body.len()).ok()?.to_le_bytes();
    let mut packed = vec![0; get_maximum_output_size(body.len()).saturating_add(LENGTH_BYTES)];
    packed.get_mut(..LENGTH_BYTES)?.copy_from_slice(&length);
    let written = compress_into(body, packed.get_mut(LENGTH_BYTES..)?).ok()?;
    packed.truncate(written.saturating_add(LENGTH_BYTES));
    (packed.len() < body.len() && body.len() <= written.saturating_mul(EXPANSION_MAX)).then_some(packed)
}

/// The body that [`compressed`] packed.
///
/// # Errors
/// [`Invalid::Expansion`] when it would be longer than a body may be, or out of proportion; [`Invalid::Compression`] when
/// it does not unpack to exactly the length that it says.
pub(super) fn unpacked(packed: &[u8]) -> Result<Cow<'static, [u8]>, Invalid> {
    let (length, block) = packed.split_first_chunk::<LENGTH_BYTES>().ok_or(Invalid::Truncated)?;
    let length = u32::from_le_bytes(*length) as usize;
    if length > FRAME_BYTES_MAX || length > block.len().saturating_mul(EXPANSION_MAX) {
        return Err(Invalid::Expansion);
    }
    let mut body = vec![0; length];
    match decompress_into(block, &mut body) {
        Ok(written) if written == length => Ok(body.into()),
        Ok(_) | Err(_) => Err(Invalid::Compression),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_below_the_threshold_is_left_as_it_is() {
        assert_eq!(compressed(&vec![0; COMPRESS_BYTES_MIN - 1]), None);
    }

    #[test]
    fn what_does_not_get_smaller_is_left_as_it_is() {
        let mut state = 1_u32;
        let noise = (0..10_000).map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        });
        assert_eq!(compressed(&noise.collect::<Vec<_>>()), None);
    }

    #[test]
    fn what_a_receiver_would_take_for_a_bomb_is_left_as_it_is() {
        assert_eq!(compressed(&vec![0; 1 << 20]), None);
    }

    #[test]
    fn a_compressed_body_unpacks_to_itself() {
        let body: Vec<u8> = (0..4000).flat_map(|n: u32| format!("user:{n}:session").into_bytes()).collect();
        let packed = compressed(&body).unwrap();
        assert!(packed.len() < body.len() / 2);
        assert_eq!(unpacked(&packed).unwrap(), body);
    }

    #[test]
    fn a_length_out_of_proportion_is_refused_before_it_is_allocated() {
        let bomb = |length: u32, block: usize| [&length.to_le_bytes()[..], &vec![0; block]].concat();
        assert_eq!(unpacked(&bomb(u32::MAX, 1 << 20)), Err(Invalid::Expansion));
        assert_eq!(unpacked(&bomb(FRAME_BYTES_MAX as u32 + 1, 1 << 20)), Err(Invalid::Expansion));
        assert_eq!(unpacked(&bomb(EXPANSION_MAX as u32 * 100 + 1, 100)), Err(Invalid::Expansion));
        assert_eq!(unpacked(&bomb(0, 0)), Err(Invalid::Compression));
        assert_eq!(unpacked(&[0; 3]), Err(Invalid::Truncated));
    }

    #[test]
    fn a_length_that_is_not_that_of_the_block_is_refused() {
        let body: Vec<u8> = (0..400).flat_map(|n: u32| format!("user:{n}:session").into_bytes()).collect();
        let packed = compressed(&body).unwrap();
        for length in [body.len() - 1, body.len() + 1] {
            let lying = [&(length as u32).to_le_bytes()[..], &packed[4..]].concat();
            assert_eq!(unpacked(&lying), Err(Invalid::Compression), "{length}");
        }
    }
}
