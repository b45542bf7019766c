//! The load generator: connections that are kept, each with one request under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// One request, sent again and again.
#[derive(Clone)]
pub(super) struct Call {
    /// Where, such as `127.0.0.1:8080`.
    pub(super) address: String,
    pub(super) path: &'static str,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: String,
}

/// How many were answered in a second.
pub(super) async fn per_second(call: &Call, connections: usize, duration: Duration) -> Result<f64> {
    let call = Arc::new(call.clone());
    let mut senders = Vec::new();
    for _ in 0..connections {
        senders.push(connect(&call.address).await?);
    }
    let began = Instant::now();
    let clients: Vec<_> = senders
        .into_iter()
        .map(|mut sender| {
            let call = Arc::clone(&call);
            tokio::spawn(async move {
                let mut answered = 0_u64;
                while began.elapsed() < duration {
                    once(&mut sender, &call).await?;
                    answered += 1;
                }
                anyhow::Ok(answered)
            })
        })
        .collect();
    let mut answered = 0;
    for client in clients {
        answered += client.await??;
    }
    Ok(answered as f64 / began.elapsed().as_secs_f64())
}

/// Sends so many requests, each call in its turn.
pub(super) async fn send_all(calls: &[Call], connections: usize, count: u64) -> Result<()> {
    let (calls, sent) = (Arc::new(calls.to_vec()), Arc::new(AtomicU64::new(0)));
    let mut clients = Vec::new();
    for _ in 0..connections {
        let address = &calls.first().context("no call")?.address;
        let mut sender = connect(address).await?;
        let (calls, sent) = (Arc::clone(&calls), Arc::clone(&sent));
        clients.push(tokio::spawn(async move {
            loop {
                let number = sent.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return anyhow::Ok(());
                }
                let at = usize::try_from(number)? % calls.len();
                if let Some(call) = calls.get(at) {
                    once(&mut sender, call).await?;
                }
            }
        }));
    }
    for client in clients {
        client.await??;
    }
    Ok(())
}

/// The answer to one request on a connection of its own, and whether it has this header.
pub(super) async fn answer(call: &Call, header: &str) -> Result<(bool, Bytes)> {
    once_with(&mut connect(&call.address).await?, call, |head| head.contains_key(header)).await
}

/// What a page says.
pub(super) async fn get(address: &str, path: &str) -> Result<Bytes> {
    let request = Request::get(path).header("host", address).body(Full::new(Bytes::new()))?;
    let (head, body) = connect(address).await?.send_request(request).await?.into_parts();
    ensure!(head.status.is_success(), "{path}: {}", head.status);
    Ok(body.collect().await?.to_bytes())
}

async fn connect(address: &str) -> Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address).await.with_context(|| address.to_owned())?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    // It ends with its sender; what goes wrong with it shows there.
    tokio::spawn(connection);
    Ok(sender)
}

async fn once(sender: &mut SendRequest<Full<Bytes>>, call: &Call) -> Result<()> {
    once_with(sender, call, |_| ()).await.map(drop)
}

async fn once_with<R>(
    sender: &mut SendRequest<Full<Bytes>>,
    call: &Call,
    look: impl FnOnce(&hyper::HeaderMap) -> R,
) -> Result<(R, Bytes)> {
    let mut request = Request::builder().method(Method::POST).uri(call.path).header("host", &call.address);
    for (name, value) in &call.headers {
        request = request.header(*name, value);
    }
    let request = request.body(Full::new(Bytes::from(call.body.clone())))?;
    sender.ready().await?;
    let (head, body) = sender.send_request(request).await?.into_parts();
    let body = body.collect().await?.to_bytes();
    ensure!(head.status.is_success(), "{}: {} {}", call.path, head.status, String::from_utf8_lossy(&body));
    Ok((look(&head.headers), body))
}
