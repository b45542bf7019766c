//! What the operator sets: in a file, in the environment, on the command line, each counting before the one before it.
//!
//! A setting has one name in all three: the flag `--window-ms`, the variable `HEADWATER_WINDOW_MS`, the key `window-ms` of
//! the TOML file. All are read and checked before anything is started, and what is wrong is told by that name.

use crate::{
    daemon::DaemonConfig,
    edge::{EdgeUrl, OriginToken},
    erasure,
    store::{ClientFiles, Credentials, RedisConfig, RedisUrl, StableConfig, StoreLocation, TlsFiles, Topology},
};
use clap::Args;
use headwater::command::Family;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeSet,
    error::Error as StdError,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
};
use tracing_subscriber::EnvFilter;

const LISTEN: &str = "127.0.0.1:8790";
const LOSS_WINDOW_MS: i64 = 60_000;
const WINDOW_MS: i64 = 5;
const LAG_TARGET_MS: i64 = 50;

/// The settings of one source; what is not set there is left to the others.
#[derive(Args, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[command(next_help_heading = "Settings")]
pub struct Settings {
    /// An edge's base URL, `http` or `https`; may be given several times, and must be once.
    #[arg(long, global = true, value_name = "URL", env = "HEADWATER_EDGE", value_delimiter = ',')]
    #[serde(deserialize_with = "one_or_many")]
    edge: Option<Vec<String>>,
    /// What proves to the edges that this is the origin. Prefer the file: others may read a command line.
    #[arg(long, global = true, value_name = "TOKEN", env = "HEADWATER_ORIGIN_TOKEN", hide_env_values = true)]
    origin_token: Option<String>,
    /// A file that holds the origin's token, in place of the token itself.
    #[arg(long, global = true, value_name = "FILE", env = "HEADWATER_ORIGIN_TOKEN_FILE")]
    origin_token_file: Option<PathBuf>,
    /// The Redis, as `redis://[user:password@]host[:port][/db]`, or `rediss://` for TLS. Several where these are sentinels
    /// or nodes of a cluster, any of which tells of the others.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "HEADWATER_STORE",
        hide_env_values = true,
        value_delimiter = ','
    )]
    #[serde(deserialize_with = "one_or_many")]
    store: Option<Vec<String>>,
    /// The URLs are those of sentinels, which call the master so.
    #[arg(long, global = true, value_name = "NAME", env = "HEADWATER_STORE_SENTINEL_MASTER")]
    store_sentinel_master: Option<String>,
    /// The user to the sentinels, in place of the URL's.
    #[arg(long, global = true, value_name = "NAME", env = "HEADWATER_SENTINEL_USERNAME")]
    sentinel_username: Option<String>,
    /// A file that holds the password to the sentinels.
    #[arg(long, global = true, value_name = "FILE", env = "HEADWATER_SENTINEL_PASSWORD_FILE")]
    sentinel_password_file: Option<PathBuf>,
    /// The URLs are those of nodes of a Redis Cluster.
    #[arg(long, global = true, env = "HEADWATER_STORE_CLUSTER", num_args = 0..=1, default_missing_value = "true")]
    store_cluster: Option<bool>,
    /// The user to Redis, in place of the URL's.
    #[arg(long, global = true, value_name = "NAME", env = "HEADWATER_STORE_USERNAME")]
    store_username: Option<String>,
    /// A file that holds the user's password. It is read again for every connection, so that it can change.
    #[arg(long, global = true, value_name = "FILE", env = "HEADWATER_STORE_PASSWORD_FILE")]
    store_password_file: Option<PathBuf>,
    /// A PEM file with the authorities that may vouch for Redis, in place of the public ones.
    #[arg(long, global = true, value_name = "FILE", env = "HEADWATER_STORE_CA_FILE")]
    store_ca_file: Option<PathBuf>,
    /// A PEM file with the certificate that the daemon shows to Redis.
    #[arg(long, global = true, value_name = "FILE", env = "HEADWATER_STORE_CERT_FILE")]
    store_cert_file: Option<PathBuf>,
    /// A PEM file with the key of that certificate.
    #[arg(long, global = true, value_name = "FILE", env = "HEADWATER_STORE_KEY_FILE")]
    store_key_file: Option<PathBuf>,
    /// Without Redis: the file, or the directory, that keeps the state.
    #[arg(long, global = true, value_name = "FILE", env = "HEADWATER_DATA")]
    data: Option<PathBuf>,
    /// Where health, status and metrics are served [default: 127.0.0.1:8790].
    #[arg(long, global = true, value_name = "ADDRESS", env = "HEADWATER_LISTEN")]
    listen: Option<String>,
    /// What this daemon is called among those that share a Redis: no two may be called alike, and it is best to keep the name
    /// over restarts [default: the host's name and `listen`].
    #[arg(long, global = true, value_name = "NAME", env = "HEADWATER_DAEMON_NAME")]
    daemon_name: Option<String>,
    /// What tells that Redis does not lose a commit any more: `waitaof`, `wait` (its replicas), `window` (the time below), or
    /// `auto`, the best that the server has and the window at the latest [default: auto].
    #[arg(long, global = true, value_name = "MEANS", env = "HEADWATER_STABLE")]
    stable: Option<String>,
    /// How many replicas must have a commit before it is stable by `waitaof`, `wait` or `auto`: all that may ever be promoted
    /// [default: as many as were connected at once].
    #[arg(long, global = true, value_name = "N", env = "HEADWATER_STABLE_REPLICAS")]
    stable_replicas: Option<u32>,
    /// How long after a commit Redis may still lose it, in milliseconds [default: 60000].
    #[arg(long, global = true, value_name = "N", env = "HEADWATER_LOSS_WINDOW_MS", allow_negative_numbers = true)]
    loss_window_ms: Option<i64>,
    /// The time between two batches of a hub that is at rest, in milliseconds [default: 5].
    #[arg(long, global = true, value_name = "N", env = "HEADWATER_WINDOW_MS", allow_negative_numbers = true)]
    window_ms: Option<i64>,
    /// What operations of a busy hub may wait for others that share their commits, in milliseconds: the longer, the fewer
    /// calls of Redis [default: 50].
    #[arg(long, global = true, value_name = "N", env = "HEADWATER_LAG_TARGET_MS", allow_negative_numbers = true)]
    lag_target_ms: Option<i64>,
    /// The families of commands that edges may have passed through to Redis: lists, streams, bitmaps, hyperloglogs, geo,
    /// publish, scripts; an empty text for none [default: all but scripts].
    #[arg(long, global = true, value_name = "FAMILY", env = "HEADWATER_PASS_THROUGH", value_delimiter = ',')]
    #[serde(deserialize_with = "one_or_many")]
    pass_through: Option<Vec<String>>,
    /// The keys that are a person's, as `user:{subject}:*`: what `origin-sync erase SUBJECT` removes. May be given several times.
    #[arg(long, global = true, value_name = "PATTERN", env = "HEADWATER_ERASE_PATTERN", value_delimiter = ',')]
    #[serde(deserialize_with = "one_or_many")]
    erase_pattern: Option<Vec<String>>,
    /// What is logged, by level and module, as `info` or `origin_sync=debug,info` [default: info].
    #[arg(long, global = true, value_name = "FILTER", env = "HEADWATER_LOG")]
    log: Option<String>,
    /// How a line of the log looks: `text` or `json` [default: text].
    #[arg(long, global = true, value_name = "FORMAT", env = "HEADWATER_LOG_FORMAT")]
    log_format: Option<String>,
    /// Where spans are sent: an OpenTelemetry collector's base URL for OTLP over HTTP. Before `OTEL_EXPORTER_OTLP_ENDPOINT`; needs a
    /// build with the feature `otel` [default: nowhere].
    #[arg(long, global = true, value_name = "URL", env = "HEADWATER_OTLP_ENDPOINT")]
    otlp_endpoint: Option<String>,
}

