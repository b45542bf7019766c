//! The leaf's effects as tagged objects. The frame is encoded here, so TypeScript never sees a message.

use crate::record::Record;
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
  | { kind: "put"; id: Uint8Array<ArrayBuffer>; body: Uint8Array<ArrayBuffer> }
  | { kind: "drop"; id: Uint8Array<ArrayBuffer>; body?: undefined }
  /** Drops the row of an operation; the body tells other tabs how it ended. */
  | { kind: "done"; id: Uint8Array<ArrayBuffer>; body: Uint8Array<ArrayBuffer> }
  | { kind: "drop-all"; id: Uint8Array<ArrayBuffer>; body?: undefined };

/** What the shell is to do. A key that is not UTF-8 reads with U+FFFD; nothing in a tab creates one. */
export type Effect =
  /** Store these in one transaction, before what follows is sent. */
  | { kind: "persist"; writes: RowWrite[] }
  /** Send this binary message to the hub. */
  | { kind: "send"; frame: Uint8Array<ArrayBuffer> }
  /** These keys read differently now. */
  | { kind: "changed"; keys: string[] }
  /** The hub refused an operation on this key; the view has been rolled back. */
  | { kind: "refused"; key: string; error: string }
  /** Close the socket and dial again. */
  | { kind: "redial" }
  /** Call `tick` then, in place of any time asked for before. */
  | { kind: "wake-at"; at: number }
  /** Hand this operation to the tab that leads. */
  | { kind: "forward"; no: number; version: number; operation: Uint8Array<ArrayBuffer> }
  /** Give this frame to the tabs that mirror this one, for their leaves to receive. */
  | { kind: "share"; frame: Uint8Array<ArrayBuffer> }
  /** Ask this tab to hand over again, after it was told of all before. */
  | { kind: "again"; tab: bigint };
"#;

#[wasm_bindgen]
extern "C" {
    /// One effect.
    #[wasm_bindgen(typescript_type = "Effect")]
    pub type JsEffect;
    /// One change of what is stored.
    #[wasm_bindgen(typescript_type = "RowWrite")]
    pub type JsRowWrite;
}

/// The effect's JavaScript form.
///
/// # Errors
/// As [`Terms::encode`]: when the message to send is longer than the hub accepts.
pub(crate) fn to_js(effect: LeafEffect, terms: &Terms) -> Result<JsEffect, WireError> {
    let object = Record::new();
    match effect {
        LeafEffect::Persist(writes) => {
            object.set_kind("persist");
            object.set_writes(writes.into_iter().map(row_to_js).collect());
        }
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
        LeafEffect::Forward { no, version, operation } => {
            object.set_kind("forward");
            // Exact: nothing is counted up to 2^53 here.
            object.set_no(no as f64);
            object.set_version(version as f64);
            object.set_operation(operation.to_vec());
        }
        LeafEffect::Share(message) => {
            object.set_kind("share");
            object.set_frame(wire::encode(&message)?);
        }
        LeafEffect::Again(TabId(tab)) => {
            object.set_kind("again");
            object.set_tab(tab);
        }
    }
    Ok(object.unchecked_into())
}

fn row_to_js(write: LeafRowWrite) -> JsRowWrite {
    let object = Record::new();
    let (kind, row) = match write {
        LeafRowWrite::Put(row, body) => {
            // A borrowed slice would be a view of memory that is used again before it is stored.
            object.set_body(body.to_vec());
            ("put", row)
        }
        LeafRowWrite::Drop(row) => ("drop", row),
        LeafRowWrite::Done(no, body) => {
            object.set_body(body.to_vec());
            ("done", LeafRowId::Pending(no))
        }
        LeafRowWrite::DropKey(key) => ("drop-all", LeafRowId::Key(key)),
    };
    object.set_kind(kind);
    object.set_id(row.to_bytes());
    object.unchecked_into()
}

/// What another tab's leaf wrote; `None` where it makes no sense.
pub(crate) fn row_from_js(object: JsRowWrite) -> Option<LeafRowWrite> {
    let object: Record = object.unchecked_into();
    let row = LeafRowId::from_bytes(&object.id())?;
    match (object.kind().as_str(), row, object.body()) {
        ("put", row, Some(body)) => Some(LeafRowWrite::Put(row, body.into())),
        ("drop", row, None) => Some(LeafRowWrite::Drop(row)),
        ("done", LeafRowId::Pending(no), Some(body)) => Some(LeafRowWrite::Done(no, body.into())),
        ("drop-all", LeafRowId::Key(key), None) => Some(LeafRowWrite::DropKey(key)),
        _ => None,
    }
}
