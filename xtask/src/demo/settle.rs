//! Waits until nothing is under way any more, or says what is.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::bail;

use super::edge::{EdgeClient, EdgeStatus};
use super::probe::Probes;

/// Between two rounds of questions.
const POLL_PERIOD: Duration = Duration::from_millis(100);
/// For how long nothing may move before the wait is given up; the loss window comes on top.
const STALL_MAX: Duration = Duration::from_secs(60);

/// How much must have arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// In the store.
    Committed,
    /// In the store, and safe from the store's own losses.
    Stable,
}

/// Returns how long it took until every edge has nothing more to deliver and every probe has come through.
pub(crate) async fn wait(
    edges: &[EdgeClient],
    probes: &Probes,
    until: Until,
    loss_window: Duration,
) -> anyhow::Result<Duration> {
    let started = Instant::now();
    let mut last = Vec::new();
    let mut moved = Instant::now();
    loop {
        let mut round = Vec::new();
        for (index, edge) in edges.iter().enumerate() {
            let status = edge.status().await.map_err(|error| format!("{:#}", anyhow::Error::from(error)));
            round.push((status, probes.outstanding(index)));
        }
        if round
            .iter()
            .all(|(status, probes)| *probes == 0 && status.as_ref().is_ok_and(|status| is_settled(status, until)))
        {
            return Ok(started.elapsed());
        }
        if round != last {
            last = round;
            moved = Instant::now();
        } else if moved.elapsed() > STALL_MAX + loss_window {
            bail!(
                "nothing has moved for {} s, and this is still under way:{}",
                moved.elapsed().as_secs(),
                describe(edges, &last)
            );
        }
        tokio::time::sleep(POLL_PERIOD).await;
    }
}

fn is_settled(status: &EdgeStatus, until: Until) -> bool {
    status.pending == 0 && (until == Until::Committed || status.unstable == 0)
}

fn describe(edges: &[EdgeClient], round: &[(Result<EdgeStatus, String>, usize)]) -> String {
    let mut text = String::new();
    for (edge, (status, probes)) in edges.iter().zip(round) {
        let state = match status {
            Ok(status) => format!(
                "{} operations not committed, {} not stable, origin {}",
                status.pending,
                status.unstable,
                if status.origin_connected { "connected" } else { "not connected" }
            ),
            Err(error) => format!("gives no status: {error}"),
        };
        // Writing to a string does not fail.
        let _ = write!(text, "\n  {}: {state}, {probes} probes not seen at the origin", edge.region);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(pending: u64, unstable: u64) -> EdgeStatus {
        EdgeStatus { keys: 1, pending, unstable, origin_connected: true }
    }

    #[test]
    fn committed_does_not_wait_for_stable_and_stable_waits_for_both() {
        assert!(is_settled(&status(0, 9), Until::Committed));
        assert!(!is_settled(&status(1, 9), Until::Committed));
        assert!(!is_settled(&status(0, 9), Until::Stable));
        assert!(is_settled(&status(0, 0), Until::Stable));
    }

    #[test]
    fn what_is_stuck_is_named_by_edge() {
        let edges = ["eu", "us"].map(|region| EdgeClient::new(region, "http://127.0.0.1:1", "t"));
        let text = describe(&edges, &[(Ok(status(3, 4)), 2), (Err("no connection".to_owned()), 0)]);
        assert!(text.contains("eu: 3 operations not committed, 4 not stable, origin connected, 2 probes"), "{text}");
        assert!(text.contains("us: gives no status: no connection"), "{text}");
    }
}
