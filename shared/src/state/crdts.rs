//! Our states under the traits of the `crdts` crate, whose vocabulary this core shares.
//!
//! Its containers are not used: their merge costs the whole set for any delta. As oracle they stand beside ours in tests.

use super::KeyState;
use ::crdts::CvRDT;
use std::convert::Infallible;

impl CvRDT for KeyState {
    type Validation = Infallible;

    /// Any two states of one key can be merged.
    fn validate_merge(&self, _other: &Self) -> Result<(), Infallible> {
        Ok(())
    }

    /// The join with the whole of `other`. Linear in both keys; replicas send deltas instead, see [`KeyState::join`].
    fn merge(&mut self, other: Self) {
        // The whole state is what changed; the caller has nothing to store or send by element.
        let _ = self.join(&other.to_complete_delta());
    }
}
