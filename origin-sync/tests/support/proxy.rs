//! A stretch of network that a test can cut: connections go through it to a port on loopback.

use std::sync::Arc;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinSet,
};

/// What the network does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Network {
    Carries,
    /// What is sent is held back, and nobody hears of that.
    Hangs,
    /// What is open is broken off, and nobody gets through.
    Refuses,
}

pub struct Proxy {
    port: u16,
    network: Arc<watch::Sender<Network>>,
    _task: JoinSet<()>,
}

impl Proxy {
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let network = Arc::new(watch::Sender::new(Network::Carries));
        let mut task = JoinSet::new();
        let state = network.subscribe();
        task.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (near, _) = listener.accept().await.unwrap();
                if *state.borrow() == Network::Refuses {
                    continue;
                }
                connections.spawn(carry(near, port, state.clone()));
            }
        });
        Self { port: own, network, _task: task }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn hang(&self) {
        self.network.send_replace(Network::Hangs);
    }

    pub fn refuse(&self) {
        self.network.send_replace(Network::Refuses);
    }

    pub fn mend(&self) {
        self.network.send_replace(Network::Carries);
    }
}

async fn carry(near: TcpStream, port: u16, state: watch::Receiver<Network>) {
    let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
    let mut broken = state.clone();
    // Whichever ends first ends both, which closes the two sockets.
    tokio::select! {
        () = one_way(near_read, far_write, state.clone()) => {}
        () = one_way(far_read, near_write, state) => {}
        _ = broken.wait_for(|network| *network == Network::Refuses) => {}
    }
}

async fn one_way(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut state: watch::Receiver<Network>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if state.wait_for(|network| *network != Network::Hangs).await.is_err() {
            return;
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
