//! Who may ask: shared tokens, compared in constant time.

use subtle::ConstantTimeEq;
use worker::Headers;

/// The prefix under which a browser passes its token among the subprotocols of a WebSocket, where it can set no header.
const PROTOCOL_PREFIX: &str = "bearer.";

/// The subprotocol that the server selects when a client offers any.
pub(crate) const PROTOCOL: &str = "headwater";

/// Whether the request bears `token` in its `Authorization` header.
pub(crate) fn is_bearer(headers: &Headers, token: &str) -> bool {
    let sent = headers.get("authorization").ok().flatten().unwrap_or_default();
    bearer(&sent).is_some_and(|sent| is_same(sent, token))
}

/// Whether the request bears `token` in its header or its query.
pub(crate) fn is_query_bearer(headers: &Headers, query_token: Option<&str>, token: &str) -> bool {
    is_bearer(headers, token) || query_token.is_some_and(|sent| is_same(sent, token))
}

/// Whether the upgrade bears `token` in its header, its query or its subprotocols.
pub(crate) fn is_socket_bearer(headers: &Headers, query_token: Option<&str>, token: &str) -> bool {
    let protocols = headers.get("sec-websocket-protocol").ok().flatten().unwrap_or_default();
    is_query_bearer(headers, query_token, token) || protocol_token(&protocols).is_some_and(|sent| is_same(sent, token))
}

/// The credentials after the scheme, which is named in any case.
fn bearer(header: &str) -> Option<&str> {
    let (scheme, credentials) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| credentials.trim())
}

fn protocol_token(protocols: &str) -> Option<&str> {
    protocols.split(',').find_map(|offered| offered.trim().strip_prefix(PROTOCOL_PREFIX))
}

/// Only the lengths show in the time it takes. An edge without a token lets nobody in.
fn is_same(sent: &str, token: &str) -> bool {
    !token.is_empty() && bool::from(sent.as_bytes().ct_eq(token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_is_the_token() {
        assert!(is_same("secret", "secret"));
        for sent in ["", "secre", "secrets", "Secret"] {
            assert!(!is_same(sent, "secret"), "{sent}");
        }
        assert!(!is_same("", ""));
    }

    #[test]
    fn tokens_are_found_where_clients_put_them() {
        assert_eq!(bearer("Bearer abc"), Some("abc"));
        assert_eq!(bearer("bearer  abc "), Some("abc"));
        assert_eq!(bearer("Basic abc"), None);
        assert_eq!(bearer("abc"), None);
        assert_eq!(protocol_token("headwater, bearer.abc"), Some("abc"));
        assert_eq!(protocol_token("headwater"), None);
    }
}
