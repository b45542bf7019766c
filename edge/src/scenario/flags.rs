//! Feature flags: a hash that every edge holds and the origin pushes, so a plain `HSET` in Redis arrives everywhere.
//!
//! A flag that nobody set, and all of them where the hash is not known and cannot be asked for, is what the call says by default.

use super::desk::{Answer, Desk, command, pairs};
use crate::{fields::Fields, refusal::Refusal};
use serde_json::{Map, Value, json};

pub(super) async fn read(fields: Fields<'_>, desk: &Desk<'_>) -> Result<Answer, Refusal> {
    fields.expect(&["key", "defaults"], "a reading of flags")?;
    let key = if fields.value("key").is_some() { fields.key("key")?.to_string() } else { "flags".to_owned() };
    let mut flags: Map<String, Value> = match fields.value("defaults") {
        None => Map::new(),
        Some(Value::Object(defaults)) => defaults.clone(),
        Some(_) => return Err(fields.wrong("defaults", "must be an object").into()),
    };
    let [found] = desk.run([command(&["HGETALL", &key])]).await?;
    let is_known = match found {
        Ok(found) => {
            flags.extend(pairs(&found).into_iter().map(|(name, value)| (name.to_owned(), value.into())));
            true
        }
        Err(error) if error.is_away() => false,
        Err(error) => return Err(error.into()),
    };
    Ok(Answer::ok(json!({"flags": flags, "known": is_known})))
}
