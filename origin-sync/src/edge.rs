//! What the daemon knows of an edge: where it is, and the token that proves that this is the origin.

use hyper::{
    Uri,
    header::{HeaderValue, InvalidHeaderValue},
};
use std::{fmt, str::FromStr};
use subtle::ConstantTimeEq;

/// An edge's base URL, `http` or `https`, without a trailing slash.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct EdgeUrl {
    is_tls: bool,
    /// Authority and path.
    rest: String,
}

/// Why a text is no edge's URL.
#[derive(Debug, thiserror::Error)]
pub enum EdgeUrlError {
    /// No URL at all.
    #[error("not a URL")]
    Uri(#[from] hyper::http::uri::InvalidUri),
    /// Another scheme.
    #[error("the scheme must be http or https")]
    Scheme,
    /// No host.
    #[error("the host is missing")]
    Host,
    /// A query.
    #[error("a query is not allowed")]
    Query,
}

impl FromStr for EdgeUrl {
    type Err = EdgeUrlError;

    fn from_str(text: &str) -> Result<Self, EdgeUrlError> {
        let uri: Uri = text.parse()?;
        let is_tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(EdgeUrlError::Scheme),
        };
        let authority = uri.authority().ok_or(EdgeUrlError::Host)?;
        if uri.query().is_some() {
            return Err(EdgeUrlError::Query);
        }
        Ok(Self { is_tls, rest: format!("{authority}{}", uri.path().trim_end_matches('/')) })
    }
}

impl EdgeUrl {
    /// Where the edge lists its hubs.
    pub(crate) fn hubs(&self) -> String {
        format!("{self}/v1/hubs")
    }

    /// Where a hub is dialled.
    pub(crate) fn hub(&self, name: &str) -> String {
        let scheme = if self.is_tls { "wss" } else { "ws" };
        format!("{scheme}://{}/v1/origin?hub={}", self.rest, percent_encoded(name))
    }
}

impl fmt::Display for EdgeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.is_tls { "https" } else { "http" }, self.rest)
    }
}

/// The origin's secret, the same at every edge. It is never printed.
#[derive(Clone)]
pub struct OriginToken {
    secret: String,
    header: HeaderValue,
}

impl OriginToken {
    /// A token as it stands on the command line or in a file.
    ///
    /// # Errors
    /// When it holds what a header cannot.
    pub fn new(secret: &str) -> Result<Self, InvalidHeaderValue> {
        let mut header = HeaderValue::from_str(&format!("Bearer {secret}"))?;
        header.set_sensitive(true);
        Ok(Self { secret: secret.to_owned(), header })
    }

    /// The value of an `Authorization` header.
    pub(crate) fn header(&self) -> HeaderValue {
        self.header.clone()
    }

    /// Whether an `Authorization` header bears it, in a time that does not tell how much of it was right.
    pub(crate) fn is_borne_by(&self, header: Option<&HeaderValue>) -> bool {
        header
            .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "))
            .is_some_and(|claimed| claimed.ct_eq(self.secret.as_bytes()).into())
    }
}

impl FromStr for OriginToken {
    type Err = InvalidHeaderValue;

    fn from_str(secret: &str) -> Result<Self, InvalidHeaderValue> {
        Self::new(secret)
    }
}

impl fmt::Debug for OriginToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OriginToken(…)")
    }
}

fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_built_for_both_schemes() {
        let edge: EdgeUrl = "http://127.0.0.1:8787/".parse().unwrap();
        assert_eq!(edge.hubs(), "http://127.0.0.1:8787/v1/hubs");
        assert_eq!(edge.hub("eu/0"), "ws://127.0.0.1:8787/v1/origin?hub=eu%2F0");
        let edge: EdgeUrl = "https://edge.example/base".parse().unwrap();
        assert_eq!(edge.hub("ü &"), "wss://edge.example/base/v1/origin?hub=%C3%BC%20%26");
        for wrong in ["", "edge.example", "ftp://edge.example", "http://e/?q=1"] {
            assert!(wrong.parse::<EdgeUrl>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_the_whole_token_is_accepted_and_none_is_printed() {
        let token = OriginToken::new("secret").unwrap();
        let header = |text| HeaderValue::from_static(text);
        assert!(token.is_borne_by(Some(&header("Bearer secret"))));
        for wrong in ["Bearer secre", "Bearer secrets", "secret", "Basic secret", ""] {
            assert!(!token.is_borne_by(Some(&header(wrong))), "{wrong}");
        }
        assert!(!token.is_borne_by(None));
        assert!(!format!("{token:?}").contains("secret"));
    }
}
