//! A bounded counter with transferable rights (Balegas et al., "Extending eventually consistent cloud databases for
//! enforcing numeric invariants", 2015, arXiv 1503.09052).
//!
//! ```text
//! R[i][j]   rights that i handed to j; R[i][i] are those that i brought into being
//! U[i]      rights that i used
//! rights(i) = sum over j of R[j][i]  -  sum over j != i of R[i][j]  -  U[i]
//! ```
//! Only i writes row i and U[i], and only within its rights, so no more is used anywhere than was granted, whoever has seen
//! what of whom. A replica's rights by its own view are never more than it has, since it knows its own row exactly and of
//! the others' rows at most too little.
//!
//! The join takes each replica's row by its latest version. A row is written by its replica alone, so that is the maximum
//! of every entry; and it lets the writer of a row rewrite it, which maxima of entries would not. That is needed to forget:
//! a replica that ends for good names an heir and writes its row no more, and its heir *absorbs* it. The heir's row then
//! speaks for both, what others handed to the ended one counts for the heir, and the ended row is dropped wherever the new
//! row arrives. Rights of a replica that is lost without a word are lost with it: what it used cannot be known.
//!
//! Sizes: an entry for each pair that ever handed rights over, at most the square of the replicas that live, and an
//! identity for each that ended. How long a holder may use its rights is the business of [`crate::lease`].

use crate::id::ReplicaId;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What one replica did with rights; written by it alone.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
struct Row {
    /// Counts the changes of this row.
    version: u64,
    granted: u64,
    used: u64,
    /// To whom it handed how many; no zeros, and nobody that is itself or absorbed.
    handed: BTreeMap<ReplicaId, u64>,
    /// Who inherits, once this row is final.
    heir: Option<ReplicaId>,
    /// For whom else this row speaks.
    absorbed: BTreeSet<ReplicaId>,
}

/// The rights of all replicas to use a bounded amount.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Rights(BTreeMap<ReplicaId, Row>);

/// Why rights could not be used, granted or handed over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RightsError {
    /// The replica has fewer rights, as far as it knows.
    #[error("{wanted} rights are needed and {left} are left to this replica")]
    Insufficient {
        /// How many were to be used or handed over.
        wanted: u64,
        /// How many the replica has.
        left: u64,
    },
    /// The replica ended.
    #[error("replica {replica} has ended; its rights go to {heir}")]
    Ended {
        /// The replica that can no longer have or use rights.
        replica: ReplicaId,
        /// Who inherits.
        heir: ReplicaId,
    },
    /// A replica cannot hand rights to itself or inherit from itself.
    #[error("replica {0} cannot hand rights to itself")]
    ToItself(ReplicaId),
    /// A count would go beyond 64 bits.
    #[error("{0} more rights cannot be counted in 64 bits")]
    TooMany(u64),
}

impl Rights {
    /// Brings `amount` rights into being, as `own`'s. Returns the delta.
    ///
    /// # Errors
    /// If `own` ended or the count overflows.
    #[must_use = "the delta is to be sent"]
    pub fn grant(&mut self, own: ReplicaId, amount: u64) -> Result<Self, RightsError> {
        self.write(own, amount, |row| {
            row.granted = row.granted.checked_add(amount).ok_or(RightsError::TooMany(amount))?;
            Ok(())
        })
    }

    /// Hands `amount` of `own`'s rights to `to`. Returns the delta.
    ///
    /// # Errors
    /// If `own` has fewer, or either ended.
    #[must_use = "the delta is to be sent"]
    pub fn transfer(&mut self, own: ReplicaId, to: ReplicaId, amount: u64) -> Result<Self, RightsError> {
        if own == to {
            return Err(RightsError::ToItself(own));
        }
        self.check_lives(to)?;
        self.check_left(own, amount)?;
        self.write(own, amount, |row| row.hand(to, amount))
    }

    /// Uses `amount` of `own`'s rights. Returns the delta, to be persisted before anyone is told.
    ///
    /// # Errors
    /// If `own` has fewer, or ended.
    #[must_use = "the delta is to be persisted and sent"]
    pub fn spend(&mut self, own: ReplicaId, amount: u64) -> Result<Self, RightsError> {
        self.check_left(own, amount)?;
        self.write(own, amount, |row| {
            row.used = row.used.checked_add(amount).ok_or(RightsError::TooMany(amount))?;
            Ok(())
        })
    }

    /// Ends `own` for good: its row is final and what it has left goes to `heir`, which should be one that lives on, such as
    /// the origin: rights of two that name each other are lost. Returns the delta.
    ///
    /// # Errors
    /// If `own` or `heir` ended before, or they are the same.
    #[must_use = "the delta is to be sent"]
    pub fn close(&mut self, own: ReplicaId, heir: ReplicaId) -> Result<Self, RightsError> {
        if own == heir {
            return Err(RightsError::ToItself(own));
        }
        self.check_lives(heir)?;
        self.write(own, 1, |row| {
            row.heir = Some(heir);
            Ok(())
        })
    }

    /// Makes `own`'s row speak for all that named it, or someone it speaks for, their heir. Returns the delta, empty if there
    /// are none.
    ///
    /// # Errors
    /// If `own` ended or a count overflows; nothing has changed then.
    #[must_use = "the delta is to be sent"]
    pub fn absorb(&mut self, own: ReplicaId) -> Result<Self, RightsError> {
        let speaks_for = |of: ReplicaId| of == own || self.0.get(&own).is_some_and(|row| row.absorbed.contains(&of));
        let ended = self.0.iter().filter(|(_, row)| row.heir.is_some_and(speaks_for));
        let ended: Vec<(ReplicaId, Row)> = ended.map(|(replica, row)| (*replica, row.clone())).collect();
        let delta = self.write(own, ended.len() as u64, |row| {
            ended.iter().try_for_each(|(replica, theirs)| row.absorb(own, *replica, theirs))
        })?;
        self.drop_absorbed();
        Ok(delta)
    }

