//! Scenarios as an API of their own, `POST /v1/SCENARIO/VERB`: JSON in, JSON out.
//!
//! All are of one shape. A verb reads its fields, has commands on ordinary keys run by the hub of these keys, each list of them in
//! one step ([`Desk::run`]), and says what came of it. So whatever it stores any Redis client at the origin reads; what the
//! bearer of a token may do is what it may do to these keys; and no rule about data is here. A verb that writes does so in one step, so
//! that it can be done once ([`Desk::write`]).

mod cache;
mod denial;
mod desk;
mod erasure;
mod flags;
mod jobs;
mod locks;
mod metrics;
mod once;
mod presence;
mod sessions;

use crate::{fields::Fields, refusal::Refusal, rest::Shape};
use serde_json::{Map, Value};

pub(crate) use desk::{Answer, Desk, Unanswered};
pub(crate) use once::Once;

/// The body is no call.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadCall {
    /// Not even JSON.
    #[error("ERR Headwater: the body is no JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Something else.
    #[error("ERR Headwater: the body must be an object")]
    Shape,
}

/// What is asked of a scenario.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verb {
    CreateSession,
    ReadSession,
    UpdateSession,
    RotateSession,
    RevokeSession,
    RevokeSessions,
    DenyToken,
    CheckTokens,
    LookUp,
    Fill,
    Forget,
    ReadFlags,
    Join,
    Beat,
    Leave,
    ListPresent,
    AddMetric,
    ReadMetric,
    AcquireLock,
    ExtendLock,
    ReleaseLock,
    AddJob,
    ReadJobs,
    Erase,
}

const VERBS: [(&str, Verb); 24] = [
    ("/v1/sessions/create", Verb::CreateSession),
    ("/v1/sessions/read", Verb::ReadSession),
    ("/v1/sessions/update", Verb::UpdateSession),
    ("/v1/sessions/rotate", Verb::RotateSession),
    ("/v1/sessions/revoke", Verb::RevokeSession),
    ("/v1/sessions/revoke-all", Verb::RevokeSessions),
    ("/v1/tokens/deny", Verb::DenyToken),
    ("/v1/tokens/check", Verb::CheckTokens),
    ("/v1/cache/get", Verb::LookUp),
    ("/v1/cache/put", Verb::Fill),
    ("/v1/cache/forget", Verb::Forget),
    ("/v1/flags/read", Verb::ReadFlags),
    ("/v1/presence/join", Verb::Join),
    ("/v1/presence/beat", Verb::Beat),
    ("/v1/presence/leave", Verb::Leave),
    ("/v1/presence/list", Verb::ListPresent),
    ("/v1/metrics/add", Verb::AddMetric),
    ("/v1/metrics/read", Verb::ReadMetric),
    ("/v1/locks/acquire", Verb::AcquireLock),
    ("/v1/locks/extend", Verb::ExtendLock),
    ("/v1/locks/release", Verb::ReleaseLock),
    ("/v1/jobs/add", Verb::AddJob),
    ("/v1/jobs/state", Verb::ReadJobs),
    ("/v1/erase", Verb::Erase),
];

impl Verb {
    /// The verb at this address.
    pub(crate) fn find(path: &str) -> Option<Self> {
        VERBS.iter().find(|(known, _)| *known == path).map(|(_, verb)| *verb)
    }

    /// How its commands go to the hub: in one step, but for those that the origin executes.
    pub(crate) fn shape(self) -> Shape {
        match self {
            Self::AcquireLock | Self::ExtendLock | Self::ReleaseLock | Self::AddJob | Self::Erase => Shape::Pipeline,
            _ => Shape::Transaction,
        }
    }

    /// Does what is asked.
    pub(crate) async fn answer(self, body: &[u8], desk: &Desk<'_>) -> Result<Answer, Refusal> {
        let map = object(body)?;
        let fields = Fields::of("", &map);
        match self {
            Self::CreateSession => sessions::create(fields, desk).await,
            Self::ReadSession => sessions::read(fields, desk).await,
            Self::UpdateSession => sessions::update(fields, desk).await,
            Self::RotateSession => sessions::rotate(fields, desk).await,
            Self::RevokeSession => sessions::revoke(fields, desk).await,
            Self::RevokeSessions => sessions::revoke_all(fields, desk).await,
            Self::DenyToken => denial::deny(fields, desk).await,
            Self::CheckTokens => denial::check(fields, desk).await,
            Self::LookUp => cache::get(fields, desk).await,
            Self::Fill => cache::put(fields, desk).await,
            Self::Forget => cache::forget(fields, desk).await,
            Self::ReadFlags => flags::read(fields, desk).await,
            Self::Join => presence::join(fields, desk).await,
            Self::Beat => presence::beat(fields, desk).await,
            Self::Leave => presence::leave(fields, desk).await,
            Self::ListPresent => presence::list(fields, desk).await,
            Self::AddMetric => metrics::add(fields, desk).await,
            Self::ReadMetric => metrics::read(fields, desk).await,
            Self::AcquireLock => locks::acquire(fields, desk).await,
            Self::ExtendLock => locks::extend(fields, desk).await,
            Self::ReleaseLock => locks::release(fields, desk).await,
            Self::AddJob => jobs::add(fields, desk).await,
            Self::ReadJobs => jobs::state(fields, desk).await,
            Self::Erase => erasure::erase(fields, desk).await,
        }
    }
}

fn object(body: &[u8]) -> Result<Map<String, Value>, BadCall> {
    match serde_json::from_slice(body)? {
        Value::Object(map) => Ok(map),
        _ => Err(BadCall::Shape),
    }
}
