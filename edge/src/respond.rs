//! Responses in the forms that clients of the edge get.

use crate::{cors, rest};
use std::fmt;
use worker::{Headers, Response, Result};

/// JSON with this status.
pub(crate) fn json(status: u16, body: Vec<u8>) -> Result<Response> {
    let headers = Headers::new();
    cors::allow(&headers)?;
    headers.set("content-type", "application/json")?;
    Ok(Response::builder().with_status(status).with_headers(headers).fixed(body))
}

/// JSON of replies, some of which may rest on this hub's own writes alone.
pub(crate) fn replies(status: u16, body: Vec<u8>, provisional: bool) -> Result<Response> {
    let response = json(status, body)?;
    if provisional {
        response.headers().set("headwater-provisional", "true")?;
    }
    Ok(response)
}

/// `{"error": "…"}` with this status.
pub(crate) fn error(status: u16, error: &dyn fmt::Display) -> Result<Response> {
    json(status, rest::error_body(error))
}
