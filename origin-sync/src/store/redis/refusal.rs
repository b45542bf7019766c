//! Answers by which a server says that it did nothing of a request, so that it may be asked again.
//!
//! Whatever is not listed here, a connection that broke above all, leaves open whether the request ran, and ends the
//! connection to the store.

use super::{RedisStoreError, access::Node};
use crate::measure;
use redis::{ServerError, ServerErrorKind};
use std::{fmt, time::Duration};
use tokio::time::sleep;

/// A request that surely did not run.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The slot is another node's; its host is empty where it is the one that was asked.
    Moved(Node),
    /// It may run later, at the same server.
    NotNow(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Moved(node) => write!(f, "MOVED {node}"),
            Self::NotNow(code) => f.write_str(code),
        }
    }
}

impl Refusal {
    /// By what word the server says it.
    fn reason(&self) -> &str {
        match self {
            Self::Moved(_) => "MOVED",
            Self::NotNow(code) => code,
        }
    }

    /// A job that waits, for the reason that Redis gave.
    pub(super) fn put_off(why: &str) -> Self {
        Self::NotNow(why.trim_start_matches('-').split(' ').next().unwrap_or_default().to_owned())
    }

    /// What the error says, where it says that nothing ran.
    pub(super) fn of(error: &RedisStoreError) -> Option<Self> {
        let RedisStoreError::Server(error) = error else { return None };
        // Of a transaction these are the errors of the commands in it, for which none of it ran.
        error.clone().into_server_errors()?.iter().find_map(|(_, error)| Self::of_server(error))
    }

    /// What one of the server's errors says, likewise.
    pub(super) fn of_server(error: &ServerError) -> Option<Self> {
        match (error.kind(), error.code()) {
            (Some(ServerErrorKind::Moved), _) => {
                let (host, port) = error.details()?.split(' ').nth(1)?.rsplit_once(':')?;
                Some(Self::Moved(Node { host: host.to_owned(), port: port.parse().ok()? }))
            }
            // ASK and TRYAGAIN: the slot is on its way to another node. A commit has names that exist at neither, so it can
            // run at neither before the slot has arrived.
            (Some(ServerErrorKind::Ask | ServerErrorKind::TryAgain | ServerErrorKind::ClusterDown), code)
            // These are told before a script begins, or by its first write.
            | (None, code @ ("OOM" | "MISCONF" | "NOREPLICAS")) => Some(Self::NotNow(code.to_owned())),
            _ => None,
        }
    }
}

/// The waits between tries of one request: none before the first repetition, then doubling up to the longest.
#[derive(Debug, Default)]
pub(super) struct Patience {
    tries: u32,
}

impl Patience {
    const LONGEST: Duration = Duration::from_millis(200);

    /// About every ten seconds it is told that the request still waits.
    const TELL_EACH: u32 = 50;

    pub(super) async fn wait(&mut self, refusal: &Refusal) {
        measure::store_refused(refusal.reason());
        self.tries = self.tries.saturating_add(1);
        if self.tries.is_multiple_of(Self::TELL_EACH) {
            tracing::warn!(%refusal, tries = self.tries, "Redis refuses a request again and again; it waits");
        }
        match self.tries {
            1 => {}
            tries => sleep(Duration::from_millis(5 << tries.min(10)).min(Self::LONGEST)).await,
        }
    }
}
