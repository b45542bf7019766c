//! Who may ask: shared tokens, compared in constant time, and signed ones with grants.

use crate::token::{Claims, Keys, TokenError};
use headwater::{
    command::{Command, CommandError},
    namespace::{Namespace, Namespaces},
};
use subtle::ConstantTimeEq;
use worker::Headers;

/// The prefix under which a browser passes its token among the subprotocols of a WebSocket, where it can set no header.
const PROTOCOL_PREFIX: &str = "bearer.";

/// The subprotocol that the server selects when a client offers any.
pub(crate) const PROTOCOL: &str = "headwater";

/// A client that may ask.
pub(crate) struct Client {
    /// Whose keys it has to do with.
    pub(crate) namespace: Namespace,
    /// What its signed token says; none of the bearer of the shared token, who may do everything in the default namespace.
    pub(crate) claims: Option<Claims>,
}

/// Why a request is not a client's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unauthorized {
    /// No token, or one that nobody gave.
    #[error("ERR Headwater: unauthorized")]
    Token,
    /// A signed token that does not hold.
    #[error("ERR Headwater: unauthorized: {0}")]
    Signed(#[from] TokenError),
    /// A signed token of a namespace that there is not.
    #[error("ERR Headwater: unauthorized: {0:?} is none of this deployment's namespaces (HEADWATER_NAMESPACES)")]
    Namespace(String),
}

impl Client {
    /// Who bears these tokens: the shared one in any place, or else a signed one in the first place that has a token.
    pub(crate) fn of(
        sent: &[&str],
        token: &str,
        keys: &Keys,
        namespaces: &Namespaces,
        now_s: i64,
    ) -> Result<Self, Unauthorized> {
        if sent.iter().any(|sent| is_same(sent, token)) {
            return Ok(Self { namespace: namespaces.default_one(), claims: None });
        }
        let signed = sent.first().filter(|sent| is_signed(sent)).ok_or(Unauthorized::Token)?;
        let claims = keys.verify(signed, now_s)?;
        let namespace = match &claims.namespace {
            Some(name) => namespaces.named(name).ok_or_else(|| Unauthorized::Namespace(name.clone()))?,
            None => namespaces.default_one(),
        };
        Ok(Self { namespace, claims: Some(claims) })
    }

    /// Whether the commands may be executed, each with its arguments. What cannot be read is executed nowhere; what Headwater
    /// does not know might be, some day, elsewhere.
    pub(crate) fn check(&self, commands: impl IntoIterator<Item = Command>) -> Result<(), CommandError> {
        if self.claims.is_none() && !self.namespace.is_confined() {
            return Ok(());
        }
        commands.into_iter().try_for_each(|command| {
            self.claims.as_ref().map_or(Ok(()), |claims| claims.grants.check(&command))?;
            match self.namespace.admits(&command) {
                // What has no place in the namespace is the fault of the command, and its hub says so.
                Err(CommandError::TooLong { .. }) => Ok(()),
                admitted => admitted,
            }
        })
    }
}

/// Whether the request bears `token` in its `Authorization` header.
pub(crate) fn is_bearer(headers: &Headers, token: &str) -> bool {
    let header = headers.get("authorization").ok().flatten().unwrap_or_default();
    bearer(&header).is_some_and(|sent| is_same(sent, token))
}

/// The tokens in the header `Authorization` and in the query.
pub(crate) fn sent<'a>(authorization: Option<&'a str>, query_token: Option<&'a str>) -> Vec<&'a str> {
    authorization.and_then(bearer).into_iter().chain(query_token).collect()
}

/// The tokens in the header, the query and the subprotocols of an upgrade.
pub(crate) fn sent_by_socket(headers: &Headers, query_token: Option<&str>) -> Vec<String> {
    let header = headers.get("authorization").ok().flatten();
    let mut sent: Vec<String> = sent(header.as_deref(), query_token).into_iter().map(str::to_owned).collect();
    let protocols = headers.get("sec-websocket-protocol").ok().flatten().unwrap_or_default();
    sent.extend(protocol_token(&protocols).map(str::to_owned));
    sent
}

/// Whether it has the form of a signed token.
fn is_signed(token: &str) -> bool {
    token.split('.').count() == 3
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
