//! The operations of a leaf that are not settled or not shown by its base, in the order in which they were done.
//!
//! A write costs what it is itself, however many others wait: what is asked of the queue at each write is kept rather than
//! searched for. What a hub or another tab says may cost what it concerns; a greeting costs the whole queue.
//!
//! Invariants: operations stand in the order of their first provisional numbers; all that is kept beside them
//! follows from them, but that `waiting` and `dirty` may name what is gone or has
//! changed since, which is passed over where they are read.

use super::pending::Pending;
use crate::{
    id::{Key, No, Seq, SessionId},
    ordered::{OrderedMap, OrderedSet, sort},
};

/// The queue.
#[derive(Debug, Default)]
pub(super) struct Queue {
    operations: OrderedMap<No, Pending>,
    /// The numbers of each key's operations, ascending.
    by_key: OrderedMap<Key, Vec<No>>,
    /// Operations that are sent and not settled, by where and as which number.
    under_way: OrderedMap<(SessionId, Seq), No>,
    /// How many there are of each sort; few sorts.
    sorts: Vec<(Sort, usize)>,
    /// Those of them that a mirror prepared and has not seen adopted.
    of_mirror: usize,
    /// Settled operations that are still here.
    settled: OrderedSet<No>,
    /// Operations that may have to be sent or handed over.
    waiting: Vec<No>,
    /// Operations whose rows are to be written.
    dirty: Vec<No>,
}

/// What operations have in common of which sessions and views are to know together.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Sort {
    sent: Option<SessionId>,
    is_settled: bool,
    known: Option<(SessionId, Seq)>,
}

