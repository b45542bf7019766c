//! Responses in the forms that clients of the edge get.

use crate::{cors, host, level, rest};
use futures_util::Stream;
use std::fmt;
use wasm_bindgen::JsCast;
use worker::{
    Headers, Response, Result,
    js_sys::{Array, Uint8Array},
    web_sys,
};

/// The header in which `@upstash/redis` carries what it has seen from one request to the next.
pub(crate) const SYNC_TOKEN: &str = "upstash-sync-token";

/// The header that says that a reply rests on this hub's own writes alone.
pub(crate) const PROVISIONAL: &str = "headwater-provisional";

/// A response of JSON, put together here and made in one call.
pub(crate) struct Json {
    status: u16,
    body: Vec<u8>,
    /// Further headers: the name of each and its value on a line of their own, which no header has two of.
    lines: String,
}

impl Json {
    pub(crate) fn new(status: u16, body: Vec<u8>) -> Self {
        Self { status, body, lines: String::new() }
    }

    /// `{"error": "…"}` with this status.
    pub(crate) fn error(status: u16, error: &dyn fmt::Display) -> Self {
        Self::new(status, rest::error_body(error))
    }

    /// With one more header, unless there is no value.
    pub(crate) fn with(mut self, name: &str, value: Option<&str>) -> Self {
        if let Some(value) = value {
            for word in [name, "\n", value, "\n"] {
                self.lines.push_str(word);
            }
        }
        self
    }

    /// With all of these.
    pub(crate) fn with_all(self, headers: &[(&'static str, String)]) -> Self {
        headers.iter().fold(self, |json, (name, value)| json.with(name, Some(value)))
    }

    /// Of replies, some of which may rest on this hub's own writes alone. `sync_token` is what the client has seen with them.
    pub(crate) fn replies(status: u16, body: Vec<u8>, provisional: bool, sync_token: Option<&str>) -> Self {
        Self::new(status, body).with(SYNC_TOKEN, sync_token).with(PROVISIONAL, provisional.then_some("true"))
    }

    /// As an isolate answers from its own memory, which heard so many milliseconds ago from its hub.
    pub(crate) fn of_leaf(self, staleness_ms: i64) -> Self {
        self.with(level::DURABILITY, Some(level::LEAF)).with(level::STALENESS, Some(&staleness_ms.to_string()))
    }

    pub(crate) fn into_response(self) -> Result<web_sys::Response> {
        Ok(host::reply(self.status, &self.body, &self.lines)?)
    }

    /// As an object hands it to the Worker.
    pub(crate) fn into_parts(self) -> Array {
        Array::of3(&self.status.into(), &Uint8Array::from(self.body.as_slice()), &self.lines.into())
    }

    /// What [`Json::into_parts`] made; none of what it cannot have made.
    pub(crate) fn of_parts(parts: &Array) -> Option<Self> {
        let status = parts.get(0).as_f64().filter(|status| (100.0..600.0).contains(status))? as u16;
        let body = parts.get(1).dyn_ref::<Uint8Array>()?.to_vec();
        Some(Self { status, body, lines: parts.get(2).as_string()? })
    }

    /// The value of a further header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut words = self.lines.lines();
        while let (Some(found), Some(value)) = (words.next(), words.next()) {
            if found == name {
                return Some(value);
            }
        }
        None
    }

    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }
}

/// Text with this status.
pub(crate) fn plain(status: u16, text: &str) -> web_sys::Response {
    Response::builder().with_status(status).fixed(text.as_bytes().to_vec()).into()
}

/// Frames for a tab.
pub(crate) fn bytes(body: Vec<u8>) -> Result<Response> {
    let headers = Headers::new();
    cors::allow(&headers)?;
    headers.set("content-type", "application/octet-stream")?;
    Ok(Response::builder().with_headers(headers).fixed(body))
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

/// As [`Json::error`], from an object that is asked by a request.
pub(crate) fn error(status: u16, error: &dyn fmt::Display) -> Result<Response> {
    Ok(Json::error(status, error).into_response()?.into())
}
