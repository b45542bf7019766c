//! What happened, as a digest of all inputs and effects and as the last of them in words.

use std::{
    collections::VecDeque,
    fmt::{self, Debug, Write},
    hash::{DefaultHasher, Hash, Hasher},
};

/// The record of a run. It costs nothing unless it was asked for.
#[derive(Default)]
pub(crate) struct Trace {
    digest: Option<DefaultHasher>,
    log: Option<VecDeque<String>>,
    lines: usize,
}

impl Trace {
    pub(super) fn digest(&mut self) {
        self.digest = Some(DefaultHasher::new());
    }

    pub(super) fn log(&mut self, lines: usize) {
        self.lines = lines;
        self.log = (lines > 0).then(VecDeque::new);
    }

    /// Notes an input or an effect.
    pub(super) fn record(&mut self, now: i64, who: impl Debug, what: &impl Debug) {
        if let Some(digest) = &mut self.digest {
            now.hash(digest);
            let _ = write!(Feed(digest), "{who:?} {what:?}");
        }
        if let Some(log) = &mut self.log {
            let text = format!("{now} {who:?} {what:?}");
            log.push_back(text.chars().take(4_000).collect());
            if log.len() > self.lines {
                log.pop_front();
            }
        }
    }

    /// A digest of all that happened.
    pub(crate) fn finish(&self) -> u64 {
        self.digest.as_ref().map_or(0, Hasher::finish)
    }

    /// The last that happened.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &String> {
        self.log.iter().flatten()
    }
}

/// A number that depends on the seed and on nothing else but what it is for.
pub(super) fn mix(seed: u64, purpose: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    (seed, purpose).hash(&mut hasher);
    hasher.finish()
}

struct Feed<'a>(&'a mut DefaultHasher);

impl fmt::Write for Feed<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}
