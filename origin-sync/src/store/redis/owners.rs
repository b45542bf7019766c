//! Whose the identities of hubs are: a hash beside the daemons' heartbeats, from each identity to the address where it was
//! first met.
//!
//! It has as many fields as there were hubs, and is read when a daemon connects and when a hub says hello.

use super::{RedisStoreError, names};
use redis::{ErrorKind, RedisError, ServerErrorKind, Value, aio::MultiplexedConnection};
use std::collections::BTreeMap;

/// All that is there. The right to note more is tried first, so that a user who lacks it is told at once and not when the next
/// hub turns up.
pub(super) async fn read(mut connection: MultiplexedConnection) -> Result<BTreeMap<String, String>, RedisStoreError> {
    let mut pipe = redis::pipe();
    pipe.ignore_errors();
    pipe.cmd("HSETNX").arg(names::OWNERS).arg("").arg("");
    pipe.cmd("HDEL").arg(names::OWNERS).arg("");
    pipe.cmd("HGETALL").arg(names::OWNERS);
    let (tried, _, owners): (Value, Value, Value) = pipe.query_async(&mut connection).await?;
    if let Value::ServerError(error) = tried {
        let error = RedisError::from(error);
        // Whatever else is wrong, as a server without memory, concerns no hub that is known.
        if error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm) {
            return Err(RedisStoreError::Server(error));
        }
    }
    if let Value::ServerError(error) = owners {
        return Err(RedisStoreError::Server(RedisError::from(error)));
    }
    let mut owners: BTreeMap<String, String> = redis::from_redis_value(owners)
        .map_err(|_other| RedisStoreError::Answer("the identities of hubs are no hash of texts"))?;
    // Another daemon may be trying its right.
    owners.remove("");
    Ok(owners)
}

/// Notes an owner unless one is noted, and gives the one that is. One that is known is only read, so that it is served also
/// while the server has no memory to note another.
pub(super) async fn claim(
    mut connection: MultiplexedConnection,
    hub: &str,
    owner: &str,
) -> Result<String, RedisStoreError> {
    let known: Option<String> = redis::cmd("HGET").arg(names::OWNERS).arg(hub).query_async(&mut connection).await?;
    if let Some(known) = known {
        return Ok(known);
    }
    let mut pipe = redis::pipe();
    pipe.atomic();
    pipe.cmd("HSETNX").arg(names::OWNERS).arg(hub).arg(owner).ignore();
    pipe.cmd("HGET").arg(names::OWNERS).arg(hub);
    let (owner,): (String,) = pipe.query_async(&mut connection).await?;
    Ok(owner)
}

/// Notes owners, whoever was noted before.
pub(super) async fn assign(
    mut connection: MultiplexedConnection,
    owners: &BTreeMap<String, String>,
) -> Result<(), RedisStoreError> {
    if owners.is_empty() {
        return Ok(());
    }
    let mut set = redis::cmd("HSET");
    set.arg(names::OWNERS);
    for (hub, owner) in owners {
        set.arg(hub).arg(owner);
    }
    Ok(set.exec_async(&mut connection).await?)
}
