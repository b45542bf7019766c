//! The hub's rows in its object's SQLite, and the few facts that the shell keeps beside them.
//!
//! `rows` is the machine's: one row per row, named by [`RowId::to_bytes`]. `facts` is the shell's: the hub's name, and under
//! which identity the directory knows it. A write of several rows happens whole or not at all.
//!
//! SQLite reads all of an index entry that does not fit its page whenever a search passes by it. So `rows` has a rowid, which
//! keeps bodies out of the index (with a megabyte in three rows, 7000 others took 6.5 s to write into a table without one,
//! 0.1 s into this), and an id longer than [`ID_BYTES_MAX`] is indexed by its beginning and its digest.

use headwater::{
    hub::{RowId, RowWrite},
    id::ReplicaId,
};
use sha2::{Digest, Sha256};
use wasm_bindgen::{JsCast, JsValue, prelude::wasm_bindgen};
use worker::{
    SqlStorage, SqlStorageValue, State,
    js_sys::{self, Array, ArrayBuffer, Uint8Array},
};

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS rows (id BLOB NOT NULL PRIMARY KEY, long_id BLOB, body BLOB NOT NULL);
    CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
";
const ANY: &str = "SELECT 1 FROM rows LIMIT 1";
/// The replicas' rows first: the others call replicas by the numbers in them. Then those of slots, by which the hub knows what of a key
/// is stable and need not be noted. The rest as it lies in the table, which is read once and in one direction.
const LOAD: &str = "
    SELECT coalesce(long_id, id), body FROM rows WHERE id >= x'52' AND id < x'53'
    UNION ALL SELECT coalesce(long_id, id), body FROM rows WHERE id >= x'73' AND id < x'74'
    UNION ALL SELECT coalesce(long_id, id), body FROM rows WHERE substr(id, 1, 1) NOT IN (x'52', x'73')
";
const PUT: &str =
    "INSERT INTO rows (id, long_id, body) VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET body = excluded.body";
const DROP: &str = "DELETE FROM rows WHERE id = ?";
const FACT: &str = "SELECT value FROM facts WHERE name = ?";
const STATE_FACT: &str =
    "INSERT INTO facts (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value";

/// An indexed id: half of what SQLite keeps of an entry in an index page of 4096 bytes, which is 1002.
const ID_BYTES_MAX: usize = 512;

/// What is indexed of a longer id before its digest.
const ID_BEGINNING_BYTES: usize = ID_BYTES_MAX - 32;

/// The storage failed, or holds what this build did not write.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RowsError {
    /// SQLite or the runtime around it.
    #[error("the object's storage failed: {0}")]
    Storage(#[from] worker::Error),
    /// A row or fact is not of this build's making.
    #[error("the object's storage holds a row that is none of this build's: {0}")]
    Foreign(String),
}

/// The storage of one object.
pub(crate) struct Rows {
    sql: SqlStorage,
    transactions: Transactions,
}

impl Rows {
    /// The object's storage, with its tables.
    pub(crate) fn open(state: &State) -> Result<Self, RowsError> {
        let storage = state.storage();
        let transactions = AsRef::<JsValue>::as_ref(storage.as_raw()).clone().unchecked_into();
        let rows = Self { sql: storage.sql(), transactions };
        rows.sql.exec(SCHEMA, None)?;
        Ok(rows)
    }

    /// Whether the machine has never written anything.
    pub(crate) fn is_empty(&self) -> Result<bool, RowsError> {
        Ok(self.sql.exec(ANY, None)?.raw().next().transpose()?.is_none())
    }

