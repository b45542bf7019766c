//! What Headwater's own keys in Redis are called. Each lies in the cluster slot of the keys that it is about.

use headwater::{id::Key, slot::Slot};

/// The channel on which each commit says which slot it brought to which sequence.
pub(super) const CHANNEL: &str = "hw:changed";

/// The hash that holds the daemons' heartbeats.
pub(super) const CREW: &str = "hw:daemons";

/// The hash that holds whose the identities of hubs are, in the slot of [`CREW`].
pub(super) const OWNERS: &str = "hw:hubs:{hw:daemons}";

/// The slot in which [`CREW`] and [`OWNERS`] lie.
pub(super) fn crew_slot() -> Slot {
    Slot::of(CREW.as_bytes())
}

/// The hash that holds a slot's marker.
pub(super) fn marker(slot: Slot) -> String {
    format!("hw:m:{{{}}}", slot.tag())
}

/// The sorted set of a slot's keys by the sequence of their last commit.
pub(super) fn feed(slot: Slot) -> String {
    format!("hw:f:{{{}}}", slot.tag())
}

/// The hash that holds a key's companion.
pub(super) fn companion(slot: Slot, key: &Key) -> Vec<u8> {
    let mut name = format!("hw:c:{{{}}}", slot.tag()).into_bytes();
    name.extend_from_slice(key.as_bytes());
    name
}

/// The pattern of the companions of the keys under a pattern.
pub(super) fn companions(pattern: &[u8]) -> Vec<u8> {
    [&b"hw:c:{*}"[..], pattern].concat()
}

/// The key of a companion.
pub(super) fn of_companion(name: &[u8]) -> Option<&[u8]> {
    let rest = name.strip_prefix(b"hw:c:{")?;
    let end = rest.iter().position(|byte| *byte == b'}')?;
    rest.get(end.saturating_add(1)..)
}

/// The hash that holds of each hub the number of its last job that ran on keys of the slot.
pub(super) fn jobs(slot: Slot) -> String {
    format!("hw:q:{{{}}}", slot.tag())
}

/// The hash that holds the account of a key's strict limit.
pub(super) fn ledger(slot: Slot, key: &Key) -> Vec<u8> {
    let mut name = format!("hw:l:{{{}}}", slot.tag()).into_bytes();
    name.extend_from_slice(key.as_bytes());
    name
}

/// A key that never holds anything for longer than one script runs.
pub(super) fn probe(slot: Slot) -> String {
    format!("hw:p:{{{}}}", slot.tag())
}

/// A key that is written to ask which replicas have what was written before it.
pub(super) fn witness(slot: Slot) -> String {
    format!("hw:w:{{{}}}", slot.tag())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_daemons_share_lies_in_one_slot() {
        assert_eq!(Slot::of(OWNERS.as_bytes()), crew_slot());
    }

    #[test]
    fn all_names_lie_in_the_slot_of_the_key() {
        for raw in [&b"plain"[..], b"", b"{}", b"a{b}c", b"}{", b"\0{\xff}"] {
            let key = Key::new(raw.to_vec()).unwrap();
            let slot = key.slot();
            assert_eq!(Slot::of(marker(slot).as_bytes()), slot);
            assert_eq!(Slot::of(jobs(slot).as_bytes()), slot);
            assert_eq!(Slot::of(probe(slot).as_bytes()), slot);
            assert_eq!(Slot::of(feed(slot).as_bytes()), slot);
            assert_eq!(Slot::of(witness(slot).as_bytes()), slot);
            assert_eq!(Slot::of(&companion(slot, &key)), slot);
            assert_eq!(Slot::of(&ledger(slot, &key)), slot);
            assert_eq!(of_companion(&companion(slot, &key)), Some(raw));
        }
    }
}
