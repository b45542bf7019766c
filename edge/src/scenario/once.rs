//! A verb that writes, done once under its `Idempotency-Key`.
//!
//! Every verb writes in one step, and the hub remembers what it answered to that step under the client's key, in the transaction
//! that wrote. What beside these replies the verb's answer is made of, such as the secret that was drawn, goes along as a command
//! that changes nothing, and so is remembered with them: a retry makes its answer of what the first call made it of. With it is a
//! digest of the call, so that the same key on another one is told and not taken for it. Pure.

use super::desk::command;
use crate::refusal::Refusal;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// What the hub's name of the key begins with. No header can hold it, so that no other request has the answer of a verb, in which
/// secrets may be, nor a verb that of another request.
const BEGINNING: &[u8] = b"\0";

/// A call that is done once.
pub(crate) struct Once {
    key: Bytes,
    call: String,
}

/// What goes along with the commands.
#[derive(Serialize, Deserialize)]
struct Memo {
    call: String,
    memo: Value,
}

impl Once {
    /// The call of a verb under a client's key.
    pub(crate) fn of(key: &[u8], path: &str, body: &[u8]) -> Self {
        let call = Sha256::new().chain_update(path).chain_update(BEGINNING).chain_update(body).finalize();
        Self { key: [BEGINNING, key].concat().into(), call: URL_SAFE_NO_PAD.encode(call) }
    }

    /// Under what the hub remembers it.
    pub(super) fn key(&self) -> Bytes {
        self.key.clone()
    }

    /// A name that this call has each time that it is made, and no other.
    pub(super) fn name(&self) -> String {
        let name = Sha256::new().chain_update(&self.key).chain_update(BEGINNING).chain_update(&self.call).finalize();
        URL_SAFE_NO_PAD.encode(name)
    }

    /// The command that has `memo` remembered.
    pub(super) fn note(&self, memo: Value) -> Vec<Bytes> {
        let memo = Memo { call: self.call.clone(), memo };
        // Text and JSON have no way to fail.
        command(&["ECHO", &serde_json::to_string(&memo).unwrap_or_default()])
    }

    /// The command that has nothing remembered, and whose reply no memo is.
    pub(super) fn look() -> Vec<Bytes> {
        command(&["ECHO", ""])
    }

    /// What was remembered with the step to which this was the last reply; nothing where the step was none of a verb's.
    ///
    /// # Errors
    /// Where it was another call's.
    pub(super) fn read(&self, reply: &Value) -> Result<Option<Value>, Refusal> {
        match reply.as_str() {
            Some("") => Ok(None),
            text => match text.and_then(|text| serde_json::from_str(text).ok()) {
                Some(Memo { call, memo }) if call == self.call => Ok(Some(memo)),
                _ => Err(Refusal::OtherCall),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn replied(once: &Once, memo: Value) -> Value {
        String::from_utf8(once.note(memo)[1].to_vec()).expect("text").into()
    }

    #[test]
    fn what_is_noted_is_read_by_the_same_call_alone() {
        let once = Once::of(b"k", "/v1/metrics/add", b"{}");
        let reply = replied(&once, json!({"at": 7}));
        assert_eq!(once.read(&reply).expect("the same call"), Some(json!({"at": 7})));
        assert_eq!(once.read(&json!("")).expect("nothing yet"), None);
        for (path, body) in
            [("/v1/metrics/add", &b"{ }"[..]), ("/v1/metrics/read", b"{}"), ("/v1/metrics/add\0", b"{}")]
        {
            let other = Once::of(b"k", path, body);
            assert_eq!(other.key(), once.key());
            assert!(matches!(other.read(&reply), Err(Refusal::OtherCall)), "{path}");
            assert_ne!(other.name(), once.name());
        }
        assert!(matches!(once.read(&json!(5)), Err(Refusal::OtherCall)));
    }

    #[test]
    fn no_header_names_what_a_verb_was_answered() {
        assert!(Once::of(b"k", "", b"").key().starts_with(&[0]));
    }
}
