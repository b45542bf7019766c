//! What applications use where no TCP is to be had: a bridge from HTTP to Redis, with one connection for all.
//!
//! It runs the script of a fixed window that `@upstash/ratelimit` publishes in its simplest form. It is compiled, speaks to Redis over
//! loopback and does nothing else, so it is as fast as a bridge may be expected to be.

use anyhow::Result;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use redis::aio::MultiplexedConnection;
use redis::cmd;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

const FIXED_WINDOW: &str = "local r = redis.call('INCRBY', KEYS[1], 1)
if r == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return r";

/// A bridge that runs until it is dropped.
pub(super) struct Bridge {
    pub(super) address: String,
    task: JoinHandle<()>,
}

#[derive(Clone)]
struct Limiter {
    redis: MultiplexedConnection,
    script: String,
}

impl Bridge {
    pub(super) async fn start(redis: &str) -> Result<Self> {
        let mut redis = redis::Client::open(redis)?.get_multiplexed_async_connection().await?;
        let script = cmd("SCRIPT").arg("LOAD").arg(FIXED_WINDOW).query_async(&mut redis).await?;
        let limiter = Limiter { redis, script };
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let router = Router::new().route("/limit", post(limit)).with_state(limiter);
        let task = tokio::spawn(async move {
            // Whoever calls sees it end.
            let _ended = axum::serve(listener, router).await;
        });
        Ok(Self { address, task })
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn limit(State(mut limiter): State<Limiter>, key: String) -> Result<String, StatusCode> {
    let Limiter { redis, script } = &mut limiter;
    let mut count = cmd("EVALSHA");
    count.arg(&*script).arg(1).arg(key).arg(86_400_000);
    let counted: Result<i64, _> = count.query_async(redis).await;
    match counted {
        Ok(counted) => Ok(format!(r#"{{"allowed":{}}}"#, counted <= LIMIT)),
        Err(_gone) => Err(StatusCode::BAD_GATEWAY),
    }
}

/// More than is ever counted here, so that every request is admitted and counts.
pub(super) const LIMIT: i64 = 1 << 40;
