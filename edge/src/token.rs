//! Signed tokens: a JWT (RFC 7519) under EdDSA with Ed25519 (RFC 8037), whose claims are grants. Pure.
//!
//! The edge holds public keys only, so nothing that leaks from it can sign. Several keys are in force at once, each under a
//! `kid`, so that a new one is added before the old one goes. The algorithm is the one that is named here, whatever a token
//! says. A claim that is not known here might restrict the token, so such a token is refused.

use crate::limits::TOKEN_BYTES_MAX;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_compact::{PublicKey, Signature};
use headwater::{grant::Grants, id::Key};
use serde::{Deserialize, de::IgnoredAny};
use std::collections::BTreeMap;

const ALGORITHM: &str = "EdDSA";

/// A subject or a token's own name with what it is, under which rates are counted, in bytes: it has a place in a key.
const RATED_BYTES_MAX: usize = 512;

/// How far the clock that signed may be ahead, in seconds.
const AHEAD_S_MAX: i64 = 60;

/// The keys in force, by `kid`.
#[derive(Debug, Default)]
pub(crate) struct Keys(BTreeMap<String, PublicKey>);

/// The binding with the keys says what it cannot.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadKeys {
    /// Not an object of strings.
    #[error("it is no JSON object of kid to public key: {0}")]
    Json(#[from] serde_json::Error),
    /// Not a public key.
    #[error("the key {kid} is no Ed25519 public key in base64url")]
    Key {
        /// Whose.
        kid: String,
    },
}

/// Why a token is not taken. None of these repeats the token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("the token has more than {TOKEN_BYTES_MAX} bytes")]
    TooLong,
    #[error("the token is no JWT")]
    Malformed,
    #[error("the token is not signed with {ALGORITHM}")]
    Algorithm,
    #[error("no key in force has the token's kid")]
    UnknownKey,
    #[error("the token's signature is wrong")]
    Signature,
    #[error("the token's claims cannot be read: {0}")]
    Claims(#[source] serde_json::Error),
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    NotYet,
    #[error(
        "the token's grants bear a rate, so it must have sub or jti, of at most {RATED_BYTES_MAX} bytes with its name"
    )]
    Unrated,
}

/// What a token says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Claims {
    /// What its bearer may do.
    pub(crate) grants: Grants,
    /// Until when, in seconds since 1970.
    pub(crate) exp: i64,
    /// In which namespace; the default one where it does not say.
    #[serde(rename = "ns")]
    pub(crate) namespace: Option<String>,
    nbf: Option<i64>,
    #[serde(rename = "iat")]
    _issued_at: Option<IgnoredAny>,
    #[serde(rename = "iss")]
    _issuer: Option<IgnoredAny>,
    /// Whose rates it has, if it has any: those of its subject, whichever of the subject's tokens it is; else its own.
    #[serde(rename = "sub")]
    subject: Option<String>,
    #[serde(rename = "jti")]
    id: Option<String>,
}

impl Claims {
    /// Under what the token's rates are counted; nothing where it names neither a subject nor itself, or at too great length.
    fn rated(&self) -> Option<String> {
        let named = |kind: &str, name: &Option<String>| name.as_ref().map(|name| format!("{kind}:{name}"));
        let rated = named("sub", &self.subject).or_else(|| named("jti", &self.id));
        rated.filter(|rated| rated.len() <= RATED_BYTES_MAX)
    }

    /// The key under which the rate of the grant at this place is counted, of whoever bears the token.
    pub(crate) fn rate_key(&self, place: usize) -> Option<Key> {
        let namespace = self.namespace.as_deref().unwrap_or_default();
        Key::new(format!("{namespace}:{place}:{}", self.rated()?)).ok()
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// What must be understood; nothing of it is.
    crit: Option<IgnoredAny>,
}

impl Keys {
    /// Reads `{"kid": "public key in base64url", …}`.
    pub(crate) fn parse(text: &str) -> Result<Self, BadKeys> {
        let keys: BTreeMap<String, String> = serde_json::from_str(text)?;
        let read = |(kid, key): (String, String)| {
            let bytes = URL_SAFE_NO_PAD.decode(key.trim_end_matches('=')).ok();
            match bytes.and_then(|bytes| PublicKey::from_slice(&bytes).ok()) {
                Some(key) => Ok((kid, key)),
                None => Err(BadKeys::Key { kid }),
            }
        };
        Ok(Self(keys.into_iter().map(read).collect::<Result<_, _>>()?))
    }

