//! What the operator sets, as text bindings of the Worker.

use crate::{
    limits::{MEMORY_BYTES_MAX, MEMORY_BYTES_MAX_LEAST, SHARDS_MAX, UNACKNOWLEDGED_MAX},
    session::{BadSecrets, Secrets},
    token::{BadKeys, Keys},
};
use headwater::{
    eviction::{Policy, UnknownPolicy},
    hub::MemoryLimit,
    namespace::{BadNamespace, Namespaces},
    slot::Slot,
};
use std::{cell::RefCell, collections::BTreeMap};
use worker::Env;

/// A binding is missing or says what it cannot.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// There is no such binding.
    #[error("the binding {name} is missing")]
    Missing {
        /// Which.
        name: &'static str,
        /// What the runtime says.
        #[source]
        source: worker::Error,
    },
    /// Not a number of shards.
    #[error("HEADWATER_SHARDS is {0:?}; it must be a number from 1 to {SHARDS_MAX}")]
    Shards(String),
    /// Not a number of bytes.
    #[error("HEADWATER_MEMORY_BYTES_MAX is {0:?}; it must be a number of bytes, {MEMORY_BYTES_MAX_LEAST} or more")]
    MemoryBytes(String),
    /// Not a number of commands.
    #[error("HEADWATER_LEAF_OPERATIONS_MAX is {0:?}; it must be a number of commands")]
    Unacknowledged(String),
    /// Not one of the policies.
    #[error("HEADWATER_EVICTION_POLICY is wrong")]
    EvictionPolicy(#[source] UnknownPolicy),
    /// Not names of namespaces.
    #[error("HEADWATER_NAMESPACES is wrong: {0}")]
    Namespaces(#[from] BadNamespace),
    /// Not secrets.
    #[error("HEADWATER_SYNC_SECRETS is wrong: {0}")]
    SyncSecrets(#[from] BadSecrets),
    /// Not public keys.
    #[error("HEADWATER_TOKEN_KEYS is wrong: {0}")]
    TokenKeys(#[from] BadKeys),
    /// Not an object of strings.
    #[error("HEADWATER_PEERS is no JSON object of region to base URL")]
    Peers(#[source] serde_json::Error),
}

/// The region's name: the first part of its hubs' names.
pub(crate) fn region(env: &Env) -> Result<String, ConfigError> {
    required(env, "HEADWATER_REGION")
}

/// What clients present.
pub(crate) fn token(env: &Env) -> Result<String, ConfigError> {
    required(env, "HEADWATER_TOKEN")
}

/// Whose signed tokens clients may present too.
pub(crate) fn token_keys(env: &Env) -> Result<Keys, ConfigError> {
    let Some(text) = optional(env, "HEADWATER_TOKEN_KEYS") else { return Ok(Keys::default()) };
    Ok(Keys::parse(&text)?)
}

/// The secrets under which session tokens are signed: the same in every region, where clients may come. Unless the operator says
/// otherwise it is the origin's token, which all regions have.
pub(crate) fn sync_secrets(env: &Env) -> Result<Secrets, ConfigError> {
    match optional(env, "HEADWATER_SYNC_SECRETS") {
        Some(text) => Ok(Secrets::parse(&text)?),
        None => Ok(Secrets::of(&origin_token(env)?)),
    }
}

/// The namespaces beside the default one: names with commas between them. The same in every region, or what is one
/// namespace's in one region would be the default one's in another.
pub(crate) fn namespaces(env: &Env) -> Result<Namespaces, ConfigError> {
    optional(env, "HEADWATER_NAMESPACES").map_or(Ok(Namespaces::default()), |text| Ok(Namespaces::parse(&text)?))
}

/// What the daemon and other regions present.
pub(crate) fn origin_token(env: &Env) -> Result<String, ConfigError> {
    required(env, "HEADWATER_ORIGIN_TOKEN")
}

/// Where the platform is to place the region's hubs, if the operator says so. Otherwise each is made near whoever asks
/// first, which may be the daemon.
pub(crate) fn location_hint(env: &Env) -> Option<String> {
    optional(env, "HEADWATER_LOCATION_HINT")
}

/// Into how many hubs the region divides the slots.
pub(crate) fn shards(env: &Env) -> Result<u16, ConfigError> {
    let Some(text) = optional(env, "HEADWATER_SHARDS") else { return Ok(1) };
    shards_of(text)
}

/// What each hub may hold in memory, and what it evicts first.
pub(crate) fn memory(env: &Env) -> Result<MemoryLimit, ConfigError> {
    memory_of(optional(env, "HEADWATER_MEMORY_BYTES_MAX"), optional(env, "HEADWATER_EVICTION_POLICY"))
}

/// How many commands an isolate may answer that its hub has not acknowledged.
pub(crate) fn unacknowledged(env: &Env) -> Result<u32, ConfigError> {
    unacknowledged_of(optional(env, "HEADWATER_LEAF_OPERATIONS_MAX"))
}

/// The other regions: name to base URL, without a trailing slash.
pub(crate) fn peers(env: &Env) -> Result<BTreeMap<String, String>, ConfigError> {
    let Some(text) = optional(env, "HEADWATER_PEERS") else { return Ok(BTreeMap::new()) };
    peers_of(&text)
}

thread_local! {
    /// The bindings that were read. They are the same as long as the isolate lives, and most requests need several: to ask
    /// JavaScript for one takes longer than to execute a command.
    static READ: RefCell<BTreeMap<&'static str, String>> = const { RefCell::new(BTreeMap::new()) };
}

fn required(env: &Env, name: &'static str) -> Result<String, ConfigError> {
    if let Some(text) = READ.with_borrow(|read| read.get(name).cloned()) {
        return Ok(text);
    }
    let text = env.var(name).map_err(|source| ConfigError::Missing { name, source })?.to_string();
    READ.with_borrow_mut(|read| read.insert(name, text.clone()));
    Ok(text)
}

/// Empty is as good as missing.
fn optional(env: &Env, name: &'static str) -> Option<String> {
    let text = match READ.with_borrow(|read| read.get(name).cloned()) {
        Some(text) => text,
        None => {
            let text = env.var(name).map_or_else(|_missing| String::new(), |text| text.to_string());
            READ.with_borrow_mut(|read| read.insert(name, text.clone()));
            text
        }
    };
    Some(text).filter(|text| !text.is_empty())
}

fn shards_of(text: String) -> Result<u16, ConfigError> {
    let number = text.parse().ok().filter(|number| (1..=SHARDS_MAX).contains(number));
    number.ok_or(ConfigError::Shards(text))
}

fn unacknowledged_of(text: Option<String>) -> Result<u32, ConfigError> {
    let Some(text) = text else { return Ok(UNACKNOWLEDGED_MAX) };
    text.parse().ok().ok_or(ConfigError::Unacknowledged(text))
}

fn memory_of(bytes_max: Option<String>, policy: Option<String>) -> Result<MemoryLimit, ConfigError> {
    let bytes_max = match bytes_max {
        None => MEMORY_BYTES_MAX,
        Some(text) => {
            let number = text.parse().ok().filter(|number| *number >= MEMORY_BYTES_MAX_LEAST);
            number.ok_or(ConfigError::MemoryBytes(text))?
        }
    };
    let policy = match policy {
        None => Policy::AllKeysLru,
        Some(name) => name.parse().map_err(ConfigError::EvictionPolicy)?,
    };
    Ok(MemoryLimit { bytes_max, policy })
}

fn peers_of(text: &str) -> Result<BTreeMap<String, String>, ConfigError> {
    let peers: BTreeMap<String, String> = serde_json::from_str(text).map_err(ConfigError::Peers)?;
    Ok(peers.into_iter().map(|(region, url)| (region, url.trim_end_matches('/').to_owned())).collect())
}

const _: () = assert!(SHARDS_MAX <= Slot::COUNT);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_a_small_positive_number() {
        assert_eq!(shards_of("8".into()).ok(), Some(8));
        for text in ["0", "-1", "1025", "99999", "two", "1.5"] {
            assert!(shards_of(text.into()).is_err(), "{text}");
        }
    }

    #[test]
    fn memory_is_bounded_unless_said_otherwise_by_a_number_and_a_policy_of_redis() {
        let default = MemoryLimit { bytes_max: 64 * 1024 * 1024, policy: Policy::AllKeysLru };
        assert_eq!(memory_of(None, None).ok(), Some(default));
        let said = memory_of(Some("2000000".into()), Some("volatile-ttl".into()));
        assert_eq!(said.ok(), Some(MemoryLimit { bytes_max: 2_000_000, policy: Policy::VolatileTtl }));
        for text in ["0", "-1", "64mb", "1e9", "1000"] {
            assert!(memory_of(Some(text.into()), None).is_err(), "{text}");
        }
        assert!(memory_of(None, Some("allkeys-random".into())).is_err());
    }

    #[test]
    fn what_an_isolate_may_lose_is_a_number() {
        assert_eq!(unacknowledged_of(None).ok(), Some(100_000));
        assert_eq!(unacknowledged_of(Some("0".into())).ok(), Some(0));
        for text in ["-1", "1e3", "many"] {
            assert!(unacknowledged_of(Some(text.into())).is_err(), "{text}");
        }
    }

    #[test]
    fn peers_lose_their_trailing_slash() {
        let peers = peers_of(r#"{"eu":"https://eu.example/","us":"http://127.0.0.1:1"}"#).expect("valid");
        assert_eq!(peers.get("eu").map(String::as_str), Some("https://eu.example"));
        assert_eq!(peers.len(), 2);
        assert!(peers_of("[]").is_err());
    }
}
