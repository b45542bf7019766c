//! Metrics in buckets of time: a hash `metrics:METRIC:BUCKET_MS` with a sum for each bucket, named by when it begins, which ends when it
//! is not kept any longer. Sums of all edges add up.

use super::desk::{Answer, Desk, command, integer, pairs};
use crate::{
    fields::{BadField, Fields},
    refusal::Refusal,
};
use serde_json::json;

const METRIC_BYTES_MAX: usize = 512;
const BUCKET_MS: i64 = 60_000;
const BUCKET_MS_MAX: i64 = 31 * 86_400_000;
const KEEP_MS: i64 = 86_400_000;
const KEEP_MS_MAX: i64 = 400 * 86_400_000;

/// Adds to the present bucket.
pub(super) async fn add(fields: Fields<'_>, desk: &Desk<'_>) -> Result<Answer, Refusal> {
    fields.expect(&["metric", "by", "bucket_ms", "keep_ms"], "what is added")?;
    let (key, bucket_ms) = place(&fields)?;
    let by = fields.between("by", i64::from(i32::MIN), i64::from(i32::MAX))?.unwrap_or(1);
    let keep_ms = fields.between("keep_ms", 1, KEEP_MS_MAX)?.unwrap_or(KEEP_MS);
    let begins = desk.now_ms().div_euclid(bucket_ms) * bucket_ms;
    let (bucket, ends) = (begins.to_string(), (begins + bucket_ms + keep_ms).to_string());
    let commands = [
        command(&["HINCRBY", &key, &bucket, &by.to_string()]),
        command(&["HPEXPIREAT", &key, &ends, "NX", "FIELDS", "1", &bucket]),
    ];
    let (at, [sum, kept]) = desk.write(begins.into(), commands).await?;
    kept?;
    Ok(Answer::ok(json!({"at": at, "value": integer(&sum?)})))
}

/// The buckets that begin between two times, in order, and their sum.
pub(super) async fn read(fields: Fields<'_>, desk: &Desk<'_>) -> Result<Answer, Refusal> {
    fields.expect(&["metric", "bucket_ms", "from", "to"], "what is read")?;
    let (key, _) = place(&fields)?;
    let from = fields.between("from", 0, i64::MAX)?.unwrap_or(0);
    let to = fields.between("to", 0, i64::MAX)?.unwrap_or(i64::MAX);
    let [found] = desk.run([command(&["HGETALL", &key])]).await?;
    let found = found?;
    let bucket = |(at, value): (&str, &str)| Some((at.parse::<i64>().ok()?, value.parse::<i64>().ok()?));
    let mut buckets: Vec<(i64, i64)> = pairs(&found).into_iter().filter_map(bucket).collect();
    buckets.retain(|(at, _)| (from..=to).contains(at));
    buckets.sort_unstable();
    let total = buckets.iter().fold(0_i64, |total, (_, value)| total.saturating_add(*value));
    let buckets: Vec<_> = buckets.into_iter().map(|(at, value)| json!({"at": at, "value": value})).collect();
    Ok(Answer::ok(json!({"total": total, "buckets": buckets})))
}

fn place(fields: &Fields<'_>) -> Result<(String, i64), BadField> {
    let metric = fields.name("metric", METRIC_BYTES_MAX)?;
    let bucket_ms = fields.between("bucket_ms", 1, BUCKET_MS_MAX)?.unwrap_or(BUCKET_MS);
    Ok((format!("metrics:{metric}:{bucket_ms}"), bucket_ms))
}
