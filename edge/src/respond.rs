//! Responses in the forms that clients of the edge get.

use crate::{cors, level, rest};
use futures_util::Stream;
use std::fmt;
use worker::{Headers, Response, Result};

/// The header in which `@upstash/redis` carries what it has seen from one request to the next.
pub(crate) const SYNC_TOKEN: &str = "upstash-sync-token";

/// JSON with this status.
pub(crate) fn json(status: u16, body: Vec<u8>) -> Result<Response> {
    let headers = Headers::new();
    cors::allow(&headers)?;
    headers.set("content-type", "application/json")?;
    Ok(Response::builder().with_status(status).with_headers(headers).fixed(body))
}

/// Frames for a tab.
pub(crate) fn bytes(body: Vec<u8>) -> Result<Response> {
    let headers = Headers::new();
    cors::allow(&headers)?;
    headers.set("content-type", "application/octet-stream")?;
    Ok(Response::builder().with_headers(headers).fixed(body))
}

/// JSON of replies, some of which may rest on this hub's own writes alone.
///
/// `sync_token` is what the client has seen with them.
pub(crate) fn replies(status: u16, body: Vec<u8>, provisional: bool, sync_token: Option<&str>) -> Result<Response> {
    let response = json(status, body)?;
    if let Some(token) = sync_token {
        response.headers().set(SYNC_TOKEN, token)?;
    }
    if provisional {
        response.headers().set("headwater-provisional", "true")?;
    }
    Ok(response)
}

/// Server-sent events, as they come.
pub(crate) fn events(body: impl Stream<Item = Result<Vec<u8>>> + 'static) -> Result<Response> {
    let headers = Headers::new();
    cors::allow(&headers)?;
    headers.set("content-type", "text/event-stream")?;
    headers.set("cache-control", "no-store")?;
    // Some proxies gather what they pass on, unless they are told not to.
    headers.set("x-accel-buffering", "no")?;
    Response::builder().with_headers(headers).from_stream(body)
}

/// What an isolate answered from its own memory, which heard so many milliseconds ago from its hub.
pub(crate) fn from_leaf(response: Response, staleness_ms: i64) -> Result<Response> {
    response.headers().set(level::DURABILITY, level::LEAF)?;
    response.headers().set(level::STALENESS, &staleness_ms.to_string())?;
    Ok(response)
}

/// `{"error": "…"}` with this status.
pub(crate) fn error(status: u16, error: &dyn fmt::Display) -> Result<Response> {
    json(status, rest::error_body(error))
}
