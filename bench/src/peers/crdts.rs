//! The crate `crdts`: its types in a hash map, each operation serialised by postcard.

use std::hint::black_box;

use bytes::Bytes;
use crdts::{CmRDT, CvRDT, GCounter, MVReg, Map, Orswot, PNCounter, orswot};
use hashbrown::HashMap;
use serde::Serialize;

use super::Peer;
use crate::{
    Contender,
    input::name,
    ours::work::{Course, Operation, Work},
};

/// The replica that makes the operations.
const ACTOR: u64 = 1;

type Set = Orswot<Vec<u8>, u64>;
type Hash = Map<Vec<u8>, MVReg<Vec<u8>, u64>, u64>;

/// One operation of the work on a type of the crate: prepared, serialised, applied.
trait Worked: Default {
    fn work(&mut self, operation: &Operation, wire: &mut Vec<u8>);
}

fn write<Op: Serialize>(key: &Bytes, op: &Op, wire: &mut Vec<u8>) {
    let written = postcard::to_extend(&(&key[..], op), std::mem::take(wire));
    *wire = written.expect("plain data serialises into memory");
}

impl Worked for GCounter<u64> {
    fn work(&mut self, operation: &Operation, wire: &mut Vec<u8>) {
        let op = self.inc(ACTOR);
        write(&operation.key, &op, wire);
        self.apply(op);
    }
}

impl Worked for PNCounter<u64> {
    fn work(&mut self, operation: &Operation, wire: &mut Vec<u8>) {
        let op = self.inc(ACTOR);
        write(&operation.key, &op, wire);
        self.apply(op);
    }
}

impl Worked for Set {
    fn work(&mut self, operation: &Operation, wire: &mut Vec<u8>) {
        let op = self.add(operation.item.to_vec(), self.read_ctx().derive_add_ctx(ACTOR));
        write(&operation.key, &op, wire);
        self.apply(op);
    }
}

impl Worked for Hash {
    fn work(&mut self, operation: &Operation, wire: &mut Vec<u8>) {
        let context = self.read_ctx().derive_add_ctx(ACTOR);
        let op =
            self.update(b"field".to_vec(), context, |field, context| field.write(operation.item.to_vec(), context));
        write(&operation.key, &op, wire);
        self.apply(op);
    }
}

struct Crdts<T> {
    keys: HashMap<Vec<u8>, T>,
    course: Course,
    input: Vec<Vec<Operation>>,
}

/// The crate's types that do this work.
pub(super) fn operations(work: Work, size: usize) -> Vec<Peer> {
    match work {
        Work::Counters => {
            vec![
                ("crdts GCounter", boxed::<GCounter<u64>>(work, size)),
                ("crdts PNCounter", boxed::<PNCounter<u64>>(work, size)),
            ]
        }
        Work::Sets | Work::OneSet => vec![("crdts Orswot", boxed::<Set>(work, size))],
        Work::Hashes => vec![("crdts Map", boxed::<Hash>(work, size))],
    }
}

fn boxed<T: Worked + 'static>(work: Work, size: usize) -> Box<dyn Contender> {
    let course = Course::new(work, size);
    let mut keys: HashMap<Vec<u8>, T> = HashMap::new();
    for operation in course.initial() {
        keys.entry(operation.key.to_vec()).or_default().work(&operation, &mut Vec::new());
    }
    Box::new(Crdts { keys, course, input: Vec::new() })
}

impl<T: Worked> Contender for Crdts<T> {
    fn prepare(&mut self) {
        self.input = self.course.round();
    }

    fn run(&mut self) -> u64 {
        let mut operations = 0;
        for batch in std::mem::take(&mut self.input) {
            let mut wire = Vec::new();
            for operation in &batch {
                if let Some(key) = self.keys.get_mut(&operation.key[..]) {
                    key.work(operation, &mut wire);
                    operations += 1;
                }
            }
            black_box(wire);
        }
        operations
    }
}

/// A new member arrives in a large set: by the set's merge with the other replica's whole state, which is the only sound
/// way to join states of this type, and by applying the other replica's operation.
pub(super) fn joins(size: usize) -> Vec<Peer> {
    let mut set = Set::new();
    for at in 0..size {
        let op = set.add(name("member", at).to_vec(), set.read_ctx().derive_add_ctx(ACTOR));
        set.apply(op);
    }
    let merging = Merging { set: set.clone(), other: None, members: size };
    let applying = Applying { set, writer: Set::new(), members: size, input: Vec::new() };
    vec![("Orswot::merge", Box::new(merging)), ("Orswot::apply", Box::new(applying))]
}

struct Merging {
    set: Set,
    other: Option<Set>,
    members: usize,
}

impl Contender for Merging {
    fn prepare(&mut self) {
        let mut other = self.set.clone();
        let op = other.add(name("member", self.members).to_vec(), other.read_ctx().derive_add_ctx(ACTOR + 1));
        other.apply(op);
        self.members += 1;
        self.other = Some(other);
    }

    fn run(&mut self) -> u64 {
        if let Some(other) = self.other.take() {
            self.set.merge(black_box(other));
        }
        1
    }
}

struct Applying {
    set: Set,
    writer: Set,
    members: usize,
    input: Vec<orswot::Op<Vec<u8>, u64>>,
}

impl Contender for Applying {
    fn prepare(&mut self) {
        const OPERATIONS: usize = 1_024;
        for at in self.members..self.members + OPERATIONS {
            let context = self.writer.read_ctx().derive_add_ctx(ACTOR + 1);
            let op = self.writer.add(name("member", at).to_vec(), context);
            self.writer.apply(op.clone());
            self.input.push(op);
        }
        self.members += OPERATIONS;
    }

    fn run(&mut self) -> u64 {
        let input = std::mem::take(&mut self.input);
        let operations = input.len() as u64;
        for op in input {
            self.set.apply(black_box(op));
        }
        operations
    }
}
