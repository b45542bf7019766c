//! What a hub makes of stored rows that were damaged: a state that keeps the invariants, or an error. Never a panic, and
//! never more memory than the row's length allows.
//!
//! The rows are those of the golden corpus. A row has no checksum, so damage within a value's bytes passes; what must not
//! pass is a state that would be refused by others, or that would go on to break.
#![cfg(not(target_arch = "wasm32"))]

use crate::common::{self, START, corpus};
use headwater::hub::{Hub, HubEffect, HubInput, Request, RestoreError, RowId};
use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    collections::BTreeMap,
};

/// What a few bytes of a row may become in memory: a base of two bytes is some 80, and grows in a vector that doubles.
const MEMORY_PER_BYTE: usize = 128;

/// A page of the arena, and what postcard reserves for a list before it has seen it, is allocated whatever a row's length.
const MEMORY_ALWAYS: usize = 1 << 20 | 1 << 17;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

type Rows = Vec<(RowId, Vec<u8>)>;

#[test]
fn rows_cut_anywhere_restore_to_a_canonical_state_or_are_refused() {
    let rows = rows();
    for at in 0..rows.len() {
        for length in 0..rows[at].1.len() {
            check(&rows, at, |body| body.truncate(length), &format!("cut to {length} bytes"));
        }
    }
}

#[test]
fn rows_with_any_byte_changed_restore_to_a_canonical_state_or_are_refused() {
    let rows = rows();
    for at in 0..rows.len() {
        for byte in 0..rows[at].1.len() {
            // Each bit, and all of them: every number, tag and count becomes another.
            for change in (0..8).map(|bit| 1 << bit).chain([0xff]) {
                check(&rows, at, |body| body[byte] ^= change, &format!("byte {byte} changed by {change:#04x}"));
            }
        }
    }
}

#[test]
fn rows_with_bytes_to_spare_restore_to_a_canonical_state_or_are_refused() {
    let rows = rows();
    for at in 0..rows.len() {
        for more in 0..=u8::MAX {
            check(&rows, at, |body| body.push(more), &format!("followed by {more:#04x}"));
        }
    }
}

#[test]
fn counts_that_damage_made_huge_take_no_more_memory_than_the_rows_length_allows() {
    let rows = rows();
    let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    let string = RowId::Key(common::key("s"));
    let field = RowId::Element(common::key("h"), headwater::state::ElementId::Field("f".into()));
    // Behind the version and what the hub notes of its changes: a front without anything, marks, and a count.
    let key_row = [&[0, 1, 0, 0, 0][..]].concat();
    for (name, id, front) in [
        ("bases of a string", &string, [&key_row[..], &[3], &huge].concat()),
        ("shares of a string", &string, [&key_row[..], &[7 << 2], &huge].concat()),
        ("replicas of a context", &string, [&key_row[..], &[0], &huge].concat()),
        ("intervals of a context", &string, [&key_row[..], &[0, 1, 1], &huge].concat()),
        ("bases of a field", &field, [&[0, 0, 3][..], &huge].concat()),
        ("shares of a field", &field, [&[0, 0, 7 << 2][..], &huge].concat()),
        ("dead dots of a field", &field, [&[0, 1][..], &huge].concat()),
    ] {
        for filler in [0, 1, 2, 3, 4, 8] {
            let mut rows = rows.clone();
            let row = rows.iter_mut().find(|(own, _)| own == id).expect("the corpus has the row");
            row.1 = [&front[..], &vec![filler; 200_000]].concat();
            let (restored, allocated) = counted(|| restore(&rows));
            assert!(restored.is_err(), "{name}, then {filler}");
            let allowed = 200_000 * MEMORY_PER_BYTE + MEMORY_ALWAYS;
            assert!(allocated <= allowed, "{name}, then {filler}: {allocated} bytes, {allowed} allowed");
        }
    }
}

#[test]
fn a_keys_row_that_is_lost_is_missed() {
    let rows = rows();
    let key = common::key("set");
    let without: Rows = rows.into_iter().filter(|(id, _)| *id != RowId::Key(key.clone())).collect();
    let error = restore(&without).expect_err("the elements' dots are in no context");
    assert!(matches!(error, RestoreError::Row { row: RowId::Key(row), .. } if row == key));
}

