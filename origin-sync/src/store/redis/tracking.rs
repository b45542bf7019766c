//! Which plain values were changed, as a server that tracks keys tells it, on a connection of its own.
//!
//! Nothing rests on it: the machine looks at values by turns, and this only makes it look sooner. The server tells of every
//! key, also of what this daemon's own commits change; whether plain clients did it the machine finds out.

use super::{RedisStoreError, access::Access};
use bytes::Bytes;
use headwater::id::{Key, RESERVED};
use redis::{ConnectionAddr, PushInfo, PushKind, Value};
use std::time::Duration;
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{interval, sleep},
};

const RETRY_AFTER: Duration = Duration::from_secs(5);

/// How often the connection is asked for a sign of life.
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// Messages that wait to be taken. What comes beyond is dropped, and this told.
const WAITING_MAX: usize = 1024;

/// What a server tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Touches {
    /// These values were changed.
    Keys(Vec<Key>),
    /// Until now not all was told.
    Lost,
}

/// What connections know of the daemon that made them.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    /// What the daemon calls itself in what it publishes.
    pub(super) writer: u64,
    told: mpsc::Sender<Touches>,
}

impl Owner {
    /// A daemon of this name, and where it hears of what its servers tell.
    pub(super) fn new(writer: u64) -> (Self, mpsc::Receiver<Touches>) {
        let (told, heard) = mpsc::channel(WAITING_MAX);
        (Self { writer, told }, heard)
    }
}

/// The tracking of one server, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct Tracker(JoinHandle<()>);

impl Tracker {
    /// Tracks all keys of the server.
    pub(super) fn start(access: Access, address: ConnectionAddr, owner: &Owner) -> Self {
        let told = owner.told.clone();
        Self(tokio::spawn(async move {
            let mut is_told = false;
            loop {
                if let Err(error) = track(&access, &address, &told).await
                    && !std::mem::replace(&mut is_told, true)
                {
                    tracing::info!(%error, "the server tracks no keys; what plain clients write is found by turns");
                }
                sleep(RETRY_AFTER).await;
            }
        }))
    }
}

impl Drop for Tracker {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Passes on what the server tells until the connection ends.
async fn track(access: &Access, address: &ConnectionAddr, told: &mpsc::Sender<Touches>) -> Result<(), RedisStoreError> {
    let (sender, mut pushes) = mpsc::unbounded_channel::<PushInfo>();
    let mut connection = access.connect_for_pushes(address, sender).await?;
    redis::cmd("CLIENT").arg("TRACKING").arg("ON").arg("BCAST").exec_async(&mut connection).await?;
    let mut ping = interval(PING_INTERVAL);
    let mut is_missed = true;
    loop {
        if is_missed {
            is_missed = told.try_send(Touches::Lost).is_err();
        }
        let push = tokio::select! {
            push = pushes.recv() => push,
            _ = ping.tick() => {
                redis::cmd("PING").exec_async(&mut connection).await?;
                continue;
            }
        };
        match push {
            Some(PushInfo { kind: PushKind::Invalidate, data }) => match keys(data) {
                Some(keys) if keys.is_empty() => {}
                Some(keys) => is_missed |= told.try_send(Touches::Keys(keys)).is_err(),
                None => is_missed = true,
            },
            Some(PushInfo { kind: PushKind::Disconnection, .. }) | None => return Ok(()),
            Some(_) => {}
        }
    }
}

/// The keys of an invalidation that are not Headwater's own; `None` where all were changed at once.
fn keys(data: Vec<Value>) -> Option<Vec<Key>> {
    let mut keys = Vec::new();
    for names in data {
        let Value::Array(names) = names else { return None };
        keys.extend(names.into_iter().filter_map(|name| match name {
            Value::BulkString(name) if !name.starts_with(RESERVED) => Key::new(Bytes::from(name)).ok(),
            _ => None,
        }));
    }
    Some(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_keys_are_told_and_a_flush_is_all_of_them() {
        let name = |name: &str| Value::BulkString(name.as_bytes().to_vec());
        let told = keys(vec![Value::Array(vec![name("a"), name("hw:m:{x}"), name("b")])]);
        assert_eq!(told, Some(vec![Key::new("a").unwrap(), Key::new("b").unwrap()]));
        assert_eq!(keys(vec![Value::Nil]), None);
    }
}
