//! How members of equal score are told apart, which only the caller can.

use std::cmp::Ordering;

/// Tells of a member how those of equal score stand to it. A closure does, of a member whose handle is not known.
pub trait Ties {
    /// How the stored member with this handle compares to the member.
    fn compare(&self, stored: u32) -> Ordering;

    /// The member's own handle, if it is known and may be in the tree. Asked for where several have its score: then it is
    /// looked for among their handles, which are at hand, before names are compared, which mostly are not.
    fn own(&self) -> Option<u32> {
        None
    }
}

impl<F: Fn(u32) -> Ordering> Ties for F {
    fn compare(&self, stored: u32) -> Ordering {
        self(stored)
    }
}

/// A member whose handle can be found out.
#[derive(Clone, Copy, Debug)]
pub struct Known<C, O> {
    /// As [`Ties::compare`].
    pub compare: C,
    /// As [`Ties::own`].
    pub own: O,
}

impl<C: Fn(u32) -> Ordering, O: Fn() -> Option<u32>> Ties for Known<C, O> {
    fn compare(&self, stored: u32) -> Ordering {
        (self.compare)(stored)
    }

    fn own(&self) -> Option<u32> {
        (self.own)()
    }
}