#[test]
fn a_replicas_row_that_is_lost_is_missed() {
    let rows = rows();
    let without: Rows = rows.into_iter().filter(|(id, _)| !matches!(id, RowId::Replica(_))).collect();
    assert!(matches!(restore(&without), Err(RestoreError::Row { .. })));
}

/// Damages one row, and demands that the hub restores to what keeps the invariants and works on, or not at all.
fn check(rows: &Rows, at: usize, damage: impl FnOnce(&mut Vec<u8>), how: &str) {
    let mut rows = rows.clone();
    let (id, body) = &mut rows[at];
    damage(body);
    let how = format!("{id:?} {how}");
    let allowed = body.len() * MEMORY_PER_BYTE + MEMORY_ALWAYS + sound_bytes(&rows);
    let (restored, allocated) = counted(|| restore(&rows));
    assert!(allocated <= allowed, "{how}: {allocated} bytes, {allowed} allowed");
    let Ok(mut hub) = restored else { return };
    for key in hub.keys() {
        let state = hub.key(&key).expect("the hub has the key").to_complete_delta();
        assert!(state.is_canonical(), "{how}: {state:?}");
    }
    let mut stored: BTreeMap<RowId, Vec<u8>> = rows.into_iter().collect();
    for (at, (name, key)) in [("DEL", "set"), ("INCR", "n"), ("HSET", "h"), ("ZADD", "b")].into_iter().enumerate() {
        let more: &[&str] = match name {
            "HSET" => &["f", "w"],
            "ZADD" => &["1", "x"],
            _ => &[],
        };
        let words = [name, key].iter().chain(more).map(|word| word.to_string().into()).collect();
        let input = HubInput::Commands { request: Request(at as u64), commands: vec![words], idempotency: None };
        persist(&mut stored, hub.handle(input, START));
    }
    persist(&mut stored, hub.handle(HubInput::Tick, START.plus_ms(1_000)));
    let again = restore(&stored.into_iter().collect()).unwrap_or_else(|error| panic!("{how}: {error:?}"));
    assert_eq!(again.keys(), hub.keys(), "{how}");
}

/// The hub's rows in the golden corpus, replicas first, as a hub's shell reads them.
fn rows() -> Rows {
    corpus::hub_rows().into_iter().map(|(id, body)| (RowId::from_bytes(&id).expect("a row's key"), body)).collect()
}

fn restore(rows: &Rows) -> Result<Hub, RestoreError> {
    Hub::restore("hub".to_owned(), rows.iter().cloned())
}

/// What restoring sound rows takes, most of which is the table of slots.
fn sound_bytes(rows: &Rows) -> usize {
    (1 << 18) + rows.iter().map(|(_, body)| body.len() * MEMORY_PER_BYTE).sum::<usize>()
}

fn persist(rows: &mut BTreeMap<RowId, Vec<u8>>, effects: Vec<HubEffect>) {
    for effect in effects {
        let HubEffect::Persist(writes) = effect else { continue };
        for write in writes {
            match write.body {
                Some(body) => rows.insert(write.id, body.to_vec()),
                None => rows.remove(&write.id),
            };
        }
    }
}

/// Also the most that was allocated at any time within, by this thread, beyond what was before.
fn counted<T>(run: impl FnOnce() -> T) -> (T, usize) {
    let before = PRESENT.get();
    PEAK.set(before);
    let result = run();
    (result, usize::try_from(PEAK.get() - before).expect("the peak is not below the beginning"))
}

thread_local! {
    static PRESENT: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

/// The system's allocator, with what each thread has allocated counted as requested.
struct Counting;

fn count(bytes: isize) {
    // A thread that ends frees after its counters are gone.
    let _ended = PRESENT.try_with(|present| {
        present.set(present.get() + bytes);
        let _ended = PEAK.try_with(|peak| peak.set(peak.get().max(present.get())));
    });
}

#[allow(unsafe_code, reason = "an allocator cannot be written without; each call is handed on as it came")]
// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        // SAFETY: the caller's own promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(-layout.size().cast_signed());
        // SAFETY: the caller's own promises.
        unsafe { System.dealloc(block, layout) }
    }
}