    /// What a token says, if it is signed with a key in force and `now_s`, in seconds since 1970, is within its time.
    pub(crate) fn verify(&self, token: &str, now_s: i64) -> Result<Claims, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::TooLong);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
        let header = decoded(header).and_then(|json| serde_json::from_slice::<Header>(&json).ok());
        let header = header.filter(|header| header.crit.is_none()).ok_or(TokenError::Malformed)?;
        if header.alg != ALGORITHM {
            return Err(TokenError::Algorithm);
        }
        let key = header.kid.and_then(|kid| self.0.get(&kid)).ok_or(TokenError::UnknownKey)?;
        let signature = decoded(signature).and_then(|bytes| Signature::from_slice(&bytes).ok());
        let signature = signature.ok_or(TokenError::Signature)?;
        key.verify(signed, &signature).or(Err(TokenError::Signature))?;
        let claims = decoded(claims).ok_or(TokenError::Malformed)?;
        let claims: Claims = serde_json::from_slice(&claims).map_err(TokenError::Claims)?;
        if claims.exp <= now_s {
            return Err(TokenError::Expired);
        }
        if claims.nbf.is_some_and(|from| from > now_s.saturating_add(AHEAD_S_MAX)) {
            return Err(TokenError::NotYet);
        }
        if claims.grants.are_rated() && claims.rated().is_none() {
            return Err(TokenError::Unrated);
        }
        Ok(claims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_compact::{KeyPair, Seed};
    use serde_json::{Value, json};

    const NOW_S: i64 = 1_700_000_000;

    fn pair(seed: u8) -> KeyPair {
        KeyPair::from_seed(Seed::new([seed; 32]))
    }

    fn keys() -> Keys {
        let public = |seed| URL_SAFE_NO_PAD.encode(pair(seed).pk.as_ref());
        Keys::parse(&json!({"old": public(1), "new": public(2)}).to_string()).expect("keys")
    }

    fn signed(header: &Value, claims: &Value, seed: u8) -> String {
        let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let text = format!("{}.{}", part(header), part(claims));
        let signature = pair(seed).sk.sign(&text, None);
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }

    fn header(kid: &str) -> Value {
        json!({"alg": "EdDSA", "typ": "JWT", "kid": kid})
    }

    fn claims() -> Value {
        json!({"exp": NOW_S + 60, "sub": "ada", "grants": [{"verbs": ["read", "hw.limit"], "keys": ["user:1:*"]}]})
    }

    fn refused(header: &Value, claims: &Value, seed: u8) -> String {
        keys().verify(&signed(header, claims, seed), NOW_S).expect_err("refused").to_string()
    }

    #[test]
    fn two_keys_are_in_force_at_once() {
        for (kid, seed) in [("old", 1), ("new", 2)] {
            let claims = keys().verify(&signed(&header(kid), &claims(), seed), NOW_S).expect(kid);
            assert_eq!(claims.exp, NOW_S + 60);
        }
    }

    #[test]
    fn what_is_not_signed_by_a_key_in_force_is_refused() {
        assert_eq!(refused(&header("old"), &claims(), 2), "the token's signature is wrong");
        assert_eq!(refused(&header("older"), &claims(), 1), "no key in force has the token's kid");
        assert_eq!(refused(&json!({"alg": "EdDSA"}), &claims(), 1), "no key in force has the token's kid");
        for alg in ["none", "HS256", "eddsa"] {
            assert_eq!(refused(&json!({"alg": alg, "kid": "old"}), &claims(), 1), "the token is not signed with EdDSA");
        }
        let crit = json!({"alg": "EdDSA", "kid": "old", "crit": ["b64"]});
        assert_eq!(refused(&crit, &claims(), 1), "the token is no JWT");
    }

    #[test]
    fn a_token_that_was_changed_anywhere_is_refused() {
        let token = signed(&header("old"), &claims(), 1);
        let keys = keys();
        assert!(keys.verify(&token, NOW_S).is_ok());
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).expect("ASCII");
            assert!(keys.verify(&changed, NOW_S).is_err(), "{at}");
        }
        for token in ["", ".", "..", "a.b", "a.b.c", &token[..token.len() - 1], &format!("{token}.")] {
            assert!(keys.verify(token, NOW_S).is_err(), "{token}");
        }
        assert!(matches!(keys.verify(&"a".repeat(TOKEN_BYTES_MAX + 1), NOW_S), Err(TokenError::TooLong)));
    }

    #[test]
    fn a_token_has_its_time() {
        let mut claims = claims();
        claims["exp"] = json!(NOW_S);
        assert_eq!(refused(&header("old"), &claims, 1), "the token has expired");
        claims["exp"] = json!(NOW_S + 1);
        claims["nbf"] = json!(NOW_S + 61);
        assert_eq!(refused(&header("old"), &claims, 1), "the token is not valid yet");
        claims["nbf"] = json!(NOW_S + 60);
        assert!(keys().verify(&signed(&header("old"), &claims, 1), NOW_S).is_ok());
    }

    #[test]
    fn claims_that_are_missing_or_not_known_are_refused() {
        for (claim, value) in
            [("exp", Value::Null), ("grants", Value::Null), ("ns", json!(["acme"])), ("aud", json!("x"))]
        {
            let mut claims = claims();
            match value {
                Value::Null => drop(claims.as_object_mut().and_then(|claims| claims.remove(claim))),
                value => claims[claim] = value,
            }
            let error = refused(&header("old"), &claims, 1);
            assert!(error.starts_with("the token's claims cannot be read"), "{error}");
            assert!(error.contains(claim) || error.contains("expected a string"), "{error}");
        }
        let mut rated = claims();
        rated["grants"][0]["burst"] = json!(5);
        assert!(refused(&header("old"), &rated, 1).contains("unknown field `burst`"));
        rated["grants"] = json!([{"verbs": ["blpop"], "keys": []}]);
        assert!(refused(&header("old"), &rated, 1).contains("is no verb"));
    }

    #[test]
    fn rates_are_counted_under_the_subject_or_else_the_tokens_own_name() {
        let mut rated = claims();
        rated["grants"][0]["rate"] = json!({"limit": 100, "window_ms": 1000});
        let key = |claims: &Value| {
            let claims = keys().verify(&signed(&header("old"), claims, 1), NOW_S).expect("it holds");
            claims.rate_key(0).expect("a key").to_string()
        };
        rated["jti"] = json!("7");
        assert_eq!(key(&rated), ":0:sub:ada");
        rated["ns"] = json!("shop");
        assert_eq!(key(&rated), "shop:0:sub:ada");
        rated["sub"] = Value::Null;
        assert_eq!(key(&rated), "shop:0:jti:7");
        for name in [Value::Null, json!("x".repeat(RATED_BYTES_MAX))] {
            rated["jti"] = name;
            assert!(refused(&header("old"), &rated, 1).contains("it must have sub or jti"));
        }
        for rate in [
            json!(5),
            json!({"limit": 0, "window_ms": 1}),
            json!({"limit": 1}),
            json!({"limit": 1, "window_ms": 1, "burst": 2}),
        ] {
            rated["grants"][0]["rate"] = rate;
            assert!(refused(&header("old"), &rated, 1).contains("claims cannot be read"));
        }
    }

    #[test]
    fn keys_that_are_none_are_told_by_their_kid() {
        assert_eq!(
            Keys::parse(r#"{"a":"AAAA"}"#).expect_err("short").to_string(),
            "the key a is no Ed25519 public key in base64url"
        );
        assert!(Keys::parse("[]").is_err());
    }
}
