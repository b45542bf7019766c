//! The Worker's routes: who may, which object, and what it is asked.

use crate::{
    auth,
    auth::{Client, Unauthorized},
    clock, config, cors,
    decide::{Asking, keep_rate, verdicts},
    directory::HubsQuery,
    hub::call::{self, Bounds, Commands, Listen, Poll, Status},
    isolate::{self, Scene},
    level::{self, Levels},
    limit::{Answer, Call, Check},
    limits::{
        BODY_BYTES_MAX, HUB_TIMEOUT_MS, POLL_BYTES_MAX, POLL_WAIT_MS, RELAY_BYTES_MAX, SOCKET_GRANTS_BYTES_MAX,
        SYNC_TOKEN_BYTES_MAX,
    },
    path::{self, Asked},
    peers::{self, PeerError},
    rate,
    refusal::Refusal,
    respond,
    rest::{self, Encoding, Shape},
    scenario::{Desk, Once, Verb},
    session::BadSession,
    shard::Shard,
    timeout,
    token::Claims,
};
use bytes::Bytes;
use futures_util::{StreamExt, future::try_join_all};
use headwater::{limits::IDEMPOTENCY_KEY_BYTES_MAX, namespace::Namespace};
use serde::{Deserialize, Serialize};
use worker::{Env, Method, Request, Response, Result, Stub, Url};

/// Answers one request.
pub(crate) async fn route(request: Request, scene: Scene<'_>) -> Result<Response> {
    let env = scene.env;
    let (method, path) = (request.method(), request.path());
    let answered = match (method, path.as_str()) {
        (Method::Options, _) => return cors::preflight(),
        (Method::Post, "/") => commands(request, scene, Shape::Single).await,
        (Method::Post, "/pipeline") => commands(request, scene, Shape::Pipeline).await,
        (Method::Post, "/multi-exec") => commands(request, scene, Shape::Transaction).await,
        (Method::Post, "/v1/limit") => limit(request, scene).await,
        (Method::Post, path) if Verb::find(path).is_some() => scenario(request, scene).await,
        (Method::Get, "/v1/status") => status(&request, env).await,
        (Method::Get, "/v1/hubs") => hubs(&request, env).await,
        (Method::Get, "/v1/origin") => origin(&request, env).await,
        (Method::Get, "/v1/leaf") => leaf(&request, env).await,
        (Method::Post, "/v1/leaf") => poll(request, env).await,
        (Method::Post, "/v1/relay") => relay(request, env).await,
        (Method::Get | Method::Post | Method::Put, path) if is_command(&request, path) => in_path(request, scene).await,
        (Method::Get | Method::Head, path) if !path.starts_with("/v1/") => assets(request, env).await,
        (Method::Get, _) => Err(Refusal::NotFound),
        (method, _) => Err(Refusal::Method(method)),
    };
    match answered {
        Ok(response) => Ok(response),
        Err(refusal) => {
            let response = respond::error(refusal.status(), &refusal)?;
            if let Refusal::Rate(Answer { headers, .. }) = &refusal {
                set_all(&response, headers)?;
            }
            Ok(response)
        }
    }
}

