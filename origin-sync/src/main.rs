//! Placeholder until this room is furnished.
fn main() {}
