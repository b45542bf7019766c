//! The links between the edges and the daemon, which a person may cut.
//!
//! The daemon dials each edge through a port of the demo's own, behind which bytes are passed on and nothing is read. A link
//! that is cut has no connections and takes none. The page of the demo shows and sets the links over HTTP, and reads there
//! what the origin has: a page cannot speak with Redis.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::store::Store;

/// All links, each named by its edge. They end when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Links {
    /// Whether each is up.
    links: BTreeMap<String, Arc<watch::Sender<bool>>>,
    control: Option<String>,
    tasks: JoinSet<()>,
}

impl Links {
    /// Lays a link to the edge of this name, which listens at `address`; it is up. Gives the URL of its near end, on a port
    /// of 127.0.0.1.
    ///
    /// # Errors
    /// When the system has no port to give.
    pub(crate) async fn lay(&mut self, edge: &str, address: String) -> Result<String> {
        let near = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("a port for a link")?;
        let url = format!("http://{}", near.local_addr()?);
        let is_up = Arc::new(watch::Sender::new(true));
        self.tasks.spawn(pass_on(near, address, is_up.subscribe()));
        self.links.insert(edge.to_owned(), is_up);
        Ok(url)
    }

    /// Serves the links and the values of `store` to whoever has the token.
    ///
    /// # Errors
    /// When the system has no port to give.
    pub(crate) async fn serve(&mut self, store: Store, token: &str) -> Result<()> {
        let control = Arc::new(Control { links: self.links.clone(), store, authorization: format!("Bearer {token}") });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("a port for the links' control")?;
        self.control = Some(format!("http://{}", listener.local_addr()?));
        self.tasks.spawn(async move {
            // It fails only with its listener, and then the page says that it does not answer.
            let _ = axum::serve(listener, router(control)).await;
        });
        Ok(())
    }

    /// Where the links are shown and set, once that is served.
    pub(crate) fn control(&self) -> Option<&str> {
        self.control.as_deref()
    }
}

/// Passes on what comes to `near`, and cuts all of it while the link is down.
async fn pass_on(near: TcpListener, address: String, is_up: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    while let Ok((mut client, _)) = near.accept().await {
        while connections.try_join_next().is_some() {}
        let (address, mut state) = (address.clone(), is_up.clone());
        connections.spawn(async move {
            if !*state.borrow_and_update() {
                return;
            }
            let Ok(mut edge) = TcpStream::connect(address).await else { return };
            // What either end sends small is waited for.
            let _ = client.set_nodelay(true).and_then(|()| edge.set_nodelay(true));
            tokio::select! {
                _ = copy_bidirectional(&mut client, &mut edge) => {}
                _ = state.wait_for(|is_up| !is_up) => {}
            }
        });
    }
}

/// What the control serves.
struct Control {
    links: BTreeMap<String, Arc<watch::Sender<bool>>>,
    store: Store,
    authorization: String,
}

fn router(control: Arc<Control>) -> Router {
    Router::new()
        .route("/links", get(states))
        .route("/links/{edge}", post(set))
        .route("/values/{key}", get(value))
        .layer(middleware::from_fn_with_state(Arc::clone(&control), guard))
        .with_state(control)
}

/// Lets pages of any site ask, as the edges do, and only those with the token be answered.
async fn guard(State(control): State<Arc<Control>>, request: Request, next: Next) -> Response {
    let sent = request.headers().get(header::AUTHORIZATION);
    let mut response = if request.method() == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else if sent.is_some_and(|sent| sent.as_bytes() == control.authorization.as_bytes()) {
        next.run(request).await
    } else {
        StatusCode::UNAUTHORIZED.into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("Authorization, Content-Type"));
    response
}

async fn states(State(control): State<Arc<Control>>) -> Json<BTreeMap<String, bool>> {
    Json(control.links.iter().map(|(edge, is_up)| (edge.clone(), *is_up.borrow())).collect())
}

async fn set(
    State(control): State<Arc<Control>>,
    Path(edge): Path<String>,
    Json(is_up): Json<bool>,
) -> Result<Json<bool>, StatusCode> {
    let link = control.links.get(&edge).ok_or(StatusCode::NOT_FOUND)?;
    link.send_replace(is_up);
    Ok(Json(is_up))
}

/// The string at a key as a plain client reads it, or null.
async fn value(
    State(control): State<Arc<Control>>,
    Path(key): Path<String>,
) -> Result<Json<Option<String>>, StatusCode> {
    match control.store.read_one(&["GET", &key]).await {
        Ok(found) => Ok(Json(found.text())),
        // The page shows that the origin cannot be read; the parts' own logs say why.
        Err(_) => Err(StatusCode::BAD_GATEWAY),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// Answers each connection with what it says.
    async fn echo() -> String {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = socket.split();
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                });
            }
        });
        address
    }

    async fn connected(url: &str) -> TcpStream {
        TcpStream::connect(url.trim_start_matches("http://")).await.expect("a connection")
    }

    async fn said(socket: &mut TcpStream) -> Option<u8> {
        socket.write_all(b"x").await.ok()?;
        socket.read_u8().await.ok()
    }

    #[tokio::test]
    async fn a_link_that_is_cut_ends_its_connections_and_serves_no_new_one_until_it_is_restored() {
        let mut links = Links::default();
        let url = links.lay("eu", echo().await).await.expect("a link");
        let mut before = connected(&url).await;
        assert_eq!(said(&mut before).await, Some(b'x'));
        let is_up = Arc::clone(links.links.get("eu").expect("the link"));
        is_up.send_replace(false);
        assert_eq!(before.read_u8().await.ok(), None, "the connection has ended");
        assert_eq!(said(&mut connected(&url).await).await, None);
        is_up.send_replace(true);
        assert_eq!(said(&mut connected(&url).await).await, Some(b'x'));
    }
}
