//! The daemon's own pages, on loopback: health, readiness, status, metrics, and reads of the store.

mod command;
mod status;

use crate::{edge::OriginToken, report::Report};
use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header::AUTHORIZATION},
    routing::{get, post},
};
use metrics_exporter_prometheus::PrometheusHandle;
use std::sync::Arc;

/// What the pages show.
#[derive(Clone)]
pub(crate) struct Pages {
    pub(crate) report: Arc<Report>,
    pub(crate) token: OriginToken,
    pub(crate) metrics: PrometheusHandle,
}

/// All pages.
pub(crate) fn router(pages: Pages) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/status", get(status))
        .route("/metrics", get(metrics))
        .route("/command", post(command))
        .with_state(pages)
}

async fn ready(State(pages): State<Pages>) -> (StatusCode, &'static str) {
    if pages.report.is_ready() { (StatusCode::OK, "ready\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready\n") }
}

async fn status(State(pages): State<Pages>) -> Json<status::Status> {
    Json(status::status(&pages.report).await)
}

async fn metrics(State(pages): State<Pages>) -> String {
    pages.metrics.render()
}

async fn command(State(pages): State<Pages>, headers: HeaderMap, body: Bytes) -> (StatusCode, Json<serde_json::Value>) {
    if !pages.token.is_borne_by(headers.get(AUTHORIZATION)) {
        return (StatusCode::UNAUTHORIZED, Json(serde_json::json!({ "error": "Unauthorized" })));
    }
    match command::execute(&pages.report, &body).await {
        Ok(reply) => (StatusCode::OK, Json(serde_json::json!({ "result": reply }))),
        Err(error) => (error.status(), Json(serde_json::json!({ "error": error.to_string() }))),
    }
}
