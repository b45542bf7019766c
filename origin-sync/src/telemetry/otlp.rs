//! Spans to a collector: OTLP as protobuf over HTTP, on the daemon's own TLS and HTTP.
//!
//! The exporter has a thread of its own, which no async runtime knows, so each request is made on the daemon's. Where the
//! collector is, and all that OpenTelemetry's own variables say of it, the exporter reads itself.

use super::{Logs, TelemetryError};
use crate::{settings::TraceConfig, trace};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use opentelemetry::{Key, trace::TracerProvider};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use std::{env, pin::Pin, time::Duration};
use tokio::{runtime::Handle, time::timeout};
use tracing_subscriber::{Layer, filter::filter_fn};

/// What spans are said to be of, unless `OTEL_SERVICE_NAME` or `OTEL_RESOURCE_ATTRIBUTES` says it.
const SERVICE: &str = "origin-sync";

/// Where below the collector's URL spans go, as OTLP has it.
const PATH: &str = "/v1/traces";

/// Either says where spans go; the one for spans alone as it stands.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

/// How long a request may take, in milliseconds, as variables and as OpenTelemetry has it without.
const TIMEOUTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];
const TIMEOUT_MS: u64 = 10_000;

/// What a collector answers is a few bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// How long the end of the daemon waits for the collector.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// What makes spans and sends them.
#[derive(Debug)]
pub(super) struct Spans(SdkTracerProvider);

impl Spans {
    /// To the collector of the setting, or of OpenTelemetry's variables; none where neither names one.
    pub(super) fn to(config: &TraceConfig) -> Result<Option<Self>, TelemetryError> {
        let is = |name: &str, value: &str| env::var(name).is_ok_and(|set| set.eq_ignore_ascii_case(value));
        let is_named = config.endpoint.is_some() || ENDPOINTS.iter().any(|name| variable(name).is_some());
        if !is_named || is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none") {
            return Ok(None);
        }
        let builder = SpanExporter::builder().with_http().with_http_client(Way::new());
        let builder = match &config.endpoint {
            Some(url) => builder.with_endpoint(format!("{}{PATH}", url.trim_end_matches('/'))),
            None => builder,
        };
        let provider =
            SdkTracerProvider::builder().with_batch_exporter(builder.build()?).with_resource(resource()).build();
        Ok(Some(Self(provider)))
    }

    /// Takes the daemon's spans, and nothing of other crates.
    pub(super) fn layer(&self) -> Logs {
        let layer = tracing_opentelemetry::layer().with_tracer(self.0.tracer(SERVICE)).with_location(false);
        layer.with_filter(filter_fn(|metadata| metadata.is_span() && metadata.target() == trace::TARGET)).boxed()
    }

    /// Sends what is left.
    pub(super) async fn end(self) {
        // It waits on a thread for requests that are made here.
        let ended = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(END_TIMEOUT)).await;
        if let Ok(Err(error)) = ended {
            tracing::warn!(%error, "the last spans may not have reached the collector");
        }
    }
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn resource() -> Resource {
    let told = Resource::builder().build();
    let is_named = told
        .get(&Key::from_static_str("service.name"))
        .is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    if is_named { told } else { Resource::builder().with_service_name(SERVICE).build() }
}

/// The way to the collector.
#[derive(Clone, Debug)]
struct Way {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    timeout: Duration,
    runtime: Handle,
}

impl Way {
    /// On the runtime that this is called on.
    fn new() -> Self {
        let connector = HttpsConnectorBuilder::new().with_webpki_roots().https_or_http().enable_http1().build();
        let set = TIMEOUTS.iter().find_map(|name| variable(name)?.parse().ok());
        Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            timeout: Duration::from_millis(set.unwrap_or(TIMEOUT_MS)),
            runtime: Handle::current(),
        }
    }

    async fn send(self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answered = async {
            let (head, body) = self.client.request(request.map(Full::new)).await?.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await?.to_bytes();
            Ok(Response::from_parts(head, body))
        };
        timeout(self.timeout, answered).await?
    }
}

impl HttpClient for Way {
    fn send_bytes<'a, 'b>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        let sent = self.runtime.spawn(self.clone().send(request));
        Box::pin(async { sent.await? })
    }
}
