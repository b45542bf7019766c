//! Redis' glob patterns: `*`, `?`, `[abc]`, `[^a]`, `[a-z]` and `\` before what is meant literally.
//!
//! As `stringmatchlen` in Redis' `util.c` reads them, also where they are malformed: an open bracket ends with the pattern.

/// Whether `text` as a whole matches `pattern`. At most the product of the lengths in steps, since of several stars only the last
/// is ever tried again.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut pattern, mut text) = (pattern, text);
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        if let [b'*', rest @ ..] = pattern {
            retry = Some((rest, text));
            pattern = rest;
            continue;
        }
        match (one(pattern, text), retry) {
            (Some((next_pattern, next_text)), _) => (pattern, text) = (next_pattern, next_text),
            (None, _) if pattern.is_empty() && text.is_empty() => return true,
            (None, Some((after_star, [_, rest @ ..]))) => {
                (pattern, text) = (after_star, rest);
                retry = Some((after_star, rest));
            }
            (None, _) => return false,
        }
    }
}

/// What is left of both after one byte of the text that matches the head of the pattern, which is no star.
fn one<'a, 'b>(pattern: &'a [u8], text: &'b [u8]) -> Option<(&'a [u8], &'b [u8])> {
    let (byte, text) = text.split_first()?;
    let (is_match, pattern) = match pattern {
        [] => return None,
        [b'?', rest @ ..] => (true, rest),
        [b'[', rest @ ..] => class(rest, *byte),
        [b'\\', literal, rest @ ..] | [literal, rest @ ..] => (literal == byte, rest),
    };
    is_match.then_some((pattern, text))
}

/// Whether `byte` is in the class that begins here, and what follows it.
fn class(pattern: &[u8], byte: u8) -> (bool, &[u8]) {
    let (is_negated, mut rest) = match pattern {
        [b'^', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let mut is_member = false;
    loop {
        rest = match rest {
            [] => break,
            [b'\\', literal, rest @ ..] => {
                is_member |= *literal == byte;
                rest
            }
            [b']', after @ ..] => {
                rest = after;
                break;
            }
            [from, b'-', to, rest @ ..] => {
                is_member |= (*from.min(to)..=*from.max(to)).contains(&byte);
                rest
            }
            [literal, rest @ ..] => {
                is_member |= *literal == byte;
                rest
            }
        };
    }
    (is_member != is_negated, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_redis() {
        // KEYS of redis-server 7.0.15 with a single key.
        let table = [
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a*b*c", "axxbxxc", true),
            ("a*b*c", "axxcxxb", false),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h[ae]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-c]llo", "hbllo", true),
            ("h[c-a]llo", "hbllo", true),
            ("h[a", "ha", true),
            ("h[a", "hb", false),
            ("[\\]]", "]", true),
            ("[]]", "]", false),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("\\", "\\", true),
            ("a\\", "a\\", true),
            ("[a-]", "-", false),
            ("**a", "ba", true),
            ("*a*", "bab", true),
            ("a?", "a", false),
        ];
        for (pattern, text, expected) in table {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        let pattern = format!("{}b", "a*".repeat(200));
        assert!(!matches(pattern.as_bytes(), "a".repeat(2_000).as_bytes()));
    }
}
