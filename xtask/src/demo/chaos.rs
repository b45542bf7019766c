//! Kills parts while the replay goes on, and starts them again over what they left on disk.
//!
//! SIGKILL only: nothing gets to say goodbye. Each part is down for a moment in which clients retry, and the next is killed only
//! after the one before is up again, so that each loss is seen by itself.

use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::cluster::{Cluster, REGIONS};
use super::report::milliseconds;
use super::stage::Stage;

/// How long a part stays down before it is started again.
const DOWN: Duration = Duration::from_secs(1);
/// At which percentage of the replay an edge, the daemon, and Redis are killed.
const AT_PERCENT: [u64; 3] = [25, 45, 65];
/// Which edge is killed. Not the first, because a person may be looking at its page.
const EDGE: usize = 1;

/// Kills one edge, the daemon and Redis in turn; without Redis, the daemon with its store twice.
pub(crate) async fn run(cluster: &mut Cluster, stage: &Stage) -> anyhow::Result<()> {
    let [edge_at, daemon_at, redis_at] = AT_PERCENT;

    stage.progress.reached(edge_at).await;
    let region = REGIONS.get(EDGE).copied().unwrap_or_default();
    if let Some(edge) = cluster.edges.get_mut(EDGE) {
        let name = format!("edge {region}");
        let since = fall(stage, &name, || edge.kill()).await;
        edge.restart().await.with_context(|| format!("{name} does not start again"))?;
        rise(stage, &name, since);
    }

    stage.progress.reached(daemon_at).await;
    let since = fall(stage, "the daemon", || cluster.daemon.kill()).await;
    cluster.daemon.restart().await.context("the daemon does not start again")?;
    rise(stage, "the daemon", since);

    stage.progress.reached(redis_at).await;
    if let Some(redis) = &mut cluster.redis {
        // Its statistics die with it.
        stage.sample().await.context("before Redis is killed")?;
        let since = fall(stage, "Redis", || redis.kill()).await;
        redis.restart().await.context("Redis does not start again")?;
        rise(stage, "Redis", since);
    } else {
        let since = fall(stage, "the daemon with its embedded store, again,", || cluster.daemon.kill()).await;
        cluster.daemon.restart().await.context("the daemon does not start again")?;
        rise(stage, "the daemon", since);
    }
    Ok(())
}

async fn fall(stage: &Stage, name: &str, kill: impl FnOnce()) -> Instant {
    let since = Instant::now();
    kill();
    stage
        .live
        .say(&format!("chaos    {name} killed after {} lines", super::report::grouped(stage.progress.lines_done())));
    tokio::time::sleep(DOWN).await;
    since
}

fn rise(stage: &Stage, name: &str, since: Instant) {
    let lines = super::report::grouped(stage.progress.lines_done());
    stage.live.say(&format!("chaos    {name} up again after {}, at {lines} lines", milliseconds(since.elapsed())));
}
