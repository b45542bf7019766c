//! Who is there: connections of a server, people in a room. A hash `presence:ROOM` with a field for each member, which ends unless it
//! is beaten again.

use super::desk::{Answer, Desk, command, integer, pairs};
use crate::{
    fields::{BadField, Fields},
    refusal::Refusal,
};
use serde_json::{Map, Value, json};

const ROOM_BYTES_MAX: usize = 512;
const MEMBER_BYTES_MAX: usize = 512;
const INFO_BYTES_MAX: usize = 16 * 1024;

/// Who says nothing for longer is not there.
const TTL_MS_MAX: i64 = 86_400_000;

/// Enters, or changes what is told.
pub(super) async fn join(fields: Fields<'_>, desk: &Desk<'_>) -> Result<Answer, Refusal> {
    fields.expect(&["room", "member", "ttl_ms", "info"], "who joins")?;
    let (key, member, ttl_ms) = (room(&fields)?, fields.name("member", MEMBER_BYTES_MAX)?, ttl_ms(&fields)?);
    let info = fields.text("info")?.unwrap_or_default();
    if info.len() > INFO_BYTES_MAX {
        return Err(fields.wrong("info", format!("must have at most {INFO_BYTES_MAX} bytes")).into());
    }
    let commands = [command(&["HSET", &key, member, info]), ends(&key, ttl_ms, member)];
    let (until, [set, ends]) = desk.write((desk.now_ms() + ttl_ms).into(), commands).await?;
    set?;
    ends?;
    Ok(Answer::ok(json!({"present": true, "until": until})))
}

/// Stays, if still there.
pub(super) async fn beat(fields: Fields<'_>, desk: &Desk<'_>) -> Result<Answer, Refusal> {
    fields.expect(&["room", "member", "ttl_ms"], "who stays")?;
    let (key, member, ttl_ms) = (room(&fields)?, fields.name("member", MEMBER_BYTES_MAX)?, ttl_ms(&fields)?);
    let (until, [stays]) = desk.write((desk.now_ms() + ttl_ms).into(), [ends(&key, ttl_ms, member)]).await?;
    let is_there = stays?.get(0).and_then(integer) == Some(1);
    let until = is_there.then_some(until);
    Ok(Answer::of(if is_there { 200 } else { 404 }, json!({"present": is_there, "until": until})))
}

/// Goes.
pub(super) async fn leave(fields: Fields<'_>, desk: &Desk<'_>) -> Result<Answer, Refusal> {
    fields.expect(&["room", "member"], "who leaves")?;
    let (key, member) = (room(&fields)?, fields.name("member", MEMBER_BYTES_MAX)?);
    let (_, [gone]) = desk.write(Value::Null, [command(&["HDEL", &key, member])]).await?;
    Ok(Answer::ok(json!({"present": false, "was_present": integer(&gone?) == Some(1)})))
}

/// Who is there.
pub(super) async fn list(fields: Fields<'_>, desk: &Desk<'_>) -> Result<Answer, Refusal> {
    fields.expect(&["room"], "a room")?;
    let [found] = desk.run([command(&["HGETALL", &room(&fields)?])]).await?;
    let found = found?;
    let members: Map<String, Value> =
        pairs(&found).into_iter().map(|(member, info)| (member.to_owned(), info.into())).collect();
    Ok(Answer::ok(json!({"count": members.len(), "members": members})))
}

fn ends(key: &str, ttl_ms: i64, member: &str) -> Vec<bytes::Bytes> {
    command(&["HPEXPIRE", key, &ttl_ms.to_string(), "FIELDS", "1", member])
}

fn room(fields: &Fields<'_>) -> Result<String, BadField> {
    Ok(format!("presence:{}", fields.name("room", ROOM_BYTES_MAX)?))
}

fn ttl_ms(fields: &Fields<'_>) -> Result<i64, BadField> {
    fields.between("ttl_ms", 1, TTL_MS_MAX)?.ok_or_else(|| fields.missing("ttl_ms"))
}
