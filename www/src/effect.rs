//! The leaf's effects as JavaScript lists. The frame is encoded here, so TypeScript never sees a message.
//!
//! Lists and not objects: what makes a list of values is there for replies anyway, and each field with a name would be one more
//! function that the module imports.

use headwater::{
    leaf::{LeafEffect, LeafRowId, LeafRowWrite, TabId},
    wire::{self, Terms, WireError},
};
use wasm_bindgen::{JsCast, prelude::*};

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
/**
 * A change of what is stored: writes a row, drops one, or drops all rows whose primary keys begin so. Bytes compare as
 * they stand.
 */
export type RowWrite =
  | [kind: "put", id: Uint8Array<ArrayBuffer>, body: Uint8Array<ArrayBuffer>]
  | [kind: "drop", id: Uint8Array<ArrayBuffer>, body?: undefined]
  /** Drops the row of an operation; the body tells other tabs how it ended. */
  | [kind: "done", id: Uint8Array<ArrayBuffer>, body: Uint8Array<ArrayBuffer>]
  | [kind: "drop-all", id: Uint8Array<ArrayBuffer>, body?: undefined];

/** What the shell is to do. A key that is not UTF-8 reads with U+FFFD; nothing in a tab creates one. */
export type Effect =
  /** Store these in one transaction, before what follows is sent. */
  | [kind: "persist", writes: RowWrite[]]
  /** Send this binary message to the hub. */
  | [kind: "send", frame: Uint8Array<ArrayBuffer>]
  /** These keys read differently now. */
  | [kind: "changed", keys: string[]]
  /** The hub refused an operation on this key; the view has been rolled back. */
  | [kind: "refused", key: string, error: string]
  /** Close the socket and dial again. */
  | [kind: "redial"]
  /** Call `tick` then, in place of any time asked for before. */
  | [kind: "wake-at", at: number]
  /** Hand this operation to the tab that leads. */
  | [kind: "forward", no: number, version: number, operation: Uint8Array<ArrayBuffer>]
  /** Give this frame to the tabs that mirror this one, for their leaves to receive. */
  | [kind: "share", frame: Uint8Array<ArrayBuffer>]
  /** Ask this tab to hand over again, after it was told of all before. */
  | [kind: "again", tab: bigint];
"#;

#[wasm_bindgen]
extern "C" {
    /// Effects in order.
    #[wasm_bindgen(typescript_type = "Effect[]")]
    pub type JsEffects;
    /// One change of what is stored.
    #[wasm_bindgen(typescript_type = "RowWrite")]
    pub type JsRowWrite;

    /// What stands in a list at this place.
    #[wasm_bindgen(method, indexing_getter)]
    pub(crate) fn bytes(this: &JsRowWrite, at: u32) -> Option<Vec<u8>>;
    #[wasm_bindgen(method, indexing_getter)]
    fn text(this: &JsRowWrite, at: u32) -> Option<String>;
}

/// A list of these.
pub(crate) fn list(values: impl IntoIterator<Item = JsValue>) -> JsValue {
    values.into_iter().collect::<Vec<_>>().into()
}

/// Effects in their JavaScript form.
///
/// # Errors
/// As [`Terms::encode`]: when a message to send is longer than the hub accepts.
pub(crate) fn to_js(effects: Vec<LeafEffect>, terms: &Terms) -> Result<JsEffects, WireError> {
    let effects = effects.into_iter().map(|effect| one_to_js(effect, terms)).collect::<Result<Vec<_>, _>>()?;
    Ok(JsValue::from(effects).unchecked_into())
}

fn one_to_js(effect: LeafEffect, terms: &Terms) -> Result<JsValue, WireError> {
    let (kind, values) = match effect {
        LeafEffect::Persist(writes) => ("persist", vec![list(writes.into_iter().map(row_to_js))]),
        LeafEffect::Send(message) => ("send", vec![terms.encode(&message)?.into()]),
        LeafEffect::Changed(keys) => ("changed", vec![list(keys.iter().map(|key| key.to_string().into()))]),
        LeafEffect::Refused(key, error) => ("refused", vec![key.to_string().into(), error.to_string().into()]),
        LeafEffect::Redial => ("redial", Vec::new()),
        // Exact until the year 287396.
        LeafEffect::WakeAt(at) => ("wake-at", vec![(at.0 as f64).into()]),
        // Exact: nothing is counted up to 2^53 here.
        LeafEffect::Forward { no, version, operation } => {
            ("forward", vec![(no as f64).into(), (version as f64).into(), operation.to_vec().into()])
        }
        LeafEffect::Share(message) => ("share", vec![wire::encode(&message)?.into()]),
        LeafEffect::Again(TabId(tab)) => ("again", vec![tab.into()]),
    };
    Ok(list([kind.into()].into_iter().chain(values)))
}

fn row_to_js(write: LeafRowWrite) -> JsValue {
    let (kind, row, body) = match write {
        LeafRowWrite::Put(row, body) => ("put", row, Some(body)),
        LeafRowWrite::Drop(row) => ("drop", row, None),
        LeafRowWrite::Done(no, body) => ("done", LeafRowId::Pending(no), Some(body)),
        LeafRowWrite::DropKey(key) => ("drop-all", LeafRowId::Key(key), None),
    };
    // A borrowed slice would be a view of memory that is used again before it is stored.
    list([kind.into(), row.to_bytes().into()].into_iter().chain(body.map(|body| body.to_vec().into())))
}

/// What another tab's leaf wrote; `None` where it makes no sense.
pub(crate) fn row_from_js(write: &JsRowWrite) -> Option<LeafRowWrite> {
    let row = LeafRowId::from_bytes(&write.bytes(1)?)?;
    match (write.text(0)?.as_str(), row, write.bytes(2)) {
        ("put", row, Some(body)) => Some(LeafRowWrite::Put(row, body.into())),
        ("drop", row, None) => Some(LeafRowWrite::Drop(row)),
        ("done", LeafRowId::Pending(no), Some(body)) => Some(LeafRowWrite::Done(no, body.into())),
        ("drop-all", LeafRowId::Key(key), None) => Some(LeafRowWrite::DropKey(key)),
        _ => None,
    }
}
