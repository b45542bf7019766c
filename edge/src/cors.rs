//! Browsers of any site may call: tokens, not cookies, say who asks, so there is no ambient authority to guard.

use crate::host;
use worker::{Headers, Response, Result};

/// A day, the longest that any browser keeps it.
const PREFLIGHT_SECONDS: &str = "86400";

/// Lets scripts of any origin read the answer.
pub(crate) fn allow(headers: &Headers) -> Result<()> {
    headers.set("access-control-allow-origin", "*")?;
    headers.set("access-control-expose-headers", &host::exposed())
}

/// Answers a preflight.
pub(crate) fn preflight() -> Result<Response> {
    let headers = Headers::new();
    allow(&headers)?;
    headers.set("access-control-allow-methods", "GET, POST, PUT, OPTIONS")?;
    // The wildcard does not cover Authorization. It lets pass what Upstash's client tells about itself.
    headers.set("access-control-allow-headers", "Authorization, *")?;
    headers.set("access-control-max-age", PREFLIGHT_SECONDS)?;
    Ok(Response::empty()?.with_status(204).with_headers(headers))
}
