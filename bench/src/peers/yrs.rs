//! Yrs: one document with a root map. A counter is a number that is read and written, since there is no counter type:
//! of two concurrent increments one is lost.

use std::hint::black_box;

use yrs::{Doc, Map, MapPrelim, MapRef, Out, Transact, TransactionMut};

use super::text::{Pair, TextCourse};
use crate::{Contender, ours::work::Work};

struct Yrs {
    doc: Doc,
    root: MapRef,
    course: TextCourse,
    input: Vec<Vec<Pair>>,
}

pub(super) fn boxed(work: Work, size: usize) -> Box<dyn Contender> {
    let doc = Doc::new();
    let root = doc.get_or_insert_map("root");
    let course = TextCourse::new(work, size);
    let mut transaction = doc.transact_mut();
    course.initial().for_each(|pair| apply(work, &root, &mut transaction, pair));
    drop(transaction);
    Box::new(Yrs { doc, root, course, input: Vec::new() })
}

fn apply(work: Work, root: &MapRef, transaction: &mut TransactionMut, (key, item): Pair) {
    match work {
        Work::Counters => {
            let count = match root.get(transaction, &key) {
                Some(Out::Any(count)) => count.cast::<i64>().unwrap_or_default(),
                _ => 0,
            };
            root.insert(transaction, key, count + 1);
        }
        Work::OneSet => {
            root.insert(transaction, item, true);
        }
        Work::Sets => {
            nested(root, transaction, key).insert(transaction, item, true);
        }
        Work::Hashes => {
            nested(root, transaction, key).insert(transaction, "field", item);
        }
    }
}

fn nested(root: &MapRef, transaction: &mut TransactionMut, key: String) -> MapRef {
    match root.get(transaction, &key) {
        Some(Out::YMap(map)) => map,
        _ => root.insert(transaction, key, MapPrelim::default()),
    }
}

impl Contender for Yrs {
    fn prepare(&mut self) {
        self.input = self.course.round();
    }

    fn run(&mut self) -> u64 {
        let mut operations = 0;
        for batch in std::mem::take(&mut self.input) {
            operations += batch.len() as u64;
            let mut transaction = self.doc.transact_mut();
            for pair in batch {
                apply(self.course.work, &self.root, &mut transaction, pair);
            }
            black_box(transaction.encode_update_v1());
        }
        operations
    }
}
