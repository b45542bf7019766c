//! The arithmetic of INCRBYFLOAT and HINCRBYFLOAT: C's `long double` as x86 has it, 64 bits of mantissa, rounded half to even.
//!
//! Redis reads, adds and prints these with `strtold`, one addition and `%.17Lf` (`string2ld` and `ld2string` in `util.c`), and a
//! double would print other digits: 10.5 + 0.1 is 10.6 here. Wasm has no such type, so its few operations are written out.
//! Hexadecimal numbers and the last bits of numbers below 2^-16382, which print as zero, are left out.
#![allow(
    clippy::arithmetic_side_effects,
    reason = "exponents lie within ±20,000 and shifts within their types' widths"
)]

use super::natural::{Natural, decimal_exponent, rounded};
use bytes::Bytes;

/// Longer texts are no numbers to Redis.
const TEXT_BYTES_MAX: usize = 5 * 1024 - 1;

/// A decimal exponent beyond this decides alone.
const EXPONENT_FAR: i32 = 20_000;

/// The exponent of the least power of two that is infinite.
const OVERFLOW_BITS: i32 = 16_384;

/// The exponent of the least power of two that is not zero.
const UNDERFLOW_BITS: i32 = -16_445;

/// Digits after the point in `%.17Lf`, and their power of ten.
const FRACTION_DIGITS: usize = 17;
const FRACTION_SCALE: u128 = 100_000_000_000_000_000;

/// A number, or infinity.
///
/// ```
/// use headwater::command::LongDouble;
///
/// let sum = LongDouble::parse(b"10.50").zip(LongDouble::parse(b"0.1")).and_then(|(a, b)| a.plus(b));
/// assert_eq!(sum.map(|sum| sum.to_text()), Some("10.6".into()));
/// ```
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct LongDouble {
    is_negative: bool,
    /// With its highest bit set, unless the number is zero or infinite.
    mantissa: u64,
    /// The number is the mantissa times two to this; [`INFINITE`] says that there is no mantissa.
    exponent: i32,
}

const INFINITE: i32 = i32::MAX;

impl LongDouble {
    /// Zero.
    pub const ZERO: Self = Self { is_negative: false, mantissa: 0, exponent: 0 };

