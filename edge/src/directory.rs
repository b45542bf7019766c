//! The directory object: which hubs there are, and which identity each has or had.
//!
//! One per deployment. Hubs register themselves under every identity they take; none is ever removed, since sessions
//! opened by an earlier incarnation still name it.

use headwater::id::ReplicaId;
use serde::{Deserialize, Serialize};
use worker::{
    DurableObject, Env, Method, Request, Response, Result, SqlStorage, SqlStorageValue, State, durable_object,
};

/// The one object's name.
pub(crate) const NAME: &str = "directory";

/// Lists hubs, or takes a new one.
pub(crate) const HUBS: &str = "/hubs";

const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS hubs (replica TEXT PRIMARY KEY, name TEXT NOT NULL) WITHOUT ROWID";
const PUT: &str =
    "INSERT INTO hubs (replica, name) VALUES (?, ?) ON CONFLICT (replica) DO UPDATE SET name = excluded.name";
const ALL: &str = "SELECT DISTINCT name FROM hubs ORDER BY name";
const ONE: &str = "SELECT name FROM hubs WHERE replica = ?";

/// A hub as it registers.
#[derive(Serialize, Deserialize)]
pub(crate) struct Registration {
    /// Its name.
    pub(crate) name: String,
    /// Its identity, as [`bits`] writes it.
    pub(crate) replica: String,
}

/// A hub as the directory lists it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Listed {
    /// Its name.
    pub(crate) name: String,
}

/// The query that asks for the hub of one identity.
#[derive(Deserialize)]
pub(crate) struct HubsQuery {
    /// As [`bits`] writes it.
    pub(crate) replica: Option<String>,
}

/// An identity in URLs, JSON and SQLite, where numbers beyond 2^53 are not safe.
pub(crate) fn bits(hub: ReplicaId) -> String {
    hub.to_bits().to_string()
}

/// Which hubs there are.
#[durable_object]
pub struct Directory {
    sql: SqlStorage,
}

impl DurableObject for Directory {
    fn new(state: State, _env: Env) -> Self {
        Self { sql: state.storage().sql() }
    }

    async fn fetch(&self, mut request: Request) -> Result<Response> {
        self.sql.exec(SCHEMA, None)?;
        if request.method() == Method::Post {
            let Registration { name, replica } = request.json().await?;
            self.sql.exec(PUT, vec![replica.into(), name.into()])?;
            return Response::empty();
        }
        let HubsQuery { replica } = request.query()?;
        let cursor = match replica {
            Some(replica) => self.sql.exec(ONE, vec![replica.into()])?,
            None => self.sql.exec(ALL, None)?,
        };
        let mut hubs = Vec::new();
        for row in cursor.raw() {
            if let [SqlStorageValue::String(name)] = row?.as_slice() {
                hubs.push(Listed { name: name.clone() });
            }
        }
        Response::from_json(&hubs)
    }
}
