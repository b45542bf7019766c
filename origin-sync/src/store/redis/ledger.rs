//! The account of a strict limit as a call of the library, and what it answers. `commit.lua` reads this order.

use super::{RedisStoreError, names, script::Request};
use bytes::Bytes;
use headwater::store::{LedgerOutcome, LedgerSwap, StoredLedger};
use redis::Value;

/// The call, at a server of this run id.
pub(super) fn encode(swap: &LedgerSwap, run_id: &Bytes) -> Request {
    let number = |number: u64| Bytes::from(number.to_string());
    let (version, bytes) = match &swap.value {
        Some((version, bytes)) => (number(*version), bytes.clone()),
        None => (Bytes::new(), Bytes::new()),
    };
    let expected = swap.expected.map_or_else(Bytes::new, number);
    let expiry = Bytes::from(swap.expire_at.0.to_string());
    let keys = vec![names::ledger(swap.key.slot(), &swap.key)];
    Request { keys, arguments: vec![run_id.clone(), expected, version, bytes, expiry] }
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