/// How the daemon logs.
#[derive(Debug)]
pub struct LogConfig {
    /// What is logged.
    pub filter: EnvFilter,
    /// Whether each line is a JSON object.
    pub is_json: bool,
}

/// Where spans go.
#[derive(Clone, Debug, Default)]
pub struct TraceConfig {
    /// The collector's base URL, where the operator set it.
    pub endpoint: Option<String>,
}

/// Where a running daemon is, and what proves to it that the operator asks.
#[derive(Clone, Debug)]
pub struct RemoteConfig {
    /// The address of its pages.
    pub listen: SocketAddr,
    /// The origin's token.
    pub token: OriginToken,
}

/// What is wrong with the settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A file that is named cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file of settings is malformed, or has a key that there is not.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Where in it, and what.
        source: Box<toml::de::Error>,
    },
    /// Two sources do not merge. Each was checked before, so this does not happen.
    #[error("the settings do not merge: {0}")]
    Merge(#[source] Box<dyn StdError + Send + Sync>),
    /// Something that must be set is not.
    #[error("{0} must be set")]
    Missing(&'static str),
    /// Settings that exclude each other.
    #[error("{0} and {1} exclude each other")]
    Both(&'static str, &'static str),
    /// A value that does not fit.
    #[error("{name} is not valid: {source}")]
    Invalid {
        /// The setting.
        name: &'static str,
        /// Why.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// A number below zero.
    #[error("{0} must not be negative")]
    Negative(&'static str),
}

/// A format that there is not.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is neither text nor json")]
struct LogFormatError(String);

/// No address of a collector.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no URL with http or https and a host")]
struct EndpointError(String);

impl Settings {
    /// What a file says.
    ///
    /// # Errors
    /// When it cannot be read, is no TOML, or has a key or value that is none of ours.
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| SettingsError::Read { path: path.to_owned(), source })?;
        toml::from_str(&text).map_err(|source| SettingsError::File { path: path.to_owned(), source: Box::new(source) })
    }

    /// These settings, and where they are silent those of `other`.
    pub fn or(self, other: Self) -> Result<Self, SettingsError> {
        let table = |settings| toml::Table::try_from(settings).map_err(|error| SettingsError::Merge(error.into()));
        let mut merged = table(other)?;
        merged.extend(table(self)?);
        merged.try_into().map_err(|error: toml::de::Error| SettingsError::Merge(error.into()))
    }

    /// How to log.
    ///
    /// # Errors
    /// When the filter or the format does not fit.
    pub fn logs(&self) -> Result<LogConfig, SettingsError> {
        let filter =
            EnvFilter::try_new(self.log.as_deref().unwrap_or("info")).map_err(|error| invalid("log", error))?;
        let is_json = match self.log_format.as_deref() {
            None | Some("text") => false,
            Some("json") => true,
            Some(other) => return Err(invalid("log-format", LogFormatError(other.to_owned()))),
        };
        Ok(LogConfig { filter, is_json })
    }

    /// Where spans go.
    ///
    /// # Errors
    /// When that is no URL.
    pub fn traces(&self) -> Result<TraceConfig, SettingsError> {
        let Some(url) = self.otlp_endpoint.as_ref().filter(|url| !url.is_empty()) else {
            return Ok(TraceConfig::default());
        };
        let parsed = url.parse::<hyper::Uri>().ok();
        let is_fit = |parsed: &hyper::Uri| {
            matches!(parsed.scheme_str(), Some("http" | "https")) && parsed.host().is_some_and(|host| !host.is_empty())
        };
        if parsed.as_ref().is_some_and(is_fit) {
            Ok(TraceConfig { endpoint: Some(url.clone()) })
        } else {
            Err(invalid("otlp-endpoint", EndpointError(url.clone())))
        }
    }

    /// Where the daemon with these settings is; what else they say does not matter.
    ///
    /// # Errors
    /// When the address does not fit, or there is no token.
    pub fn remote(&self) -> Result<RemoteConfig, SettingsError> {
        Ok(RemoteConfig { listen: self.address()?, token: self.token()? })
    }

    fn address(&self) -> Result<SocketAddr, SettingsError> {
        parsed("listen", self.listen.as_deref().unwrap_or(LISTEN))
    }

    fn daemon_name(&self) -> Result<String, SettingsError> {
        match &self.daemon_name {
            Some(name) if name.is_empty() => Err(SettingsError::Missing("daemon-name")),
            Some(name) => Ok(name.clone()),
            None => {
                let host = nix::unistd::gethostname().map_err(|error| invalid("daemon-name", error))?;
                Ok(format!("{}/{}", host.to_string_lossy(), self.address()?))
            }
        }
    }

    fn token(&self) -> Result<OriginToken, SettingsError> {
        let secret = match (&self.origin_token_file, &self.origin_token) {
            (Some(path), _) => {
                let read = std::fs::read_to_string(path);
                read.map_err(|source| SettingsError::Read { path: path.clone(), source })?
            }
            (None, Some(token)) => token.clone(),
            (None, None) => return Err(SettingsError::Missing("origin-token-file (or origin-token)")),
        };
        OriginToken::new(secret.trim()).map_err(|error| invalid("origin-token", error))
    }

    fn location(&self) -> Result<StoreLocation, SettingsError> {
        match (&self.store, &self.data) {
            (Some(_), Some(_)) => Err(SettingsError::Both("store", "data")),
            (None, None) => Err(SettingsError::Missing("store (or data)")),
            (None, Some(path)) => Ok(StoreLocation::Embedded(path.clone())),
            (Some(urls), None) => Ok(StoreLocation::Redis(RedisConfig {
                urls: urls.iter().map(|url| parsed::<RedisUrl>("store", url)).collect::<Result<_, _>>()?,
                topology: self.topology(urls.len())?,
                credentials: Credentials {
                    username: self.store_username.clone(),
                    password_file: self.store_password_file.clone(),
                },
                tls: self.tls()?,
                stable: StableConfig {
                    means: parsed("stable", self.stable.as_deref().unwrap_or("auto"))?,
                    replicas: self.stable_replicas,
                },
            })),
        }
    }

    fn families(&self) -> Result<BTreeSet<Family>, SettingsError> {
        let Some(names) = &self.pass_through else {
            return Ok(Family::ALL.into_iter().filter(|family| *family != Family::Scripts).collect());
        };
        names.iter().filter(|name| !name.is_empty()).map(|name| parsed("pass-through", name)).collect()
    }

    fn erase_patterns(&self) -> Result<Vec<String>, SettingsError> {
        let patterns = self.erase_pattern.iter().flatten().filter(|pattern| !pattern.is_empty());
        patterns.map(|text| erasure::checked(text).map_err(|error| invalid("erase-pattern", error))).collect()
    }

    fn topology(&self, urls: usize) -> Result<Topology, SettingsError> {
        let is_cluster = self.store_cluster.unwrap_or(false);
        match &self.store_sentinel_master {
            Some(_) if is_cluster => Err(SettingsError::Both("store-sentinel-master", "store-cluster")),
            Some(master) => Ok(Topology::Sentinel {
                master: master.clone(),
                credentials: Credentials {
                    username: self.sentinel_username.clone(),
                    password_file: self.sentinel_password_file.clone(),
                },
            }),
            None if is_cluster => Ok(Topology::Cluster),
            None if urls == 1 => Ok(Topology::Single),
            None => Err(SettingsError::Missing("store-sentinel-master or store-cluster, where store is not one URL,")),
        }
    }

    fn tls(&self) -> Result<TlsFiles, SettingsError> {
        let client = match (&self.store_cert_file, &self.store_key_file) {
            (Some(certificate), Some(key)) => Some(ClientFiles { certificate: certificate.clone(), key: key.clone() }),
            (None, None) => None,
            (Some(_), None) => return Err(SettingsError::Missing("store-key-file, beside store-cert-file,")),
            (None, Some(_)) => return Err(SettingsError::Missing("store-cert-file, beside store-key-file,")),
        };
        Ok(TlsFiles { ca_file: self.store_ca_file.clone(), client })
    }
}

impl TryFrom<Settings> for DaemonConfig {
    type Error = SettingsError;

    fn try_from(settings: Settings) -> Result<Self, SettingsError> {
        let edges = settings.edge.as_deref().unwrap_or_default();
        if edges.is_empty() {
            return Err(SettingsError::Missing("edge"));
        }
        Ok(Self {
            edges: edges.iter().map(|edge| parsed::<EdgeUrl>("edge", edge)).collect::<Result<_, _>>()?,
            token: settings.token()?,
            store: settings.location()?,
            listen: settings.address()?,
            name: settings.daemon_name()?,
            loss_window_ms: positive("loss-window-ms", settings.loss_window_ms.unwrap_or(LOSS_WINDOW_MS))?,
            window_ms: positive("window-ms", settings.window_ms.unwrap_or(WINDOW_MS))?,
            lag_target_ms: positive("lag-target-ms", settings.lag_target_ms.unwrap_or(LAG_TARGET_MS))?,
            pass_through: settings.families()?,
            erase_patterns: settings.erase_patterns()?,
        })
    }
}

/// A list, or its only item.
fn one_or_many<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a text or a list of texts is expected")]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(Some(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(text) => vec![text],
        OneOrMany::Many(texts) => texts,
    }))
}

