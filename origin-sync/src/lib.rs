//! `origin-sync`: the daemon around one Redis, or around an embedded file in its place.
//!
//! It dials the hubs, feeds what they say to [`headwater`]'s origin, and performs what that decides. As a library it lets
//! tests reach the stores.

pub mod store;
