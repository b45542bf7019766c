//! A counter in a row, one statement a request.

use worker::{DurableObject, Env, Request, Response, Result, SqlStorage, SqlStorageValue, State, durable_object};

const SCHEMA: &str =
    "CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID";
const COUNT: &str = "INSERT INTO counters (name, value) VALUES ('n', 1)
    ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value";

/// The one counter.
#[durable_object]
pub struct Rows {
    sql: SqlStorage,
}

impl DurableObject for Rows {
    fn new(state: State, _env: Env) -> Self {
        Self { sql: state.storage().sql() }
    }

    async fn fetch(&self, _request: Request) -> Result<Response> {
        self.sql.exec(SCHEMA, None)?;
        let row = self.sql.exec(COUNT, None)?.raw().next().transpose()?;
        let value = match row.as_deref() {
            Some([SqlStorageValue::Integer(value)]) => value.to_string(),
            other => format!("{other:?}"),
        };
        Response::ok(format!(r#"{{"result":{value}}}"#))
    }
}
