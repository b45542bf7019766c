//! Why a request is refused before it reaches a hub, or by what came of it there.

use crate::{
    auth::Unauthorized,
    config::ConfigError,
    fields::BadField,
    level::BadLevel,
    limit::{Answer, BadCheck},
    limits::SOCKET_GRANTS_BYTES_MAX,
    peers::PeerError,
    rest,
    scenario::{BadCall, Unanswered},
    session::BadSession,
};
use headwater::{command::CommandError, grant::TopicNotPermitted, id::BadKey, limits::IDEMPOTENCY_KEY_BYTES_MAX};
use worker::Method;

/// Why a request is refused before it reaches a hub.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(transparent)]
    Unauthorized(#[from] Unauthorized),
    #[error("{0}")]
    NotPermitted(#[source] CommandError),
    #[error(
        "ERR Headwater: the rate of the token is used up, and nothing of the request was executed; \
             the headers say when it passes again"
    )]
    Rate(Answer),
    #[error("ERR Headwater: the rate of the token cannot be decided now, and nothing of the request was executed: {0}")]
    RateUndecided(String),
    #[error("ERR Headwater: a socket's token has grants of at most {SOCKET_GRANTS_BYTES_MAX} bytes")]
    SocketGrants,
    #[error("ERR Headwater: the body has more than {0} bytes")]
    TooLarge(usize),
    #[error(transparent)]
    Body(#[from] rest::BadBody),
    #[error(transparent)]
    Check(#[from] BadCheck),
    #[error(transparent)]
    Call(#[from] BadCall),
    #[error(transparent)]
    Field(#[from] BadField),
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
    #[error(transparent)]
    NotErased(Unanswered),
    #[error("ERR Headwater: an Idempotency-Key has 1 to {IDEMPOTENCY_KEY_BYTES_MAX} bytes")]
    IdempotencyKey,
    #[error(
        "ERR Headwater: another call bore this Idempotency-Key, and nothing was executed; draw a key for each call, and \
             repeat a call as it was"
    )]
    OtherCall,
    #[error(transparent)]
    Level(#[from] BadLevel),
    #[error(transparent)]
    Session(#[from] BadSession),
    #[error("{0}")]
    Shards(#[from] CommandError),
    #[error("ERR Headwater: the query needs {0}")]
    Query(&'static str),
    #[error(
        "ERR Headwater: MONITOR and SSUBSCRIBE are not served; SUBSCRIBE and PSUBSCRIBE are, and /v1/leaf follows keys"
    )]
    Stream,
    #[error(
        "ERR Headwater: a stream is of one channel or pattern, as /subscribe/NAME with / and ? written %2F and %3F"
    )]
    OneTopic,
    #[error(transparent)]
    Topic(#[from] BadKey),
    #[error(transparent)]
    TopicNotPermitted(#[from] TopicNotPermitted),
    #[error("ERR Headwater: the body begins with the link, 16 bytes")]
    Link,
    #[error("ERR Headwater: no hub is called {0}")]
    NoSuchHub(String),
    #[error("ERR Headwater: this is the address of a WebSocket")]
    NoUpgrade,
    #[error("ERR Headwater: there is nothing at this address")]
    NotFound,
    #[error("ERR Headwater: the address does not take {0}")]
    Method(Method),
    #[error("ERR Headwater: {0}")]
    Config(#[from] ConfigError),
    #[error("ERR Headwater: the hub cannot be reached: {0}")]
    Unreachable(#[source] PeerError),
    #[error(
        "ERR Headwater: the hub was interrupted, and whether the command was executed is unknown. \
             It is safe to retry with the same Idempotency-Key. ({0})"
    )]
    Runtime(#[from] worker::Error),
    #[error("ERR Headwater: the hub's answer cannot be read: {0}")]
    Answer(#[from] serde_json::Error),
    #[error(
        "ERR Headwater: the hub does not answer, and whether the command was executed is unknown. \
             It is safe to retry with the same Idempotency-Key."
    )]
    TimedOut,
}

impl From<PeerError> for Refusal {
    fn from(error: PeerError) -> Self {
        match error {
            PeerError::Runtime(error) => Self::Runtime(error),
            PeerError::TimedOut(_) => Self::TimedOut,
            error => Self::Unreachable(error),
        }
    }
}

impl Refusal {
    /// What it is as HTTP.
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::Body(_)
            | Self::Check(_)
            | Self::Call(_)
            | Self::Field(_)
            | Self::IdempotencyKey
            | Self::Level(_)
            | Self::Session(_)
            | Self::Shards(_)
            | Self::Query(_)
            | Self::Link
            | Self::OneTopic
            | Self::Topic(_)
            | Self::Stream => 400,
            Self::Unanswered(error) => error.status(),
            Self::Unauthorized(_) => 401,
            Self::NotPermitted(_) | Self::TopicNotPermitted(_) | Self::SocketGrants => 403,
            Self::NotFound | Self::NoSuchHub(_) => 404,
            Self::Method(_) => 405,
            Self::TooLarge(_) => 413,
            Self::OtherCall => 422,
            Self::NotErased(_) => 409,
            Self::Rate(_) => 429,
            Self::NoUpgrade => 426,
            Self::Config(_) => 500,
            Self::RateUndecided(_) | Self::Unreachable(_) | Self::Runtime(_) | Self::Answer(_) => 503,
            Self::TimedOut => 504,
        }
    }
}
