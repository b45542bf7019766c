//! Finds the hubs of an edge through its directory, and keeps a task for each that is this daemon's to serve.

mod link;

use crate::{
    actor::Input,
    crew::Crew,
    edge::{EdgeUrl, OriginToken},
    identity::Identities,
    measure,
    report::{HubAddress, Report},
};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, StatusCode, body::Bytes, header::AUTHORIZATION};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};

/// How soon a new hub is found. A hub appears with its region's first key, so this bounds nothing that users wait for.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
const POLL_TIMEOUT: Duration = Duration::from_secs(5);

/// Some ten thousand hubs.
const DIRECTORY_BYTES_MAX: usize = 1024 * 1024;

/// Numbers the connections of this process; none is used twice.
pub(crate) type LinkNumbers = Arc<AtomicU64>;

/// What every dialler needs.
#[derive(Clone)]
pub(crate) struct Dialler {
    pub(crate) edge: EdgeUrl,
    pub(crate) token: OriginToken,
    pub(crate) report: Arc<Report>,
    pub(crate) inputs: mpsc::Sender<Input>,
    pub(crate) numbers: LinkNumbers,
    pub(crate) crew: watch::Receiver<Option<Crew>>,
    pub(crate) identities: Identities,
}

/// Why a directory was not read.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The edge.
    #[error("the edge cannot be reached: {0}")]
    Connect(#[from] hyper_util::client::legacy::Error),
    /// The request.
    #[error("the request is malformed")]
    Request(#[from] hyper::http::Error),
    /// Another answer than the list.
    #[error("the edge answered {0}")]
    Status(StatusCode),
    /// The body.
    #[error("the edge's answer broke off, or is too long: {0}")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Another body.
    #[error("the edge's answer is no list of hubs: {0}")]
    Json(#[from] serde_json::Error),
    /// No answer.
    #[error("the edge did not answer in time")]
    Timeout(#[from] tokio::time::error::Elapsed),
}

#[derive(Deserialize)]
struct Hub {
    name: String,
}

type HttpClient = Client<HttpsConnector<HttpConnector>, Empty<Bytes>>;

impl Dialler {
    /// Reads the directory again and again, and dials what it names and is this daemon's, until the actor ends; then all
    /// sockets close.
    pub(crate) async fn run(mut self) {
        let client = client();
        let edge = self.edge.to_string();
        let mut links = JoinSet::new();
        let mut served = Served::default();
        let mut was_read = true;
        let mut poll = interval(POLL_INTERVAL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let read = tokio::select! {
                read = async {
                    poll.tick().await;
                    read(&client, &self.edge, &self.token).await
                } => Some(read),
                // A sender that is gone changes nothing more.
                Ok(()) = self.crew.changed() => None,
                () = self.inputs.closed() => {
                    while links.join_next().await.is_some() {}
                    return;
                }
            };
            if let Some(read) = &read {
                measure::directory_polled(read.is_ok());
            }
            match read {
                Some(Ok(names)) => {
                    if !std::mem::replace(&mut was_read, true) {
                        tracing::info!(edge, "the directory answers again");
                    }
                    self.report.note_directory(&edge, &names);
                    served.named = names;
                }
                // Known hubs stay connected without the directory.
                Some(Err(error)) if std::mem::replace(&mut was_read, false) => {
                    tracing::warn!(edge, %error, "the directory cannot be read");
                }
                Some(Err(_)) | None => {}
            }
            let crew = self.crew.borrow_and_update().clone();
            for (name, removed) in served.update(crew.as_ref()) {
                let address = HubAddress { edge: edge.clone(), name };
                links.spawn(link::run(self.clone(), address, removed));
            }
            while links.try_join_next().is_some() {}
        }
    }
}

/// The hubs of one edge.
#[derive(Default)]
struct Served {
    /// Those that the directory names.
    named: BTreeSet<String>,
    /// Those that are dialled from here. A link whose guard is dropped closes.
    guards: BTreeMap<String, oneshot::Sender<()>>,
}

impl Served {
    /// Lets go of what is not this daemon's to serve any more; gives what now is, each with the end of its guard.
    fn update(&mut self, crew: Option<&Crew>) -> Vec<(String, oneshot::Receiver<()>)> {
        let mine = |name: &&String| crew.is_some_and(|crew| crew.serves(name));
        let mine: BTreeSet<&String> = self.named.iter().filter(mine).collect();
        self.guards.retain(|name, _| mine.contains(name));
        let mut dialled = Vec::new();
        for name in mine {
            if !self.guards.contains_key(name) {
                let (guard, removed) = oneshot::channel();
                self.guards.insert(name.clone(), guard);
                dialled.push((name.clone(), removed));
            }
        }
        dialled
    }
}

/// Reads an edge's directory once: the names of its hubs.
pub(crate) async fn directory(edge: &EdgeUrl, token: &OriginToken) -> Result<BTreeSet<String>, DirectoryError> {
    read(&client(), edge, token).await
}

fn client() -> HttpClient {
    let connector = HttpsConnectorBuilder::new().with_webpki_roots().https_or_http().enable_http1().build();
    Client::builder(TokioExecutor::new()).build(connector)
}

async fn read(client: &HttpClient, edge: &EdgeUrl, token: &OriginToken) -> Result<BTreeSet<String>, DirectoryError> {
    let request = Request::get(edge.hubs()).header(AUTHORIZATION, token.header()).body(Empty::new())?;
    let read = async {
        let response = client.request(request).await?;
        if response.status() != StatusCode::OK {
            return Err(DirectoryError::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), DIRECTORY_BYTES_MAX).collect().await;
        let hubs: Vec<Hub> = serde_json::from_slice(&body.map_err(DirectoryError::Body)?.to_bytes())?;
        Ok(hubs.into_iter().map(|hub| hub.name).collect())
    };
    timeout(POLL_TIMEOUT, read).await?
}