    /// Reads every row, one after the other; a failure ends the iteration and is left in `failure`.
    pub(crate) fn load<'a>(
        &self,
        failure: &'a mut Option<RowsError>,
    ) -> Result<impl Iterator<Item = (RowId, Vec<u8>)> + 'a, RowsError> {
        let sql: &Sql = AsRef::<JsValue>::as_ref(&self.sql).unchecked_ref();
        let cursor = sql.exec(LOAD).map_err(worker::Error::from)?.raw();
        Ok(std::iter::from_fn(move || match row(&cursor) {
            Ok(row) => row,
            Err(error) => {
                *failure = Some(error);
                None
            }
        }))
    }

    /// Writes all of these rows or, when that fails, none.
    pub(crate) fn write(&self, writes: Vec<RowWrite>) -> Result<(), RowsError> {
        let mut writes = writes.into_iter();
        let mut write_all = || -> Result<(), JsValue> {
            for RowWrite { id, body } in writes.by_ref() {
                let (id, long_id) = indexed(id.to_bytes());
                match body {
                    Some(body) => self.sql.exec(PUT, vec![id.into(), long_id.into(), body.to_vec().into()])?,
                    None => self.sql.exec(DROP, vec![id.into()])?,
                };
            }
            Ok(())
        };
        self.transactions.transaction_sync(&mut write_all).map_err(worker::Error::from)?;
        Ok(())
    }

    /// The hub's name in the directory, once it has one.
    pub(crate) fn name(&self) -> Result<Option<String>, RowsError> {
        self.fact("name")
    }

    /// Keeps the hub's name.
    pub(crate) fn set_name(&self, name: &str) -> Result<(), RowsError> {
        self.state_fact("name", name)
    }

    /// The identity under which the directory knows the hub.
    pub(crate) fn registered(&self) -> Result<Option<ReplicaId>, RowsError> {
        let Some(bits) = self.fact("registered")? else { return Ok(None) };
        match bits.parse() {
            Ok(bits) => Ok(Some(ReplicaId::from_bits(bits))),
            Err(error) => Err(RowsError::Foreign(format!("{error}: {bits}"))),
        }
    }

    /// Keeps the identity under which the directory knows the hub.
    pub(crate) fn set_registered(&self, hub: ReplicaId) -> Result<(), RowsError> {
        self.state_fact("registered", &hub.to_bits().to_string())
    }

    fn fact(&self, name: &str) -> Result<Option<String>, RowsError> {
        match self.sql.exec(FACT, vec![name.into()])?.raw().next().transpose()?.as_deref() {
            None => Ok(None),
            Some([SqlStorageValue::String(value)]) => Ok(Some(value.clone())),
            Some(other) => Err(RowsError::Foreign(format!("{name}: {other:?}"))),
        }
    }

    fn state_fact(&self, name: &str, value: &str) -> Result<(), RowsError> {
        self.sql.exec(STATE_FACT, vec![name.into(), value.into()])?;
        Ok(())
    }
}

/// Under what an id is indexed, and the id itself where that differs. Only a long id has one of exactly
/// [`ID_BYTES_MAX`], so none can be chosen to meet another's.
fn indexed(id: Vec<u8>) -> (Vec<u8>, Option<Vec<u8>>) {
    match id.get(..ID_BEGINNING_BYTES) {
        Some(beginning) if id.len() >= ID_BYTES_MAX => ([beginning, Sha256::digest(&id).as_slice()].concat(), Some(id)),
        _ => (id, None),
    }
}

/// The next row of all. Not by the crate `worker`, which tries each type that a column may have with a call of the runtime.
fn row(cursor: &js_sys::Iterator) -> Result<Option<(RowId, Vec<u8>)>, RowsError> {
    let next = cursor.next().map_err(worker::Error::from)?;
    if next.done() {
        return Ok(None);
    }
    let columns: Array = next.value().unchecked_into();
    let (id, body) = (blob(columns.get(0))?, blob(columns.get(1))?);
    let row = RowId::from_bytes(&id).ok_or_else(|| RowsError::Foreign(format!("{id:?}")))?;
    Ok(Some((row, body)))
}

fn blob(column: JsValue) -> Result<Vec<u8>, RowsError> {
    match column.dyn_into::<ArrayBuffer>() {
        Ok(buffer) => Ok(Uint8Array::new(&buffer).to_vec()),
        Err(other) => Err(RowsError::Foreign(format!("{other:?}"))),
    }
}

#[wasm_bindgen]
extern "C" {
    /// The part of `DurableObjectStorage` that the crate `worker` does not bind.
    type Transactions;

    #[wasm_bindgen(method, catch, js_name = transactionSync)]
    fn transaction_sync(
        this: &Transactions,
        closure: &mut dyn FnMut() -> Result<(), JsValue>,
    ) -> Result<JsValue, JsValue>;

    /// `SqlStorage` as it is, for many rows.
    type Sql;

    #[wasm_bindgen(method, catch)]
    fn exec(this: &Sql, query: &str) -> Result<Cursor, JsValue>;

    type Cursor;

    /// Rows as arrays of their columns.
    #[wasm_bindgen(method)]
    fn raw(this: &Cursor) -> js_sys::Iterator;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_ids_are_indexed_by_beginning_and_digest() {
        let short = vec![7; ID_BYTES_MAX - 1];
        assert_eq!(indexed(short.clone()), (short, None));
        let (one, two) = (vec![7; ID_BYTES_MAX], vec![7; ID_BYTES_MAX + 1]);
        let (index_one, index_two) = (indexed(one.clone()), indexed(two));
        assert_ne!(index_one.0, index_two.0);
        assert_eq!((index_one.0.len(), index_two.0.len()), (ID_BYTES_MAX, ID_BYTES_MAX));
        // Who sends an index entry as an id of its own meets nothing.
        assert_ne!(indexed(index_one.0.clone()).0, index_one.0);
        assert_eq!(index_one.1, Some(one));
    }
}
