//! Every bound of the core, each with its derivation.
//!
//! Hosts set the outer walls: a Durable Object row holds at most 2 MB, a received socket message at most 32 MiB, and an
//! isolate 128 MB including wasm.

/// A key's bytes. Two keys and their headers fit a SQLite index page chain; a Redis companion name adds at most 16 bytes.
pub const KEY_BYTES_MAX: usize = 1024;

/// A value, member or field name. Half a Durable Object row, so that the element's metadata always fits beside it.
pub const VALUE_BYTES_MAX: usize = 1024 * 1024;

/// Arguments of one command: a wide HSET or ZADD, and still a bounded parse.
pub const ARGUMENTS_MAX: usize = 16 * 1024;

/// Elements that SRANDMEMBER and its like draw where they may repeat: as many as a command may name.
pub const RANDOM_ELEMENTS_MAX: u64 = ARGUMENTS_MAX as u64;

/// Commands in one pipeline request.
pub const PIPELINE_MAX: usize = 1024;

/// A Durable Object's row.
pub const ROW_BYTES_MAX: usize = 2_000_000;

/// A frame on a socket: three quarters of what a Durable Object receives. A sender fills frames up to a target and then
/// adds one element, which may be as large as a value.
pub const FRAME_BYTES_MAX: usize = 24 * 1024 * 1024;

/// Where a sender closes a frame and starts the next.
pub const FRAME_BYTES_TARGET: usize = 1024 * 1024;

/// How far apart the clocks of healthy nodes are taken to be (NTP), in milliseconds. Lowering a deadline by more than
/// twice this is a deliberate shortening and no skewed touch.
pub const CLOCK_BOUND_MS: i64 = 500;

/// How far ahead of the receiver a stamp may lie, in milliseconds. A frame beyond it is refused whole: one broken clock
/// must not win every later write.
pub const STAMP_AHEAD_MS_MAX: i64 = 60_000;

/// How old an operation may be when it reaches its hub, in milliseconds: the life of a tab's ticket.
pub const OPERATION_AGE_MS_MAX: i64 = TICKET_TAB_MS;

/// The life of a tab's session ticket: 30 days in milliseconds.
pub const TICKET_TAB_MS: i64 = 30 * 24 * 3_600_000;

/// The life of an isolate's session ticket: one hour in milliseconds.
pub const TICKET_ISOLATE_MS: i64 = 3_600_000;

/// How long the elements of an expired key linger, so that a late touch revives them, in milliseconds.
pub const EXPIRY_GRACE_MS: i64 = 60_000;

/// How long a key may be revoked, in milliseconds: 400 days, as long as browsers keep a cookie. Until then every node keeps it.
pub const REVOCATION_MS_MAX: i64 = REVOCATION_DAYS_MAX as i64 * 24 * 3_600_000;

/// [`REVOCATION_MS_MAX`] in days.
pub const REVOCATION_DAYS_MAX: u32 = 400;

/// How long a hub remembers the answer to an `Idempotency-Key`, in milliseconds: a day, as payment APIs do.
pub const IDEMPOTENCY_MS: i64 = 24 * 3_600_000;

/// An `Idempotency-Key`'s bytes.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;

/// Pending operations a leaf keeps before it refuses writes.
pub const PENDING_OPERATIONS_MAX: usize = 100_000;

/// Operations in one batch from a leaf.
pub const BATCH_OPERATIONS_MAX: usize = 4096;

/// One operation on its way from a leaf: what every receiver accepts, less a frame that was just below its target and as much
/// again, since the size is guessed. A leaf refuses to make a larger one, which would stay in its queue for ever.
pub const OPERATION_BYTES_MAX: usize = FRAME_BYTES_MAX_LEAST - 2 * FRAME_BYTES_TARGET;

/// Effects of one operation: a command has no more than its arguments.
pub const EFFECTS_MAX: usize = ARGUMENTS_MAX;

/// Where a delta that lists a key's changes is sent as the whole key in pieces instead, in bytes: a quarter of what every
/// receiver accepts beside a frame's target, since what names an element is guessed. Changes cannot be cut as a whole key can,
/// and a key with so many is mostly new to the receiver.
pub const CHANGES_BYTES_MAX: usize = 4 * FRAME_BYTES_TARGET;

