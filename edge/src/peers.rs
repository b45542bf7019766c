//! How objects find and reach each other: hubs and the directory of this deployment by their stubs, those of other
//! deployments through their Workers.

use crate::{
    config::{self, ConfigError},
    directory::{self, Listed, Registration},
    host,
    hub::call,
    limits::{FORWARD_TIMEOUT_MS, RELAY_BYTES_MAX},
    respond::Json,
    rest, timeout,
};
use headwater::{
    id::ReplicaId,
    message::{HubToLeaf, LeafToHub},
    wire::{self, WireError},
};
use wasm_bindgen::JsCast;
use worker::{
    Env, Fetch, Headers, Method, Request, RequestInit, Response, Stub,
    js_sys::{self, futures::JsFuture},
};

/// Another object could not be reached.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeerError {
    /// The operator's settings are at fault.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The runtime could not bring the request there.
    #[error("the request failed: {0}")]
    Runtime(#[from] worker::Error),
    /// It answered with another status than 200.
    #[error("the answer has status {0}")]
    Status(u16),
    /// What it answered is no frame.
    #[error("the answer is no frame: {0}")]
    Wire(#[from] WireError),
    /// Neither this deployment nor a peer has a hub of this identity.
    #[error("no deployment knows that hub")]
    Unknown,
    /// What it answered has not the parts of an answer.
    #[error("the answer has not its parts")]
    Parts,
    /// It took too long.
    #[error("no answer within {0} ms")]
    TimedOut(u32),
}

/// The hub of this name in this deployment.
pub(crate) fn hub(env: &Env, name: &str) -> worker::Result<Stub> {
    let hubs = env.durable_object("HUB")?;
    match config::location_hint(env) {
        Some(hint) => hubs.get_by_name_with_location_hint(name, &hint),
        None => hubs.get_by_name(name),
    }
}

/// Calls the hub of this name, and waits for its answer no longer than it may take.
///
/// A call of a method and not a request, which has to be written and read as one by HTTP's rules and takes twice as long.
pub(crate) async fn ask(env: &Env, hub: &str, kind: &str, body: &[u8], after_ms: u32) -> Result<Json, PeerError> {
    let promise =
        host::ask(env, hub, config::location_hint(env).as_deref(), kind, body).map_err(worker::Error::from)?;
    let settled = timeout::within(after_ms, JsFuture::from(promise)).await.ok_or(PeerError::TimedOut(after_ms))?;
    settled.map_err(worker::Error::from)?.dyn_ref().and_then(Json::of_parts).ok_or(PeerError::Parts)
}

/// The names of this deployment's hubs, or of the one that has this identity.
pub(crate) async fn listed(env: &Env, replica: Option<&str>) -> Result<Vec<Listed>, PeerError> {
    let path = match replica {
        Some(replica) => format!("{}?replica={}", directory::HUBS, js_sys::encode_uri_component(replica)),
        None => directory::HUBS.to_owned(),
    };
    let mut response = checked(directory(env)?.fetch_with_request(call::get(&path)?).await?)?;
    Ok(response.json().await?)
}

/// Tells the directory that the hub `name` has this identity.
pub(crate) async fn register(env: &Env, name: &str, hub: ReplicaId) -> worker::Result<()> {
    let registration = Registration { name: name.to_owned(), replica: directory::bits(hub) };
    let request = call::post(directory::HUBS, &rest::json(&registration))?;
    match directory(env)?.fetch_with_request(request).await?.status_code() {
        200 => Ok(()),
        status => Err(worker::Error::RustError(format!("the directory answered with status {status}"))),
    }
}

/// Hands a leaf's message to the hub of this identity, wherever it is, and brings back what the leaf is to be told.
pub(crate) async fn relay(env: &Env, hub: ReplicaId, message: &LeafToHub) -> Result<HubToLeaf, PeerError> {
    timeout::within(FORWARD_TIMEOUT_MS, exchange(env, hub, message))
        .await
        .unwrap_or(Err(PeerError::TimedOut(FORWARD_TIMEOUT_MS)))
}

async fn exchange(env: &Env, hub: ReplicaId, message: &LeafToHub) -> Result<HubToLeaf, PeerError> {
    let frame = wire::encode(message)?;
    let replica = directory::bits(hub);
    if let Some(Listed { name }) = listed(env, Some(&replica)).await?.into_iter().next() {
        return answered(self::hub(env, &name)?.fetch_with_request(call::post(call::RELAY, &frame)?).await?).await;
    }
    let token = config::origin_token(env)?;
    for base in config::peers(env)?.into_values() {
        let hubs = Request::new_with_init(&format!("{base}/v1/hubs?replica={replica}"), &bearing(&token, None)?)?;
        // A peer that is away does not keep the others from being asked.
        let Ok(mut response) = Fetch::Request(hubs).send().await else { continue };
        let Ok(hubs) = response.json::<Vec<Listed>>().await else { continue };
        let Some(Listed { name }) = hubs.into_iter().next() else { continue };
        let url = format!("{base}/v1/relay?hub={}", js_sys::encode_uri_component(&name));
        let relayed = Request::new_with_init(&url, &bearing(&token, Some(&frame))?)?;
        return answered(Fetch::Request(relayed).send().await?).await;
    }
    Err(PeerError::Unknown)
}

async fn answered(response: Response) -> Result<HubToLeaf, PeerError> {
    let frame = checked(response)?.bytes().await?;
    if frame.len() > RELAY_BYTES_MAX {
        return Err(WireError::Length(frame.len()).into());
    }
    Ok(wire::decode(&frame)?)
}

fn checked(response: Response) -> Result<Response, PeerError> {
    match response.status_code() {
        200 => Ok(response),
        status => Err(PeerError::Status(status)),
    }
}

fn bearing(token: &str, body: Option<&[u8]>) -> worker::Result<RequestInit> {
    let headers = Headers::new();
    headers.set("authorization", &format!("Bearer {token}"))?;
    if let Some(body) = body {
        return Ok(call::post_init(body, headers));
    }
    let mut init = RequestInit::new();
    init.with_method(Method::Get).with_headers(headers);
    Ok(init)
}

fn directory(env: &Env) -> worker::Result<Stub> {
    env.durable_object("DIRECTORY")?.get_by_name(directory::NAME)
}
