//! The exchanges of an isolate with a hub: made by one request after its answer, for all.
//!
//! A request that finds something to tell the hub, and nobody who does, takes charge of it: it waits a moment for more, makes
//! one exchange after the other while there is anything to tell, and then leaves it to the next request that finds something.
//! It does so for a bounded time, since the platform ends a request that goes on for long after its answer.

use super::with;
use crate::{
    clock,
    hub::call::{self, Exchange, Exchanged},
    limits::{EXCHANGE_TIMEOUT_MS, EXCHANGES_MAX, EXCHANGING_MS_MAX, GATHER_MS, RETRY_MS},
    peers::{self, PeerError},
    timeout::Timer,
};
use worker::{Env, console_error};

/// Why an exchange came to nothing.
#[derive(Debug, thiserror::Error)]
enum ExchangeError {
    #[error("the call failed: {0}")]
    Call(#[from] PeerError),
    #[error("the hub answered with status {0}")]
    Status(u16),
    #[error("the hub's answer cannot be read: {0}")]
    Answer(#[from] postcard::Error),
}

/// Exchanges with `hub` as long as there is anything to tell, in charge as `owner`.
pub(super) async fn run(env: Env, hub: String, owner: u64) {
    let began = clock::now();
    let mut pause_ms = GATHER_MS;
    for _ in 0..EXCHANGES_MAX {
        Timer::start(pause_ms).rings().await;
        let asked_at = clock::now();
        let Ok(link) = clock::entropy() else { break };
        let Some(Some(exchange)) = with(&hub, |held| held.begin(owner, link, asked_at)) else { return };
        let exchanged = send(&env, &hub, &exchange).await;
        pause_ms = if exchanged.is_ok() { GATHER_MS } else { RETRY_MS };
        if let Err(error) = &exchanged {
            console_error!("an exchange with the hub {hub} failed: {error}");
        }
        let ended = with(&hub, |held| held.end(owner, exchanged.ok(), asked_at, clock::now()));
        let Some(Some(ended)) = ended else { return };
        for (key, cause) in ended.refused {
            console_error!("the hub {hub} refused what was counted at {key}: {cause}");
        }
        if !ended.goes_on || clock::now().since_ms(began) > EXCHANGING_MS_MAX {
            break;
        }
    }
    with(&hub, |held| held.leave(owner));
}

async fn send(env: &Env, hub: &str, exchange: &Exchange) -> Result<Exchanged, ExchangeError> {
    let body = headwater::wire::to_body(exchange);
    let answered = peers::ask(env, hub, call::EXCHANGE, &body, EXCHANGE_TIMEOUT_MS).await?;
    match answered.status() {
        200 => Ok(postcard::from_bytes(answered.body())?),
        status => Err(ExchangeError::Status(status)),
    }
}