impl Sort {
    fn of(pending: &Pending) -> Self {
        Self {
            sent: pending.sent.map(|(session, _)| session),
            is_settled: pending.is_settled(),
            known: pending.known.filter(|_| !pending.is_settled()),
        }
    }
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.operations.len()
    }

    /// How many are not settled.
    pub(super) fn unsettled(&self) -> usize {
        self.sorts.iter().filter(|(sort, _)| !sort.is_settled).map(|(_, count)| count).sum()
    }

    /// How many a mirror prepared and has not seen adopted.
    pub(super) fn of_mirror(&self) -> usize {
        self.of_mirror
    }

    /// Whether any is sent and not settled.
    pub(super) fn is_under_way(&self) -> bool {
        !self.under_way.is_empty()
    }

    pub(super) fn get(&self, no: No) -> Option<&Pending> {
        self.operations.get(&no)
    }

    /// All in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Pending> {
        self.operations.iter().map(|(_, pending)| pending)
    }

    /// Those on a key in order.
    pub(super) fn of_key<'a>(&'a self, key: &Key) -> impl Iterator<Item = &'a Pending> + Clone {
        self.numbers(key).iter().filter_map(|no| self.operations.get(no))
    }

    /// The one that stands before this on its key.
    pub(super) fn before(&self, pending: &Pending) -> Option<&Pending> {
        let numbers = self.numbers(pending.key());
        let at = numbers.partition_point(|no| *no < pending.first_local).checked_sub(1)?;
        self.operations.get(numbers.get(at)?)
    }

    fn numbers(&self, key: &Key) -> &[No] {
        self.by_key.get(key).map_or(&[], Vec::as_slice)
    }

    /// Settled ones in order.
    pub(super) fn settled(&self) -> impl Iterator<Item = &Pending> {
        self.settled.iter().filter_map(|no| self.operations.get(no))
    }

    /// The sessions in which operations were sent, some of them several times.
    pub(super) fn sessions(&self) -> impl Iterator<Item = SessionId> {
        self.sorts.iter().filter_map(|(sort, _)| sort.sent)
    }

    /// Up to where a session is known to each operation that is not settled, but for those that settle in others; none where
    /// there is none.
    pub(super) fn known_to_all(&self, session: SessionId) -> Option<Seq> {
        let open = self.sorts.iter().map(|(sort, _)| sort).filter(|sort| !sort.is_settled);
        // What was sent in another session settles there, whatever this one remembers.
        let here = open.filter(|sort| sort.sent.is_none_or(|sent| sent == session));
        here.map(|sort| sort.known.filter(|(id, _)| *id == session).map_or(Seq::default(), |(_, seq)| seq)).min()
    }

    /// The number of the operation that a session sent as this one, if it is not settled.
    pub(super) fn sent_as(&self, session: SessionId, seq: Seq) -> Option<No> {
        self.under_way.get(&(session, seq)).copied()
    }

    /// The numbers of what a session sent and has not settled, as it was sent. Linear in these.
    pub(super) fn sent_in(&self, session: SessionId) -> Vec<No> {
        let mut numbers = Vec::new();
        let mut from = Seq::default();
        while let Some(((id, seq), no)) = self.under_way.at_or_after(&(session, from)) {
            if *id != session {
                break;
            }
            numbers.push(*no);
            from = seq.next();
        }
        numbers
    }

    /// Takes an operation of which there is none with its number.
    pub(super) fn push(&mut self, pending: Pending) {
        let no = pending.first_local;
        self.count(Sort::of(&pending), true);
        if let Some(sent) = pending.sent.filter(|_| !pending.is_settled()) {
            self.under_way.insert(sent, no);
        }
        self.of_mirror = self.of_mirror.saturating_add(pending.is_of_mirror().into());
        if pending.is_settled() {
            self.settled.insert(no);
        } else if pending.is_idle() {
            self.waiting.push(no);
        }
        if pending.is_dirty {
            self.dirty.push(no);
        }
        let numbers = self.by_key.or_default(pending.key().clone());
        let at = numbers.partition_point(|other| *other < no);
        numbers.insert(at, no);
        self.operations.insert(no, pending);
    }

    /// Takes an operation where its number stands, in the place of one that bears the same.
    pub(super) fn put(&mut self, pending: Pending) {
        self.remove(pending.first_local);
        self.push(pending);
    }

    /// Takes an operation out. What is idle behind it on its key may have waited for that.
    pub(super) fn remove(&mut self, no: No) -> Option<Pending> {
        let pending = self.operations.remove(&no)?;
        self.count(Sort::of(&pending), false);
        self.of_mirror = self.of_mirror.saturating_sub(pending.is_of_mirror().into());
        if let Some(sent) = pending.sent.filter(|_| !pending.is_settled()) {
            self.under_way.remove(&sent);
        }
        if pending.is_settled() {
            self.settled.remove(&no);
        }
        if let Some(numbers) = self.by_key.get_mut(pending.key()) {
            if let Ok(at) = numbers.binary_search(&no) {
                numbers.remove(at);
                let behind = numbers.get(at..).unwrap_or_default().iter();
                let is_idle = |no: &&No| self.operations.get(no).is_some_and(Pending::is_idle);
                self.waiting.extend(behind.take_while(is_idle));
            }
            if numbers.is_empty() {
                self.by_key.remove(pending.key());
            }
        }
        Some(pending)
    }

    /// Takes out those that `is_meant`, in order. Linear in the queue.
    pub(super) fn take(&mut self, is_meant: impl Fn(&Pending) -> bool) -> Vec<Pending> {
        let meant: Vec<No> =
            self.iter().filter(|pending| is_meant(pending)).map(|pending| pending.first_local).collect();
        meant.into_iter().filter_map(|no| self.remove(no)).collect()
    }

    /// Changes an operation, but neither its key nor its number.
    pub(super) fn change(&mut self, no: No, change: impl FnOnce(&mut Pending)) {
        let Some(pending) = self.operations.get_mut(&no) else { return };
        let (before, was_dirty) = (Sort::of(pending), pending.is_dirty);
        change(pending);
        let (after, sent) = (Sort::of(pending), pending.sent);
        if pending.is_dirty && !was_dirty {
            self.dirty.push(no);
        }
        if before == after {
            return;
        }
        self.count(before, false);
        self.count(after, true);
        if let Some(sent) = sent {
            if after.is_settled {
                self.under_way.remove(&sent);
                self.settled.insert(no);
            } else {
                self.under_way.insert(sent, no);
            }
        }
    }

    /// Changes what later operations on its key say of an operation that was taken out.
    pub(super) fn change_later(&mut self, gone: &Pending, mut change: impl FnMut(&mut Pending)) {
        let Self { operations, by_key, dirty, .. } = self;
        let numbers = by_key.get(gone.key()).map_or(&[][..], Vec::as_slice);
        for no in numbers.iter().filter(|no| **no > gone.first_local) {
            let Some(later) = operations.get_mut(no) else { continue };
            let was_dirty = later.is_dirty;
            change(later);
            if later.is_dirty && !was_dirty {
                dirty.push(*no);
            }
        }
    }

    /// Changes any of the operations, but neither their keys nor their numbers. Linear in the queue.
    pub(super) fn change_all(&mut self, change: impl FnMut(&mut Pending)) {
        self.operations.values_mut().for_each(change);
        let operations = std::mem::take(self).operations;
        operations.into_values().for_each(|pending| self.push(pending));
    }

    /// The numbers of what may have to be sent or handed over, in order. The queue forgets that they wait.
    pub(super) fn take_waiting(&mut self) -> Vec<No> {
        in_order(std::mem::take(&mut self.waiting))
    }

    /// It waits again.
    pub(super) fn wait(&mut self, no: No) {
        self.waiting.push(no);
    }

    /// The rows to be written of operations, in order. They count as written.
    pub(super) fn take_dirty(&mut self, mut write: impl FnMut(&Pending)) {
        for no in in_order(std::mem::take(&mut self.dirty)) {
            if let Some(pending) = self.operations.get_mut(&no).filter(|pending| pending.is_dirty) {
                pending.is_dirty = false;
                write(pending);
            }
        }
    }

    /// Counts an operation of this sort, or no longer.
    fn count(&mut self, sort: Sort, is_one_more: bool) {
        // Most are of the sort that came last.
        let found = self.sorts.iter().rposition(|(own, _)| *own == sort);
        match found.and_then(|at| self.sorts.get_mut(at)) {
            Some((_, count)) if is_one_more => *count = count.saturating_add(1),
            Some((_, count)) => {
                *count = count.saturating_sub(1);
                self.sorts.retain(|(_, count)| *count > 0);
            }
            None if is_one_more => self.sorts.push((sort, 1)),
            None => {}
        }
    }
}

/// These in order, each once.
fn in_order(mut numbers: Vec<No>) -> Vec<No> {
    sort(&mut numbers);
    numbers.dedup();
    numbers
}
