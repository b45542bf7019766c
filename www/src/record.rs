//! Plain JavaScript objects with fields of these names, which [`unchecked_into`](wasm_bindgen::JsCast::unchecked_into) makes what
//! TypeScript knows them as.
//!
//! One type for all: what is imported for a field of a type is imported anew for the same field of another.

use crate::effect::{JsEffect, JsRowWrite};
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    pub(crate) type Record;
    #[wasm_bindgen(constructor, js_class = "Object")]
    pub(crate) fn new() -> Record;

    #[wasm_bindgen(method, getter)]
    pub(crate) fn kind(this: &Record) -> String;
    #[wasm_bindgen(method, getter)]
    pub(crate) fn id(this: &Record) -> Vec<u8>;
    #[wasm_bindgen(method, getter)]
    pub(crate) fn body(this: &Record) -> Option<Vec<u8>>;

    #[wasm_bindgen(method, setter)]
    pub(crate) fn set_kind(this: &Record, kind: &str);
    #[wasm_bindgen(method, setter)]
    pub(crate) fn set_id(this: &Record, id: Vec<u8>);
    #[wasm_bindgen(method, setter)]
    pub(crate) fn set_body(this: &Record, body: Vec<u8>);
    #[wasm_bindgen(method, setter)]
    pub(crate) fn set_frame(this: &Record, frame: Vec<u8>);
    #[wasm_bindgen(method, setter)]
    pub(crate) fn set_keys(this: &Record, keys: Vec<String>);
    #[wasm_bindgen(method, setter)]
    pub(crate) fn set_key(this: &Record, key: &str);
    #[wasm_bindgen(method, setter)]
    pub(crate) fn set_error(this: &Record, error: &str);
    #[wasm_bindgen(method, setter)]
    pub(crate) fn set_at(this: &Record, at: f64);
    #[wasm_bindgen(method, setter)]
    pub(crate) fn set_writes(this: &Record, writes: Vec<JsRowWrite>);
    #[wasm_bindgen(method, setter)]
    pub(crate) fn set_no(this: &Record, no: f64);
    #[wasm_bindgen(method, setter)]
    pub(crate) fn set_version(this: &Record, version: f64);
    #[wasm_bindgen(method, setter)]
    pub(crate) fn set_operation(this: &Record, operation: Vec<u8>);
    #[wasm_bindgen(method, setter)]
    pub(crate) fn set_tab(this: &Record, tab: u64);

    #[wasm_bindgen(method, setter)]
    pub(crate) fn set_result(this: &Record, result: JsValue);
    #[wasm_bindgen(method, setter, js_name = "isUnknown")]
    pub(crate) fn set_is_unknown(this: &Record, is_unknown: bool);
    #[wasm_bindgen(method, setter)]
    pub(crate) fn set_effects(this: &Record, effects: Vec<JsEffect>);

    #[wasm_bindgen(method, setter, js_name = "isConnected")]
    pub(crate) fn set_is_connected(this: &Record, is_connected: bool);
    #[wasm_bindgen(method, setter)]
    pub(crate) fn set_pending(this: &Record, pending: usize);
    #[wasm_bindgen(method, setter, js_name = "handedOver")]
    pub(crate) fn set_handed_over(this: &Record, handed_over: usize);
    #[wasm_bindgen(method, setter, js_name = "heardAt")]
    pub(crate) fn set_heard_at(this: &Record, heard_at: Option<f64>);
    #[wasm_bindgen(method, setter, js_name = "keys")]
    pub(crate) fn set_key_count(this: &Record, keys: usize);
    #[wasm_bindgen(method, setter, js_name = "offsetMs")]
    pub(crate) fn set_offset_ms(this: &Record, offset_ms: f64);
}
