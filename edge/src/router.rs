//! The Worker's routes: who may, which object, and what it is asked.

use crate::{
    auth,
    auth::{Client, Unauthorized},
    clock, config, cors,
    decide::{Asking, Hubs, keep_rate, verdicts},
    directory::HubsQuery,
    hub::call::{self, Bounds, Commands, Listen, Poll, Status},
    incoming::Incoming,
    isolate::{self, Scene},
    level::Levels,
    limit::{Answer, Call, Check},
    limits::{
        BODY_BYTES_MAX, HUB_TIMEOUT_MS, POLL_BYTES_MAX, POLL_WAIT_MS, RELAY_BYTES_MAX, SOCKET_GRANTS_BYTES_MAX,
        SYNC_TOKEN_BYTES_MAX,
    },
    path::{self, Asked},
    peers::{self, PeerError},
    rate,
    refusal::Refusal,
    respond::{self, Json},
    rest::{self, Encoding, Shape},
    scenario::{Desk, Once, Verb},
    session::BadSession,
    shard::Shard,
    timeout,
    token::Claims,
};
use bytes::Bytes;
use futures_util::future::try_join_all;
use headwater::{
    command::{Command, CommandError, parse},
    limits::IDEMPOTENCY_KEY_BYTES_MAX,
    namespace::Namespace,
};
use serde::{Deserialize, Serialize};
use worker::{Env, Method, Request, Response, Result, Stub, Url, web_sys};

/// Answers one request.
pub(crate) async fn route(incoming: Incoming, scene: Scene<'_>) -> Result<web_sys::Response> {
    let method = incoming.method();
    let answered = match (&method, incoming.path()) {
        (Method::Post, "/") => commands(incoming, scene, Shape::Single).await,
        (Method::Post, "/pipeline") => commands(incoming, scene, Shape::Pipeline).await,
        (Method::Post, "/multi-exec") => commands(incoming, scene, Shape::Transaction).await,
        (Method::Post, "/v1/limit") => limit(incoming, scene).await,
        _ => elsewhere(incoming, scene).await,
    };
    let refusal = match answered {
        Ok(response) => return Ok(response),
        Err(refusal) => refusal,
    };
    let json = Json::error(refusal.status(), &refusal);
    let json = if let Refusal::Rate(Answer { headers, .. }) = &refusal { json.with_all(headers) } else { json };
    json.into_response()
}

/// The rarer routes.
async fn elsewhere(incoming: Incoming, scene: Scene<'_>) -> Result<web_sys::Response, Refusal> {
    let env = scene.env;
    match (incoming.method(), incoming.path()) {
        (Method::Options, _) => Ok(cors::preflight()?.into()),
        (Method::Post, path) if Verb::find(path).is_some() => scenario(incoming, scene).await,
        (Method::Get, "/v1/status") => status(&incoming, env).await,
        (Method::Get, "/v1/hubs") => hubs(&incoming.request(), env).await,
        (Method::Get, "/v1/origin") => Ok(origin(&incoming.request(), env).await?.into()),
        (Method::Get, "/v1/leaf") => Ok(leaf(&incoming.request(), env).await?.into()),
        (Method::Post, "/v1/leaf") => poll(incoming, env).await,
        (Method::Post, "/v1/relay") => Ok(relay(incoming, env).await?.into()),
        (Method::Get | Method::Post | Method::Put, path) if is_command(&incoming, path) => {
            in_path(incoming, scene).await
        }
        (Method::Get | Method::Head, path) if !path.starts_with("/v1/") => {
            Ok(assets(incoming.request(), env).await?.into())
        }
        (Method::Get, _) => Err(Refusal::NotFound),
        (method, _) => Err(Refusal::Method(method)),
    }
}

/// Commands in a JSON body.
async fn commands(mut incoming: Incoming, scene: Scene<'_>, shape: Shape) -> Result<web_sys::Response, Refusal> {
    let client = bearer(&incoming, None, scene.env)?;
    let commands = shape.parse(&incoming.body(BODY_BYTES_MAX).await?)?;
    execute(&incoming, scene, &client, shape, commands).await
}

/// Whether a path is a command: one that Headwater knows, or whatever a client with a token names; the site asks without one.
fn is_command(incoming: &Incoming, path: &str) -> bool {
    let is_client = || incoming.sent.authorization.is_some();
    path != "/" && !path.starts_with("/v1/") && (path::asked(path) != Asked::Other || is_client())
}