/// The elements of one key's delta in one frame.
pub const DELTA_ELEMENTS_MAX: usize = 1 << 20;

/// How many of a board's highest a leaf may be shown without holding the board: twenty screens. They are sent whole each time.
pub const STANDINGS_TOP_MAX: u32 = 1000;

/// Of how many members a leaf may be shown the places beside the highest: a few friends.
pub const STANDINGS_MEMBERS_MAX: usize = 100;

/// Boards that one connection of a leaf may be shown so: each costs its hub a look whenever the board changes.
pub const STANDINGS_BOARDS_MAX: usize = 64;

/// How long at least between two standings of a board for others' changes, in milliseconds: as often as eyes follow.
pub const STANDINGS_MS: i64 = 100;

/// Keys that one message lists. An empty one takes a byte in a frame and some 48 decoded, so that a frame of the largest
/// size full of them would take over a gigabyte; these take 12 MiB.
pub const KEYS_LISTED_MAX: usize = 256 * 1024;

/// The memory that the decoded form of one frame may take, in bytes. The runtime's copy of the frame and the machine's own
/// stand beside it in an isolate of 128 MB. Taken from before each allocation, so that no bytes cost more.
pub const DECODED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The body from which compression is tried, in bytes. A hash of sessions of 1.4 KB halves (1 MB of them goes to 41 %), a
/// board of 2 KB loses a fifth; smaller bodies fit a socket's packet anyway, and LZ4's table costs more than they do.
pub const COMPRESS_BYTES_MIN: usize = 1024;

/// How many times its length a compressed body may unpack to. LZ4 allows 255; a set of numbered members reaches 11, so that what
/// claims more is a bomb or is sent as it is: a frame of the largest size takes at least 768 KiB to send.
pub const EXPANSION_MAX: usize = 32;

/// Keys in one message that lists keys, where a sender splits: 4 MiB of the longest.
pub const KEYS_CHUNK: usize = 4096;

/// Nodes of which one message asks for digests, or in which it exchanges what is there: some ten kilobytes.
pub const NODES_MAX: usize = 4096;

/// Into how many parts a node is split at most, as a power of two: enough that half the bits of a hash of a key are passed
/// over in one step, and a map of the parts that are not empty takes 512 bytes.
pub const DIGEST_SPLIT_MAX: u8 = 12;

/// Digests of parts in one message: 64 KiB of them.
pub const DIGESTS_MAX: usize = 32 * 1024;

/// The least body of a frame that both ends must accept, in bytes: what a sender cannot split, which is a frame just below
/// its target with one more operation or element, its name and its value, or a chunk of keys.
pub const FRAME_BYTES_MAX_LEAST: usize = 8 * 1024 * 1024;

/// What an end says of itself in a greeting, in bytes; it takes a dozen, the rest is for later versions.
pub const CAPABILITIES_BYTES_MAX: usize = 255;

/// What one request may bring to the origin to be run there, in bytes of its commands' arguments: as an operation, since it
/// goes in one frame that every receiver accepts.
pub const RUN_BYTES_MAX: usize = OPERATION_BYTES_MAX;

/// What the origin answers to one request, in bytes as a hub holds it in memory: half of what every receiver accepts in a
/// frame, where each part of it takes less.
pub const RUN_REPLY_BYTES_MAX: usize = FRAME_BYTES_MAX_LEAST / 2;

/// How deep a reply may be nested. XINFO STREAM FULL is four arrays deep.
pub const REPLY_DEPTH_MAX: usize = 16;

/// An error of Redis, in bytes: a sentence, and what it repeats of a command.
pub const ERROR_BYTES_MAX: usize = 1024;

/// Requests of one hub that the origin runs at the same time. Redis runs one command after the other, so more would wait
/// there; a client that waits for its answer has one.
pub const RUNS_MAX: usize = 256;

/// The greatest number that a hub may give its operations: a million a second for two thousand years. One beyond it was not
/// counted to.
pub const NUMBER_MAX: u64 = 1 << 56;

