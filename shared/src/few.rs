//! Lists that nearly always have no more than so many elements.
//!
//! A hub and an origin hold millions of them for a moment, so there they need no allocation. What is built without either, as a
//! browser's module, has them in the code of all other lists.

/// A list with room for `N` before it allocates.
#[cfg(feature = "hub")]
pub(crate) type Few<T, const N: usize> = smallvec::SmallVec<[T; N]>;
/// A list.
#[cfg(not(feature = "hub"))]
pub(crate) type Few<T, const N: usize> = Vec<T>;
