//! The edge's own bounds, beside those of the core.

use headwater::{
    limits::{FRAME_BYTES_MAX, FRAME_BYTES_TARGET, VALUE_BYTES_MAX},
    wire::HEADER_BYTES,
};

/// A request's JSON body. The runtime's copy, the Worker's, the decoded arguments and what goes to the hub are in memory at
/// once: four times this, in an isolate of 128 MB that serves others too.
pub(crate) const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A session token, in bytes: all the marks that it may have, each some 45 bytes of numbers at the most, in base64.
pub(crate) const SYNC_TOKEN_BYTES_MAX: usize = 5 * 1024;

/// Secrets of session tokens in force at once: the one that signs, and the one before it or after it.
pub(crate) const SYNC_SECRETS_MAX: usize = 2;

/// The least of a session token's secret, in bytes: as many as its tag has.
pub(crate) const SYNC_SECRET_BYTES_MIN: usize = 16;

/// A signed token, in bytes: what servers take in a header beside all others.
pub(crate) const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// The grants of a leaf's socket, in bytes of JSON: what the runtime keeps with a socket that sleeps is 2 KiB.
pub(crate) const SOCKET_GRANTS_BYTES_MAX: usize = 1536;

/// What a hub holds in memory unless the operator says otherwise, in bytes: half of an isolate of 128 MB. The other half is
/// for the frame that is being handled, its decoded form, blocks that are free for keys of another size, and wasm itself.
pub(crate) const MEMORY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The least that an operator may let a hub hold, in bytes: a frame to its target beside the tables of a hub that is empty.
pub(crate) const MEMORY_BYTES_MAX_LEAST: usize = FRAME_BYTES_TARGET;

/// The reason in a socket's close frame, in bytes: what a control frame holds beside the code (RFC 6455, 5.5).
pub(crate) const CLOSE_REASON_BYTES_MAX: usize = 123;

/// A relayed frame.
pub(crate) const RELAY_BYTES_MAX: usize = FRAME_BYTES_MAX + HEADER_BYTES;

/// What a leaf says in one request: its link and a frame of the largest size.
pub(crate) const POLL_BYTES_MAX: usize = RELAY_BYTES_MAX + size_of::<u128>();

/// How long a leaf's request waits for something to answer, in milliseconds: below the half minute after which proxies give a
/// silent request up, and well below the time for which its link is kept.
pub(crate) const POLL_WAIT_MS: u32 = 20_000;

/// Arguments of all commands in one request. The shortest takes 3 bytes of JSON and 32 once decoded, so a body of empty
/// strings would otherwise grow elevenfold in an isolate of 128 MB.
pub(crate) const REQUEST_ARGUMENTS_MAX: usize = 256 * 1024;

/// How long a request waits for keys from the origin, in milliseconds. Beyond it a client has long given up.
pub(crate) const REPLY_TIMEOUT_MS: u32 = 30_000;

/// How long the Worker waits for its hub, in milliseconds: a little longer than the hub itself waits, so that this tells of a
/// hub that is gone.
pub(crate) const HUB_TIMEOUT_MS: u32 = REPLY_TIMEOUT_MS + 5_000;

/// How long a hub waits for another one to answer what it hands on, in milliseconds. The leaf sends again after it.
pub(crate) const FORWARD_TIMEOUT_MS: u32 = 10_000;

/// Shards of one region: as many as there could be with one slot each would be absurd; a Directory answer stays small.
pub(crate) const SHARDS_MAX: u16 = 1024;

/// Keys that an isolate follows at one hub. Counters and limits take some hundred bytes each at both ends.
pub(crate) const FOLLOWED_MAX: usize = 4096;

/// One key that an isolate follows, in bytes of memory: a counter or a limit of a few windows, and no board.
pub(crate) const FOLLOWED_KEY_BYTES_MAX: usize = 32 * 1024;

/// How long an isolate does not ask again for a key that was too large for it, in milliseconds.
pub(crate) const TOO_LARGE_MS: i64 = 60_000;

/// Commands that an isolate answered and its hub has not acknowledged, unless the operator says otherwise: as many as are
/// lost when the isolate dies.
pub(crate) const UNACKNOWLEDGED_MAX: u32 = 100_000;

/// How old an isolate's view may be before its requests go to the hub instead, in milliseconds: a client that comes once a
/// minute should not be told the number of a minute ago.
pub(crate) const FRESH_MS_MAX: i64 = 1_000;

/// The age of an isolate's view from which a request renews it behind its answer, in milliseconds.
pub(crate) const RENEW_MS: i64 = 100;

/// How long an exchange with the hub waits for more to carry, in milliseconds: what an isolate that dies loses, and what its
/// limits are late, beside the way to the hub and back.
pub(crate) const GATHER_MS: u32 = 20;

/// How long an isolate waits before it tries again to reach its hub, in milliseconds.
pub(crate) const RETRY_MS: u32 = 250;

/// How long an exchange with the hub may take, in milliseconds.
pub(crate) const EXCHANGE_TIMEOUT_MS: u32 = 5_000;

/// Exchanges that one request makes after its answer, before the next request goes on with them.
pub(crate) const EXCHANGES_MAX: u32 = 100;

/// How long one request may make exchanges, in milliseconds; the platform lets it live for 30 seconds after its answer.
pub(crate) const EXCHANGING_MS_MAX: i64 = 10_000;

/// After how long another request takes over, in milliseconds: whoever had the exchanges is gone, since it would have ended
/// with its last one.
pub(crate) const TAKE_OVER_MS: i64 = EXCHANGING_MS_MAX + 2 * EXCHANGE_TIMEOUT_MS as i64;

/// How long a hub keeps the link of a leaf that says nothing, in milliseconds.
pub(crate) const LINK_IDLE_MS: i64 = 60_000;

/// Links to isolates and tabs without sockets of one hub: a region has some thousand machines at most, and each of them a
/// handful of isolates.
pub(crate) const LINKS_MAX: usize = 4096;

/// What waits for the leaves without sockets of one hub to take it, in bytes: an eighth of what the hub may hold.
pub(crate) const LINKS_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What waits for one client that listens to a channel, in bytes: a message of the largest size and some more.
pub(crate) const STREAM_BYTES_MAX: usize = VALUE_BYTES_MAX + 256 * 1024;

/// What waits for all clients of one hub that listen, in bytes: an eighth of what the hub may hold.
pub(crate) const STREAMS_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How long a stream says nothing, in milliseconds: below the half minute after which proxies give a silent one up.
pub(crate) const STREAM_QUIET_MS: u32 = 15_000;

/// How long a client waits to be listened for, in milliseconds: longer than the daemon waits for its Redis.
pub(crate) const LISTEN_TIMEOUT_MS: u32 = 10_000;

const _: () = assert!(TAKE_OVER_MS < 30_000);
const _: () = assert!(2 * (POLL_WAIT_MS as i64) < LINK_IDLE_MS);
