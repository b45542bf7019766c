//! Loro: one document with a root map, whose counters are counter containers.

use std::hint::black_box;

use loro::{ExportMode, LoroDoc, LoroMap, LoroResult, VersionVector};

use super::text::{Pair, TextCourse};
use crate::{Contender, ours::work::Work};

struct Loro {
    doc: LoroDoc,
    root: LoroMap,
    exported: VersionVector,
    course: TextCourse,
    input: Vec<Vec<Pair>>,
}

pub(super) fn boxed(work: Work, size: usize) -> Box<dyn Contender> {
    let doc = LoroDoc::new();
    let root = doc.get_map("root");
    let course = TextCourse::new(work, size);
    for pair in course.initial() {
        apply(work, &root, &pair).expect("an attached map takes entries");
    }
    doc.commit();
    let exported = doc.oplog_vv();
    Box::new(Loro { doc, root, exported, course, input: Vec::new() })
}

fn apply(work: Work, root: &LoroMap, (key, item): &Pair) -> LoroResult<()> {
    match work {
        Work::Counters => root.ensure_mergeable_counter(key)?.increment(1.0),
        Work::OneSet => root.insert(item, true),
        Work::Sets => root.ensure_mergeable_map(key)?.insert(item, true),
        Work::Hashes => root.ensure_mergeable_map(key)?.insert("field", item.as_str()),
    }
}

impl Contender for Loro {
    fn prepare(&mut self) {
        self.input = self.course.round();
    }

    fn run(&mut self) -> u64 {
        let mut operations = 0;
        for batch in std::mem::take(&mut self.input) {
            operations += batch.len() as u64;
            for pair in &batch {
                apply(self.course.work, &self.root, pair).expect("an attached map takes entries");
            }
            self.doc.commit();
            black_box(self.doc.export(ExportMode::updates(&self.exported)).expect("a document exports"));
            self.exported = self.doc.oplog_vv();
        }
        operations
    }
}
