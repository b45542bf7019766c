//! The words of a call, one behind the other in one buffer: a call has thousands, most of them a few bytes long.

use std::io::Write;

/// Words in their order.
#[derive(Debug, Default)]
pub(super) struct Words {
    bytes: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
}

impl Words {
    /// One more.
    pub(super) fn push(&mut self, word: impl AsRef<[u8]>) {
        self.push_parts(&[word.as_ref()]);
    }

    /// One more, of several parts.
    pub(super) fn push_parts(&mut self, parts: &[&[u8]]) {
        parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
        self.ends.push(self.bytes.len());
    }

    /// A number in decimal.
    pub(super) fn push_number(&mut self, number: u64) {
        write!(self.bytes, "{number}").expect("a buffer in memory takes all");
        self.ends.push(self.bytes.len());
    }

    /// A count in decimal.
    pub(super) fn push_count(&mut self, count: usize) {
        self.push_number(count as u64);
    }

    /// A number in decimal, or an empty word.
    pub(super) fn push_optional(&mut self, number: Option<u64>) {
        match number {
            Some(number) => self.push_number(number),
            None => self.push(""),
        }
    }

    /// All of another's.
    pub(super) fn append(&mut self, other: &Self) {
        let before = self.bytes.len();
        self.bytes.extend_from_slice(&other.bytes);
        self.ends.extend(other.ends.iter().map(|end| before + end));
    }

    /// None, with the memory kept.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// How many.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The bytes of all.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Each.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut from = 0;
        self.ends.iter().map(move |end| {
            let word = &self.bytes[from..*end];
            from = *end;
            word
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_back_as_they_were_pushed() {
        let (mut words, mut more) = (Words::default(), Words::default());
        words.push("a");
        words.push("");
        more.push_parts(&[b"b", b"", b"c"]);
        more.push_number(u64::MAX);
        words.append(&more);
        assert_eq!(words.iter().collect::<Vec<_>>(), [&b"a"[..], b"", b"bc", b"18446744073709551615"]);
        assert_eq!((words.len(), words.bytes()), (4, 23));
        words.clear();
        assert_eq!((words.len(), words.bytes(), words.iter().count()), (0, 0, 0));
    }
}
