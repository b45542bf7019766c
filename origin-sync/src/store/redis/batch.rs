//! Commits on their way to one server, several in a call.
//!
//! Redis runs a script for one call at a time, and hosted ones bill each call. Commits of slots are independent, each all or
//! nothing by itself, so those that wait at the same time share a call. While few calls are under way nothing waits; behind
//! the limit commits gather, and so the calls grow with the load. Nodes of a cluster take one slot in each call.

use super::script::{Call, CommitScript, Request};
use redis::{RedisError, Value, aio::MultiplexedConnection};
use tokio::{
    sync::{mpsc, oneshot},
    task::{AbortHandle, JoinSet},
};

/// Calls under way at once. One more than the server works on, so that the next is there when it is done with that.
const CALLS_MAX: usize = 4;

/// What one call may hold: the server serves nobody else meanwhile.
const COMMITS_MAX: usize = 64;
const BYTES_MAX: usize = 256 * 1024;

/// How many commits may wait before those who make them do.
const WAITING_MAX: usize = 1_024;

type Answer = Result<Value, RedisError>;

/// A commit that waits, and who is told what became of it.
#[derive(Debug)]
struct Waiting {
    request: Request,
    answer: oneshot::Sender<Answer>,
}

/// The way of commits to one server. Dropped, it ends what is under way.
#[derive(Debug)]
pub(super) struct Batches {
    queue: mpsc::Sender<Waiting>,
    task: AbortHandle,
}

impl Drop for Batches {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Batches {
    /// Where `is_shared`, commits of several slots may share a call.
    pub(super) fn start(connection: MultiplexedConnection, script: CommitScript, is_shared: bool) -> Self {
        let (queue, waiting) = mpsc::channel(WAITING_MAX);
        let commits_max = if is_shared { COMMITS_MAX } else { 1 };
        let task = tokio::spawn(run(connection, script, waiting, commits_max)).abort_handle();
        Self { queue, task }
    }

    /// Runs the compare-and-set and gives its answer; `None` when the connection is given up meanwhile.
    pub(super) async fn call(&self, request: Request) -> Option<Answer> {
        let (answer, answered) = oneshot::channel();
        self.queue.send(Waiting { request, answer }).await.ok()?;
        answered.await.ok()
    }
}

async fn run(
    connection: MultiplexedConnection,
    script: CommitScript,
    mut waiting: mpsc::Receiver<Waiting>,
    commits_max: usize,
) {
    // As many commits under way in any case.
    let calls_max = CALLS_MAX * COMMITS_MAX / commits_max;
    let mut calls = JoinSet::new();
    while let Some(first) = waiting.recv().await {
        // Those who were woken together hand in theirs before the call is made.
        tokio::task::yield_now().await;
        let mut bytes = first.request.bytes();
        let mut batch = vec![first];
        while batch.len() < commits_max
            && bytes < BYTES_MAX
            && let Ok(next) = waiting.try_recv()
        {
            bytes = bytes.saturating_add(next.request.bytes());
            batch.push(next);
        }
        while calls.len() >= calls_max {
            calls.join_next().await;
        }
        let (mut connection, script) = (connection.clone(), script.clone());
        calls.spawn(async move { call(&mut connection, &script, batch).await });
    }
}

async fn call(connection: &mut MultiplexedConnection, script: &CommitScript, batch: Vec<Waiting>) {
    let (requests, told): (Vec<Request>, Vec<_>) = batch.into_iter().map(|one| (one.request, one.answer)).unzip();
    let answers = match script.call(connection, Call::Commits, &Request::joined(requests)).await {
        Ok(Value::Array(answers)) if answers.len() == told.len() => answers.into_iter().map(Ok).collect(),
        // Every commit then finds no outcome in it.
        Ok(other) => vec![Ok(other); told.len()],
        Err(error) => vec![Err(error); told.len()],
    };
    for (answer, told) in answers.into_iter().zip(told) {
        // Who does not wait any more has given up the connection.
        let _ = told.send(answer);
    }
}