fn set_all(response: &Response, headers: &[(&'static str, String)]) -> Result<()> {
    headers.iter().try_for_each(|(name, value)| response.headers().set(name, value))
}

/// Commands in a JSON body.
async fn commands(mut request: Request, scene: Scene<'_>, shape: Shape) -> Result<Response, Refusal> {
    let client = client(&auth::sent(request.headers(), None), scene.env)?;
    let commands = shape.parse(&body(&mut request, BODY_BYTES_MAX).await?)?;
    execute(&request, scene, &client, shape, commands).await
}

/// Whether a path is a command: one that Headwater knows, or whatever a client with a token names; the site asks without one.
fn is_command(request: &Request, path: &str) -> bool {
    let is_client = || request.headers().has("authorization").unwrap_or(false);
    path != "/" && !path.starts_with("/v1/") && (path::asked(path) != Asked::Other || is_client())
}

/// A command in the path.
async fn in_path(mut request: Request, scene: Scene<'_>) -> Result<Response, Refusal> {
    let url = request.url()?;
    let query_token = url.query().and_then(path::token);
    let client = client(&auth::sent(request.headers(), query_token.as_deref()), scene.env)?;
    match path::asked(url.path()) {
        Asked::Stream => return Err(Refusal::Stream),
        Asked::Listen { is_pattern } => return listen(&url, scene.env, &client, is_pattern).await,
        Asked::Command | Asked::Other => {}
    }
    let body = match request.method() {
        Method::Get => None,
        // A POST without a body names all arguments in its path.
        _ => Some(body(&mut request, BODY_BYTES_MAX).await?).filter(|body| !body.is_empty()),
    };
    let argv = path::arguments(url.path(), body, url.query());
    execute(&request, scene, &client, Shape::Single, vec![argv]).await
}

/// A stream of what is published to a channel or to those that a pattern matches, from the hub of the slot of its name.
async fn listen(url: &Url, env: &Env, client: &Client, is_pattern: bool) -> Result<Response, Refusal> {
    let name = path::topic(url.path(), url.query()).ok_or(Refusal::OneTopic)?;
    let until_ms = client.claims.as_ref().map(|claims| claims.exp.saturating_mul(1000));
    let listen = Listen { is_pattern, name, until_ms };
    let topic = listen.topic()?;
    if let Some(claims) = &client.claims {
        claims.grants.check_topic(&topic)?;
    }
    let shard = Shard::of(topic.within(&client.namespace)?.name().slot(), config::shards(env)?);
    let hub = peers::hub(env, &shard.hub_name(&config::region(env)?, &client.namespace))?;
    let request = call::post(call::LISTEN, &headwater::wire::to_body(&listen))?;
    Ok(timeout::within(HUB_TIMEOUT_MS, hub.fetch_with_request(request)).await.ok_or(Refusal::TimedOut)??)
}

/// Hands commands to the hub of their keys.
async fn execute(
    request: &Request,
    scene: Scene<'_>,
    client: &Client,
    shape: Shape,
    commands: Vec<Vec<Bytes>>,
) -> Result<Response, Refusal> {
    client.check(commands.iter().map(Vec::as_slice)).map_err(Refusal::NotPermitted)?;
    let headers = request.headers();
    let idempotency = idempotency(request)?;
    let asked = headers.get("upstash-encoding")?;
    let encoding = if asked.as_deref() == Some("base64") { Encoding::Base64 } else { Encoding::Lossy };
    let levels = levels(request)?;
    let sync_token = sync_token(request, levels)?;
    let namespace = &client.namespace;
    let shard = Shard::of_commands(&commands, namespace, config::shards(scene.env)?)?;
    let hub = shard.hub_name(&config::region(scene.env)?, namespace);
    keep_rate(scene, rate::call(client, commands.iter().map(Vec::as_slice))).await?;
    // Only a hub remembers what it answered to a key.
    if idempotency.is_none()
        && let Some(answered) = at_leaf(scene, &hub, namespace, &commands, levels)?
    {
        let (status, body) = shape.answer(&answered.replies, encoding);
        let response = respond::replies(status, body, answered.is_provisional, sync_token.as_deref())?;
        return Ok(respond::from_leaf(response, answered.staleness_ms)?);
    }
    hand(scene.env, &hub, &Commands { shape, encoding, sync_token, idempotency, levels, commands }).await
}

/// What the call asks of durability and consistency.
fn levels(request: &Request) -> Result<Levels, Refusal> {
    let headers = request.headers();
    let (durability, consistency) = (headers.get(level::DURABILITY)?, headers.get(level::CONSISTENCY)?);
    Ok(Levels::of(durability.as_deref(), consistency.as_deref())?)
}

/// The answer of this isolate, where the call asks for no more and the isolate has one.
pub(crate) fn at_leaf(
    scene: Scene<'_>,
    hub: &str,
    namespace: &Namespace,
    commands: &[Vec<Bytes>],
    levels: Levels,
) -> Result<Option<isolate::Answered>, Refusal> {
    if !levels.allow_leaf() {
        return Ok(None);
    }
    Ok(isolate::answer(scene, hub, namespace, commands, levels, config::unacknowledged(scene.env)?)?)
}

fn idempotency(request: &Request) -> Result<Option<Bytes>, Refusal> {
    let key = request.headers().get("idempotency-key")?.map(Bytes::from);
    if key.as_ref().is_some_and(|key| key.is_empty() || key.len() > IDEMPOTENCY_KEY_BYTES_MAX) {
        return Err(Refusal::IdempotencyKey);
    }
    Ok(key)
}

/// A scenario's verb.
async fn scenario(mut request: Request, scene: Scene<'_>) -> Result<Response, Refusal> {
    let client = client(&auth::sent(request.headers(), None), scene.env)?;
    let verb = Verb::find(&request.path()).ok_or(Refusal::NotFound)?;
    let levels = levels(&request)?;
    let sync_token = sync_token(&request, levels)?;
    let idempotency = idempotency(&request)?;
    let body = body(&mut request, BODY_BYTES_MAX).await?;
    let once = idempotency.map(|key| Once::of(&key, &request.path(), &body));
    let desk = Desk::new(scene, &client, sync_token, levels, (verb.shape(), once));
    let answer = verb.answer(&body, &desk).await?;
    desk.respond(&answer)
}

/// What the client has seen, where it tells; nothing yet, where it wants to be told.
fn sync_token(request: &Request, levels: Levels) -> Result<Option<String>, Refusal> {
    let token = request.headers().get(respond::SYNC_TOKEN)?.or_else(|| levels.in_session.then(String::new));
    let is_short = token.as_ref().is_none_or(|token| token.len() <= SYNC_TOKEN_BYTES_MAX);
    if is_short { Ok(token) } else { Err(BadSession.into()) }
}

/// Hands commands to a hub.
pub(crate) async fn hand(env: &Env, hub: &str, commands: &Commands) -> Result<Response, Refusal> {
    let request = call::post(call::COMMANDS, &headwater::wire::to_body(commands))?;
    let hub = peers::hub(env, hub)?;
    Ok(timeout::within(HUB_TIMEOUT_MS, hub.fetch_with_request(request)).await.ok_or(Refusal::TimedOut)??)
}

/// Limits as JSON: each check is decided at the hub of its key.
async fn limit(mut request: Request, scene: Scene<'_>) -> Result<Response, Refusal> {
    let client = client(&auth::sent(request.headers(), None), scene.env)?;
    let call = Call::parse(&body(&mut request, BODY_BYTES_MAX).await?)?;
    let asked: Vec<Vec<Bytes>> = call.checks.iter().map(Check::command).collect();
    client.check(asked.iter().map(Vec::as_slice)).map_err(Refusal::NotPermitted)?;
    let idempotency = idempotency(&request)?;
    let levels = levels(&request)?;
    levels.check_limit()?;
    keep_rate(scene, rate::call(&client, asked.iter().map(Vec::as_slice))).await?;
    let (verdicts, staleness_ms) =
        verdicts(scene, &call, Asking { levels, idempotency, namespace: client.namespace }).await?;
    let Answer { status, headers, body } = Answer::of(&call, &verdicts, clock::now().0);
    let response = respond::json(status, body)?;
    set_all(&response, &headers)?;
    Ok(match staleness_ms {
        Some(staleness_ms) => respond::from_leaf(response, staleness_ms)?,
        None => response,
    })
}

/// What an operator and the browser page see of a region. No secret is in it.
#[derive(Serialize)]
struct RegionStatus {
    region: String,
    #[serde(flatten)]
    hubs: Status,
}

/// Of the hubs of the bearer's namespace; of whoever bears no token that holds, the default one.
async fn status(request: &Request, env: &Env) -> Result<Response, Refusal> {
    let region = config::region(env)?;
    let namespace = match client(&auth::sent(request.headers(), None), env) {
        Ok(client) => client.namespace,
        Err(Refusal::Unauthorized(_)) => config::namespaces(env)?.default_one(),
        Err(refusal) => return Err(refusal),
    };
    let read = async |mut response: Response| Ok(response.json::<Status>().await?);
    let statuses = each_hub(env, &hub_names(env, &namespace)?, call::STATUS, read).await?;
    let mut statuses = statuses.into_iter();
    let first = statuses.next().ok_or(Refusal::NotFound)?;
    let hubs = statuses.fold(first, |sum, hub| Status {
        replica: format!("{},{}", sum.replica, hub.replica),
        keys: sum.keys + hub.keys,
        pending: sum.pending + hub.pending,
        unstable: sum.unstable + hub.unstable,
        origin_connected: sum.origin_connected && hub.origin_connected,
        leaves: sum.leaves + hub.leaves,
        jobs: sum.jobs + hub.jobs,
        memory_bytes: sum.memory_bytes + hub.memory_bytes,
        evicted: sum.evicted + hub.evicted,
        refused: sum.refused + hub.refused,
        undecided: sum.undecided + hub.undecided,
        isolate_bytes: sum.isolate_bytes.max(hub.isolate_bytes),
    });
    Ok(respond::json(200, rest::json(&RegionStatus { region, hubs }))?)
}

async fn hubs(request: &Request, env: &Env) -> Result<Response, Refusal> {
    authorize_origin(request, env)?;
    let HubsQuery { replica } = request.query()?;
    if replica.is_none() {
        each_hub(env, &all_hub_names(env)?, call::WAKE, async |_| Ok(())).await?;
    }
    let listed = peers::listed(env, replica.as_deref()).await?;
    Ok(respond::json(200, rest::json(&listed))?)
}

#[derive(Deserialize)]
struct HubQuery {
    hub: Option<String>,
}

async fn origin(request: &Request, env: &Env) -> Result<Response, Refusal> {
    authorize_origin(request, env)?;
    upgrading(request)?;
    let name = known_hub(request, env).await?;
    Ok(peers::hub(env, &name)?.fetch_with_request(call::upgrade(call::ORIGIN)?).await?)
}

async fn relay(mut request: Request, env: &Env) -> Result<Response, Refusal> {
    authorize_origin(&request, env)?;
    let name = known_hub(&request, env).await?;
    let frame = body(&mut request, RELAY_BYTES_MAX).await?;
    Ok(peers::hub(env, &name)?.fetch_with_request(call::post(call::RELAY, &frame)?).await?)
}

#[derive(Deserialize)]
struct LeafQuery {
    token: Option<String>,
    shard: Option<String>,
}

async fn leaf(request: &Request, env: &Env) -> Result<Response, Refusal> {
    let Access { hub, bounds, .. } = access(request, env)?;
    upgrading(request)?;
    let response = hub.fetch_with_request(call::upgrade_leaf(bounds.as_deref())?).await?;
    // A browser that offered subprotocols fails the connection unless one is selected. What an object answers has headers
    // that cannot be changed.
    let status = response.status_code();
    let socket = response.websocket().ok_or(PeerError::Status(status))?;
    let response = Response::from_websocket(socket)?;
    if request.headers().has("sec-websocket-protocol")? {
        response.headers().set("sec-websocket-protocol", auth::PROTOCOL)?;
    }
    Ok(response)
}

/// A leaf to which sockets are blocked: its link and its messages in the body, and what there is to tell it as the answer.
async fn poll(mut request: Request, env: &Env) -> Result<Response, Refusal> {
    let Access { hub, bounds, until_s } = access(&request, env)?;
    let body = Bytes::from(body(&mut request, POLL_BYTES_MAX).await?);
    let Some(link) = body.first_chunk() else { return Err(Refusal::Link) };
    let link = u128::from_le_bytes(*link);
    let frames = body.slice(size_of::<u128>()..);
    // No answer is waited for beyond the token's end.
    let left_ms = until_s.map(|until_s| until_s.saturating_mul(1000).saturating_sub(clock::now().0));
    let left_ms = left_ms.map_or(POLL_WAIT_MS, |left_ms| u32::try_from(left_ms.max(0)).unwrap_or(POLL_WAIT_MS));
    let poll = Poll { link, bounds, wait_ms: left_ms.min(POLL_WAIT_MS), frames };
    let request = call::post(call::POLL, &headwater::wire::to_body(&poll))?;
    let mut response = hub.fetch_with_request(request).await?;
    match response.status_code() {
        200 => Ok(respond::bytes(response.bytes().await?)?),
        status => Ok(respond::json(status, response.bytes().await?)?),
    }
}

/// The hub that a leaf asks for, and what the leaf is bound to: as JSON, and until when.
struct Access {
    hub: Stub,
    bounds: Option<String>,
    until_s: Option<i64>,
}

fn access(request: &Request, env: &Env) -> Result<Access, Refusal> {
    let LeafQuery { token, shard } = request.query()?;
    let client = client(&auth::sent_by_socket(request.headers(), token.as_deref()), env)?;
    let shards = config::shards(env)?;
    let shard = match shard {
        Some(shard) => Shard::named(&shard, shards).ok_or(Refusal::Query("a shard that exists"))?,
        None => Shard::default(),
    };
    let hub = peers::hub(env, &shard.hub_name(&config::region(env)?, &client.namespace))?;
    let Some(claims) = client.claims else {
        return Ok(Access { hub, bounds: None, until_s: None });
    };
    // What is granted only so often is for requests: nobody counts what a socket brings.
    let Claims { grants, exp, .. } = claims;
    let bounds = Bounds { grants: grants.without_rates(), until_s: exp };
    let bounds = String::from_utf8_lossy(&rest::json(&bounds)).into_owned();
    if bounds.len() > SOCKET_GRANTS_BYTES_MAX {
        return Err(Refusal::SocketGrants);
    }
    Ok(Access { hub, bounds: Some(bounds), until_s: Some(exp) })
}

async fn assets(request: Request, env: &Env) -> Result<Response, Refusal> {
    let Ok(assets) = env.service("ASSETS") else { return Err(Refusal::NotFound) };
    Ok(assets.fetch_request(request).await?)
}

/// Asks each of these hubs at once.
async fn each_hub<R>(
    env: &Env,
    names: &[String],
    path: &'static str,
    read: impl AsyncFn(Response) -> Result<R, Refusal>,
) -> Result<Vec<R>, Refusal> {
    let read = &read;
    let ask = |name: &String| {
        let hub = peers::hub(env, name);
        async move {
            let response = hub?.fetch_with_request(call::get(path)?).await?;
            match response.status_code() {
                200 => read(response).await,
                status => Err(PeerError::Status(status).into()),
            }
        }
    };
    try_join_all(names.iter().map(ask)).await
}

/// The names of the region's hubs of one namespace.
fn hub_names(env: &Env, namespace: &Namespace) -> Result<Vec<String>, Refusal> {
    let region = config::region(env)?;
    Ok(Shard::all(config::shards(env)?).map(|shard| shard.hub_name(&region, namespace)).collect())
}

/// The names of the region's hubs. Those in which rates are counted come into being when they are needed.
fn all_hub_names(env: &Env) -> Result<Vec<String>, Refusal> {
    let namespaces = config::namespaces(env)?;
    let spaces = [namespaces.default_one()].into_iter().chain(namespaces.iter());
    let names = spaces.map(|namespace| hub_names(env, &namespace)).collect::<Result<Vec<_>, _>>()?;
    Ok(names.into_iter().flatten().collect())
}

fn client(sent: &[String], env: &Env) -> Result<Client, Refusal> {
    let now_s = clock::now().0 / 1000;
    Ok(Client::of(sent, &config::token(env)?, &config::token_keys(env)?, &config::namespaces(env)?, now_s)?)
}

fn authorize_origin(request: &Request, env: &Env) -> Result<(), Refusal> {
    let is_origin = auth::is_bearer(request.headers(), &config::origin_token(env)?);
    if is_origin { Ok(()) } else { Err(Unauthorized::Token.into()) }
}

fn upgrading(request: &Request) -> Result<(), Refusal> {
    let upgrade = request.headers().get("upgrade")?.unwrap_or_default();
    if upgrade.eq_ignore_ascii_case("websocket") { Ok(()) } else { Err(Refusal::NoUpgrade) }
}

/// The hub named in the query. Only this region's own may come into being by being asked for.
async fn known_hub(request: &Request, env: &Env) -> Result<String, Refusal> {
    let HubQuery { hub } = request.query()?;
    let name = hub.ok_or(Refusal::Query("hub=NAME"))?;
    if all_hub_names(env)?.contains(&name) || peers::listed(env, None).await?.iter().any(|listed| listed.name == name) {
        return Ok(name);
    }
    Err(Refusal::NoSuchHub(name))
}

/// The body, unless it is longer than `bytes_max`.
async fn body(request: &mut Request, bytes_max: usize) -> Result<Vec<u8>, Refusal> {
    let announced = request.headers().get("content-length")?.and_then(|length| length.parse::<usize>().ok());
    if let Some(length) = announced {
        return if length > bytes_max { Err(Refusal::TooLarge(bytes_max)) } else { Ok(request.bytes().await?) };
    }
    if request.inner().body().is_none() {
        return Ok(Vec::new());
    }
    let mut chunks = request.stream()?;
    let mut body = Vec::new();
    while let Some(chunk) = chunks.next().await {
        body.extend_from_slice(&chunk?);
        if body.len() > bytes_max {
            return Err(Refusal::TooLarge(bytes_max));
        }
    }
    Ok(body)
}