fn positive(name: &'static str, number: i64) -> Result<i64, SettingsError> {
    if number < 0 { Err(SettingsError::Negative(name)) } else { Ok(number) }
}

fn parsed<T: FromStr<Err: StdError + Send + Sync + 'static>>(
    name: &'static str,
    text: &str,
) -> Result<T, SettingsError> {
    text.parse().map_err(|error| invalid(name, error))
}

fn invalid(name: &'static str, error: impl StdError + Send + Sync + 'static) -> SettingsError {
    SettingsError::Invalid { name, source: Box::new(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Result<DaemonConfig, SettingsError> {
        toml::from_str::<Settings>(text).unwrap().try_into()
    }

    fn error(text: &str) -> String {
        config(text).unwrap_err().to_string()
    }

    const BASE: &str = "edge = ['http://e:1', 'https://f']\norigin-token = 't'\n";

    #[test]
    fn what_is_not_set_has_its_default() {
        let redis = config(&format!("{BASE}store = 'redis://127.0.0.1:1'")).unwrap();
        assert_eq!((redis.edges.len(), redis.loss_window_ms, redis.window_ms, redis.lag_target_ms), (2, 60_000, 5, 50));
        assert_eq!(redis.listen.to_string(), LISTEN);
        assert!(matches!(redis.store, StoreLocation::Redis(_)));
        assert!(redis.pass_through.contains(&Family::Lists) && !redis.pass_through.contains(&Family::Scripts));
        let file = config(&format!("{BASE}data = '/tmp/x'")).unwrap();
        assert!(matches!(file.store, StoreLocation::Embedded(_)));
    }

    #[test]
    fn what_is_wrong_is_told_by_its_name() {
        let store = "store = 'redis://127.0.0.1:1'\n";
        for (text, told) in [
            (BASE.to_owned(), "store (or data) must be set"),
            (format!("origin-token = 't'\n{store}"), "edge must be set"),
            (format!("edge = ['http://e']\n{store}"), "origin-token-file (or origin-token) must be set"),
            (format!("{BASE}{store}data = '/tmp/x'"), "store and data exclude each other"),
            (format!("{BASE}store = 'nonsense'"), "store is not valid"),
            (format!("{BASE}store = 'rediss://h/#insecure'"), "store is not valid: a URL may not end in #insecure"),
            (format!("{BASE}store = ['redis://a', 'redis://b']"), "store-sentinel-master or store-cluster, where"),
            (
                format!("{BASE}{store}store-cluster = true\nstore-sentinel-master = 'm'"),
                "store-sentinel-master and store-cluster exclude each other",
            ),
            (format!("{BASE}{store}window-ms = -1"), "window-ms must not be negative"),
            (format!("{BASE}{store}listen = 'here'"), "listen is not valid"),
            (format!("{BASE}{store}erase-pattern = 'user:*'"), "erase-pattern is not valid"),
            (format!("{BASE}{store}stable = 'always'"), "stable is not valid: \"always\" is none of auto, waitaof"),
            (format!("{BASE}{store}store-key-file = 'k'"), "store-cert-file, beside store-key-file, must be set"),
            (format!("edge = ['ftp://e']\norigin-token = 't'\n{store}"), "edge is not valid"),
            (format!("{BASE}{store}origin-token-file = '/absent'"), "cannot read /absent"),
        ] {
            assert!(error(&text).starts_with(told), "{text}: {}", error(&text));
        }
        assert!(toml::from_str::<Settings>("windows-ms = 1").is_err());
        let traces = |url: &str| toml::from_str::<Settings>(&format!("otlp-endpoint = '{url}'")).unwrap().traces();
        assert_eq!(traces("http://127.0.0.1:4318").unwrap().endpoint.as_deref(), Some("http://127.0.0.1:4318"));
        assert!(traces("").unwrap().endpoint.is_none());
        for url in ["collector:4318", "ftp://h", "/v1"] {
            assert!(traces(url).unwrap_err().to_string().starts_with("otlp-endpoint is not valid"), "{url}");
        }
    }

    #[test]
    fn the_nearer_source_counts() {
        let near: Settings = toml::from_str("window-ms = 1\nedge = ['http://near']").unwrap();
        let far: Settings = toml::from_str(&format!("{BASE}window-ms = 2\nloss-window-ms = 3\ndata = '/x'")).unwrap();
        let merged: DaemonConfig = near.or(far).unwrap().try_into().unwrap();
        assert_eq!((merged.edges.len(), merged.window_ms, merged.loss_window_ms), (1, 1, 3));
    }
}
