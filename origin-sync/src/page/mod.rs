//! The daemon's own pages, on loopback: health, readiness, status for people and as JSON, metrics, reads of the store,
//! and what an operator may ask for with the origin's token: to look at a key, to settle a foreign value, to move an edge, to drain.

mod command;
mod dashboard;
mod erase;
mod inspect;
mod move_edge;
mod plot;
mod status;

use crate::{clock, edge::OriginToken, measure, report::Report};
use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header::AUTHORIZATION},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use command::ReadError;
use dashboard::Dashboard;
use metrics_exporter_prometheus::PrometheusHandle;
use plot::PlotError;
use serde::Serialize;
use std::sync::Arc;
use tokio::sync::Notify;

/// What the pages show.
#[derive(Clone)]
pub(crate) struct Pages {
    pub(crate) report: Arc<Report>,
    pub(crate) token: OriginToken,
    pub(crate) metrics: PrometheusHandle,
    /// Which keys are a person's.
    pub(crate) erase_patterns: Arc<[String]>,
    /// Ends the daemon as SIGTERM does.
    pub(crate) drain: Arc<Notify>,
}

/// All pages.
pub(crate) fn router(pages: Pages) -> Router {
    Router::new()
        .route("/", get(dashboard))
        .route("/status.css", get(dashboard::style))
        .route("/status.js", get(dashboard::script))
        .route("/status/live", get(live))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/status", get(status))
        .route("/metrics", get(metrics))
        .route("/command", post(command))
        .route("/inspect", post(inspect))
        .route("/resolve", post(resolve))
        .route("/erase", post(erase))
        .route("/move-edge", post(move_edge))
        .route("/drain", post(drain))
        .with_state(pages)
}

async fn ready(State(pages): State<Pages>) -> (StatusCode, &'static str) {
    if pages.report.is_ready() { (StatusCode::OK, "ready\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready\n") }
}

async fn status(State(pages): State<Pages>) -> Json<status::Status> {
    Json(status::status(&pages.report).await)
}

async fn dashboard(State(pages): State<Pages>) -> Response {
    html(shown(&pages).await.page())
}

async fn live(State(pages): State<Pages>) -> Response {
    html(shown(&pages).await.parts())
}

async fn shown(pages: &Pages) -> Dashboard {
    let status = status::status(&pages.report).await;
    Dashboard { status, samples: pages.report.history.samples(), now: clock::now() }
}

fn html(page: Result<String, PlotError>) -> Response {
    match page {
        Ok(page) => dashboard::answer("text/html; charset=utf-8", page).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn metrics(State(pages): State<Pages>) -> String {
    pages.metrics.render()
}

type Answer = (StatusCode, Json<serde_json::Value>);

async fn command(State(pages): State<Pages>, headers: HeaderMap, body: Bytes) -> Answer {
    authorized(&pages, &headers, async || {
        command::execute(&pages.report, &body).await.map(|reply| serde_json::json!({ "result": reply }))
    })
    .await
}

async fn inspect(State(pages): State<Pages>, headers: HeaderMap, key: Bytes) -> Answer {
    authorized(&pages, &headers, async || inspect::inspect(&pages.report, &key).await).await
}

async fn resolve(State(pages): State<Pages>, headers: HeaderMap, key: Bytes) -> Answer {
    authorized(&pages, &headers, async || inspect::resolve(&pages.report, &key).await).await
}

async fn erase(State(pages): State<Pages>, headers: HeaderMap, subject: Bytes) -> Answer {
    authorized(&pages, &headers, async || erase::erase(&pages.report, &pages.erase_patterns, &subject).await).await
}

async fn move_edge(State(pages): State<Pages>, headers: HeaderMap, edges: Bytes) -> Answer {
    authorized(&pages, &headers, async || move_edge::move_edge(&pages.report, &edges).await).await
}

async fn drain(State(pages): State<Pages>, headers: HeaderMap) -> Answer {
    authorized(&pages, &headers, async || {
        pages.drain.notify_one();
        Ok(serde_json::json!({ "draining": true }))
    })
    .await
}

/// The answer to whoever has the token.
async fn authorized<T: Serialize>(
    pages: &Pages,
    headers: &HeaderMap,
    answer: impl AsyncFnOnce() -> Result<T, ReadError>,
) -> Answer {
    let error = |status, error: String| (status, Json(serde_json::json!({ "error": error })));
    if !pages.token.is_borne_by(headers.get(AUTHORIZATION)) {
        tracing::warn!("a request to the pages does not bear the origin's token; it is refused");
        measure::unauthorized();
        return error(StatusCode::UNAUTHORIZED, "Unauthorized".to_owned());
    }
    match answer().await.and_then(|answer| serde_json::to_value(answer).map_err(ReadError::Json)) {
        Ok(answer) => (StatusCode::OK, Json(answer)),
        Err(cause) => error(cause.status(), cause.to_string()),
    }
}
