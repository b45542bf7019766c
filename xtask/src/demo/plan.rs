//! From a log entry to commands: which edge gets what, under which idempotency key. Pure and repeatable, so that a retry after any
//! crash says the same words.
//!
//! An address has a home edge. Its session is written there and nowhere else, because "the last path" needs one order; everything
//! else is commutative, and of every tenth request of an address it goes to another edge to prove that.

use super::keys;
use super::log::Entry;

/// One command, as the edge's HTTP interface takes it.
pub(crate) type Command = Vec<String>;

/// Every how many requests of an address one goes elsewhere.
const AWAY_EVERY: u64 = 10;

/// What one edge is asked to do for one line, in one pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// Which edge, by its place in the list of edges.
    pub(crate) edge: usize,
    /// The same for the same line and edge.
    pub(crate) idempotency_key: String,
    /// The commands, in order.
    pub(crate) commands: Vec<Command>,
}

/// The requests for an entry that is its address's `nth`, from 1. One request, or two where the line goes to two edges.
///
/// `edges` must not be 0.
pub(crate) fn requests(entry: &Entry, nth: u64, edges: usize) -> Vec<Request> {
    let home = home(&entry.address, edges);
    let away = away(home, nth, edges);
    let request = |edge, commands| Request { edge, idempotency_key: format!("line-{}-{edge}", entry.line), commands };
    if away == home {
        let mut commands = shared_commands(entry);
        commands.extend(session_commands(entry));
        vec![request(home, commands)]
    } else {
        vec![request(home, session_commands(entry)), request(away, shared_commands(entry))]
    }
}

/// The edge where an address's session lives: FNV-1a, because it must not change with the compiler.
fn home(address: &str, edges: usize) -> usize {
    let hash = address
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    // The low bits of FNV-1a mix worst, so the high ones choose. The remainder is below `edges`, which is a usize.
    ((hash >> 32) % edges as u64) as usize
}

/// Where the commutative commands of an address's `nth` request go: home, but every tenth time elsewhere, in turn.
fn away(home: usize, nth: u64, edges: usize) -> usize {
    let others = edges as u64 - 1;
    if others == 0 || !nth.is_multiple_of(AWAY_EVERY) {
        return home;
    }
    (home + 1 + (nth / AWAY_EVERY % others) as usize) % edges
}

fn shared_commands(entry: &Entry) -> Vec<Command> {
    let mut commands = Vec::with_capacity(10);
    for key in [keys::HITS_TOTAL.to_owned(), keys::hits_status(entry.status), keys::hits_minute(entry.time)] {
        commands.push(command(["INCR", &key]));
        commands.push(command(["EXPIRE", &key, &keys::HITS_TTL_S.to_string()]));
    }
    let bytes = entry.bytes.to_string();
    commands.push(command(["ZINCRBY", keys::BOARD_PATHS, "1", &entry.path]));
    commands.push(command(["ZINCRBY", keys::BOARD_BYTES, &bytes, &entry.path]));
    commands.push(command(["ZADD", keys::BOARD_LARGEST, "GT", &bytes, &entry.path]));
    commands.push(command(["SADD", &keys::visitors(entry.time), &entry.address]));
    commands
}

fn session_commands(entry: &Entry) -> Vec<Command> {
    let key = keys::session(&entry.address);
    vec![
        command(["HSET", &key, keys::SESSION_PATH, &entry.path]),
        command(["HINCRBY", &key, keys::SESSION_HITS, "1"]),
        command(["HINCRBY", &key, keys::SESSION_BYTES, &entry.bytes.to_string()]),
        command(["EXPIRE", &key, &keys::SESSION_TTL_S.to_string()]),
    ]
}

fn command<const N: usize>(words: [&str; N]) -> Command {
    words.map(str::to_owned).into()
}

#[cfg(test)]
mod tests {
    use super::super::log::parse;
    use super::*;

    fn entry(address: &str) -> Entry {
        let text = format!(r#"{address} - - [17/May/2015:10:05:03 +0000] "GET /x HTTP/1.1" 200 10 "-" "-""#);
        parse(7, text.as_bytes()).unwrap()
    }

    fn touches_session(request: &Request) -> bool {
        request.commands.iter().any(|command| command[1].starts_with("session:"))
    }

    #[test]
    fn a_session_never_leaves_home() {
        for address in ["10.0.0.1", "10.0.0.2", "some.host.example", "::1"] {
            let homes: std::collections::BTreeSet<usize> = (1..=100)
                .flat_map(|nth| requests(&entry(address), nth, 3))
                .filter(touches_session)
                .map(|request| request.edge)
                .collect();
            assert_eq!(homes.len(), 1, "{address}");
        }
    }

    #[test]
    fn every_tenth_request_visits_the_other_edges_in_turn() {
        let entry = entry("10.0.0.1");
        let home = home(&entry.address, 3);
        let mut visited = std::collections::BTreeSet::new();
        for nth in 1..=40 {
            let requests = requests(&entry, nth, 3);
            assert_eq!(requests.len(), if nth % 10 == 0 { 2 } else { 1 }, "request {nth}");
            visited.extend(requests.iter().filter(|request| request.edge != home).map(|request| request.edge));
        }
        assert_eq!(visited.len(), 2);
    }

    #[test]
    fn idempotency_keys_differ_by_edge_and_repeat_by_line() {
        let twice = || requests(&entry("10.0.0.1"), 10, 3);
        assert_eq!(twice(), twice());
        assert_ne!(twice()[0].idempotency_key, twice()[1].idempotency_key);
    }

    #[test]
    fn both_ways_carry_the_same_commands() {
        let commands = |nth| {
            let mut all: Vec<_> =
                requests(&entry("a"), nth, 3).into_iter().flat_map(|request| request.commands).collect();
            all.sort();
            all
        };
        assert_eq!(commands(1), commands(10));
        assert_eq!(commands(1).len(), 14);
    }

    #[test]
    fn one_edge_alone_gets_everything() {
        assert_eq!(requests(&entry("a"), 10, 1).len(), 1);
    }

    #[test]
    fn addresses_spread_over_the_edges() {
        let mut counts = [0_u32; 3];
        for host in 0..=255 {
            counts[home(&format!("192.0.2.{host}"), 3)] += 1;
        }
        assert!(counts.iter().all(|count| *count > 50), "{counts:?}");
    }
}
