//! Requests on their way to one server, several in a call.
//!
//! Redis serves one call at a time, each call costs both sides a fixed part, and hosted servers bill it. Commits of slots are
//! independent, each all or nothing by itself, and so are loads: those that wait at the same time share a call. While few
//! calls are under way nothing waits; behind the limit requests gather, and so the calls grow with the load. Nodes of a
//! cluster take one slot in each call.

use tokio::{
    sync::{mpsc, oneshot},
    task::{AbortHandle, JoinSet},
};

/// Calls under way at once. One more than the server works on, so that the next is there when it is done with that.
const CALLS_MAX: usize = 4;

/// How many parts, as commits or loads, share one call before no further request joins, the last of which may bring as many.
pub(super) const SHARING_MAX: usize = 64;

/// How many requests may wait before those who make them do.
const WAITING_MAX: usize = 1_024;

/// A request that waits, and who is told what became of it.
#[derive(Debug)]
struct Waiting<R, A> {
    request: R,
    answer: oneshot::Sender<A>,
}

/// What one call may hold: the server serves nobody else meanwhile.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent<R> {
    /// Whether requests of several slots may share a call.
    pub(super) is_shared: bool,
    /// How many parts a request brings.
    pub(super) count: fn(&R) -> usize,
    /// What a request weighs, and how much a call bears before it takes no further one.
    pub(super) weight: fn(&R) -> usize,
    pub(super) weight_max: usize,
}

/// The way of one kind of request to one server. Dropped, it ends what is under way.
#[derive(Debug)]
pub(super) struct Batches<R, A> {
    queue: mpsc::Sender<Waiting<R, A>>,
    task: AbortHandle,
}

impl<R, A> Drop for Batches<R, A> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<R: Send + 'static, A: Send + 'static> Batches<R, A> {
    /// Requests go through `call`, which answers each of those that it is handed, in their order.
    pub(super) fn start<F>(extent: Extent<R>, call: impl Fn(Vec<R>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Vec<A>> + Send + 'static,
    {
        let (queue, waiting) = mpsc::channel(WAITING_MAX);
        let task = tokio::spawn(run(extent, waiting, call)).abort_handle();
        Self { queue, task }
    }

    /// Makes a request and gives its answer; `None` when the connection is given up meanwhile.
    pub(super) async fn call(&self, request: R) -> Option<A> {
        let (answer, answered) = oneshot::channel();
        self.queue.send(Waiting { request, answer }).await.ok()?;
        answered.await.ok()
    }
}

async fn run<R, A, F>(extent: Extent<R>, mut waiting: mpsc::Receiver<Waiting<R, A>>, call: impl Fn(Vec<R>) -> F)
where
    A: Send + 'static,
    F: Future<Output = Vec<A>> + Send + 'static,
{
    let sharing_max = if extent.is_shared { SHARING_MAX } else { 1 };
    // As many requests under way in any case.
    let calls_max = CALLS_MAX * SHARING_MAX / sharing_max;
    let mut calls = JoinSet::new();
    while let Some(first) = waiting.recv().await {
        // Those who were woken together hand in theirs before the call is made.
        tokio::task::yield_now().await;
        while calls.len() >= calls_max {
            calls.join_next().await;
        }
        let (mut count, mut weight) = ((extent.count)(&first.request), (extent.weight)(&first.request));
        let (mut requests, mut told) = (vec![first.request], vec![first.answer]);
        while count < sharing_max
            && weight < extent.weight_max
            && let Ok(next) = waiting.try_recv()
        {
            count = count.saturating_add((extent.count)(&next.request));
            weight = weight.saturating_add((extent.weight)(&next.request));
            requests.push(next.request);
            told.push(next.answer);
        }
        let answering = call(requests);
        calls.spawn(async move {
            for (answer, told) in answering.await.into_iter().zip(told) {
                // Who does not wait any more has given up the connection.
                let _ = told.send(answer);
            }
        });
    }
}
