//! Which keys are a person's: patterns that name the person's place, as `user:{subject}:*`.
//!
//! A subject is put into a pattern as it is and stands for itself alone, whatever signs are in it.

/// The place of the person in a pattern.
pub const PLACE: &str = "{subject}";

/// The longest subject, in bytes; keys are no longer.
const SUBJECT_BYTES_MAX: usize = 1024;

/// Whom to forget.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subject(Vec<u8>);

/// Why nobody is named.
#[derive(Debug, thiserror::Error)]
pub enum SubjectError {
    /// Nothing: the patterns would name everybody.
    #[error("ERR Headwater: the subject is empty")]
    Empty,
    /// Too long for any key.
    #[error("ERR Headwater: no key is so long as the subject")]
    TooLong,
}

/// A pattern that does not name the place.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} does not hold {PLACE}, and so would erase the same keys for everybody")]
pub struct ErasePatternError(String);

impl Subject {
    /// Whoever is named so.
    ///
    /// # Errors
    /// When nobody is, or no key has room for the name.
    pub fn new(name: &[u8]) -> Result<Self, SubjectError> {
        match name.len() {
            0 => Err(SubjectError::Empty),
            length if length > SUBJECT_BYTES_MAX => Err(SubjectError::TooLong),
            _ => Ok(Self(name.to_vec())),
        }
    }

    /// The pattern for this person, as Redis' SCAN takes it.
    pub fn within(&self, pattern: &str) -> Vec<u8> {
        let mut literal = Vec::with_capacity(self.0.len());
        for byte in &self.0 {
            if b"*?[]^-\\".contains(byte) {
                literal.push(b'\\');
            }
            literal.push(*byte);
        }
        let parts: Vec<&[u8]> = pattern.split(PLACE).map(str::as_bytes).collect();
        parts.join(&literal[..])
    }
}

/// Checks what the operator wrote.
///
/// # Errors
/// When it names nobody's place.
pub fn checked(pattern: &str) -> Result<String, ErasePatternError> {
    if pattern.contains(PLACE) { Ok(pattern.to_owned()) } else { Err(ErasePatternError(pattern.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_stands_for_itself_alone() {
        let within = |subject: &[u8]| Subject::new(subject).unwrap().within("user:{subject}:*");
        assert_eq!(within(b"42"), b"user:42:*");
        assert_eq!(within(b"*"), b"user:\\*:*");
        assert_eq!(within(b"a[b]?\\"), b"user:a\\[b\\]\\?\\\\:*");
        assert!(Subject::new(b"").is_err() && Subject::new(&[b'x'; 1025]).is_err());
    }

    #[test]
    fn a_pattern_without_a_place_is_refused() {
        assert!(checked("user:*").unwrap_err().to_string().contains("{subject}"));
        assert_eq!(checked("session:{subject}").unwrap(), "session:{subject}");
    }
}
