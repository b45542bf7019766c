//! Numbers as Redis reads and writes them.
//!
//! Sources: `string2ll` and `string2d` in Redis 7.0's `util.c`, `zslParseRange` in `t_zset.c`, `addReplyDouble` in
//! `networking.c`. Unlike these, nothing here reads hexadecimal floats, and negative zero becomes zero.

use super::{ScoreBound, double};
use bytes::Bytes;

/// An integer in the one way of writing it that Redis accepts: no plus, no leading zeros, no `-0`, no spaces, within i64.
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let canonical = match digits {
        [b'0'] => digits.len() == text.len(),
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !canonical {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// A score: a decimal number, or `inf` or `infinity` in any case with or without a sign.
///
/// NaN, spaces, and numbers that a double could only hold as infinity or zero are none.
pub fn parse_score(text: &[u8]) -> Option<f64> {
    let score = parse_double(text)?;
    let spells_infinity = text.last().is_some_and(|byte| !matches!(byte, b'0'..=b'9' | b'.'));
    let overflows = score.is_infinite() && !spells_infinity;
    let mantissa = text.split(|byte| byte.eq_ignore_ascii_case(&b'e')).next().unwrap_or_default();
    let underflows = score == 0.0 && mantissa.iter().any(|byte| matches!(byte, b'1'..=b'9'));
    (!overflows && !underflows).then_some(score)
}

/// A bound of BYSCORE, exclusive after a `(`.
///
/// Redis reads these more loosely than scores: what follows a zero byte is ignored, leading spaces are skipped, nothing at
/// all is zero, and numbers beyond a double's range round to infinity or zero.
pub fn parse_score_bound(text: &[u8]) -> Option<ScoreBound> {
    let (bound, number): (fn(f64) -> ScoreBound, _) = match text {
        [b'(', number @ ..] => (ScoreBound::Exclusive, number),
        number => (ScoreBound::Inclusive, number),
    };
    let number = number.split(|&byte| byte == 0).next().unwrap_or_default();
    if number.is_empty() {
        return Some(bound(0.0));
    }
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let start = number.iter().position(|byte| !is_space(byte))?;
    parse_double(number.get(start..)?).map(bound)
}

/// A score as Redis 7.0 replies it to a RESP2 client: C's `%.17g`, which reads back as the same double.
///
/// ```
/// use headwater::command::format_score;
///
/// assert_eq!(format_score(3.0), "3");
/// assert_eq!(format_score(0.1), "0.10000000000000001");
/// ```
pub fn format_score(score: f64) -> Bytes {
    // Below this every integer has at most 17 digits, so that `%.17g` prints it whole.
    const INTEGER_BELOW: f64 = 1e17;
    if score.is_infinite() {
        return Bytes::from_static(if score > 0.0 { b"inf" } else { b"-inf" });
    }
    if score.trunc() == score && score.abs() < INTEGER_BELOW {
        return format_integer(score as i64);
    }
    Bytes::from(format_seventeen_digits(score))
}

/// An integer in decimal digits, by an allocation of just that length.
fn format_integer(number: i64) -> Bytes {
    let mut text = [0_u8; 20];
    let (mut places, mut length) = (text.iter_mut().rev(), 0_usize);
    let mut put = |byte| {
        if let Some(place) = places.next() {
            *place = byte;
            length = length.saturating_add(1);
        }
    };
    let mut rest = number.unsigned_abs();
    loop {
        put(b'0' | (rest % 10).to_le_bytes()[0]);
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        put(b'-');
    }
    Bytes::copy_from_slice(text.get(text.len().saturating_sub(length)..).unwrap_or_default())
}

/// What both kinds of numbers have in common with `strtod`.
fn parse_double(text: &[u8]) -> Option<f64> {
    // Adding zero turns negative zero into zero, and nothing else.
    double::parse(text).map(|value| value + 0.0)
}

fn format_seventeen_digits(value: f64) -> String {
    const DIGITS: i32 = 17;
    let (digits, exponent) = double::seventeen_digits(value);
    let sign = if value < 0.0 { "-" } else { "" };
    let digits = digits.to_string();
    let digits = digits.trim_end_matches('0');
    let (head, tail) = digits.split_at_checked(1).unwrap_or((digits, ""));
    let point = if tail.is_empty() { "" } else { "." };
    match exponent {
        0..DIGITS => {
            let whole = usize::try_from(exponent).unwrap_or(0).saturating_add(1);
            match digits.split_at_checked(whole) {
                Some((whole, "")) => format!("{sign}{whole}"),
                Some((whole, fraction)) => format!("{sign}{whole}.{fraction}"),
                None => format!("{sign}{digits:0<whole$}"),
            }
        }
        -4..0 => {
            let zeros = usize::try_from(exponent.unsigned_abs()).unwrap_or(0).saturating_sub(1);
            format!("{sign}0.{:0<zeros$}{digits}", "")
        }
        _ => {
            let exponent_sign = if exponent < 0 { '-' } else { '+' };
            format!("{sign}{head}{point}{tail}e{exponent_sign}{:02}", exponent.unsigned_abs())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn integers_are_read_strictly() {
        let table: &[(&str, Option<i64>)] = &[
            ("0", Some(0)),
            ("7", Some(7)),
            ("-1", Some(-1)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("-9223372036854775809", None),
            ("99999999999999999999999999", None),
            ("", None),
            ("-", None),
            ("-0", None),
            ("00", None),
            ("01", None),
            ("-01", None),
            ("+1", None),
            (" 1", None),
            ("1 ", None),
            ("1.0", None),
            ("1e3", None),
            ("0x1", None),
            ("--1", None),
            ("1\0", None),
            ("١", None),
        ];
        for (text, expected) in table {
            assert_eq!(parse_integer(text.as_bytes()), *expected, "{text:?}");
        }
    }

    #[test]
    fn scores_are_read_as_by_zadd() {
        let table: &[(&str, Option<f64>)] = &[
            ("3", Some(3.0)),
            ("+1", Some(1.0)),
            ("-1.5", Some(-1.5)),
            ("1.", Some(1.0)),
            (".5", Some(0.5)),
            ("1e5", Some(1e5)),
            ("1E+5", Some(1e5)),
            ("1e-320", Some(1e-320)),
            ("0e-400", Some(0.0)),
            ("0.0e999", Some(0.0)),
            ("inf", Some(f64::INFINITY)),
            ("+InF", Some(f64::INFINITY)),
            ("-infinity", Some(f64::NEG_INFINITY)),
            ("1e400", None),
            ("-1e400", None),
            ("1e-400", None),
            ("nan", None),
            ("-NaN", None),
            ("", None),
            (" 1", None),
            ("1 ", None),
            ("1\0", None),
            (".", None),
            ("e5", None),
            ("1e", None),
            ("+-1", None),
            ("1_0", None),
            ("1f", None),
            ("infi", None),
            ("in", None),
            ("٣", None),
        ];
        for (text, expected) in table {
            assert_eq!(parse_score(text.as_bytes()), *expected, "{text:?}");
        }
        assert!(parse_score(b"-0").is_some_and(f64::is_sign_positive));
        assert_eq!(parse_score("9".repeat(400).as_bytes()), None);
        assert_eq!(parse_score(format!("{}.", "9".repeat(400)).as_bytes()), None);
    }

    #[test]
    fn bounds_are_read_as_by_zrange() {
        use ScoreBound::{Exclusive, Inclusive};
        let table: &[(&str, Option<ScoreBound>)] = &[
            ("1", Some(Inclusive(1.0))),
            ("(1", Some(Exclusive(1.0))),
            ("-inf", Some(Inclusive(f64::NEG_INFINITY))),
            ("(+inf", Some(Exclusive(f64::INFINITY))),
            ("1e400", Some(Inclusive(f64::INFINITY))),
            ("1e-400", Some(Inclusive(0.0))),
            ("", Some(Inclusive(0.0))),
            ("(", Some(Exclusive(0.0))),
            ("\0", Some(Inclusive(0.0))),
            ("1\0zz", Some(Inclusive(1.0))),
            (" \t1", Some(Inclusive(1.0))),
            ("( 1", Some(Exclusive(1.0))),
            (" ", None),
            ("1 ", None),
            ("((1", None),
            (" (1", None),
            ("[1", None),
            ("nan", None),
            ("x", None),
        ];
        for (text, expected) in table {
            assert_eq!(parse_score_bound(text.as_bytes()), *expected, "{text:?}");
        }
    }

    #[test]
    fn integers_are_written_as_the_standard_library_does() {
        for number in [0, 1, -1, 9, 10, -10, 99, 100, 1_234_567_890, i64::MAX, i64::MIN] {
            assert_eq!(format_integer(number), number.to_string());
        }
    }

    #[test]
    fn scores_are_written_as_by_zscore() {
        // ZSCORE of redis-server 7.0.15.
        let table: &[(f64, &str)] = &[
            (0.0, "0"),
            (1.0, "1"),
            (-1.0, "-1"),
            (3.0, "3"),
            (0.1, "0.10000000000000001"),
            (0.2, "0.20000000000000001"),
            (0.30000000000000004, "0.30000000000000004"),
            (1.5, "1.5"),
            (-2.75, "-2.75"),
            (1e15, "1000000000000000"),
            (1e16, "10000000000000000"),
            (12345678901234567.0, "12345678901234568"),
            (1e17, "1e+17"),
            (1e20, "1e+20"),
            (1e21, "1e+21"),
            (-1e21, "-1e+21"),
            (1.5e300, "1.5000000000000001e+300"),
            (1e-4, "0.0001"),
            (0.00012345, "0.00012344999999999999"),
            (1e-5, "1.0000000000000001e-05"),
            (-1.25e-5, "-1.2500000000000001e-05"),
            (1e-320, "9.9998886718268301e-321"),
            (5e-324, "4.9406564584124654e-324"),
            (1.7976931348623157e308, "1.7976931348623157e+308"),
            (1_125_899_906_842_624.0 + 0.25, "1125899906842624.2"),
            (1_125_899_906_842_624.0 + 0.75, "1125899906842624.8"),
            (2251799813685249.5, "2251799813685249.5"),
            (9007199254740993.0, "9007199254740992"),
            (123456789012345680.0, "1.2345678901234568e+17"),
            (100000000000000000.0, "1e+17"),
            (99999999999999984.0, "99999999999999984"),
            (0.5, "0.5"),
            (1e100, "1e+100"),
            (2.2250738585072014e-308, "2.2250738585072014e-308"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (1e22, "1e+22"),
            (1e23, "9.9999999999999992e+22"),
            (123456.789, "123456.789"),
            (1700000000.123, "1700000000.1229999"),
        ];
        for &(score, expected) in table {
            assert_eq!(format_score(score), expected);
        }
        assert_eq!(format_score(-0.0), "0");
    }

    proptest! {
        #[test]
        fn a_written_score_reads_back_as_itself(bits in any::<u64>()) {
            let score = f64::from_bits(bits);
            prop_assume!(!score.is_nan());
            prop_assert_eq!(parse_score(&format_score(score)), Some(score));
        }

        #[test]
        fn a_written_integer_reads_back_as_itself(integer: i64) {
            prop_assert_eq!(parse_integer(integer.to_string().as_bytes()), Some(integer));
        }

        #[test]
        fn no_text_panics(text in prop::collection::vec(any::<u8>(), 0..24)) {
            let _ = (parse_integer(&text), parse_score(&text), parse_score_bound(&text));
        }
    }
}
