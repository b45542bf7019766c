//! How safe a write must be before it is answered, and how fresh what is read: `Headwater-Durability` and
//! `Headwater-Consistency`, per call. Pure.
//!
//! Both ask for the least that will do: what is asked to be as safe as an isolate's memory may be answered by the hub. A name
//! is never taken for less than it says: what a call cannot be given is refused and not passed over.

use serde::{Deserialize, Serialize};

/// The header of a call's durability.
pub(crate) const DURABILITY: &str = "headwater-durability";

/// The header of a call's consistency.
pub(crate) const CONSISTENCY: &str = "headwater-consistency";

/// The header in which an isolate tells how many milliseconds ago it last heard from its hub.
pub(crate) const STALENESS: &str = "headwater-staleness";

/// The name of the least durability: in an isolate's memory.
pub(crate) const LEAF: &str = "leaf";

/// The name of the most of both: committed there, and asked there.
pub(crate) const ORIGIN: &str = "origin";

/// What a call asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Levels {
    /// Whether writes may be in an isolate's memory alone when they are answered.
    pub(crate) writes_at_leaf: bool,
    /// Whether reads may be answered from there.
    pub(crate) reads_at_leaf: bool,
    /// Whether the hub is to have seen what the client has, by its token.
    pub(crate) in_session: bool,
    /// Whether the origin is to have committed writes when they are answered.
    pub(crate) writes_at_origin: bool,
    /// Whether the hub is to ask the origin for the keys first.
    pub(crate) reads_at_origin: bool,
}

/// A header names no level, or one that a call cannot be given.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadLevel {
    /// No such durability.
    #[error("ERR Headwater: {DURABILITY} is {0:?}; it must be leaf, hub or origin")]
    Durability(String),
    /// No such consistency.
    #[error("ERR Headwater: {CONSISTENCY} is {0:?}; it must be local, session or origin")]
    Consistency(String),
    /// Checks of limits carry no token, and are decided by what the hub knows.
    #[error("ERR Headwater: {header} {level} is not served for /v1/limit")]
    Limit {
        /// Of which header.
        header: &'static str,
        /// Which level.
        level: &'static str,
    },
}

impl Levels {
    /// What the two headers say. Without them the hub answers: writes are in its storage, reads are what it has.
    ///
    /// # Errors
    /// Where a header says what it cannot, or what is not served.
    pub(crate) fn of(durability: Option<&str>, consistency: Option<&str>) -> Result<Self, BadLevel> {
        let writes_at_leaf = match durability {
            None | Some("hub" | ORIGIN) => false,
            Some(LEAF) => true,
            Some(other) => return Err(BadLevel::Durability(shortened(other))),
        };
        let writes_at_origin = durability == Some(ORIGIN);
        match consistency {
            None | Some("local" | "session" | ORIGIN) => {}
            Some(other) => return Err(BadLevel::Consistency(shortened(other))),
        }
        let asks = |level| consistency == Some(level);
        let (reads_at_leaf, in_session, reads_at_origin) = (asks("local"), asks("session"), asks(ORIGIN));
        Ok(Self { writes_at_leaf, reads_at_leaf, in_session, writes_at_origin, reads_at_origin })
    }

    /// Whether an isolate may answer anything.
    pub(crate) fn allow_leaf(self) -> bool {
        let asks_more = self.in_session || self.writes_at_origin || self.reads_at_origin;
        (self.writes_at_leaf || self.reads_at_leaf) && !asks_more
    }

    /// Whether checks of limits can be given it.
    pub(crate) fn check_limit(self) -> Result<(), BadLevel> {
        let refused = |header, level| Err(BadLevel::Limit { header, level });
        match self {
            Self { in_session: true, .. } => refused(CONSISTENCY, "session"),
            Self { reads_at_origin: true, .. } => refused(CONSISTENCY, ORIGIN),
            Self { writes_at_origin: true, .. } => refused(DURABILITY, ORIGIN),
            _ => Ok(()),
        }
    }
}

/// What of a header goes back in an error.
fn shortened(value: &str) -> String {
    value.chars().take(32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of<'a>(durability: &'a str, consistency: &'a str) -> Result<Levels, BadLevel> {
        let sent = |value| Some(value).filter(|value: &&str| !value.is_empty());
        Levels::of(sent(durability), sent(consistency))
    }

    #[test]
    fn without_headers_the_hub_answers() {
        assert_eq!(of("", ""), Ok(Levels::default()));
        assert_eq!(of("hub", ""), Ok(Levels::default()));
        assert!(!Levels::default().allow_leaf());
    }

    #[test]
    fn writes_and_reads_are_asked_for_each_by_itself() {
        assert_eq!(of("leaf", ""), Ok(Levels { writes_at_leaf: true, ..Levels::default() }));
        assert_eq!(of("hub", "local"), Ok(Levels { reads_at_leaf: true, ..Levels::default() }));
    }

    #[test]
    fn a_session_is_the_hubs() {
        let levels = of("leaf", "session").unwrap();
        assert!(levels.in_session && !levels.allow_leaf());
    }

    #[test]
    fn the_origin_is_asked_by_the_hub_and_not_for_limits() {
        for (durability, consistency, refused) in [
            ("origin", "", "durability origin"),
            ("leaf", "origin", "consistency origin"),
            ("", "session", "consistency session"),
        ] {
            let levels = of(durability, consistency).expect("levels");
            assert!(!levels.allow_leaf());
            let error = levels.check_limit().expect_err(refused).to_string();
            assert_eq!(error, format!("ERR Headwater: headwater-{refused} is not served for /v1/limit"));
        }
        assert_eq!(of("leaf", "local").expect("levels").check_limit(), Ok(()));
        let both = of("origin", "origin").expect("levels");
        assert!(both.writes_at_origin && both.reads_at_origin && !both.writes_at_leaf && !both.reads_at_leaf);
    }

    #[test]
    fn what_is_no_level_is_refused_by_its_name() {
        let error = |durability, consistency| of(durability, consistency).expect_err("refused").to_string();
        assert_eq!(
            error("none", ""),
            r#"ERR Headwater: headwater-durability is "none"; it must be leaf, hub or origin"#
        );
        assert_eq!(
            error("", "any"),
            r#"ERR Headwater: headwater-consistency is "any"; it must be local, session or origin"#
        );
        assert!(error(&"x".repeat(1000), "").len() < 120);
    }
}
