//! What other daemons say of their commits, heard on a connection of its own.
//!
//! Nothing rests on it: the machine reads markers again by itself, and news only makes it do so sooner. So the connection
//! is simply made anew when it ends, and what was said meanwhile is not missed.

use super::{RedisStoreError, access::Access, names};
use futures_util::StreamExt;
use headwater::slot::Slot;
use redis::ConnectionAddr;
use std::time::Duration;
use tokio::{sync::mpsc, task::JoinHandle, time::sleep};

const RETRY_AFTER: Duration = Duration::from_secs(5);

/// News that wait to be taken. What comes beyond it is dropped, since the markers tell it too.
const WAITING_MAX: usize = 1024;

/// A commit of another daemon: the slot, and the sequence to which it was brought.
pub type News = (Slot, u64);

/// The subscription, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct Listener {
    task: JoinHandle<()>,
    heard: tokio::sync::Mutex<mpsc::Receiver<News>>,
}

impl Listener {
    /// Listens to one server; in a cluster any of them tells of all. What `writer` itself says is left out.
    pub(super) fn start(access: Access, address: ConnectionAddr, writer: u64) -> Self {
        let (sender, heard) = mpsc::channel(WAITING_MAX);
        let task = tokio::spawn(async move {
            loop {
                if let Err(error) = listen(&access, &address, writer, &sender).await {
                    tracing::debug!(%error, "other daemons' commits are not heard of");
                }
                sleep(RETRY_AFTER).await;
            }
        });
        Self { task, heard: tokio::sync::Mutex::new(heard) }
    }

    /// The next news; waits until there are some.
    pub(super) async fn next(&self) -> News {
        match self.heard.lock().await.recv().await {
            Some(news) => news,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(
    access: &Access,
    address: &ConnectionAddr,
    writer: u64,
    sender: &mpsc::Sender<News>,
) -> Result<(), RedisStoreError> {
    let mut subscription = access.subscribe(address, names::CHANNEL).await?;
    while let Some(message) = subscription.next().await {
        for news in parse(message.get_payload_bytes(), writer).into_iter().flatten() {
            let _ = sender.try_send(news);
        }
    }
    Ok(())
}

/// The writer, then a slot and its sequence for each of the commits of a call; whatever else stands there is none of ours.
fn parse(payload: &[u8], writer: u64) -> Option<Vec<News>> {
    let words = std::str::from_utf8(payload).ok()?.split(' ').map(|word| word.parse().ok());
    let words: Vec<u64> = words.collect::<Option<_>>()?;
    let (by, news) = words.split_first()?;
    let (pairs, []) = news.as_chunks() else { return None };
    let commit = |[slot, seq]: &[u64; 2]| Some((Slot::try_from(u16::try_from(*slot).ok()?).ok()?, *seq));
    if *by == writer { None } else { pairs.iter().map(commit).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_others_say_is_news() {
        let slot = |number: u16| Slot::try_from(number).unwrap();
        assert_eq!(parse(b"1 5 7", 2), Some(vec![(slot(5), 7)]));
        assert_eq!(parse(b"1 5 7 6 1", 2), Some(vec![(slot(5), 7), (slot(6), 1)]));
        assert_eq!(parse(b"1", 2), Some(vec![]));
        for other in ["2 5 7", "1 5", "1 5 7 6", "1 16384 7", "1 x 7", ""] {
            assert_eq!(parse(other.as_bytes(), 2), None, "{other}");
        }
    }
}