/// Marks of a client's session: slots of which it remembers how far it came. At most some 50 bytes each, so that all of them
/// fit a header of 5 KiB in base64.
pub const MARKS_MAX: usize = 64;

/// Topics that one hub listens to, and that one message names: with the longest names 1 MiB of them.
pub const TOPICS_MAX: usize = 1024;

/// Streams of one hub that listen to channels; each keeps its object awake, and costs it a request that is open.
pub const LISTENERS_MAX: usize = 1024;

/// The arguments of one job of an outbox, in bytes: they are a row, beside its identity.
pub const JOB_BYTES_MAX: usize = ROW_BYTES_MAX - 64 * 1024;

/// The arguments of one job of an outbox: as many as Lua passes to one call, with room to spare.
pub const JOB_ARGUMENTS_MAX: usize = 4_000;

/// Jobs that a hub keeps until they are stable, in bytes: an eighth of what it holds by default. With a loss window of a
/// minute that is 140 KB a second.
pub const OUTBOX_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Jobs in one message.
pub const JOBS_MAX: usize = 1024;

/// Grants of one strict limit whose use is told in one message. A hub has a few that it has not told, and as many again while
/// the origin is away for long, of which the oldest ended and need not be told.
pub const RIGHTS_REPORTED_MAX: usize = 256;

/// Strict limits of which a hub keeps rights, or what the origin told.
pub const RIGHTS_KEYS_MAX: usize = 64 * 1024;

/// A hub's name: a region and a shard.
pub const HUB_NAME_BYTES_MAX: usize = 255;

/// The name of a namespace, in bytes: it stands in front of every key, of which it takes the room.
pub const NAMESPACE_BYTES_MAX: usize = 32;

/// Namespaces of one deployment. Each has hubs of its own in every region, and the default one compares keys with all names.
pub const NAMESPACES_MAX: usize = 256;

/// The text of a refusal, in bytes: a sentence or two for a log.
pub const REFUSAL_BYTES_MAX: usize = 1024;

const _: () = assert!(OPERATION_BYTES_MAX > 2 * VALUE_BYTES_MAX + KEY_BYTES_MAX);
const _: () = assert!(VALUE_BYTES_MAX * 2 > ROW_BYTES_MAX / 2 && VALUE_BYTES_MAX < ROW_BYTES_MAX);
const _: () = assert!(FRAME_BYTES_TARGET + 2 * VALUE_BYTES_MAX < FRAME_BYTES_MAX);
const _: () = assert!(FRAME_BYTES_MAX < 32 * 1024 * 1024);
const _: () = assert!(STAMP_AHEAD_MS_MAX > 2 * CLOCK_BOUND_MS);
const _: () = assert!(FRAME_BYTES_TARGET + 2 * VALUE_BYTES_MAX + KEY_BYTES_MAX < FRAME_BYTES_MAX_LEAST);
const _: () = assert!(FRAME_BYTES_TARGET + CHANGES_BYTES_MAX + VALUE_BYTES_MAX < FRAME_BYTES_MAX_LEAST);
const _: () = assert!(KEYS_CHUNK * (KEY_BYTES_MAX + 2) < FRAME_BYTES_MAX_LEAST && KEYS_CHUNK < KEYS_LISTED_MAX);
const _: () = assert!(FRAME_BYTES_TARGET + JOB_BYTES_MAX < FRAME_BYTES_MAX_LEAST && JOB_ARGUMENTS_MAX < ARGUMENTS_MAX);
const _: () = assert!(RUN_BYTES_MAX + FRAME_BYTES_TARGET < FRAME_BYTES_MAX_LEAST);
const _: () = assert!(TOPICS_MAX * (KEY_BYTES_MAX + 3) < FRAME_BYTES_MAX_LEAST && LISTENERS_MAX <= TOPICS_MAX);
const _: () = assert!(VALUE_BYTES_MAX + 2 * KEY_BYTES_MAX + 16 < FRAME_BYTES_MAX_LEAST);
const _: () = assert!(RUN_REPLY_BYTES_MAX + PIPELINE_MAX * ERROR_BYTES_MAX < FRAME_BYTES_MAX_LEAST);
const _: () = assert!(2 * FRAME_BYTES_MAX + DECODED_BYTES_MAX < 128_000_000);
