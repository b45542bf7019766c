//! Which hub is who: an identity belongs to the address at which it was first met.
//!
//! What a hub acknowledges and sends is counted under its identity, so one that claimed another's could have the other's
//! operations taken for committed. Edges are trusted with their own hubs and not with those of others. What is known here lasts
//! as long as the process; of two that claim one identity the first counts, until the operator restarts the daemon.

use crate::report::HubAddress;
use headwater::id::ReplicaId;
use std::collections::BTreeMap;

/// Identities that one hub may take. It takes another one when it finds its storage to be an old copy; this bounds what a hub
/// can make the daemon remember.
const IDENTITIES_MAX: usize = 64;

/// Who is where.
#[derive(Debug, Default)]
pub(crate) struct Identities {
    owners: BTreeMap<ReplicaId, HubAddress>,
    taken: BTreeMap<HubAddress, usize>,
}

/// A hub that is not who it says.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Imposture {
    /// Another address has the identity.
    #[error("the hub {claimant} claims the identity {hub} of the hub {owner}")]
    Taken {
        /// Which.
        hub: ReplicaId,
        /// Who claims it.
        claimant: String,
        /// Whose it is.
        owner: String,
    },
    /// It was dialled under another name.
    #[error("the hub {dialled} calls itself {said:?}")]
    Name {
        /// As the directory has it.
        dialled: String,
        /// As its hello has it.
        said: String,
    },
    /// An origin has it, or any leaf.
    #[error("the hub {claimant} claims {hub}, which is no hub's identity")]
    NoHub {
        /// Which.
        hub: ReplicaId,
        /// Who claims it.
        claimant: String,
    },
    /// It is somebody else each time.
    #[error(
        "the hub {claimant} has taken {IDENTITIES_MAX} identities, and may take no more until this daemon restarts"
    )]
    TooMany {
        /// Who.
        claimant: String,
    },
}

impl Identities {
    /// Takes note of who is at an address.
    ///
    /// # Errors
    /// [`Imposture`], and then nothing is noted.
    pub(crate) fn admit(&mut self, hub: ReplicaId, said: &str, address: &HubAddress) -> Result<(), Imposture> {
        if said != address.name {
            return Err(Imposture::Name { dialled: shown(address), said: said.to_owned() });
        }
        if hub.is_of_origin() || hub == ReplicaId::LEAF {
            return Err(Imposture::NoHub { hub, claimant: shown(address) });
        }
        match self.owners.get(&hub) {
            Some(owner) if owner == address => return Ok(()),
            Some(owner) => return Err(Imposture::Taken { hub, claimant: shown(address), owner: shown(owner) }),
            None => {}
        }
        let taken = self.taken.entry(address.clone()).or_default();
        if *taken >= IDENTITIES_MAX {
            return Err(Imposture::TooMany { claimant: shown(address) });
        }
        *taken = taken.saturating_add(1);
        self.owners.insert(hub, address.clone());
        Ok(())
    }
}

fn shown(address: &HubAddress) -> String {
    format!("{} at {}", address.name, address.edge)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(edge: &str, name: &str) -> HubAddress {
        HubAddress { edge: edge.to_owned(), name: name.to_owned() }
    }

    #[test]
    fn an_identity_belongs_to_the_address_where_it_was_met() {
        let (mut known, one, two) =
            (Identities::default(), ReplicaId::from_entropy(1 << 32), ReplicaId::from_entropy(2 << 32));
        assert_eq!(known.admit(one, "eu/0", &at("a", "eu/0")), Ok(()));
        assert_eq!(known.admit(one, "eu/0", &at("a", "eu/0")), Ok(()));
        let taken = known.admit(one, "eu/0", &at("b", "eu/0")).unwrap_err();
        assert!(matches!(taken, Imposture::Taken { .. }), "{taken}");
        assert!(matches!(known.admit(two, "eu/0", &at("a", "us/0")), Err(Imposture::Name { .. })));
        for hub in [ReplicaId::LEAF, ReplicaId::of_origin(3 << 32)] {
            assert!(matches!(known.admit(hub, "eu/0", &at("a", "eu/0")), Err(Imposture::NoHub { .. })));
        }
        assert_eq!(known.admit(two, "eu/0", &at("a", "eu/0")), Ok(()), "a hub that began anew");
    }

    #[test]
    fn one_hub_cannot_take_identities_without_end() {
        let (mut known, hub) = (Identities::default(), at("a", "eu/0"));
        for no in 1..=64 {
            assert_eq!(known.admit(ReplicaId::from_entropy(no << 32), "eu/0", &hub), Ok(()));
        }
        assert!(matches!(known.admit(ReplicaId::from_entropy(99 << 32), "eu/0", &hub), Err(Imposture::TooMany { .. })));
        assert_eq!(known.admit(ReplicaId::from_entropy(99 << 32), "us/0", &at("a", "us/0")), Ok(()));
    }
}
