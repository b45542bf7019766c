//! The names under which the demo keeps what it counts. Plan and truth share these and nothing else.

use super::log::LogTime;

/// All requests.
pub(crate) const HITS_TOTAL: &str = "hits:total";
/// Paths by requests.
pub(crate) const BOARD_PATHS: &str = "board:paths";
/// Paths by the sum of their responses' sizes.
pub(crate) const BOARD_BYTES: &str = "board:bytes";
/// Paths by their largest response.
pub(crate) const BOARD_LARGEST: &str = "board:largest";
/// A session's last path.
pub(crate) const SESSION_PATH: &str = "path";
/// A session's requests.
pub(crate) const SESSION_HITS: &str = "hits";
/// The sum of a session's responses' sizes.
pub(crate) const SESSION_BYTES: &str = "bytes";

/// How long a hit counter lives after its last hit. The log is years old, so this counts from now.
pub(crate) const HITS_TTL_S: u64 = 86_400;
/// How long a session lives after its last request.
pub(crate) const SESSION_TTL_S: u64 = 1_800;

/// Keys under these belong to Headwater itself and to the lag probe.
pub(crate) const FOREIGN_PREFIXES: [&str; 2] = ["hw:", PROBE_PREFIX];
/// The lag probe's counters, one per edge.
pub(crate) const PROBE_PREFIX: &str = "probe:";

/// Requests by status.
pub(crate) fn hits_status(status: u16) -> String {
    format!("hits:status:{status}")
}

/// Requests by the log's minute.
pub(crate) fn hits_minute(time: LogTime) -> String {
    format!("hits:minute:{}", time.minute())
}

/// The addresses of a day.
pub(crate) fn visitors(time: LogTime) -> String {
    format!("visitors:{}", time.day())
}

/// An address's session.
pub(crate) fn session(address: &str) -> String {
    format!("session:{address}")
}

/// The lag probe's counter at one edge.
pub(crate) fn probe(region: &str) -> String {
    format!("{PROBE_PREFIX}{region}")
}
