//! The leaf's effects as tagged objects. The frame is encoded here, so TypeScript never sees a message.

use headwater::{
    leaf::LeafEffect,
    wire::{Terms, WireError},
};
use wasm_bindgen::prelude::*;

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
/** What the shell is to do. A key that is not UTF-8 reads with U+FFFD; nothing in a tab creates one. */
export type Effect =
  /** Send this binary message to the hub. */
  | { kind: "send"; frame: Uint8Array<ArrayBuffer> }
  /** These keys read differently now. */
  | { kind: "changed"; keys: string[] }
  /** The hub refused an operation on this key; the view has been rolled back. */
  | { kind: "refused"; key: string; error: string }
  /** Close the socket and dial again. */
  | { kind: "redial" }
  /** Call `tick` then, in place of any time asked for before. */
  | { kind: "wake-at"; at: number };
"#;

#[wasm_bindgen]
extern "C" {
    /// One effect.
    #[wasm_bindgen(typescript_type = "Effect")]
    pub type JsEffect;
    #[wasm_bindgen(constructor, js_class = "Object")]
    fn new() -> JsEffect;
    #[wasm_bindgen(method, setter)]
    fn set_kind(this: &JsEffect, kind: &str);
    #[wasm_bindgen(method, setter)]
    fn set_frame(this: &JsEffect, frame: Vec<u8>);
    #[wasm_bindgen(method, setter)]
    fn set_keys(this: &JsEffect, keys: Vec<String>);
    #[wasm_bindgen(method, setter)]
    fn set_key(this: &JsEffect, key: &str);
    #[wasm_bindgen(method, setter)]
    fn set_error(this: &JsEffect, error: &str);
    #[wasm_bindgen(method, setter)]
    fn set_at(this: &JsEffect, at: f64);
}

/// The effect's JavaScript form.
///
/// # Errors
/// As [`Terms::encode`]: when the message to send is longer than the hub accepts.
pub(crate) fn to_js(effect: LeafEffect, terms: &Terms) -> Result<JsEffect, WireError> {
    let object = JsEffect::new();
    match effect {
        LeafEffect::Send(message) => {
            object.set_kind("send");
            object.set_frame(terms.encode(&message)?);
        }
        LeafEffect::Changed(keys) => {
            object.set_kind("changed");
            object.set_keys(keys.iter().map(ToString::to_string).collect());
        }
        LeafEffect::Refused(key, error) => {
            object.set_kind("refused");
            object.set_key(&key.to_string());
            object.set_error(&error.to_string());
        }
        LeafEffect::Redial => object.set_kind("redial"),
        LeafEffect::WakeAt(at) => {
            object.set_kind("wake-at");
            // Exact until the year 287396.
            object.set_at(at.0 as f64);
        }
    }
    Ok(object)
}