/// A command in the path.
async fn in_path(mut incoming: Incoming, scene: Scene<'_>) -> Result<web_sys::Response, Refusal> {
    let url = incoming.url()?;
    let query_token = url.query().and_then(path::token);
    let client = bearer(&incoming, query_token.as_deref(), scene.env)?;
    match path::asked(url.path()) {
        Asked::Stream => return Err(Refusal::Stream),
        Asked::Listen { is_pattern } => return Ok(listen(&url, scene.env, &client, is_pattern).await?.into()),
        Asked::Command | Asked::Other => {}
    }
    let body = match incoming.method() {
        Method::Get => None,
        // A POST without a body names all arguments in its path.
        _ => Some(incoming.body(BODY_BYTES_MAX).await?).filter(|body| !body.is_empty()),
    };
    let argv = path::arguments(url.path(), body, url.query());
    execute(&incoming, scene, &client, Shape::Single, vec![argv]).await
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
    incoming: &Incoming,
    scene: Scene<'_>,
    client: &Client,
    shape: Shape,
    commands: Vec<Vec<Bytes>>,
) -> Result<web_sys::Response, Refusal> {
    client.check(read(&commands)).map_err(Refusal::NotPermitted)?;
    let idempotency = idempotency(incoming)?;
    let is_base64 = incoming.sent.encoding.as_deref() == Some("base64");
    let encoding = if is_base64 { Encoding::Base64 } else { Encoding::Lossy };
    let levels = levels(incoming)?;
    let sync_token = sync_token(incoming, levels)?;
    let namespace = &client.namespace;
    let shard = Shard::of_commands(&commands, namespace, config::shards(scene.env)?)?;
    let hub = shard.hub_name(&config::region(scene.env)?, namespace);
    keep_rate(scene, rate::call(client, read(&commands))).await?;
    // Only a hub remembers what it answered to a key.
    if idempotency.is_none()
        && let Some(answered) = at_leaf(scene, &hub, namespace, &commands, levels)?
    {
        let (status, body) = shape.answer(&answered.replies, encoding);
        let json = Json::replies(status, body, answered.is_provisional, sync_token.as_deref());
        return Ok(json.of_leaf(answered.staleness_ms).into_response()?);
    }
    let commands = Commands { shape, encoding, sync_token, idempotency, levels, commands };
    Ok(hand(scene.env, &hub, &commands).await?.into_response()?)
}

/// What the call asks of durability and consistency.
fn levels(incoming: &Incoming) -> Result<Levels, Refusal> {
    Ok(Levels::of(incoming.sent.durability.as_deref(), incoming.sent.consistency.as_deref())?)
}

/// Those of the commands that can be read, with their arguments.
pub(crate) fn read(commands: &[Vec<Bytes>]) -> impl Iterator<Item = Command> {
    commands.iter().filter_map(|argv| parse(argv).ok())
}

/// The answer of this isolate, where the call asks for no more and the isolate has one.
fn at_leaf(
    scene: Scene<'_>,
    hub: &str,
    namespace: &Namespace,
    commands: &[Vec<Bytes>],
    levels: Levels,
) -> Result<Option<isolate::Answered>, Refusal> {
    if !levels.allow_leaf() {
        return Ok(None);
    }
    let read = |argv: &Vec<Bytes>| parse(argv).and_then(|command| namespace.admits(&command).map(|()| command));
    let commands: Result<Vec<Command>, CommandError> = commands.iter().map(read).collect();
    // Its hub says what is wrong with it.
    let Ok(commands) = commands else { return Ok(None) };
    isolate::answer(scene, hub, &commands, levels)
}

fn idempotency(incoming: &Incoming) -> Result<Option<Bytes>, Refusal> {
    let key = incoming.sent.idempotency_key.clone().map(Bytes::from);
    if key.as_ref().is_some_and(|key| key.is_empty() || key.len() > IDEMPOTENCY_KEY_BYTES_MAX) {
        return Err(Refusal::IdempotencyKey);
    }
    Ok(key)
}

/// A scenario's verb.
async fn scenario(mut incoming: Incoming, scene: Scene<'_>) -> Result<web_sys::Response, Refusal> {
    let client = bearer(&incoming, None, scene.env)?;
    let verb = Verb::find(incoming.path()).ok_or(Refusal::NotFound)?;
    let levels = levels(&incoming)?;
    let sync_token = sync_token(&incoming, levels)?;
    let idempotency = idempotency(&incoming)?;
    let body = incoming.body(BODY_BYTES_MAX).await?;
    let once = idempotency.map(|key| Once::of(&key, incoming.path(), &body));
    let desk = Desk::new(scene, &client, sync_token, levels, (verb.shape(), once));
    let answer = verb.answer(&body, &desk).await?;
    Ok(desk.respond(&answer).into_response()?)
}

