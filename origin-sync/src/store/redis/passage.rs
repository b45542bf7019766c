//! The connection by which commands of edges are passed through to one server.
//!
//! It is apart from the one of commits, so that what a client asks for neither waits behind commits nor ends the daemon's
//! life where it fails. It is opened when first needed, and again after it failed; what was sent is never sent again.

use super::{access::Access, refusal::Refusal};
use crate::store::RunError;
use bytes::Bytes;
use headwater::{
    command::Reply,
    limits::{ERROR_BYTES_MAX, REPLY_DEPTH_MAX},
};
use redis::{Cmd, ConnectionAddr, ServerError, Value, aio::MultiplexedConnection};
use std::time::Duration;
use tokio::{sync::Mutex, time::timeout};

/// How long one command may take, and the connection before it.
pub(super) const RUN_TIMEOUT: Duration = Duration::from_secs(4);

/// The way to one server.
#[derive(Debug)]
pub(super) struct Passage {
    access: Access,
    address: ConnectionAddr,
    open: Mutex<Option<MultiplexedConnection>>,
}

impl Passage {
    /// Connects when first needed.
    pub(super) fn new(access: Access, address: ConnectionAddr) -> Self {
        Self { access, address, open: Mutex::default() }
    }

    /// Runs a command once. An error of Redis is a value.
    pub(super) async fn run(&self, argv: &[Bytes]) -> Result<Value, RunError> {
        let mut connection = self.connection().await?;
        let mut command = Cmd::new();
        for argument in argv {
            command.arg(argument.as_ref());
        }
        let mut pipe = redis::pipe();
        pipe.add_command(command).ignore_errors();
        let answered = timeout(RUN_TIMEOUT, pipe.query_async::<Vec<Value>>(&mut connection)).await;
        let failure = match answered {
            Ok(Ok(values)) => return values.into_iter().next().ok_or(RunError::Nothing),
            Ok(Err(error)) => RunError::Lost(error),
            Err(_elapsed) => RunError::TimedOut,
        };
        // The next one begins with a connection that is sound.
        *self.open.lock().await = None;
        Err(failure)
    }

    /// Nothing was sent where there is none.
    async fn connection(&self) -> Result<MultiplexedConnection, RunError> {
        let mut open = self.open.lock().await;
        if let Some(connection) = &*open {
            return Ok(connection.clone());
        }
        let connected = timeout(RUN_TIMEOUT, self.access.connect(&self.address)).await;
        let connection = connected.map_err(|_elapsed| RunError::Unreachable)??;
        *open = Some(connection.clone());
        Ok(connection)
    }
}

/// What Redis answered, as a client is told.
pub(super) fn reply(value: Value) -> Result<Reply, RunError> {
    match value {
        Value::ServerError(error) => Err(RunError::Redis(text(&error))),
        value => within(value, REPLY_DEPTH_MAX).ok_or(RunError::TooDeep),
    }
}

/// To which node of a cluster the server sends the client; the command did not run then.
pub(super) fn moved(value: &Value) -> Option<Refusal> {
    let Value::ServerError(error) = value else { return None };
    Refusal::of_server(error).filter(|refusal| matches!(refusal, Refusal::Moved(_)))
}

/// As RESP2 has it; an error within an array, which only scripts make, is its text.
fn within(value: Value, depth: usize) -> Option<Reply> {
    let all = |values: Vec<Value>| {
        let inner = depth.checked_sub(1)?;
        values.into_iter().map(|value| within(value, inner)).collect::<Option<Vec<_>>>().map(Reply::Array)
    };
    Some(match value {
        Value::Nil => Reply::Nil,
        Value::Okay => Reply::Ok,
        Value::Int(number) => Reply::Int(number),
        Value::BulkString(bytes) => Reply::Bulk(bytes.into()),
        Value::SimpleString(text) if text.len() <= ERROR_BYTES_MAX => Reply::Simple(text.into()),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Reply::Bulk(text.into()),
        Value::Boolean(yes) => Reply::from(yes),
        Value::Double(number) => Reply::Bulk(number.to_string().into()),
        Value::BigNumber(digits) => Reply::Bulk(digits.into()),
        Value::ServerError(error) => Reply::Bulk(text(&error).into_string().into()),
        Value::Array(values) | Value::Set(values) | Value::Push { data: values, .. } => all(values)?,
        Value::Map(pairs) => all(pairs.into_iter().flat_map(|(key, value)| [key, value]).collect())?,
        Value::Attribute { data, .. } => within(*data, depth)?,
        // A kind of value that this protocol does not have.
        _ => return None,
    })
}

/// The error as the server sent it, within the bound.
pub(super) fn text(error: &ServerError) -> Box<str> {
    let mut text = match error.details() {
        Some(details) => format!("{} {details}", error.code()),
        None => error.code().to_owned(),
    };
    text.truncate(text.floor_char_boundary(ERROR_BYTES_MAX));
    text.into()
}