    /// A number as Redis reads it: decimal, or `inf` or `infinity` in any case. No spaces, no NaN, nothing beyond the range.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let (is_negative, digits) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        if digits.eq_ignore_ascii_case(b"inf") || digits.eq_ignore_ascii_case(b"infinity") {
            return Some(Self { is_negative, mantissa: 0, exponent: INFINITE });
        }
        let (mantissa, exponent) = match digits.iter().position(|byte| byte.eq_ignore_ascii_case(&b'e')) {
            Some(at) => (digits.get(..at)?, decimal_exponent(digits.get(at + 1..)?, EXPONENT_FAR)?),
            None => (digits, 0),
        };
        let mut value = Natural::default();
        let (mut any, mut point) = (false, None);
        for (at, byte) in mantissa.iter().enumerate() {
            match byte {
                b'0'..=b'9' => {
                    any = true;
                    value.multiply_add(10, u32::from(byte - b'0'));
                }
                b'.' if point.is_none() => point = Some(at),
                _ => return None,
            }
        }
        if !any {
            return None;
        }
        if value.is_zero() {
            return Some(Self::ZERO);
        }
        let fraction_digits = point.map_or(0, |at| mantissa.len() - at - 1);
        let exponent = exponent - i32::try_from(fraction_digits).ok()?;
        let mut divisor = Natural::from(1);
        if exponent < 0 { &mut divisor } else { &mut value }.multiply_by_power_of_ten(exponent.unsigned_abs());
        let (quotient, bits, is_inexact) = value.divide(divisor);
        let rounded = Self::rounded(is_negative, quotient, bits, is_inexact);
        rounded.filter(|number| number.mantissa != 0 && number.exponent + 64 > UNDERFLOW_BITS)
    }

    /// Whether this is a number and not infinity.
    pub fn is_finite(self) -> bool {
        self.exponent != INFINITE
    }

    /// The sum, or nothing where it is infinite or no number.
    pub fn plus(self, other: Self) -> Option<Self> {
        if !self.is_finite() || !other.is_finite() {
            return None;
        }
        let (high, low) = if (self.mantissa, other.mantissa) == (0, 0) {
            return Some(Self::ZERO);
        } else if other.mantissa == 0 || self.mantissa != 0 && self.exponent >= other.exponent {
            (self, other)
        } else {
            (other, self)
        };
        // With so many bits below the mantissa, what is shifted out is less than half of a rounded bit.
        const GUARD_BITS: i32 = 62;
        let apart = if low.mantissa == 0 { 0 } else { (high.exponent - low.exponent).unsigned_abs() };
        let wide = u128::from(low.mantissa) << GUARD_BITS;
        let shifted = wide.checked_shr(apart).unwrap_or(0);
        let is_inexact = shifted.checked_shl(apart).unwrap_or(0) != wide;
        let wide = u128::from(high.mantissa) << GUARD_BITS;
        let (is_negative, sum) = if high.is_negative == low.is_negative {
            (high.is_negative, wide + shifted)
        } else if wide >= shifted {
            (high.is_negative, wide - shifted - u128::from(is_inexact))
        } else {
            (low.is_negative, shifted - wide)
        };
        Self::rounded(is_negative, sum, high.exponent - GUARD_BITS, is_inexact)
    }

    /// `%.17Lf` without trailing zeros.
    pub fn to_text(self) -> Bytes {
        let sign = if self.is_negative && self.mantissa != 0 { "-" } else { "" };
        let Ok(shift) = u32::try_from(-self.exponent) else {
            let mut whole = Natural::from(self.mantissa);
            whole.shift_left(self.exponent.unsigned_abs());
            return format!("{sign}{}", whole.into_decimal()).into();
        };
        let whole = self.mantissa.checked_shr(shift).unwrap_or(0);
        let fraction = u128::from(self.mantissa - whole.checked_shl(shift).unwrap_or(0));
        let scaled = fraction * FRACTION_SCALE;
        let kept = scaled.checked_shr(shift).unwrap_or(0);
        let rest = scaled - kept.checked_shl(shift).unwrap_or(0);
        let half = 1_u128.checked_shl(shift.saturating_sub(1)).unwrap_or(u128::MAX);
        let rounds_up = shift > 0 && (rest > half || rest == half && kept & 1 == 1);
        let digits = kept + u128::from(rounds_up);
        let whole = whole + u64::from(digits == FRACTION_SCALE);
        let fraction = format!("{:0FRACTION_DIGITS$}", digits % FRACTION_SCALE);
        match fraction.trim_end_matches('0') {
            "" if whole == 0 => "0".into(),
            "" => format!("{sign}{whole}").into(),
            fraction => format!("{sign}{whole}.{fraction}").into(),
        }
    }

    /// `bits` times two to `exponent`, and a little more if `is_inexact`, to 64 bits; nothing where that is infinite.
    fn rounded(is_negative: bool, bits: u128, exponent: i32, is_inexact: bool) -> Option<Self> {
        if bits == 0 {
            return Some(Self::ZERO);
        }
        let excess = 64 - i32::try_from(bits.leading_zeros()).ok()?;
        let (mantissa, exponent) = match u32::try_from(excess) {
            Err(_) | Ok(0) => (bits << excess.unsigned_abs(), exponent + excess),
            Ok(_) => {
                let kept = rounded(bits, excess, is_inexact);
                // Rounding up may carry into a bit more, and then all others are zero.
                if kept >> 64 == 0 { (kept, exponent + excess) } else { (kept >> 1, exponent + excess + 1) }
            }
        };
        let mantissa = u64::try_from(mantissa).ok()?;
        (exponent + 64 <= OVERFLOW_BITS).then_some(Self { is_negative, mantissa, exponent })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(a: &str, b: &str) -> Option<String> {
        let (a, b) = (LongDouble::parse(a.as_bytes())?, LongDouble::parse(b.as_bytes())?);
        Some(String::from_utf8(a.plus(b)?.to_text().to_vec()).unwrap())
    }

    #[test]
    fn sums_are_those_of_redis() {
        // SET and INCRBYFLOAT of redis-server 7.0.15 on x86-64.
        for line in include_str!("long_double/sums.txt").lines() {
            let [a, b, expected] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            assert_eq!(sum(a, b).as_deref(), Some(expected), "{a} + {b}");
        }
    }

    #[test]
    fn what_is_no_number_is_not_read() {
        for text in
            ["", "+", "-", ".", "e5", "1e", "1e+", "1.2.3", " 1", "1 ", "1x", "nan", "--1", "1e5000", "1e-5000", "1_0"]
        {
            assert_eq!(LongDouble::parse(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(LongDouble::parse("1".repeat(TEXT_BYTES_MAX + 1).as_bytes()), None);
        assert!(LongDouble::parse(b"0e99999999999").is_some());
    }

    #[test]
    fn infinite_sums_are_none() {
        assert_eq!(sum("inf", "1"), None);
        assert_eq!(sum("1e4932", "1e4932"), None);
        assert_eq!(sum("-inf", "inf"), None);
    }
}
