//! Sessions: create, read and touch, update, rotate, revoke one, revoke all of a subject.
//!
//! A session is a hash with a deadline, `PREFIX{SUBJECT}:FAMILY`: the fields of the application, and those of ours, which begin with
//! `_`. The client's handle names subject and family and has a secret, of which the hash has the digest alone, so who reads Redis
//! can take over none. To rotate gives the same hash another secret: all that a session ever was is one key, which HW.REVOKE
//! takes away for good, whatever is written to it elsewhere. All sessions of a subject bear the generation under which they
//! were created; `PREFIX{SUBJECT}` counts generations, and an earlier one is dead. The tag keeps both with one hub.

use super::desk::{Answer, Desk, command, integer, pairs};
use crate::{
    clock,
    fields::{BadField, Fields},
    refusal::Refusal,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

const DAY_MS: i64 = 86_400_000;

/// As long as browsers keep a cookie, and as a key may be revoked.
const TTL_MS_MAX: i64 = 400 * DAY_MS;

/// How long a session is revoked unless the call says otherwise: longer than an edge is cut off.
const REVOKED_MS: i64 = 30 * DAY_MS;

const SUBJECT_BYTES_MAX: usize = 256;
const PREFIX_BYTES_MAX: usize = 128;
const DATA_FIELDS_MAX: usize = 128;

/// A session's deadline is moved only where that moves it by more than this part of its life: most reads write nothing.
const TOUCH_PART: i64 = 10;

const SECRET: &str = "_secret";
const GENERATION: &str = "_generation";
const TTL: &str = "_ttl_ms";
const CREATED: &str = "_created_ms";

/// What a client holds of a session.
struct Handle {
    subject: String,
    family: String,
    secret: String,
}

/// Where it is kept.
struct Place {
    session: String,
    generation: String,
}

/// What is found there.
enum Found {
    /// A session that lives: its application's fields, when it ends, and for how long a touch prolongs it.
    Active { data: Map<String, Value>, ends_at: i64, ttl_ms: i64 },
    /// None: why.
    Inactive(&'static str),
}

pub(super) async fn create(fields: Fields<'_>, desk: &Desk<'_>) -> Result<Answer, Refusal> {
    fields.expect(&["subject", "ttl_ms", "data", "prefix"], "a session to create")?;
    let subject = subject(&fields)?;
    let ttl_ms = fields.between("ttl_ms", 1, TTL_MS_MAX)?.ok_or_else(|| fields.missing("ttl_ms"))?;
    let data = data(&fields, "data")?;
    let handle = Handle { subject: subject.to_owned(), family: random(2)?, secret: random(3)? };
    let place = handle.place(prefix(&fields)?);
    // Read before it is written: where all are revoked in between, this one is too.
    let [generation] = desk.run([command(&["GET", &place.generation])]).await?;
    let generation = integer(&generation?).unwrap_or(0).to_string();
    let (digest, ttl, created) = (digest(&handle.secret), ttl_ms.to_string(), desk.now_ms().to_string());
    let mut set = vec!["HSET", &place.session, SECRET, &digest, GENERATION, &generation, TTL, &ttl, CREATED, &created];
    set.extend(data.into_iter().flat_map(|(name, value)| [name, value]));
    let ends = command(&["PEXPIRE", &place.session, &ttl]);
    let commands = [command(&set), ends, ends_at(&place)];
    let (session, [set, ends, ends_at]) = desk.write(handle.text().into(), commands).await?;
    set?;
    ends?;
    Ok(Answer::of(201, json!({"session": session, "subject": subject, "expires_at": integer(&ends_at?)})))
}

pub(super) async fn read(fields: Fields<'_>, desk: &Desk<'_>) -> Result<Answer, Refusal> {
    fields.expect(&["session", "touch", "prefix"], "a session to read")?;
    let (handle, touch) = (Handle::of(&fields)?, fields.flag("touch", true)?);
    let place = handle.place(prefix(&fields)?);
    let (data, mut expires_at, ttl_ms) = match find(&handle, &place, desk).await? {
        Found::Active { data, ends_at, ttl_ms } => (data, ends_at, ttl_ms),
        Found::Inactive(reason) => return Ok(inactive(reason)),
    };
    if touch && expires_at - desk.now_ms() < ttl_ms - ttl_ms / TOUCH_PART {
        // What ended or was revoked meanwhile is not prolonged, and this answer is of the moment before.
        let touch = command(&["PEXPIRE", &place.session, &ttl_ms.to_string(), "GT"]);
        let [touched, later] = desk.run([touch, ends_at(&place)]).await?;
        touched?;
        expires_at = expires_at.max(integer(&later?).unwrap_or(0));
    }
    Ok(Answer::ok(json!({"active": true, "subject": handle.subject, "data": data, "expires_at": expires_at})))
}

pub(super) async fn update(fields: Fields<'_>, desk: &Desk<'_>) -> Result<Answer, Refusal> {
    fields.expect(&["session", "set", "unset", "prefix"], "a session to update")?;
    let handle = Handle::of(&fields)?;
    let (set, place) = (data(&fields, "set")?, handle.place(prefix(&fields)?));
    let unset = match fields.value("unset") {
        None => Vec::new(),
        Some(_) => fields.names("unset", DATA_FIELDS_MAX, PREFIX_BYTES_MAX)?,
    };
    if let Some(own) = unset.iter().find(|name| name.starts_with('_')) {
        return Err(fields
            .wrong("unset", format!("names {own:?}: what begins with _ is not the application's"))
            .into());
    }
    if set.is_empty() && unset.is_empty() {
        return Err(fields.wrong("set", "or unset must name something").into());
    }
    let mut changes = Vec::new();
    if !set.is_empty() {
        let set = set.iter().flat_map(|(name, value)| [*name, *value]);
        changes.push(command(&["HSET", &place.session].into_iter().chain(set).collect::<Vec<_>>()));
    }
    if !unset.is_empty() {
        changes.push(command(&[&["HDEL", &place.session], &unset[..]].concat()));
    }
    let replies = match desk.written(&changes).await? {
        Some((_, replies)) => replies,
        None => {
            let ends_at = match find(&handle, &place, desk).await? {
                Found::Active { ends_at, .. } => ends_at,
                Found::Inactive(reason) => return Ok(inactive(reason)),
            };
            if !set.is_empty() {
                // Should it have ended just now, what is written ends too.
                changes.push(command(&["PEXPIREAT", &place.session, &ends_at.to_string(), "NX"]));
            }
            desk.write_all(Value::Null, changes).await?.1
        }
    };
    for reply in replies {
        match reply {
            Err(error) if error.is_of_revoked() => return Ok(inactive("revoked")),
            reply => drop(reply?),
        }
    }
    Ok(Answer::ok(json!({"active": true, "subject": handle.subject})))
}

pub(super) async fn rotate(fields: Fields<'_>, desk: &Desk<'_>) -> Result<Answer, Refusal> {
    fields.expect(&["session", "ttl_ms", "prefix"], "a session to rotate")?;
    let handle = Handle::of(&fields)?;
    let ttl_ms = fields.between("ttl_ms", 1, TTL_MS_MAX)?;
    let place = handle.place(prefix(&fields)?);
    let (mut set, ends) =
        (vec!["HSET", &place.session, SECRET], |at: &str| command(&["PEXPIREAT", &place.session, at]));
    let (told, replies) = match desk.written(&[command(&[&set[..], &[""]].concat()), ends("0")]).await? {
        Some(written) => written,
        None => {
            let (ends_at, stored_ms) = match find(&handle, &place, desk).await? {
                Found::Active { ends_at, ttl_ms, .. } => (ends_at, ttl_ms),
                Found::Inactive(reason) => return Ok(inactive(reason)),
            };
            let (expires_at, ttl_ms) =
                ttl_ms.map_or((ends_at, stored_ms), |ttl_ms| (desk.now_ms().saturating_add(ttl_ms), ttl_ms));
            let next = Handle { secret: random(3)?, ..handle };
            let (digest, ttl) = (digest(&next.secret), ttl_ms.to_string());
            set.extend([&digest[..], TTL, &ttl]);
            let told = json!({"session": next.text(), "subject": next.subject, "expires_at": expires_at});
            desk.write_all(told, vec![command(&set), ends(&expires_at.to_string())]).await?
        }
    };
    for reply in replies {
        match reply {
            Err(error) if error.is_of_revoked() => return Ok(inactive("revoked")),
            reply => drop(reply?),
        }
    }
    Ok(Answer::ok(told))
}

pub(super) async fn revoke(fields: Fields<'_>, desk: &Desk<'_>) -> Result<Answer, Refusal> {
    fields.expect(&["session", "for_ms", "prefix"], "a session to revoke")?;
    let handle = Handle::of(&fields)?;
    let for_ms = fields.between("for_ms", 1, TTL_MS_MAX)?.unwrap_or(REVOKED_MS);
    let place = handle.place(prefix(&fields)?);
    let revoke = command(&["HW.REVOKE", &place.session, "PX", &for_ms.to_string()]);
    let (until, [was_there]) = desk.write((desk.now_ms() + for_ms).into(), [revoke]).await?;
    let was_active = integer(&was_there?) == Some(1);
    Ok(Answer::ok(json!({"revoked": true, "was_active": was_active, "until": until})))
}

pub(super) async fn revoke_all(fields: Fields<'_>, desk: &Desk<'_>) -> Result<Answer, Refusal> {
    fields.expect(&["subject", "prefix"], "a subject whose sessions to revoke")?;
    let key = generation_key(prefix(&fields)?, subject(&fields)?);
    // It is kept as long as any session that it ends could live.
    let commands = [command(&["INCR", &key]), command(&["PEXPIRE", &key, &TTL_MS_MAX.to_string()])];
    let (_, [generation, ends]) = desk.write(Value::Null, commands).await?;
    ends?;
    Ok(Answer::ok(json!({"revoked": true, "generation": integer(&generation?)})))
}

/// What there is under a handle.
async fn find(handle: &Handle, place: &Place, desk: &Desk<'_>) -> Result<Found, Refusal> {
    let [generation, session, ends_at, revoked] = desk
        .run([
            command(&["GET", &place.generation]),
            command(&["HGETALL", &place.session]),
            ends_at(place),
            command(&["HW.REVOKED", &place.session]),
        ])
        .await?;
    let (generation, session) = (integer(&generation?).unwrap_or(0), session?);
    let (ends_at, revoked_ms) = (integer(&ends_at?).unwrap_or(0), integer(&revoked?).unwrap_or(0));
    let all = pairs(&session);
    let own = |name: &str| all.iter().find(|(other, _)| *other == name).map(|(_, value)| *value);
    let number = |name: &str| own(name).and_then(|text| text.parse::<i64>().ok());
    let (Some(secret), Some(bears), Some(ttl_ms)) = (own(SECRET), number(GENERATION), number(TTL)) else {
        return Ok(Found::Inactive(if revoked_ms > 0 { "revoked" } else { "unknown" }));
    };
    if !bool::from(secret.as_bytes().ct_eq(digest(&handle.secret).as_bytes())) {
        return Ok(Found::Inactive("rotated"));
    }
    if bears < generation {
        return Ok(Found::Inactive("revoked"));
    }
    let data = all.iter().filter(|(name, _)| !name.starts_with('_'));
    let data = data.map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect();
    Ok(Found::Active { data, ends_at: ends_at.max(0), ttl_ms })
}

/// When the session ends, in milliseconds since 1970, by the hub's own clock.
fn ends_at(place: &Place) -> Vec<Bytes> {
    command(&["PEXPIRETIME", &place.session])
}

fn inactive(reason: &str) -> Answer {
    Answer::of(404, json!({"active": false, "reason": reason}))
}

impl Handle {
    /// `SUBJECT.FAMILY.SECRET`, the subject in base64url.
    fn text(&self) -> String {
        format!("{}.{}.{}", URL_SAFE_NO_PAD.encode(&self.subject), self.family, self.secret)
    }

    fn of(fields: &Fields<'_>) -> Result<Self, BadField> {
        let text = fields.text("session")?.ok_or_else(|| fields.missing("session"))?;
        Self::parse(text).ok_or_else(|| fields.wrong("session", "is none that was created here"))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let (subject, family, secret) = (parts.next()?, parts.next()?, parts.next()?);
        let subject = String::from_utf8(URL_SAFE_NO_PAD.decode(subject).ok()?).ok()?;
        let is_random = |text: &str, bytes: usize| URL_SAFE_NO_PAD.decode(text).is_ok_and(|own| own.len() == bytes);
        let is_whole = parts.next().is_none() && is_subject(&subject) && is_random(family, 16) && is_random(secret, 24);
        is_whole.then(|| Self { subject, family: family.to_owned(), secret: secret.to_owned() })
    }

    fn place(&self, prefix: &str) -> Place {
        let generation = generation_key(prefix, &self.subject);
        Place { session: format!("{generation}:{}", self.family), generation }
    }
}

fn generation_key(prefix: &str, subject: &str) -> String {
    format!("{prefix}{{{subject}}}")
}

fn is_subject(subject: &str) -> bool {
    (1..=SUBJECT_BYTES_MAX).contains(&subject.len()) && !subject.contains(['{', '}'])
}

fn subject<'a>(fields: &Fields<'a>) -> Result<&'a str, BadField> {
    let subject = fields.name("subject", SUBJECT_BYTES_MAX)?;
    if is_subject(subject) { Ok(subject) } else { Err(fields.wrong("subject", "must have no braces")) }
}

