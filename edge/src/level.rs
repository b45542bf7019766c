//! How safe a write must be before it is answered, and how fresh what is read: `Headwater-Durability` and
//! `Headwater-Consistency`, per call. Pure.
//!
//! Both ask for the least that will do: what is asked to be as safe as an isolate's memory may be answered by the hub. So
//! that a name is never taken for less than it says, the levels that are not served are refused and not passed over.

/// The header of a call's durability.
pub(crate) const DURABILITY: &str = "headwater-durability";

/// The header of a call's consistency.
pub(crate) const CONSISTENCY: &str = "headwater-consistency";

/// The header in which an isolate tells how many milliseconds ago it last heard from its hub.
pub(crate) const STALENESS: &str = "headwater-staleness";

/// The name of the least durability: in an isolate's memory.
pub(crate) const LEAF: &str = "leaf";

/// What a call asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Levels {
    /// Whether writes may be in an isolate's memory alone when they are answered.
    pub(crate) writes_at_leaf: bool,
    /// Whether reads may be answered from there.
    pub(crate) reads_at_leaf: bool,
    /// Whether the hub is to have seen what the client has, by its token.
    pub(crate) in_session: bool,
}

/// A header names no level, or one that is not served.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadLevel {
    /// No such durability.
    #[error("ERR Headwater: {DURABILITY} is {0:?}; it must be leaf or hub")]
    Durability(String),
    /// No such consistency.
    #[error("ERR Headwater: {CONSISTENCY} is {0:?}; it must be local or session")]
    Consistency(String),
    /// Checks of limits in a session: they carry no token.
    #[error("ERR Headwater: {CONSISTENCY} session is not served for /v1/limit")]
    LimitInSession,
    /// A level that the design names and nothing serves.
    #[error("ERR Headwater: {header} {level} is not served yet")]
    NotServed {
        /// Of which header.
        header: &'static str,
        /// Which level.
        level: String,
    },
}

impl Levels {
    /// What the two headers say. Without them the hub answers: writes are in its storage, reads are what it has.
    ///
    /// # Errors
    /// Where a header says what it cannot, or what is not served.
    pub(crate) fn of(durability: Option<&str>, consistency: Option<&str>) -> Result<Self, BadLevel> {
        let writes_at_leaf = match durability {
            None | Some("hub") => false,
            Some(LEAF) => true,
            Some("origin") => return Err(not_served(DURABILITY, "origin")),
            Some(other) => return Err(BadLevel::Durability(shortened(other))),
        };
        let (reads_at_leaf, in_session) = match consistency {
            None => (false, false),
            Some("local") => (true, false),
            Some("session") => (false, true),
            Some("origin") => return Err(not_served(CONSISTENCY, "origin")),
            Some(other) => return Err(BadLevel::Consistency(shortened(other))),
        };
        Ok(Self { writes_at_leaf, reads_at_leaf, in_session })
    }

    /// Whether an isolate may answer anything.
    pub(crate) fn allow_leaf(self) -> bool {
        (self.writes_at_leaf || self.reads_at_leaf) && !self.in_session
    }
}

fn not_served(header: &'static str, level: &str) -> BadLevel {
    BadLevel::NotServed { header, level: level.to_owned() }
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
    fn what_is_no_level_or_not_served_is_refused_by_its_name() {
        let error = |durability, consistency| of(durability, consistency).expect_err("refused").to_string();
        assert_eq!(error("none", ""), r#"ERR Headwater: headwater-durability is "none"; it must be leaf or hub"#);
        assert_eq!(error("", "any"), r#"ERR Headwater: headwater-consistency is "any"; it must be local or session"#);
        assert_eq!(error("origin", ""), "ERR Headwater: headwater-durability origin is not served yet");
        assert_eq!(error("", "origin"), "ERR Headwater: headwater-consistency origin is not served yet");
        assert!(error(&"x".repeat(1000), "").len() < 120);
    }
}
