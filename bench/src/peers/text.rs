//! The work as the documents take it: names and values are text.

use crate::ours::work::{Course, Operation, Work};

/// A key and an item.
pub(super) type Pair = (String, String);

/// A course of operations as text.
pub(super) struct TextCourse {
    pub(super) work: Work,
    course: Course,
}

impl TextCourse {
    pub(super) fn new(work: Work, size: usize) -> Self {
        Self { work, course: Course::new(work, size) }
    }

    pub(super) fn initial(&self) -> impl Iterator<Item = Pair> + '_ {
        self.course.initial().map(pair)
    }

    pub(super) fn round(&mut self) -> Vec<Vec<Pair>> {
        self.course.round().into_iter().map(|batch| batch.into_iter().map(pair).collect()).collect()
    }
}

#[allow(clippy::needless_pass_by_value, reason = "an iterator's items are mapped with it")]
fn pair(operation: Operation) -> Pair {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&operation.key), text(&operation.item))
}
