//! Replies as JavaScript values.
//!
//! No information is lost: an integer beyond the doubles is a BigInt, a byte string that is not UTF-8 a Uint8Array.

use headwater::command::Reply;
use std::str;
use wasm_bindgen::prelude::*;

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
/** A reply: nil, a string, an integer, an array; beyond what those hold, a bigint or bytes. */
export type Reply = null | string | number | bigint | Uint8Array<ArrayBuffer> | Reply[];
"#;

/// The largest integer up to which every integer is a double: 2^53 − 1.
pub(crate) const SAFE_INTEGER_MAX: u64 = (1 << 53) - 1;

/// The reply's JavaScript form.
pub(crate) fn to_js(reply: Reply) -> JsValue {
    match reply {
        Reply::Nil => JsValue::NULL,
        Reply::Ok => JsValue::from_str("OK"),
        Reply::Simple(text) => JsValue::from_str(&text),
        Reply::Int(number) if number.unsigned_abs() <= SAFE_INTEGER_MAX => JsValue::from_f64(number as f64),
        Reply::Int(number) => JsValue::from(number),
        Reply::Bulk(bytes) => str::from_utf8(&bytes).map_or_else(|_| JsValue::from(bytes.to_vec()), JsValue::from_str),
        Reply::Array(replies) => JsValue::from(replies.into_iter().map(to_js).collect::<Vec<_>>()),
    }
}
