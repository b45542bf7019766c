//! Where the log goes, and with the feature `otel` also where spans go: to a collector by OTLP over HTTP.
//!
//! Nothing waits for the collector: spans that it does not take in time are dropped, and that is logged. What is left is sent when
//! the daemon ends.

#[cfg(feature = "otel")]
mod otlp;

use crate::settings::{LogConfig, TraceConfig};
use tracing_subscriber::{Layer, Registry, layer::SubscriberExt, util::SubscriberInitExt};

/// Spans cannot be sent as the settings say.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The settings ask for what was not built in.
    #[error("{0} is set, and this build sends no spans: build it with --features otel")]
    NotBuilt(&'static str),
    /// The collector's settings do not fit.
    #[cfg(feature = "otel")]
    #[error("spans cannot be sent to a collector: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// Something else has set up the log.
    #[error("the log cannot be set up: {0}")]
    Log(#[from] tracing_subscriber::util::TryInitError),
}

/// What is to be done at the end.
#[derive(Debug)]
pub struct Telemetry {
    #[cfg(feature = "otel")]
    spans: Option<otlp::Spans>,
}

type Logs = Box<dyn Layer<Registry> + Send + Sync>;

/// Sets up the log, and what sends spans.
///
/// # Errors
/// When the settings ask for what cannot be, or this process has a log already.
pub fn install(logs: LogConfig, traces: &TraceConfig) -> Result<Telemetry, TelemetryError> {
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines: Logs = if logs.is_json {
        lines.json().with_filter(logs.filter).boxed()
    } else {
        lines.with_filter(logs.filter).boxed()
    };
    install_with(lines, traces)
}

#[cfg(feature = "otel")]
fn install_with(lines: Logs, traces: &TraceConfig) -> Result<Telemetry, TelemetryError> {
    let spans = otlp::Spans::to(traces)?;
    let layers = std::iter::once(lines).chain(spans.as_ref().map(otlp::Spans::layer)).collect::<Vec<Logs>>();
    tracing_subscriber::registry().with(layers).try_init()?;
    Ok(Telemetry { spans })
}

#[cfg(not(feature = "otel"))]
fn install_with(lines: Logs, traces: &TraceConfig) -> Result<Telemetry, TelemetryError> {
    if traces.endpoint.is_some() {
        return Err(TelemetryError::NotBuilt("otlp-endpoint"));
    }
    tracing_subscriber::registry().with(lines).try_init()?;
    Ok(Telemetry {})
}

impl Telemetry {
    /// Sends what is left, for a few seconds at most.
    pub async fn end(self) {
        #[cfg(feature = "otel")]
        if let Some(spans) = self.spans {
            spans.end().await;
        }
    }
}