/// What the client has seen, where it tells; nothing yet, where it wants to be told.
fn sync_token(incoming: &Incoming, levels: Levels) -> Result<Option<String>, Refusal> {
    let token = incoming.sent.sync_token.clone().or_else(|| levels.in_session.then(String::new));
    let is_short = token.as_ref().is_none_or(|token| token.len() <= SYNC_TOKEN_BYTES_MAX);
    if is_short { Ok(token) } else { Err(BadSession.into()) }
}

/// Hands commands to a hub.
pub(crate) async fn hand(env: &Env, hub: &str, commands: &Commands) -> Result<Json, Refusal> {
    Ok(peers::ask(env, hub, call::COMMANDS, &headwater::wire::to_body(commands), HUB_TIMEOUT_MS).await?)
}

/// Limits as JSON: each check is decided at the hub of its key.
async fn limit(mut incoming: Incoming, scene: Scene<'_>) -> Result<web_sys::Response, Refusal> {
    let client = bearer(&incoming, None, scene.env)?;
    let call = Call::parse(&incoming.body(BODY_BYTES_MAX).await?)?;
    let commands = || call.checks.iter().map(Check::command);
    client.check(commands()).map_err(Refusal::NotPermitted)?;
    let idempotency = idempotency(&incoming)?;
    let levels = levels(&incoming)?;
    levels.check_limit()?;
    keep_rate(scene, rate::call(&client, commands())).await?;
    let hubs = Hubs::of(scene.env, client.namespace)?;
    let (verdicts, staleness_ms) = verdicts(scene, &call.checks, &Asking { levels, idempotency, hubs }).await?;
    let Answer { status, headers, body } = Answer::of(&call, &verdicts, clock::now().0);
    let json = Json::new(status, body).with_all(&headers);
    let json = if let Some(staleness_ms) = staleness_ms { json.of_leaf(staleness_ms) } else { json };
    Ok(json.into_response()?)
}

/// What an operator and the browser page see of a region. No secret is in it.
#[derive(Serialize)]
struct RegionStatus {
    region: String,
    #[serde(flatten)]
    hubs: Status,
}

/// Of the hubs of the bearer's namespace; of whoever bears no token that holds, the default one.
async fn status(incoming: &Incoming, env: &Env) -> Result<web_sys::Response, Refusal> {
    let region = config::region(env)?;
    let namespace = match bearer(incoming, None, env) {
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
    Ok(Json::new(200, rest::json(&RegionStatus { region, hubs })).into_response()?)
}

async fn hubs(request: &Request, env: &Env) -> Result<web_sys::Response, Refusal> {
    authorize_origin(request, env)?;
    let HubsQuery { replica } = request.query()?;
    if replica.is_none() {
        each_hub(env, &all_hub_names(env)?, call::WAKE, async |_| Ok(())).await?;
    }
    let listed = peers::listed(env, replica.as_deref()).await?;
    Ok(Json::new(200, rest::json(&listed)).into_response()?)
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

async fn relay(mut incoming: Incoming, env: &Env) -> Result<Response, Refusal> {
    let request = incoming.request();
    authorize_origin(&request, env)?;
    let name = known_hub(&request, env).await?;
    let frame = incoming.body(RELAY_BYTES_MAX).await?;
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
async fn poll(mut incoming: Incoming, env: &Env) -> Result<web_sys::Response, Refusal> {
    let Access { hub, bounds, until_s } = access(&incoming.request(), env)?;
    let body = Bytes::from(incoming.body(POLL_BYTES_MAX).await?);
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
        200 => Ok(respond::bytes(response.bytes().await?)?.into()),
        status => Ok(Json::new(status, response.bytes().await?).into_response()?),
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
    let sent = auth::sent_by_socket(request.headers(), token.as_deref());
    let client = client(&sent.iter().map(String::as_str).collect::<Vec<_>>(), env)?;
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

/// Whose token stands in the header or in the query.
fn bearer(incoming: &Incoming, query_token: Option<&str>, env: &Env) -> Result<Client, Refusal> {
    client(&auth::sent(incoming.sent.authorization.as_deref(), query_token), env)
}

fn client(sent: &[&str], env: &Env) -> Result<Client, Refusal> {
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
