//! Which hub is who: an identity belongs to the address at which it was first met.
//!
//! What a hub acknowledges and sends is counted under its identity, so one that claimed another's could have the other's
//! operations taken for committed. Edges are trusted with their own hubs and not with those of others. Whose an identity is
//! stands in the store, where all daemons see it: whichever comes next, after a restart or a take-over, lets nobody else in.
//! What a daemon has seen itself it also remembers, and notes anew when the store has lost it.
//!
//! An edge that moves to another address takes its hubs with it only if the operator says so ([`move_edge`]): to the daemon it
//! looks like an impostor.

use crate::{
    edge::EdgeUrl,
    report::HubAddress,
    store::{AnyStore, Store, StoreError},
};
use headwater::id::ReplicaId;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Identities that one hub may take while a daemon runs. It takes another one when it finds its storage to be an old copy; this
/// bounds what a hub can make the daemons remember.
const IDENTITIES_MAX: usize = 64;

/// Identities of which it is noted whose they are: some ten megabytes.
const KNOWN_MAX: usize = 100_000;

/// Who is where, as far as this process knows.
#[derive(Debug, Default)]
pub(crate) struct Known {
    owners: BTreeMap<String, String>,
    /// How many identities each address took in the time of this process.
    taken: BTreeMap<String, usize>,
}

/// Who is where, by the store of this life.
#[derive(Clone, Debug)]
pub(crate) struct Identities {
    store: Arc<AnyStore>,
    known: Arc<Mutex<Known>>,
}

/// A hub that is not who it says.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Imposture {
    /// Another address has the identity.
    #[error(
        "the hub {claimant} claims the identity {hub} of the hub {owner}; if that edge has moved, the operator says so by \
         `origin-sync move-edge FROM TO`"
    )]
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
    /// All are.
    #[error(
        "the hub {claimant} has a new identity, and {KNOWN_MAX} are noted already; remove those of hubs that are gone from the \
         hash hw:hubs:{{hw:daemons}} and restart this daemon"
    )]
    Full {
        /// Who.
        claimant: String,
    },
}

