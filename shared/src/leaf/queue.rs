//! The operations of a leaf that are not settled or not shown by its base, in the order in which they were done, and the view of
//! the keys that they are on.
//!
//! A write costs what it is itself, however many others wait: what is asked of the queue at each write is kept rather than
//! searched for. What a hub or another tab says of an operation costs a look for it in the queue.
//!
//! Invariants: operations stand in the order of their first provisional numbers; all that is kept beside them follows from
//! them, but that `waiting` and `dirty` may name what is gone or has changed since, which is passed over where they are read.

use super::pending::Pending;
use crate::{
    id::{Key, No, Seq, SessionId},
    ordered::OrderedMap,
    state::{Deadline, KeyState},
};

/// The queue.
#[derive(Debug, Default)]
#[allow(clippy::vec_box, reason = "what is taken from among others is closed up by moving pointers")]
pub(super) struct Queue {
    operations: Vec<Box<Pending>>,
    open: OrderedMap<Key, Open>,
    /// How many of them a mirror prepared and has not seen adopted.
    of_mirror: usize,
    /// Settled operations in order.
    settled: Vec<No>,
    /// Operations that may have to be sent or handed over.
    waiting: Vec<No>,
    /// Operations whose rows are to be written.
    dirty: Vec<No>,
}

/// What is open on a key.
#[derive(Debug, Default)]
struct Open {
    /// The numbers of its operations in order.
    numbers: Vec<No>,
    /// Its base with them on top; none before it was made.
    view: Option<KeyState>,
    /// What an increment of it gave, if the view is still as it left it.
    count: Option<i64>,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.operations.len()
    }

    /// How many are not settled.
    pub(super) fn unsettled(&self) -> usize {
        self.len().saturating_sub(self.settled.len())
    }

    /// How many a mirror prepared and has not seen adopted.
    pub(super) fn of_mirror(&self) -> usize {
        self.of_mirror
    }

    pub(super) fn get(&self, no: No) -> Option<&Pending> {
        self.operations.get(self.find(no).ok()?).map(|pending| &**pending)
    }

    /// All in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Pending> {
        self.operations.iter().map(|pending| &**pending)
    }

    /// The numbers of those that `is_meant`, in order. Linear in the queue.
    pub(super) fn numbers(&self, is_meant: &dyn Fn(&Pending) -> bool) -> Vec<No> {
        self.iter().filter(|pending| is_meant(pending)).map(|pending| pending.first_local).collect()
    }

    /// Those on a key in order.
    pub(super) fn of_key<'a>(&'a self, key: &Key) -> impl Iterator<Item = &'a Pending> + Clone {
        self.numbers_of(key).iter().filter_map(|no| self.get(*no))
    }

    /// The one that stands before this on its key.
    pub(super) fn before(&self, pending: &Pending) -> Option<&Pending> {
        let numbers = self.numbers_of(pending.key());
        let at = numbers.partition_point(|no| *no < pending.first_local).checked_sub(1)?;
        self.get(*numbers.get(at)?)
    }

    /// The number of what a session sent as this and has not settled. Linear in what stands before it.
    pub(super) fn sent_as(&self, session: SessionId, seq: Seq) -> Option<No> {
        let is_it = |pending: &&Pending| pending.sent == Some((session, seq)) && !pending.is_settled();
        self.iter().find(is_it).map(|pending| pending.first_local)
    }

    /// Settled ones in order.
    pub(super) fn settled(&self) -> impl Iterator<Item = &Pending> {
        self.settled.iter().filter_map(|no| self.get(*no))
    }

    /// The keys that are in the view for what is open on them.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.open.keys()
    }

    /// The view of a key with open operations.
    pub(super) fn view(&self, key: &Key) -> Option<&KeyState> {
        self.open.get(key)?.view.as_ref()
    }

    /// As [`Self::view`], to be changed; `base` gives what there is without it.
    pub(super) fn view_or(&mut self, key: &Key, base: impl FnOnce() -> KeyState) -> &mut KeyState {
        let open = self.open.or_default(key.clone());
        open.count = None;
        open.view.get_or_insert_with(base)
    }

    /// What the key counts as long as its view stays as it is, if that was noted.
    pub(super) fn count(&self, key: &Key) -> Option<i64> {
        self.open.get(key)?.count
    }

    /// Notes what the key counts until its view changes, unless the key may end by itself.
    pub(super) fn note_count(&mut self, key: &Key, count: i64) {
        if let Some(open) = self.open.get_mut(key) {
            let is_lasting = open.view.as_ref().is_some_and(|view| view.deadline() == Deadline::default());
            open.count = Some(count).filter(|_| is_lasting);
        }
    }

    /// Puts another view in the place of a key's.
    pub(super) fn set_view(&mut self, key: &Key, view: Option<KeyState>) {
        match view {
            Some(_) => {
                let open = self.open.or_default(key.clone());
                (open.view, open.count) = (view, None);
            }
            None => drop(self.open.remove(key)),
        }
    }

    /// Takes an operation of which there is none with its number.
    pub(super) fn push(&mut self, pending: Box<Pending>) {
        let no = pending.first_local;
        self.of_mirror = self.of_mirror.saturating_add(pending.is_of_mirror().into());
        if pending.is_settled() {
            put(&mut self.settled, no);
        } else if pending.is_idle() {
            self.waiting.push(no);
        }
        if pending.is_dirty {
            self.dirty.push(no);
        }
        put(&mut self.open.or_default(pending.key().clone()).numbers, no);
        let (Ok(at) | Err(at)) = self.find(no);
        self.operations.insert(at, pending);
    }

    /// Takes an operation out; the view of its key is to be made anew. What is idle behind it on its key may have waited for that.
    pub(super) fn remove(&mut self, no: No) -> Option<Box<Pending>> {
        let at = self.find(no).ok()?;
        let pending = self.operations.remove(at);
        self.of_mirror = self.of_mirror.saturating_sub(pending.is_of_mirror().into());
        take(&mut self.settled, no);
        if let Some(open) = self.open.get_mut(pending.key()) {
            take(&mut open.numbers, no);
        }
        let numbers = self.numbers_of(pending.key());
        let behind = numbers.get(numbers.partition_point(|other| *other < no)..).unwrap_or_default().iter();
        let idle: Vec<No> = behind.copied().take_while(|no| self.get(*no).is_some_and(Pending::is_idle)).collect();
        self.waiting.extend(idle);
        Some(pending)
    }

    /// Changes an operation, but neither its key nor its number.
    pub(super) fn change(&mut self, no: No, change: &mut dyn FnMut(&mut Pending)) {
        let Ok(at) = self.find(no) else { return };
        let Some(pending) = self.operations.get_mut(at) else { return };
        let (was_settled, was_dirty) = (pending.is_settled(), pending.is_dirty);
        change(pending);
        if pending.is_dirty && !was_dirty {
            self.dirty.push(no);
        }
        if pending.is_settled() && !was_settled {
            put(&mut self.settled, no);
        }
    }

    /// Changes what later operations on its key say of an operation that was taken out. Linear in these.
    pub(super) fn change_later(&mut self, gone: &Pending, change: &mut dyn FnMut(&mut Pending)) {
        let numbers = self.numbers_of(gone.key());
        let from = numbers.partition_point(|no| *no < gone.first_local);
        for no in numbers.get(from..).unwrap_or_default().to_vec() {
            self.change(no, change);
        }
    }

    /// Changes any of the operations, but neither their keys nor their numbers. Linear in the queue.
    pub(super) fn change_all(&mut self, change: &mut dyn FnMut(&mut Pending)) {
        for no in self.numbers(&|_| true) {
            self.change(no, change);
        }
        self.waiting = self.numbers(&Pending::is_idle);
    }

    /// The numbers of what may have to be sent or handed over, in order. The queue forgets that they wait.
    pub(super) fn take_waiting(&mut self) -> Vec<No> {
        in_order(std::mem::take(&mut self.waiting))
    }

    /// It waits again.
    pub(super) fn wait(&mut self, no: No) {
        self.waiting.push(no);
    }

    /// The numbers of operations whose rows are to be written, in order. The queue forgets them.
    pub(super) fn take_dirty(&mut self) -> Vec<No> {
        in_order(std::mem::take(&mut self.dirty))
    }

    fn numbers_of(&self, key: &Key) -> &[No] {
        self.open.get(key).map_or(&[], |open| &open.numbers)
    }

    /// Where the operation of this number is, or belongs.
    fn find(&self, no: No) -> Result<usize, usize> {
        // Most come last.
        if self.operations.last().is_none_or(|last| last.first_local < no) {
            return Err(self.operations.len());
        }
        self.operations.binary_search_by_key(&no, |pending| pending.first_local)
    }
}

/// Puts a number where it belongs in a list in order.
fn put(numbers: &mut Vec<No>, no: No) {
    if numbers.last().is_none_or(|last| *last < no) {
        numbers.push(no);
    } else if let Err(at) = numbers.binary_search(&no) {
        numbers.insert(at, no);
    }
}

/// Takes a number out of a list in order.
fn take(numbers: &mut Vec<No>, no: No) {
    if let Ok(at) = numbers.binary_search(&no) {
        numbers.remove(at);
    }
}

/// These in order, each once.
fn in_order(numbers: Vec<No>) -> Vec<No> {
    let mut ordered = Vec::with_capacity(numbers.len());
    numbers.into_iter().for_each(|no| put(&mut ordered, no));
    ordered
}
