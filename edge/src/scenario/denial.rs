//! Denied tokens: a hash with a field for each `jti`, which ends when the token does.
//!
//! An edge that has read the hash once holds it whole and is told of what is new, so a check costs no trip. What it cannot know is
//! an error, and never "not denied".

use super::desk::{Answer, Desk, command};
use crate::{
    fields::{BadField, Fields},
    refusal::Refusal,
};
use serde_json::{Map, Value, json};

const LIST: &str = "denied";
const JTI_BYTES_MAX: usize = 512;
const JTIS_MAX: usize = 256;

/// A token that holds for longer is none that anybody issues, and a slip in its unit.
const AHEAD_S_MAX: i64 = 10 * 366 * 86_400;

pub(super) async fn deny(fields: Fields<'_>, desk: &Desk<'_>) -> Result<Answer, Refusal> {
    fields.expect(&["jti", "exp", "list"], "a token to deny")?;
    let (list, jti) = (list(&fields)?, fields.name("jti", JTI_BYTES_MAX)?);
    let now_s = desk.now_ms() / 1000;
    let exp = fields.between("exp", 0, i64::MAX)?.ok_or_else(|| fields.missing("exp"))?;
    if exp > now_s + AHEAD_S_MAX {
        return Err(fields.wrong("exp", "is in seconds since 1970, and lies more than ten years ahead").into());
    }
    if exp <= now_s {
        // It holds no more, so there is nothing to deny.
        return Ok(Answer::ok(json!({"denied": true, "until": exp})));
    }
    let seconds = exp.to_string();
    let set = command(&["HSET", &list, jti, &seconds]);
    let ends = command(&["HEXPIREAT", &list, &seconds, "FIELDS", "1", jti]);
    let (_, [set, ends]) = desk.write(Value::Null, [set, ends]).await?;
    set?;
    ends?;
    Ok(Answer::ok(json!({"denied": true, "until": exp})))
}

pub(super) async fn check(fields: Fields<'_>, desk: &Desk<'_>) -> Result<Answer, Refusal> {
    fields.expect(&["jti", "jtis", "list"], "a check of tokens")?;
    let list = list(&fields)?;
    let one = fields.value("jti").map(|_| fields.name("jti", JTI_BYTES_MAX)).transpose()?;
    let jtis = match (one, fields.value("jtis")) {
        (Some(jti), None) => vec![jti],
        (None, Some(_)) => fields.names("jtis", JTIS_MAX, JTI_BYTES_MAX)?,
        (Some(_), Some(_)) => return Err(fields.wrong("jtis", "and jti exclude each other").into()),
        (None, None) => return Err(fields.missing("jti").into()),
    };
    let words: Vec<&str> = ["HMGET", &list].into_iter().chain(jtis.iter().copied()).collect();
    let [found] = desk.run([command(&words)]).await?;
    let found = found?;
    let is_denied = found.as_array().into_iter().flatten().map(|value| !value.is_null());
    if one.is_some() {
        return Ok(Answer::ok(json!({"denied": is_denied.into_iter().any(|is_denied| is_denied)})));
    }
    let denied: Map<String, Value> = jtis.iter().map(|jti| (*jti).to_owned()).zip(is_denied.map(Value::from)).collect();
    Ok(Answer::ok(json!({"denied": denied})))
}

fn list(fields: &Fields<'_>) -> Result<String, BadField> {
    match fields.value("list") {
        None => Ok(LIST.to_owned()),
        Some(_) => Ok(fields.key("list")?.to_string()),
    }
}
