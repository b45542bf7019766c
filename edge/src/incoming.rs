//! A request as it comes in: the runtime's, and beside it what nearly every request is asked for, which the entry point
//! (`entry.js`) has read already. To ask JavaScript for one header takes longer than to execute a command.

use crate::refusal::Refusal;
use futures_util::StreamExt;
use worker::{Method, Request, Url, web_sys};

/// What came in.
pub(crate) struct Incoming {
    raw: web_sys::Request,
    method: Method,
    url: String,
    /// The body, if it was read already.
    body: Option<Vec<u8>>,
    pub(crate) sent: Sent,
}

/// The headers that commands and limits look at.
pub(crate) struct Sent {
    /// `Authorization`
    pub(crate) authorization: Option<String>,
    /// `Idempotency-Key`
    pub(crate) idempotency_key: Option<String>,
    /// `Upstash-Encoding`
    pub(crate) encoding: Option<String>,
    /// `Upstash-Sync-Token`
    pub(crate) sync_token: Option<String>,
    /// `Headwater-Durability`
    pub(crate) durability: Option<String>,
    /// `Headwater-Consistency`
    pub(crate) consistency: Option<String>,
}

impl Incoming {
    pub(crate) fn new(raw: web_sys::Request, method: String, url: String, body: Option<Vec<u8>>, sent: Sent) -> Self {
        Self { raw, method: method.into(), url, body, sent }
    }

    pub(crate) fn method(&self) -> Method {
        self.method.clone()
    }

    /// The path of its URL, as it was written.
    pub(crate) fn path(&self) -> &str {
        path_of(&self.url)
    }

    pub(crate) fn url(&self) -> worker::Result<Url> {
        Ok(Url::parse(&self.url)?)
    }

    /// The request as the runtime's library has it.
    pub(crate) fn request(&self) -> Request {
        // The object's own `clone` would split its body in two.
        Clone::clone(&self.raw).into()
    }

    /// The body, unless it is longer than `bytes_max`.
    pub(crate) async fn body(&mut self, bytes_max: usize) -> Result<Vec<u8>, Refusal> {
        if let Some(body) = self.body.take() {
            return if body.len() > bytes_max { Err(Refusal::TooLarge(bytes_max)) } else { Ok(body) };
        }
        let mut request = self.request();
        let announced = request.headers().get("content-length")?.and_then(|length| length.parse::<usize>().ok());
        if let Some(length) = announced {
            return if length > bytes_max { Err(Refusal::TooLarge(bytes_max)) } else { Ok(request.bytes().await?) };
        }
        if self.raw.body().is_none() {
            return Ok(Vec::new());
        }
        let mut chunks = request.stream()?;
        let mut body = Vec::new();
        while let Some(chunk) = chunks.next().await {
            body.extend_from_slice(&chunk?);
            if body.len() > bytes_max {
                return Err(Refusal::TooLarge(bytes_max));
            }
        }
        Ok(body)
    }
}

/// The path in a URL that the runtime has written, which has a scheme, a host and a path of at least a slash.
fn path_of(url: &str) -> &str {
    let after_scheme = url.find("://").map_or(0, |at| at + "://".len());
    let rest = url.get(after_scheme..).unwrap_or_default();
    let path = rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/");
    path.find(['?', '#']).and_then(|at| path.get(..at)).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::path_of;

    #[test]
    fn the_path_is_what_stands_between_host_and_query() {
        for (url, path) in [
            ("https://example.com/", "/"),
            ("https://example.com/get/a%2Fb", "/get/a%2Fb"),
            ("http://127.0.0.1:8787/set/k/v?EX=1/2", "/set/k/v"),
            ("https://example.com/#x", "/"),
            ("https://example.com", "/"),
        ] {
            assert_eq!(path_of(url), path, "{url}");
        }
    }
}
