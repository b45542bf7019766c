//! Cache-aside with stale-while-revalidate, and one filler for each key among all edges of a region.
//!
//! An entry is a hash with a deadline: `value`, `fresh_until` (milliseconds since 1970), and while somebody computes a new value
//! `filler`, whose end is the lease. Who finds the entry stale or missing and no filler becomes it, in one step at the hub; the
//! others get what is stale, or wait a bounded time for what is missing. A filler that dies is replaced once its lease has ended,
//! and one that was replaced, or whose entry was forgotten meanwhile, stores nothing any more. With the origin away what the hub
//! does not hold counts as missing.

use super::desk::{Answer, Desk, Replies, command, integer};
use crate::{fields::Fields, refusal::Refusal, timeout::Timer};
use headwater::limits::VALUE_BYTES_MAX;
use serde_json::{Value, json};

const LIFE_MS_MAX: i64 = 400 * 86_400_000;

/// How long a filler may take, unless the call says otherwise.
const LEASE_MS: i64 = 10_000;
const LEASE_MS_MAX: i64 = 300_000;

/// How long a call waits for what another computes, unless it says otherwise.
const WAIT_MS: i64 = 2_000;
const WAIT_MS_MAX: i64 = 10_000;

/// The pauses between two looks at what another computes, the first and the longest.
const PAUSE_MS: u32 = 20;
const PAUSE_MS_MAX: u32 = 200;

/// An entry as it was read.
enum Entry {
    Fresh { value: Value, left_ms: i64 },
    Stale(Value),
    Missing,
}

impl Entry {
    /// Of the reply to `HMGET key value fresh_until`.
    fn of(reply: &Value, now_ms: i64) -> Self {
        let value = reply.get(0).filter(|value| value.is_string()).cloned();
        let until = reply.get(1).and_then(integer);
        match (value, until) {
            (Some(value), Some(until)) if now_ms < until => Self::Fresh { value, left_ms: until - now_ms },
            (Some(value), _) => Self::Stale(value),
            (None, _) => Self::Missing,
        }
    }
}

pub(super) async fn get(fields: Fields<'_>, desk: &Desk<'_>) -> Result<Answer, Refusal> {
    fields.expect(&["key", "lease_ms", "wait_ms"], "a look-up")?;
    let key = fields.key("key")?.to_string();
    let lease_ms = fields.between("lease_ms", 1, LEASE_MS_MAX)?.unwrap_or(LEASE_MS);
    let wait_ms = fields.between("wait_ms", 0, WAIT_MS_MAX)?.unwrap_or(WAIT_MS);
    // Most look-ups end here, and write nothing.
    let [found] = desk.run([command(&["HMGET", &key, "value", "fresh_until"])]).await?;
    let is_unknown = match found {
        Ok(found) => match Entry::of(&found, desk.now_ms()) {
            Entry::Fresh { value, left_ms } => return Ok(fresh(&value, left_ms)),
            Entry::Stale(_) | Entry::Missing => false,
        },
        Err(error) if error.is_away() => true,
        Err(error) => return Err(error.into()),
    };
    if is_unknown {
        // What this edge itself wrote it knows, and so can give to one filler.
        let [asked] = desk.run([command(&["HSET", &key, "asked", &desk.now_ms().to_string()])]).await?;
        asked?;
    }
    let (give_up_ms, mut pause_ms) = (desk.now_ms() + wait_ms, PAUSE_MS);
    let own = desk.name()?;
    let lease = lease_ms.to_string();
    loop {
        let [asked, leased, bounded, found]: Replies<4> = desk
            .run([
                command(&["HSETNX", &key, "filler", &own]),
                command(&["HPEXPIRE", &key, &lease, "NX", "FIELDS", "1", "filler"]),
                // What nobody fills is not kept.
                command(&["PEXPIRE", &key, &lease, "NX"]),
                command(&["HMGET", &key, "value", "fresh_until", "filler"]),
            ])
            .await?;
        asked?;
        leased?;
        bounded?;
        let found = found?;
        // Also where this is a retry of the call that won.
        let is_filler = found.get(2).and_then(Value::as_str) == Some(&own);
        let fill = is_filler.then_some(&own);
        match Entry::of(&found, desk.now_ms()) {
            Entry::Fresh { value, left_ms } => {
                if is_filler {
                    let [done] = desk.run([command(&["HDEL", &key, "filler"])]).await?;
                    done?;
                }
                return Ok(fresh(&value, left_ms));
            }
            Entry::Stale(value) => {
                return Ok(Answer::ok(json!({"state": "stale", "value": value, "fill": fill, "lease_ms": lease_ms})));
            }
            Entry::Missing if is_filler => {
                return Ok(Answer::ok(json!({"state": "missing", "fill": fill, "lease_ms": lease_ms})));
            }
            Entry::Missing => {}
        }
        if desk.now_ms() >= give_up_ms {
            return Ok(Answer::of(202, json!({"state": "filling", "retry_after_ms": PAUSE_MS_MAX})));
        }
        Timer::start(pause_ms).rings().await;
        pause_ms = (pause_ms * 2).min(PAUSE_MS_MAX);
    }
}