fn prefix<'a>(fields: &Fields<'a>) -> Result<&'a str, BadField> {
    let prefix = fields.text("prefix")?.unwrap_or("session:");
    let is_prefix = prefix.len() <= PREFIX_BYTES_MAX && !prefix.contains(['{', '}']);
    let wrong = || fields.wrong("prefix", format!("must have at most {PREFIX_BYTES_MAX} bytes, and no braces"));
    is_prefix.then_some(prefix).ok_or_else(wrong)
}

/// What the application keeps.
fn data<'a>(fields: &Fields<'a>, field: &str) -> Result<Vec<(&'a str, &'a str)>, BadField> {
    let data = fields.strings(field, DATA_FIELDS_MAX)?;
    match data.iter().find(|(name, _)| name.starts_with('_') || name.is_empty()) {
        None => Ok(data),
        Some((name, _)) => {
            Err(fields.wrong(field, format!("names {name:?}: what is empty or begins with _ is not the application's")))
        }
    }
}

fn digest(secret: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(secret))
}

/// As many times 64 random bits, in base64url.
fn random(words: usize) -> Result<String, worker::Error> {
    let words = (0..words).map(|_| clock::entropy()).collect::<Result<Vec<u64>, _>>()?;
    Ok(URL_SAFE_NO_PAD.encode(words.into_iter().flat_map(u64::to_le_bytes).collect::<Vec<u8>>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_is_read_as_it_was_written() {
        let secret = URL_SAFE_NO_PAD.encode([7; 24]);
        let handle = Handle { subject: "ada@é".into(), family: URL_SAFE_NO_PAD.encode([1; 16]), secret };
        let read = Handle::parse(&handle.text()).expect("a handle");
        assert_eq!((&read.subject, &read.family, &read.secret), (&handle.subject, &handle.family, &handle.secret));
        let place = read.place("s:");
        assert_eq!((place.generation.as_str(), place.session), ("s:{ada@é}", format!("s:{{ada@é}}:{}", handle.family)));
        for other in
            ["", "a", "a.b.c", &handle.text()[1..], &format!("{}.x", handle.text()), &handle.text().replace('.', "")]
        {
            assert!(Handle::parse(other).is_none(), "{other}");
        }
    }
}
