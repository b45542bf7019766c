//! Doubles from and to decimal digits, correctly rounded, on the natural numbers that long doubles need anyway.
//!
//! The standard library's reading and printing of doubles are faster where digits are many, and together 25 kilobytes of a
//! module that browsers load. Numbers with few digits, which nearly all scores have, take neither: they are exact in one
//! operation on doubles, or in 128 bits.
#![allow(
    clippy::arithmetic_side_effects,
    reason = "exponents lie within ±100,000,000 and shifts within their types' widths"
)]

use super::natural::{Natural, decimal_exponent, rounded};

/// Significant digits that decide; a number half-way between two doubles has at most 767. What follows says only whether the
/// number is a little more.
const DIGITS_MAX: usize = 800;

/// Beyond this the exponent decides alone, whatever digits an argument holds.
const EXPONENT_FAR: i32 = 100_000_000;

const MANTISSA_BITS: i32 = 53;
/// The exponent of the least power of two that has all its bits.
const EXPONENT_MIN: i32 = -1022;
const EXPONENT_MAX: i32 = 1023;

/// Powers of ten up to here are exact doubles.
const TENS_EXACT: i32 = 22;
/// So are whole numbers of so many digits.
const DIGITS_EXACT: usize = 15;

/// The double nearest to a decimal number, or infinity: digits with or without a point and an exponent, `inf` or `infinity` in
/// any case, each with or without a sign. Nothing for NaN.
pub(super) fn parse(text: &[u8]) -> Option<f64> {
    let (is_negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let size = if digits.eq_ignore_ascii_case(b"inf") || digits.eq_ignore_ascii_case(b"infinity") {
        f64::INFINITY
    } else {
        whole(digits).or_else(|| magnitude(digits))?
    };
    Some(if is_negative { -size } else { size })
}

/// The 17 significant digits of a finite number that is not zero, as a whole number, and the power of ten of the first of them.
/// Rounds as printf does: exactly, and ties to even.
pub(super) fn seventeen_digits(value: f64) -> (u64, i32) {
    const DIGITS: i32 = 17;
    const ALL: u128 = 10_u128.pow(17);
    let (mantissa, exponent) = parts(value.abs());
    let top = exponent + 63 - i32::try_from(mantissa.leading_zeros()).unwrap_or(0);
    // log10(2) is a little more than 1233 / 4096, so this is the power sought or one less.
    let mut power = (top * 1233) >> 12;
    loop {
        let scaled = scaled(mantissa, exponent, DIGITS - 1 - power);
        if scaled < ALL {
            return (u64::try_from(scaled).unwrap_or(0), power);
        }
        power += 1;
    }
}

/// A whole number of few digits, as most scores and increments are.
fn whole(text: &[u8]) -> Option<f64> {
    if text.is_empty() || text.len() > DIGITS_EXACT {
        return None;
    }
    let append = |number: u64, byte: &u8| byte.is_ascii_digit().then(|| number * 10 + u64::from(byte - b'0'));
    text.iter().try_fold(0, append).map(|number| number as f64)
}

fn magnitude(text: &[u8]) -> Option<f64> {
    let (mantissa, mut power) = match text.iter().position(|byte| byte.eq_ignore_ascii_case(&b'e')) {
        Some(at) => (text.get(..at)?, decimal_exponent(text.get(at + 1..)?, EXPONENT_FAR)?),
        None => (text, 0),
    };
    let mut value = Natural::default();
    let (mut any, mut point, mut kept, mut is_more) = (false, false, 0, false);
    for byte in mantissa {
        match byte {
            b'0'..=b'9' => {
                any = true;
                let digit = u32::from(byte - b'0');
                let is_kept = kept < DIGITS_MAX;
                if is_kept && (kept > 0 || digit > 0) {
                    value.multiply_add(10, digit);
                    kept += 1;
                }
                is_more |= !is_kept && digit > 0;
                power += i32::from(!is_kept) - i32::from(point);
            }
            b'.' if !point => point = true,
            _ => return None,
        }
    }
    if !any {
        return None;
    }
    // The number is below ten to this power, and not below a tenth of that.
    let above = power + i32::try_from(kept).ok()?;
    if kept == 0 || above < -330 {
        return Some(0.0);
    }
    if above > 310 {
        return Some(f64::INFINITY);
    }
    if kept <= DIGITS_EXACT && power.abs() <= TENS_EXACT {
        let tens = (0..power.abs()).fold(1.0, |tens, _| tens * 10.0);
        let whole = value.low_bits() as f64;
        return Some(if power < 0 { whole / tens } else { whole * tens });
    }
    let mut divisor = Natural::from(1);
    if power < 0 { &mut divisor } else { &mut value }.multiply_by_power_of_ten(power.unsigned_abs());
    let (bits, exponent, is_inexact) = value.divide(divisor);
    Some(nearest(bits, exponent, is_inexact || is_more))
}

/// The double nearest to `bits` times two to `exponent`, and a little more if `is_inexact`.
fn nearest(bits: u128, exponent: i32, is_inexact: bool) -> f64 {
    let length = 128 - i32::try_from(bits.leading_zeros()).unwrap_or(0);
    let top = exponent + length - 1;
    if top > EXPONENT_MAX {
        return f64::INFINITY;
    }
    let precision = if top < EXPONENT_MIN { MANTISSA_BITS - (EXPONENT_MIN - top) } else { MANTISSA_BITS };
    if precision < 0 {
        return 0.0;
    }
    let mantissa = u64::try_from(rounded(bits, length - precision, is_inexact)).unwrap_or(0);
    // Its highest bit, and what rounding may have carried beyond, counts into the exponent.
    let biased = u64::try_from(top - EXPONENT_MIN).unwrap_or(0);
    f64::from_bits((biased << (MANTISSA_BITS - 1)) + mantissa)
}

/// The mantissa of a positive number, and the power of two by which it is multiplied.
fn parts(value: f64) -> (u64, i32) {
    const FRACTION_BITS: u32 = MANTISSA_BITS.unsigned_abs() - 1;
    let fraction = value.to_bits() & ((1 << FRACTION_BITS) - 1);
    let biased = i32::try_from(value.to_bits() >> FRACTION_BITS).unwrap_or(0);
    let least = EXPONENT_MIN - MANTISSA_BITS + 1;
    if biased == 0 { (fraction, least) } else { (fraction | 1 << FRACTION_BITS, least + biased - 1) }
}

/// A mantissa times two to `exponent` and ten to `power`, as the nearest whole number, which has some 17 digits.
fn scaled(mantissa: u64, exponent: i32, power: i32) -> u128 {
    if (0..=TENS_EXACT).contains(&power) && (-127..0).contains(&exponent) {
        // Of 53 bits, and ten to 22 has 74.
        return rounded(u128::from(mantissa) * 10_u128.pow(power.unsigned_abs()), -exponent, false);
    }
    let (mut value, mut divisor) = (Natural::from(mantissa), Natural::from(1));
    if power < 0 { &mut divisor } else { &mut value }.multiply_by_power_of_ten(power.unsigned_abs());
    if exponent < 0 { &mut divisor } else { &mut value }.shift_left(exponent.unsigned_abs());
    let (bits, shift, is_inexact) = value.divide(divisor);
    rounded(bits, -shift, is_inexact)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As the standard library reads it.
    fn model(text: &str) -> Option<f64> {
        text.parse().ok().filter(|value: &f64| !value.is_nan())
    }

    fn same(text: &str) -> Result<(), TestCaseError> {
        let read = parse(text.as_bytes());
        prop_assert_eq!(read.map(f64::to_bits), model(text).map(f64::to_bits), "{}", text);
        Ok(())
    }

    fn printed(value: f64) -> (u64, i32) {
        let text = format!("{:.16e}", value.abs());
        let (digits, power) = text.split_once('e').unwrap();
        (digits.replace('.', "").parse().unwrap(), power.parse().unwrap())
    }

    #[test]
    fn the_edges_of_doubles_are_read_as_the_standard_library_reads_them() {
        let ties = "1".to_owned() + &"0".repeat(900);
        let long = format!("{}.{}", "123456789".repeat(120), "987654321".repeat(120));
        let small = format!("0.{}1e4000", "0".repeat(4100));
        for text in [
            "0",
            "-0",
            "0.0",
            "1",
            "-1",
            "1.",
            ".1",
            ".",
            "",
            "e1",
            "1e",
            "1e+",
            "1e-5",
            "+.5e+3",
            "inf",
            "-Infinity",
            "nan",
            "1.7976931348623157e308",
            "1.7976931348623158e308",
            "1.7976931348623159e308",
            "1.8e308",
            "5e-324",
            "2.5e-324",
            "2.4703282292062327e-324",
            "2.4703282292062328e-324",
            "2.2250738585072011e-308",
            "2.2250738585072014e-308",
            "9007199254740993",
            "9007199254740992.99999",
            "9007199254740993.00000000000000000000000000001",
            "1e22",
            "1e23",
            "123456789012345e22",
            "8.5e-22",
            "1e99999999999",
            "1e-99999999999",
            "0e99999999999",
            "1__0",
            "1e1.5",
            "0x10",
            &ties,
            &long,
            &small,
        ] {
            same(text).unwrap();
        }
        // Half-way between 1 and the next double, and a trifle more behind more digits than decide.
        let half = "1.00000000000000011102230246251565404236316680908203125";
        same(half).unwrap();
        same(&format!("{half}{}1", "0".repeat(2_000))).unwrap();
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn numbers_are_read_as_the_standard_library_reads_them(text in "[+-]?[0-9]{0,25}(\\.[0-9]{0,25})?(e[+-]?[0-9]{1,3})?") {
            same(&text)?;
        }

        #[test]
        fn printed_doubles_are_read_back(bits: u64) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            for text in [format!("{value:e}"), format!("{value:.16e}"), format!("{value:.30e}"), format!("{value}")] {
                same(&text)?;
            }
        }

        #[test]
        fn seventeen_digits_are_those_that_the_standard_library_prints(bits: u64, decimal in -1e9..1e9_f64, places in 0..12) {
            let few = (decimal * 10_f64.powi(places)).round() / 10_f64.powi(places);
            for value in [f64::from_bits(bits), decimal, few, few / 1e7] {
                prop_assume!(value.is_finite() && value != 0.0);
                prop_assert_eq!(seventeen_digits(value), printed(value), "{:e}", value);
            }
        }
    }
}
