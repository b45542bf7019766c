//! A Worker of one's own that limits its visitors by Headwater: each address in what it may ask for, each user in what it may
//! send. Nothing that is limited waits for a network.

use headwater_edge::{Check, Limit, Limiter};
use std::error::Error;
use worker::{Context, Env, Request, Response, Result, event};

/// Pages that an address may have in a minute.
const PAGES: u64 = 5;

/// Events that a user may send in a day.
const EVENTS: u64 = 1_000_000_000;

const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 86_400_000;

/// `POST /events` takes events, a line with its user's name for each; all else is a page.
///
/// # Errors
/// Where the runtime itself fails, or a variable of the Worker is wrong.
#[event(fetch)]
pub async fn fetch(mut request: Request, env: Env, context: Context) -> Result<Response> {
    let limiter = Limiter::new(&env, &context)?;
    match request.path().as_str() {
        "/events" => events(&request.text().await?, &limiter).await,
        // Slower, and in agreement with all other isolates of the region.
        "/exact" => page(&request, &limiter.at_object()).await,
        _ => page(&request, &limiter).await,
    }
}

/// A page, unless the address has had its share.
async fn page(request: &Request, limiter: &Limiter<'_>) -> Result<Response> {
    let address = request.headers().get("cf-connecting-ip")?.unwrap_or_default();
    let limit = Limit::sliding_window(PAGES, MINUTE_MS).map_err(said)?;
    let check = Check::new(format!("pages:{address}"), limit).map_err(said)?;
    let verdict = limiter.check(&check).await;
    let headers = Limiter::headers(std::slice::from_ref(&check), std::slice::from_ref(&verdict));
    let response = match verdict.decision() {
        Ok(decision) if decision.is_allowed => Response::ok(format!("welcome, {} left\n", decision.remaining)),
        Ok(_) => Response::error("too many requests", 429),
        Err(error) => Response::error(error, 503),
    }?;
    for (name, value) in headers {
        response.headers().set(name, &value)?;
    }
    Ok(response)
}

/// How many events are taken and how many are not.
async fn events(lines: &str, limiter: &Limiter<'_>) -> Result<Response> {
    let limit = Limit::fixed_window(EVENTS, DAY_MS).map_err(said)?;
    let (mut taken, mut refused) = (0_u64, 0_u64);
    for user in lines.lines() {
        let check = Check::new(["events:", user].concat(), limit).map_err(said)?;
        match limiter.check(&check).await.is_allowed() {
            true => taken += 1,
            false => refused += 1,
        }
    }
    Response::ok(format!("{taken} taken, {refused} refused\n"))
}

fn said(error: impl Error) -> worker::Error {
    error.to_string().into()
}