/// Why a hub is not let in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotAdmitted {
    #[error(transparent)]
    Imposture(#[from] Imposture),
    #[error("the store cannot tell whose the hub's identity is: {0}")]
    Store(#[from] StoreError),
}

impl Identities {
    /// Reads what the store has. What this process knows beyond it counts on.
    ///
    /// # Errors
    /// When the store does not answer.
    pub(crate) async fn open(store: Arc<AnyStore>, known: Arc<Mutex<Known>>) -> Result<Self, StoreError> {
        let owners = store.owners().await?;
        lock(&known).owners.extend(owners);
        Ok(Self { store, known })
    }

    /// Whether the hub at this address, which calls itself so, may have that identity. What the store says counts before what
    /// this process remembers, since the operator may have changed it.
    ///
    /// # Errors
    /// [`Imposture`], and then nothing is noted; [`StoreError`], and then it is unknown.
    pub(crate) async fn admit(&self, hub: ReplicaId, said: &str, address: &HubAddress) -> Result<(), NotAdmitted> {
        let proposed = self.lock().propose(hub, said, address)?;
        let owner = self.store.claim(&hub.to_string(), &proposed).await?;
        Ok(self.lock().learn(hub, address, &owner)?)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        lock(&self.known)
    }
}

/// Gives the identities of all hubs of an edge to the hubs of the same names at another address of it. Says how many they were.
///
/// # Errors
/// When the store does not answer.
pub(crate) async fn move_edge(store: &AnyStore, from: &EdgeUrl, to: &EdgeUrl) -> Result<usize, StoreError> {
    let prefix = format!("{from} ");
    let moved = |(hub, owner): (String, String)| Some((hub, format!("{to} {}", owner.strip_prefix(&prefix)?)));
    let owners: BTreeMap<String, String> = store.owners().await?.into_iter().filter_map(moved).collect();
    store.assign(&owners).await?;
    Ok(owners.len())
}

impl Known {
    /// Whose the identity should be by what is known here: the claimant's, if nobody's yet.
    fn propose(&self, hub: ReplicaId, said: &str, address: &HubAddress) -> Result<String, Imposture> {
        if said != address.name {
            return Err(Imposture::Name { dialled: shown(address), said: said.to_owned() });
        }
        if hub.is_of_origin() || hub == ReplicaId::LEAF {
            return Err(Imposture::NoHub { hub, claimant: shown(address) });
        }
        if let Some(owner) = self.owners.get(&hub.to_string()) {
            return Ok(owner.clone());
        }
        let address_noted = noted(address);
        if self.taken.get(&address_noted).is_some_and(|taken| *taken >= IDENTITIES_MAX) {
            return Err(Imposture::TooMany { claimant: shown(address) });
        }
        if self.owners.len() >= KNOWN_MAX {
            return Err(Imposture::Full { claimant: shown(address) });
        }
        Ok(address_noted)
    }

    /// Takes note of whose it is.
    fn learn(&mut self, hub: ReplicaId, address: &HubAddress, owner: &str) -> Result<(), Imposture> {
        let claimant = noted(address);
        let is_new = self.owners.insert(hub.to_string(), owner.to_owned()).is_none();
        if owner != claimant {
            return Err(Imposture::Taken { hub, claimant: shown(address), owner: at(owner) });
        }
        if is_new {
            let taken = self.taken.entry(claimant).or_default();
            *taken = taken.saturating_add(1);
        }
        Ok(())
    }
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An address as it is noted: no URL has a space in it.
fn noted(address: &HubAddress) -> String {
    format!("{} {}", address.edge, address.name)
}

fn shown(address: &HubAddress) -> String {
    format!("{} at {}", address.name, address.edge)
}

/// What is noted, as it is shown.
fn at(noted: &str) -> String {
    match noted.split_once(' ') {
        Some((edge, name)) => format!("{name} at {edge}"),
        None => noted.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(edge: &str, name: &str) -> HubAddress {
        HubAddress { edge: edge.to_owned(), name: name.to_owned() }
    }

    fn id(no: u64) -> ReplicaId {
        ReplicaId::from_entropy(no << 32)
    }

    /// As with a store that has what this process has.
    fn admit(known: &mut Known, hub: ReplicaId, said: &str, address: &HubAddress) -> Result<(), Imposture> {
        let owner = known.propose(hub, said, address)?;
        known.learn(hub, address, &owner)
    }

    #[test]
    fn an_identity_belongs_to_the_address_where_it_was_met() {
        let (mut known, one, two) = (Known::default(), id(1), id(2));
        assert_eq!(admit(&mut known, one, "eu/0", &at("a", "eu/0")), Ok(()));
        assert_eq!(admit(&mut known, one, "eu/0", &at("a", "eu/0")), Ok(()));
        let taken = admit(&mut known, one, "eu/0", &at("b", "eu/0")).unwrap_err();
        assert!(taken.to_string().contains("of the hub eu/0 at a; if that edge has moved"), "{taken}");
        assert!(matches!(admit(&mut known, two, "eu/0", &at("a", "us/0")), Err(Imposture::Name { .. })));
        for hub in [ReplicaId::LEAF, ReplicaId::of_origin(3 << 32)] {
            assert!(matches!(admit(&mut known, hub, "eu/0", &at("a", "eu/0")), Err(Imposture::NoHub { .. })));
        }
        assert_eq!(admit(&mut known, two, "eu/0", &at("a", "eu/0")), Ok(()), "a hub that began anew");
    }

    #[test]
    fn the_store_counts_before_what_is_remembered() {
        let (mut known, address) = (Known::default(), at("a", "eu/0"));
        assert_eq!(admit(&mut known, id(1), "eu/0", &address), Ok(()));
        let moved = at("b", "eu/0");
        assert_eq!(known.propose(id(1), "eu/0", &moved), Ok("a eu/0".to_owned()), "what is known is noted anew");
        assert_eq!(known.learn(id(1), &moved, "b eu/0"), Ok(()));
        assert!(matches!(admit(&mut known, id(1), "eu/0", &address), Err(Imposture::Taken { .. })));
    }

    #[test]
    fn one_hub_cannot_take_identities_without_end() {
        let (mut known, hub) = (Known::default(), at("a", "eu/0"));
        for no in 1..=64 {
            assert_eq!(admit(&mut known, id(no), "eu/0", &hub), Ok(()));
        }
        assert!(matches!(admit(&mut known, id(99), "eu/0", &hub), Err(Imposture::TooMany { .. })));
        assert_eq!(admit(&mut known, id(99), "us/0", &at("a", "us/0")), Ok(()));
        assert_eq!(admit(&mut known, id(1), "eu/0", &hub), Ok(()), "one that it has");
    }

    #[test]
    fn all_hubs_cannot_take_identities_without_end() {
        let mut known = Known::default();
        known.owners.extend((0..KNOWN_MAX).map(|no| (no.to_string(), "a eu/0".to_owned())));
        let full = admit(&mut known, id(1), "eu/0", &at("a", "eu/0")).unwrap_err().to_string();
        assert!(full.contains("hash hw:hubs:{hw:daemons} and"), "{full}");
    }
}
