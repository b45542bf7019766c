//! The account of a strict limit as a call of the library, and what it answers. `commit.lua` reads this order.

use super::{RedisStoreError, names, script::Request};
use bytes::Bytes;
use headwater::store::{LedgerOutcome, LedgerSwap, StoredLedger};
use redis::Value;

/// The call, at a server of this run id.
pub(super) fn encode(swap: &LedgerSwap, run_id: &Bytes) -> Request {
    let mut request = Request::default();
    request.keys.push(names::ledger(swap.key.slot(), &swap.key));
    let words = &mut request.arguments;
    words.push(run_id);
    words.push_optional(swap.expected);
    words.push_optional(swap.value.as_ref().map(|(version, _)| *version));
    words.push(swap.value.as_ref().map_or(&[][..], |(_, bytes)| bytes));
    words.push(swap.expire_at.0.to_string());
    request
}

/// What the call answered.
pub(super) fn decode(answer: Value, run_id: &Bytes) -> Result<LedgerOutcome, RedisStoreError> {
    let malformed = || RedisStoreError::Answer("the account of a limit is answered in another shape");
    let Value::Array(parts) = answer else { return Err(malformed()) };
    let text = |part: Value| match part {
        Value::BulkString(bytes) => Ok(Bytes::from(bytes)),
        _ => Err(malformed()),
    };
    let parts = parts.into_iter().map(text).collect::<Result<Vec<_>, _>>()?;
    match parts.as_slice() {
        [swapped] if swapped.as_ref() == b"1" => Ok(LedgerOutcome::Swapped),
        [_] => Ok(LedgerOutcome::Found(None)),
        [_, version, run, bytes] => {
            let version = std::str::from_utf8(version).ok().and_then(|text| text.parse().ok()).ok_or_else(malformed)?;
            let is_current = run == run_id;
            Ok(LedgerOutcome::Found(Some(StoredLedger { version, is_current, bytes: bytes.clone() })))
        }
        _ => Err(malformed()),
    }
}
