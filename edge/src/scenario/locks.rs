//! Locks with fencing tokens: HW.LOCK, HW.EXTEND and HW.UNLOCK on `lock:NAME`, which only the origin executes, in one order.
//!
//! A call that is repeated asks anew, since what was so may be so no longer: its `Idempotency-Key` stands for the owner, who gets the
//! same lock with the same token. Only a release is answered as the first time.

use super::desk::{Answer, Desk, command, integer};
use crate::{
    fields::{BadField, Fields},
    refusal::Refusal,
};
use serde_json::{Value, json};

const LOCK_BYTES_MAX: usize = 512;
const OWNER_BYTES_MAX: usize = 256;
const TTL_MS_MAX: i64 = 86_400_000;

/// Takes a lock, or prolongs that of the same owner.
pub(super) async fn acquire(fields: Fields<'_>, desk: &Desk<'_>) -> Result<Answer, Refusal> {
    fields.expect(&["lock", "ttl_ms", "owner"], "a lock to acquire")?;
    let (key, ttl_ms) = (key(&fields)?, ttl_ms(&fields)?);
    let owner = match fields.value("owner") {
        Some(_) => owner(&fields)?.to_owned(),
        None => desk.name()?,
    };
    hold("HW.LOCK", &key, &owner, ttl_ms, desk).await
}

/// Prolongs what its owner holds.
pub(super) async fn extend(fields: Fields<'_>, desk: &Desk<'_>) -> Result<Answer, Refusal> {
    fields.expect(&["lock", "owner", "ttl_ms"], "a lock to extend")?;
    hold("HW.EXTEND", &key(&fields)?, owner(&fields)?, ttl_ms(&fields)?, desk).await
}

/// Gives back what its owner holds.
pub(super) async fn release(fields: Fields<'_>, desk: &Desk<'_>) -> Result<Answer, Refusal> {
    fields.expect(&["lock", "owner"], "a lock to release")?;
    let (key, owner) = (key(&fields)?, owner(&fields)?);
    let (_, [released]) = desk.write(Value::Null, [command(&["HW.UNLOCK", &key, owner])]).await?;
    let is_released = integer(&released?) == Some(1);
    Ok(Answer::of(if is_released { 200 } else { 409 }, json!({"released": is_released})))
}

/// Asks for the lock, and by when it ends what came of it.
async fn hold(verb: &str, key: &str, owner: &str, ttl_ms: i64, desk: &Desk<'_>) -> Result<Answer, Refusal> {
    let asked = command(&[verb, key, owner, &ttl_ms.to_string()]);
    let [fence, until] = desk.run([asked, command(&["HGET", key, "until"])]).await?;
    let (fence, until) = (integer(&fence?), until.ok().as_ref().and_then(integer));
    Ok(match fence {
        Some(fence) => Answer::ok(json!({"held": true, "owner": owner, "fence": fence, "until": until})),
        None => {
            let left_ms = until.map(|until| (until - desk.now_ms()).max(0));
            Answer::of(409, json!({"held": false, "retry_after_ms": left_ms}))
        }
    })
}

fn key(fields: &Fields<'_>) -> Result<String, BadField> {
    Ok(format!("lock:{}", fields.name("lock", LOCK_BYTES_MAX)?))
}

fn owner<'a>(fields: &Fields<'a>) -> Result<&'a str, BadField> {
    fields.name("owner", OWNER_BYTES_MAX)
}

fn ttl_ms(fields: &Fields<'_>) -> Result<i64, BadField> {
    fields.between("ttl_ms", 1, TTL_MS_MAX)?.ok_or_else(|| fields.missing("ttl_ms"))
}