    /// How many rights `replica` has, as far as is known here; 0 once it was absorbed. Linear in all rows.
    pub fn rights_of(&self, replica: ReplicaId) -> u64 {
        if self.absorber(replica).is_some() {
            return 0;
        }
        let own = self.0.get(&replica);
        let speaks_for = |of: &ReplicaId| *of == replica || own.is_some_and(|row| row.absorbed.contains(of));
        let others = self.0.iter().filter(|(of, _)| **of != replica);
        let received =
            others.flat_map(|(_, row)| &row.handed).filter(|(to, _)| speaks_for(to)).map(|(_, amount)| *amount);
        let has = sum(received.chain(own.map(|row| row.granted)));
        let gave = own.map_or(0, |row| sum(row.handed.values().copied().chain([row.used])));
        u64::try_from(has.saturating_sub(gave)).unwrap_or(u64::MAX)
    }

    /// All rights that were ever granted, as far as is known here.
    pub fn granted(&self) -> u128 {
        sum(self.0.values().map(|row| row.granted))
    }

    /// All that was used, as far as is known here.
    pub fn used(&self) -> u128 {
        sum(self.0.values().map(|row| row.used))
    }

    /// All rights that are not known to be used, whoever has them. Those of lost replicas count.
    pub fn remaining(&self) -> u128 {
        self.granted().saturating_sub(self.used())
    }

    /// Joins by each replica's latest row; returns whether anything changed.
    pub fn join(&mut self, other: &Self) -> bool {
        let mut changed = false;
        for (replica, theirs) in &other.0 {
            let later = self.0.get(replica).is_none_or(|own| own.version < theirs.version);
            if later && self.absorber(*replica).is_none() {
                self.0.insert(*replica, theirs.clone());
                changed = true;
            }
        }
        self.drop_absorbed();
        changed
    }

    /// Whether the rows keep their invariant; a decoder asks.
    pub fn is_canonical(&self) -> bool {
        self.0.iter().all(|(replica, row)| {
            let is_own = |of: &ReplicaId| of == replica || row.absorbed.contains(of);
            row.version > 0
                && row.handed.iter().all(|(to, amount)| *amount > 0 && !is_own(to))
                && !row.absorbed.contains(replica)
                && !row.heir.is_some_and(|heir| is_own(&heir))
                && self.absorber(*replica).is_none()
        })
    }

    /// Changes `own`'s row, unless `amount` is nothing; the delta is that row.
    fn write(
        &mut self,
        own: ReplicaId,
        amount: u64,
        change: impl FnOnce(&mut Row) -> Result<(), RightsError>,
    ) -> Result<Self, RightsError> {
        self.check_lives(own)?;
        if amount == 0 {
            return Ok(Self::default());
        }
        let mut row = self.0.get(&own).cloned().unwrap_or_default();
        change(&mut row)?;
        row.version = row.version.saturating_add(1);
        self.0.insert(own, row.clone());
        Ok(Self(BTreeMap::from([(own, row)])))
    }

    fn check_lives(&self, replica: ReplicaId) -> Result<(), RightsError> {
        let named = self.0.get(&replica).and_then(|row| row.heir);
        named.or_else(|| self.absorber(replica)).map_or(Ok(()), |heir| Err(RightsError::Ended { replica, heir }))
    }

    fn check_left(&self, own: ReplicaId, wanted: u64) -> Result<(), RightsError> {
        self.check_lives(own)?;
        let left = self.rights_of(own);
        if wanted > left { Err(RightsError::Insufficient { wanted, left }) } else { Ok(()) }
    }

    /// Whose row speaks for `replica`, if another's does.
    fn absorber(&self, replica: ReplicaId) -> Option<ReplicaId> {
        self.0.iter().find(|(_, row)| row.absorbed.contains(&replica)).map(|(of, _)| *of)
    }

    fn drop_absorbed(&mut self) {
        let absorbed: BTreeSet<ReplicaId> = self.0.values().flat_map(|row| &row.absorbed).copied().collect();
        self.0.retain(|replica, _| !absorbed.contains(replica));
    }
}

impl Row {
    fn hand(&mut self, to: ReplicaId, amount: u64) -> Result<(), RightsError> {
        let handed = self.handed.entry(to).or_default();
        *handed = handed.checked_add(amount).ok_or(RightsError::TooMany(amount))?;
        Ok(())
    }

    /// Takes the final row of `ended` into this one, `own`'s: the two are one replica from now on, and what went to and fro
    /// between them is no transfer any more.
    fn absorb(&mut self, own: ReplicaId, ended: ReplicaId, row: &Self) -> Result<(), RightsError> {
        self.granted = self.granted.checked_add(row.granted).ok_or(RightsError::TooMany(row.granted))?;
        self.used = self.used.checked_add(row.used).ok_or(RightsError::TooMany(row.used))?;
        for (to, amount) in &row.handed {
            self.hand(*to, *amount)?;
        }
        self.absorbed.insert(ended);
        self.absorbed.extend(&row.absorbed);
        self.handed.retain(|to, _| *to != own && !self.absorbed.contains(to));
        Ok(())
    }
}

fn sum(amounts: impl IntoIterator<Item = u64>) -> u128 {
    amounts.into_iter().fold(0, |sum, amount| sum.saturating_add(amount.into()))
}

#[cfg(test)]
pub(super) mod tests;
