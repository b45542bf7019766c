//! A person's keys, removed for good: HW.ERASE, which the daemon executes by the patterns of its operator.

use super::desk::{Answer, Desk, command, integer};
use crate::{fields::Fields, refusal::Refusal};
use headwater::limits::KEY_BYTES_MAX;
use serde_json::{Value, json};

pub(super) async fn erase(fields: Fields<'_>, desk: &Desk<'_>) -> Result<Answer, Refusal> {
    fields.expect(&["subject"], "whom to erase")?;
    let subject = fields.name("subject", KEY_BYTES_MAX)?;
    let (_, [counts]) = desk.write(Value::Null, [command(&["HW.ERASE", subject])]).await?;
    // What is wrong with the call itself was told before it was sent.
    let counts =
        counts.map_err(|error| if error.status() == 400 { Refusal::NotErased(error) } else { error.into() })?;
    let count = |at: usize| counts.get(at).and_then(integer).unwrap_or(0);
    let (erased, left, pending) = (count(0), count(1), count(2));
    let status = if pending == 0 { 200 } else { 202 };
    Ok(Answer::of(status, json!({"erased": erased, "left": left, "pending": pending})))
}
