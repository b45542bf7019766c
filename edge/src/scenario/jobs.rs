//! Jobs for workers at the origin: RPUSH to a list, XADD to a stream, by the outbox of the hub, which stores a job before it answers
//! and delivers it once and in order.

use super::desk::{Answer, Desk, command};
use crate::{
    fields::{BadField, Fields},
    hub::call::Jobs,
    refusal::Refusal,
};
use headwater::limits::VALUE_BYTES_MAX;
use serde_json::{Value, json};

/// Jobs of one call, and fields of one entry: with what goes before them fewer than the hub takes.
const JOBS_MAX: usize = 1_000;

const LENGTH_MAX: i64 = 1 << 40;

/// Where jobs go.
enum Place {
    List(String),
    Stream(String),
}

impl Place {
    fn of(fields: &Fields<'_>) -> Result<Self, BadField> {
        match (fields.value("list"), fields.value("stream")) {
            (Some(_), None) => Ok(Self::List(fields.key("list")?.to_string())),
            (None, Some(_)) => Ok(Self::Stream(fields.key("stream")?.to_string())),
            (Some(_), Some(_)) => Err(fields.wrong("list", "and stream exclude each other")),
            (None, None) => Err(fields.wrong("list", "or stream must say where the job goes")),
        }
    }
}

/// Takes jobs in.
pub(super) async fn add(fields: Fields<'_>, desk: &Desk<'_>) -> Result<Answer, Refusal> {
    let job = match Place::of(&fields)? {
        Place::List(list) => {
            fields.expect(&["list", "jobs"], "jobs for a list")?;
            let jobs = fields.names("jobs", JOBS_MAX, VALUE_BYTES_MAX)?;
            command(&[&["RPUSH", &list], &jobs[..]].concat())
        }
        Place::Stream(stream) => {
            fields.expect(&["stream", "fields", "length_max"], "a job for a stream")?;
            let entry = fields.strings("fields", JOBS_MAX)?;
            if entry.is_empty() {
                return Err(fields.wrong("fields", "must be an object with at least one string").into());
            }
            let length = fields.between("length_max", 1, LENGTH_MAX)?.map(|length| length.to_string());
            let trimmed = length.iter().flat_map(|length| ["MAXLEN", "~", length]);
            let entry = entry.into_iter().flat_map(|(name, value)| [name, value]);
            command(&["XADD", &stream].into_iter().chain(trimmed).chain(["*"]).chain(entry).collect::<Vec<_>>())
        }
    };
    let (_, [told]) = desk.write(Value::Null, [job]).await?;
    Ok(match told? {
        // The hub has it, and the origin has not said yet that it has run.
        Value::Null => Answer::of(202, json!({"state": "stored"})),
        Value::String(id) => Answer::ok(json!({"state": "delivered", "id": id})),
        length => Answer::ok(json!({"state": "delivered", "length": length})),
    })
}

/// How many jobs for a list or stream this region has taken in that are on their way, and how many of those that arrived Redis may
/// yet lose, which then are delivered again.
pub(super) async fn state(fields: Fields<'_>, desk: &Desk<'_>) -> Result<Answer, Refusal> {
    fields.expect(&["list", "stream"], "whose jobs are asked for")?;
    let (verb, key) = match Place::of(&fields)? {
        Place::List(list) => ("LLEN", list),
        Place::Stream(stream) => ("XLEN", stream),
    };
    let Jobs { stored, unstable, origin_connected } = desk.jobs(&command(&[verb, &key])).await?;
    Ok(Answer::ok(json!({"stored": stored, "unstable": unstable, "origin_connected": origin_connected})))
}
