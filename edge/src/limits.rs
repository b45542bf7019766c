//! The edge's own bounds, beside those of the core.

use headwater::{
    limits::{FRAME_BYTES_MAX, FRAME_BYTES_TARGET},
    wire::HEADER_BYTES,
};

/// A request's JSON body. The runtime's copy, the Worker's, the decoded arguments and what goes to the hub are in memory at
/// once: four times this, in an isolate of 128 MB that serves others too.
pub(crate) const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A sync token that is handed back, in bytes; Upstash's own have some dozens.
pub(crate) const SYNC_TOKEN_BYTES_MAX: usize = 1024;

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
