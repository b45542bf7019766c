//! What is measured: a contender works through rounds of the same input as its peers.

/// One of those that are measured on the same input.
///
/// A round is [`Contender::prepare`], which is not timed, then [`Contender::run`], which is.
pub trait Contender {
    /// Makes the next round's input. Contenders of one bench that were made with the same size make the same inputs.
    fn prepare(&mut self);

    /// Works through the input that was prepared; returns how many operations that were, at least one.
    fn run(&mut self) -> u64;
}
