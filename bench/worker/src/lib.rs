//! What the edge is measured against, on the same runtime and in the same language: a Worker that does nothing, and a Durable
//! Object that writes one row of SQLite for each request, as one does it by hand.

use worker::{Context, Env, Request, Response, Result, event};

#[allow(missing_docs, reason = "the macro for Durable Objects documents nothing of what it generates")]
mod rows;

pub use rows::Rows;

/// Every request: `/row` counts in the object, all else is answered with nothing.
///
/// # Errors
/// Where the runtime itself fails.
#[event(fetch)]
pub async fn fetch(request: Request, env: Env, _context: Context) -> Result<Response> {
    if request.path() != "/row" {
        return Response::ok("");
    }
    env.durable_object("ROWS")?.get_by_name("one")?.fetch_with_request(request).await
}
