//! Deliberate faults of the protocol, compiled in only with the feature `mutants`.
//!
//! The simulation switches one on and demands that a checker notices. Without the feature `fault!(Name)` is the constant
//! `false` and the compiler removes the branch, so a release holds no trace of it.

/// A named fault. Each stands for a mistake that was, or could plausibly be, made in the place that asks for it.
#[cfg(feature = "mutants")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "each name is explained where it is asked for")]
pub enum Fault {
    CausalKeepsRemoved,
    CausalDropsUnseen,
    CutTakesWholeSum,
    CutIgnored,
    EntryRestartsUnmarked,
    WipeWithoutCuts,
    WipeForgetsDots,
    DeadlineTakesEarlier,
    DeadlineIgnoresEpoch,
    RevocationYields,
    RevocationShown,
    RevokedAdopted,
    WatermarkNotStored,
    SessionFollowsRoamer,
    MarkerJumpsGap,
    MarkerNotRewound,
    StableAtCommit,
    DeadDotsForgottenAtCommit,
    OwnDeadNotNamed,
    CommitWithoutFence,
    CursorJumpsGap,
    CursorSurvivesIncarnation,
    TombstoneDroppedAtOnce,
    OwnPendingNotObserved,
    IdempotencyForgotten,
    CommitNotAwaited,
    CreditKept,
    FeedIgnored,
    FeedNotTrimmed,
    SequenceNotCompared,
    StaleConnectionCommits,
    StaleTakenForCommitted,
    RefusedCommitForgotten,
    StaleCacheKept,
    IncarnationKept,
    FormerHistoryCounted,
    AttachingHubPushed,
    OthersBeginningsLeftOut,
    ContextNotBridged,
    GraceIgnored,
    ExpiredKept,
    StampsUnbounded,
    AnsweredBeforePersisted,
    ResentUnderNewNumbers,
    RoamerSettlesHere,
    ExpiryGuessed,
    ShownTwice,
    DroppedBeforeShown,
    StandingsNotRefreshed,
    PushGapIgnored,
    ChangeUntold,
    DependentSentAhead,
    SettledNeverTold,
    VerdictNotAwaited,
    OthersNotHeard,
    StableOfOthersForgotten,
    StableByWallClock,
    ConfirmedBeforeAsked,
    UnseenAwaitedForever,
    UnheardKept,
    SpendsOfOthersDropped,
    EndedFieldsKept,
    DifferencesIgnored,
    ExchangeClaimsAll,
    UncommittedExchanged,
    LostNotCompared,
    NewHistoryNotCompared,
    PlainWritesIgnored,
    PlainGuardsDropped,
    AbsenceNotCompared,
    UnheldNotSent,
    RewriteNotSent,
    EarlierSharesCounted,
    EvictionTakenForRemoval,
    OrderedBeforeOwnWrites,
    RightsUsedUncommitted,
    GrantsWithoutSilence,
    GivenUpRightsTaken,
    SpendNotPersisted,
    SessionPresumed,
}

#[cfg(feature = "mutants")]
impl Fault {
    /// All faults.
    pub const ALL: [Self; 80] = [
        Self::CausalKeepsRemoved,
        Self::CausalDropsUnseen,
        Self::CutTakesWholeSum,
        Self::CutIgnored,
        Self::EntryRestartsUnmarked,
        Self::WipeWithoutCuts,
        Self::WipeForgetsDots,
        Self::DeadlineTakesEarlier,
        Self::DeadlineIgnoresEpoch,
        Self::RevocationYields,
        Self::RevocationShown,
        Self::RevokedAdopted,
        Self::WatermarkNotStored,
        Self::SessionFollowsRoamer,
        Self::MarkerJumpsGap,
        Self::MarkerNotRewound,
        Self::StableAtCommit,
        Self::DeadDotsForgottenAtCommit,
        Self::OwnDeadNotNamed,
        Self::CommitWithoutFence,
        Self::CursorJumpsGap,
        Self::CursorSurvivesIncarnation,
        Self::TombstoneDroppedAtOnce,
        Self::OwnPendingNotObserved,
        Self::IdempotencyForgotten,
        Self::CommitNotAwaited,
        Self::CreditKept,
        Self::FeedIgnored,
        Self::FeedNotTrimmed,
        Self::SequenceNotCompared,
        Self::StaleConnectionCommits,
        Self::StaleTakenForCommitted,
        Self::RefusedCommitForgotten,
        Self::StaleCacheKept,
        Self::IncarnationKept,
        Self::FormerHistoryCounted,
        Self::AttachingHubPushed,
        Self::OthersBeginningsLeftOut,
        Self::ContextNotBridged,
        Self::GraceIgnored,
        Self::ExpiredKept,
        Self::StampsUnbounded,
        Self::AnsweredBeforePersisted,
        Self::ResentUnderNewNumbers,
        Self::RoamerSettlesHere,
        Self::ExpiryGuessed,
        Self::ShownTwice,
        Self::DroppedBeforeShown,
        Self::StandingsNotRefreshed,
        Self::PushGapIgnored,
        Self::ChangeUntold,
        Self::DependentSentAhead,
        Self::SettledNeverTold,
        Self::VerdictNotAwaited,
        Self::OthersNotHeard,
        Self::StableOfOthersForgotten,
        Self::StableByWallClock,
        Self::ConfirmedBeforeAsked,
        Self::UnseenAwaitedForever,
        Self::UnheardKept,
        Self::SpendsOfOthersDropped,
        Self::EndedFieldsKept,
        Self::DifferencesIgnored,
        Self::ExchangeClaimsAll,
        Self::UncommittedExchanged,
        Self::LostNotCompared,
        Self::NewHistoryNotCompared,
        Self::PlainWritesIgnored,
        Self::PlainGuardsDropped,
        Self::AbsenceNotCompared,
        Self::UnheldNotSent,
        Self::RewriteNotSent,
        Self::EarlierSharesCounted,
        Self::EvictionTakenForRemoval,
        Self::OrderedBeforeOwnWrites,
        Self::RightsUsedUncommitted,
        Self::GrantsWithoutSilence,
        Self::GivenUpRightsTaken,
        Self::SpendNotPersisted,
        Self::SessionPresumed,
    ];
}

#[cfg(feature = "mutants")]
mod switch {
    use std::cell::Cell;

    thread_local! {
        static ACTIVE: Cell<Option<super::Fault>> = const { Cell::new(None) };
    }

    /// Switches a fault on for this thread, or all off.
    pub fn activate(fault: Option<super::Fault>) {
        ACTIVE.with(|active| active.set(fault));
    }

    /// Whether `fault` is on.
    pub fn is_active(fault: super::Fault) -> bool {
        ACTIVE.with(|active| active.get() == Some(fault))
    }
}

#[cfg(feature = "mutants")]
pub use switch::{activate, is_active};

/// Whether the named fault is switched on; constant `false` in every build without the feature `mutants`.
macro_rules! fault {
    ($name:ident) => {{
        #[cfg(feature = "mutants")]
        {
            $crate::fault::is_active($crate::fault::Fault::$name)
        }
        #[cfg(not(feature = "mutants"))]
        {
            false
        }
    }};
}
