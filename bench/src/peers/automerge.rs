//! Automerge: one document whose root map holds counters or maps; a batch is a change.

use std::hint::black_box;

use automerge::{
    AutoCommit, AutomergeError, ObjId, ObjType, ROOT, ReadDoc, ScalarValue, Value, transaction::Transactable,
};

use super::text::{Pair, TextCourse};
use crate::{Contender, ours::work::Work};

struct Automerge {
    doc: AutoCommit,
    course: TextCourse,
    input: Vec<Vec<Pair>>,
}

pub(super) fn boxed(work: Work, size: usize) -> Box<dyn Contender> {
    let mut doc = AutoCommit::new();
    let course = TextCourse::new(work, size);
    for (key, item) in course.initial() {
        if work == Work::Counters {
            doc.put(ROOT, key.as_str(), ScalarValue::counter(0)).expect("the root takes entries");
        }
        apply(work, &mut doc, &(key, item)).expect("the root takes entries");
    }
    doc.commit();
    Box::new(Automerge { doc, course, input: Vec::new() })
}

fn apply(work: Work, doc: &mut AutoCommit, (key, item): &Pair) -> Result<(), AutomergeError> {
    match work {
        Work::Counters => doc.increment(ROOT, key.as_str(), 1),
        Work::OneSet => doc.put(ROOT, item.as_str(), true),
        Work::Sets => {
            let map = nested(doc, key)?;
            doc.put(map, item.as_str(), true)
        }
        Work::Hashes => {
            let map = nested(doc, key)?;
            doc.put(map, "field", item.as_str())
        }
    }
}

fn nested(doc: &mut AutoCommit, key: &str) -> Result<ObjId, AutomergeError> {
    match doc.get(ROOT, key)? {
        Some((Value::Object(_), map)) => Ok(map),
        _ => doc.put_object(ROOT, key, ObjType::Map),
    }
}

impl Contender for Automerge {
    fn prepare(&mut self) {
        self.input = self.course.round();
    }

    fn run(&mut self) -> u64 {
        let mut operations = 0;
        for batch in std::mem::take(&mut self.input) {
            operations += batch.len() as u64;
            for pair in &batch {
                apply(self.course.work, &mut self.doc, pair).expect("the root takes entries");
            }
            self.doc.commit();
            let change = self.doc.get_last_local_change().expect("a batch is a change");
            black_box(change.raw_bytes().to_vec());
        }
        operations
    }
}
