//! Natural numbers of any size, with the few operations that reading and printing floats take. Quadratic, which is little for
//! texts within the limit.
#![allow(clippy::arithmetic_side_effects, reason = "each step stays within the wider type that it is done in")]

use std::cmp::Ordering;

/// A number in 32-bit digits, the lowest first, without zeros at the top.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Natural(Vec<u32>);

impl From<u64> for Natural {
    fn from(value: u64) -> Self {
        let mut number = Self(vec![value as u32, (value >> 32) as u32]);
        number.trim();
        number
    }
}

impl Natural {
    pub(super) fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn multiply_add(&mut self, factor: u32, summand: u32) {
        let mut carry = u64::from(summand);
        for digit in &mut self.0 {
            carry += u64::from(*digit) * u64::from(factor);
            *digit = carry as u32;
            carry >>= 32;
        }
        if carry > 0 {
            self.0.push(carry as u32);
        }
    }

    pub(super) fn multiply_by_power_of_ten(&mut self, mut power: u32) {
        const CHUNK: u32 = 9;
        while power > 0 {
            let step = power.min(CHUNK);
            self.multiply_add(10_u32.pow(step), 0);
            power -= step;
        }
    }

    pub(super) fn shift_left(&mut self, bits: u32) {
        if self.is_zero() {
            return;
        }
        self.multiply_add(1 << (bits % 32), 0);
        let whole = bits / 32;
        self.0.splice(0..0, (0..whole).map(|_| 0));
    }

    /// The quotient to at least 65 bits, the power of two by which it is to be multiplied, and whether that leaves a rest.
    pub(super) fn divide(mut self, mut divisor: Self) -> (u128, i32, bool) {
        const BITS: i32 = 66;
        let shift = BITS + divisor.bit_length() - self.bit_length();
        if shift > 0 { &mut self } else { &mut divisor }.shift_left(shift.unsigned_abs());
        let mut quotient = 0_u128;
        divisor.shift_left(BITS.unsigned_abs());
        for _ in 0..=BITS {
            quotient <<= 1;
            if self.compare(&divisor) != Ordering::Less {
                self.subtract(&divisor);
                quotient |= 1;
            }
            divisor.halve();
        }
        (quotient, -shift, !self.is_zero())
    }

    pub(super) fn into_decimal(mut self) -> String {
        const CHUNK: u64 = 1_000_000_000;
        let mut chunks = Vec::new();
        while !self.is_zero() {
            let mut rest = 0;
            for digit in self.0.iter_mut().rev() {
                let value = rest << 32 | u64::from(*digit);
                *digit = (value / CHUNK) as u32;
                rest = value % CHUNK;
            }
            self.trim();
            chunks.push(rest);
        }
        let mut text = chunks.pop().unwrap_or(0).to_string();
        for chunk in chunks.into_iter().rev() {
            text.push_str(&format!("{chunk:09}"));
        }
        text
    }

    /// The lowest 64 bits.
    pub(super) fn low_bits(&self) -> u64 {
        let digit = |at: usize| u64::from(self.0.get(at).copied().unwrap_or(0));
        digit(1) << 32 | digit(0)
    }

    fn bit_length(&self) -> i32 {
        let top = self.0.last().map_or(0, |top| 32 - top.leading_zeros());
        let below = self.0.len().saturating_sub(1) as u32 * 32;
        i32::try_from(below + top).unwrap_or(i32::MAX)
    }

    fn compare(&self, other: &Self) -> Ordering {
        self.0.len().cmp(&other.0.len()).then_with(|| self.0.iter().rev().cmp(other.0.iter().rev()))
    }

    /// Takes away a number that is not greater.
    fn subtract(&mut self, other: &Self) {
        let mut borrow = false;
        let theirs = other.0.iter().copied().chain(std::iter::repeat(0));
        for (digit, theirs) in self.0.iter_mut().zip(theirs) {
            let (rest, first) = digit.overflowing_sub(theirs);
            let (rest, second) = rest.overflowing_sub(borrow.into());
            *digit = rest;
            borrow = first || second;
        }
        self.trim();
    }

    fn halve(&mut self) {
        let mut carry = 0;
        for digit in self.0.iter_mut().rev() {
            let low = *digit & 1;
            *digit = *digit >> 1 | carry << 31;
            carry = low;
        }
        self.trim();
    }

    fn trim(&mut self) {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }
}

/// `bits` without the lowest `dropped` ones, rounded half to even; they are a little more if `is_inexact`. Less than one is
/// shifted in instead.
pub(super) fn rounded(bits: u128, dropped: i32, is_inexact: bool) -> u128 {
    let Ok(dropped @ 1..) = u32::try_from(dropped) else { return bits << dropped.unsigned_abs() };
    let kept = bits.checked_shr(dropped).unwrap_or(0);
    let rest = bits - kept.checked_shl(dropped).unwrap_or(0);
    let half = 1_u128.checked_shl(dropped - 1).unwrap_or(u128::MAX);
    kept + u128::from(rest > half || rest == half && (is_inexact || kept & 1 == 1))
}

/// What follows the `e`; so `far` from zero that it decides alone, it is cut.
pub(super) fn decimal_exponent(text: &[u8], far: i32) -> Option<i32> {
    let (is_negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let size = digits.iter().fold(0_i32, |sum, digit| (sum * 10 + i32::from(digit - b'0')).min(far));
    Some(if is_negative { -size } else { size })
}