pub(super) async fn put(fields: Fields<'_>, desk: &Desk<'_>) -> Result<Answer, Refusal> {
    fields.expect(&["key", "value", "fresh_ms", "stale_ms", "fill"], "an entry")?;
    let key = fields.key("key")?.to_string();
    let value = fields.text("value")?.ok_or_else(|| fields.missing("value"))?;
    if value.len() > VALUE_BYTES_MAX {
        return Err(fields.wrong("value", format!("must have at most {VALUE_BYTES_MAX} bytes")).into());
    }
    let fresh_ms = fields.between("fresh_ms", 1, LIFE_MS_MAX)?.ok_or_else(|| fields.missing("fresh_ms"))?;
    let stale_ms = fields.between("stale_ms", 0, LIFE_MS_MAX)?.unwrap_or(0);
    let until = (desk.now_ms() + fresh_ms).to_string();
    let commands = [
        command(&["HSET", &key, "value", value, "fresh_until", &until]),
        command(&["HDEL", &key, "filler", "asked"]),
        command(&["PEXPIRE", &key, &(fresh_ms + stale_ms).to_string()]),
    ];
    let replies = match (fields.text("fill")?, desk.written(&commands).await?) {
        (_, Some((_, replies))) => replies,
        (Some(fill), None) if !is_filler(&key, fill, desk).await? => {
            return Ok(Answer::of(
                409,
                json!({"stored": false, "reason": "the lease has ended, or the entry was forgotten"}),
            ));
        }
        (_, None) => desk.write_all(Value::Null, commands.into()).await?.1,
    };
    for reply in replies {
        reply?;
    }
    Ok(Answer::ok(json!({"stored": true})))
}

pub(super) async fn forget(fields: Fields<'_>, desk: &Desk<'_>) -> Result<Answer, Refusal> {
    fields.expect(&["key"], "an entry to forget")?;
    let (_, [gone]) = desk.write(Value::Null, [command(&["DEL", &fields.key("key")?.to_string()])]).await?;
    Ok(Answer::ok(json!({"forgotten": integer(&gone?) == Some(1)})))
}

/// Whether the entry's lease is that of `fill`.
async fn is_filler(key: &str, fill: &str, desk: &Desk<'_>) -> Result<bool, Refusal> {
    let [filler] = desk.run([command(&["HGET", key, "filler"])]).await?;
    Ok(filler?.as_str() == Some(fill))
}

fn fresh(value: &Value, left_ms: i64) -> Answer {
    Answer::ok(json!({"state": "fresh", "value": value, "fresh_for_ms": left_ms}))
}
