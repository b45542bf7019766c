//! What hostile peers send to the daemon: each is refused with a reason that is logged and counted, and the other hub goes on
//! over the connection that it has.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(missing_docs, unreachable_pub, reason = "nothing here is for others")]

mod support;

use headwater::{
    hub::{Hub, HubEffect, HubInput, Request},
    id::{Key, No, ReplicaId, TimestampMs},
    limits::{FRAME_BYTES_MAX, NUMBER_MAX},
    message::{HubToOrigin, OriginToHub, SlotDelta},
    wire,
};
use std::{
    path::PathBuf,
    time::{Duration, Instant},
};
use support::{
    bed::Plain,
    daemon::{Daemon, eventually},
    edge::{Edge, TOKEN},
    say::{bytes, now},
    server::RedisServer,
};
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::Message;

/// The bits of the honest hub's identity.
const HONEST: u64 = 7 << 32;

/// A daemon between an honest hub and one that is not.
struct Setup {
    redis: RedisServer,
    honest: Edge,
    hostile: Edge,
    daemon: Daemon,
    directory: TempDir,
}

impl Setup {
    async fn new() -> Self {
        Self::against(Edge::with_hub("test/hostile").await).await
    }

    async fn against(hostile: Edge) -> Self {
        let (redis, honest) = (RedisServer::start().await, Edge::with_identity("test/honest", HONEST).await);
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let daemon = Daemon::start(&honest.url(), ["--store", &redis.url(), "--edge", &hostile.url()], &log);
        eventually("the honest hub is served", async || honest.status().is_origin_connected.then_some(())).await;
        eventually("the hostile hub is dialled", async || (hostile.accepted() > 0).then_some(())).await;
        honest.execute(&["INCR", "hits"]).unwrap();
        let setup = Self { redis, honest, hostile, daemon, directory };
        setup.reads("hits", "1").await;
        setup
    }

    async fn reads(&self, key: &str, value: &str) {
        let plain = Plain::connect(&self.redis).await;
        eventually(&format!("{key} is {value} in Redis"), async || {
            (plain.ask::<Option<String>>(&["GET", key]).await.as_deref() == Some(value)).then_some(())
        })
        .await;
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    /// It is counted under this name, logged in these words, and the honest hub goes on.
    async fn is_refused(&self, counted: &str, logged: &str) {
        eventually(&format!("{counted} is counted"), async || {
            let (_, metrics) = self.daemon.get("/metrics").await?;
            let counts = metrics.lines().filter_map(|line| line.strip_prefix(counted)?.trim().parse::<u64>().ok());
            (counts.sum::<u64>() > 0).then_some(())
        })
        .await;
        self.logs(logged).await;
        self.goes_on().await;
    }

    /// What is counted may be there to read before its line in the log is.
    async fn logs(&self, words: &str) {
        eventually(&format!("{words:?} is in the log"), async || {
            std::fs::read_to_string(self.log()).unwrap().contains(words).then_some(())
        })
        .await;
    }

    /// How often the hostile hub's clock was counted as being so. Nobody else's ever is.
    async fn clocks(&self, is: &str) -> u64 {
        let (_, metrics) = self.daemon.get("/metrics").await.unwrap();
        let counted: Vec<&str> =
            metrics.lines().filter_map(|line| line.strip_prefix("headwater_hub_clocks_total")).collect();
        assert!(counted.iter().all(|line| line.contains("test/hostile")), "{counted:?}");
        let edge = self.hostile.url();
        let labels = format!(r#"{{edge="{edge}",hub="test/hostile",is="{is}"}}"#);
        counted.iter().find_map(|line| line.strip_prefix(&labels)).map_or(0, |count| count.trim().parse().unwrap())
    }

    async fn goes_on(&self) {
        self.honest.execute(&["INCRBY", "hits", "10"]).unwrap();
        self.reads("hits", "11").await;
        assert_eq!(self.honest.accepted(), 1, "the honest hub has kept its connection");
    }

    /// Kills the daemon. The hubs have noticed then: what is said goes to the next one.
    async fn kill_daemon(&mut self) {
        self.daemon.kill();
        let are_alone = || [&self.honest, &self.hostile].iter().all(|edge| !edge.status().is_origin_connected);
        eventually("the hubs have noticed", async || are_alone().then_some(())).await;
    }

    /// Sends it once the daemon is there to hear it.
    async fn send(&self, message: Message) {
        eventually("the hostile hub is connected", async || self.hostile.status().is_origin_connected.then_some(()))
            .await;
        self.hostile.send([message]);
    }

    async fn say(&self, message: HubToOrigin) {
        self.say_all(&[message]).await;
    }

    /// Says all of it by one connection, whatever the daemon makes of the first.
    async fn say_all(&self, messages: &[HubToOrigin]) {
        eventually("the hostile hub is connected", async || self.hostile.status().is_origin_connected.then_some(()))
            .await;
        self.hostile.say(messages);
    }
}

/// What a hub says of an increment that it stamps by this clock: the parts of its first batch.
fn batch(clock: TimestampMs) -> Vec<SlotDelta> {
    let (mut hub, _persisted) = Hub::create("test/hostile".to_owned(), 9 << 32, clock);
    let daemon = headwater::hub::Connection(1);
    let _ = hub
        .handle(HubInput::Origin(daemon, OriginToHub::Welcome { now: clock, capabilities: Default::default() }), clock);
    let commands = vec![["INCR", "theirs"].map(bytes).to_vec()];
    let _ = hub.handle(HubInput::Commands { request: Request(1), commands, idempotency: None }, clock);
    let effects = hub.handle(HubInput::Origin(daemon, OriginToHub::Credit(1)), clock);
    let batches = effects.into_iter().find_map(|effect| match effect {
        HubEffect::ToOrigin(_, HubToOrigin::Delta(parts)) => Some(parts),
        _ => None,
    });
    batches.expect("a batch")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_is_refused() {
    let setup = Setup::new().await;
    setup.send(Message::Binary(bytes("what is no frame of ours at all"))).await;
    setup.is_refused(r#"headwater_hub_frames_refused_total{reason="magic"}"#, "a frame from a hub was refused").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_truncated_frame_is_refused() {
    let setup = Setup::new().await;
    let mut frame = wire::encode(&HubToOrigin::Unsubscribe(vec![Key::new("k").unwrap()])).unwrap();
    frame.pop();
    setup.send(Message::Binary(frame.into())).await;
    setup.is_refused(r#"headwater_hub_frames_refused_total{reason="short"}"#, "a frame from a hub was refused").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_whose_bytes_were_changed_is_refused() {
    let setup = Setup::new().await;
    let mut frame = wire::encode(&HubToOrigin::Unsubscribe(vec![Key::new("k").unwrap()])).unwrap();
    *frame.last_mut().unwrap() ^= 1;
    setup.send(Message::Binary(frame.into())).await;
    let counted = r#"headwater_hub_frames_refused_total{reason="checksum"}"#;
    setup.is_refused(counted, "a frame from a hub was refused").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_over_the_limit_is_refused() {
    let setup = Setup::new().await;
    setup.send(Message::Binary(vec![0; FRAME_BYTES_MAX + 1024].into())).await;
    setup.is_refused(r#"headwater_hub_frames_refused_total{reason="size"}"#, "a frame from a hub was refused").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_is_refused() {
    let setup = Setup::new().await;
    setup.send(Message::Text("hello".into())).await;
    setup.is_refused(r#"headwater_hub_frames_refused_total{reason="text"}"#, "the hub sent a text message").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_before_a_hello_is_refused() {
    let setup = Setup::new().await;
    eventually("the hostile hub is connected", async || setup.hostile.status().is_origin_connected.then_some(())).await;
    // A connection of its own, on which the hub's own hello is never sent.
    setup.hostile.go_mute();
    setup.hostile.send_garbage();
    eventually("the hub is dialled again", async || (setup.hostile.accepted() > 1).then_some(())).await;
    setup.hostile.when_open().await;
    setup.hostile.say(&[HubToOrigin::Subscribe(vec![Key::new("k").unwrap()])]);
    let counted = r#"headwater_hub_refusals_total{cause="unexpected"}"#;
    setup.is_refused(counted, "the first message of a hub must be its hello").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_absurd_clock_is_refused() {
    let setup = Setup::new().await;
    let said = Instant::now();
    setup.say(HubToOrigin::Delta(batch(TimestampMs(now().0 * 2)))).await;
    setup.is_refused(r#"headwater_hub_refusals_total{cause="clock"}"#, "ahead").await;
    // It goes on, and each time is counted; the log says it once.
    let told = || std::fs::read_to_string(setup.log()).unwrap().matches("too far ahead").count();
    assert_eq!(setup.clocks("refused").await, 1);
    eventually("the hub is dialled again", async || (setup.hostile.accepted() > 1).then_some(())).await;
    assert!(said.elapsed() >= Duration::from_secs(2), "somebody must mend its clock first");
    setup.say(HubToOrigin::Delta(batch(TimestampMs(now().0 * 2)))).await;
    eventually("it is counted again", async || (setup.clocks("refused").await == 2).then_some(())).await;
    setup.logs("too far ahead").await;
    assert_eq!(told(), 1);
    assert_eq!(setup.clocks("off").await, 0);
    let plain = Plain::connect(&setup.redis).await;
    assert_eq!(plain.ask::<Option<String>>(&["GET", "theirs"]).await, None);
}

/// Neither too far ahead to be served, nor right.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_off_is_told_of() {
    for off_ms in [10_000, -600_000] {
        let setup = Setup::new().await;
        setup.hostile.set_clock_off(off_ms);
        // A hello by that clock.
        setup.send(Message::Binary(bytes("what is no frame of ours at all"))).await;
        eventually("the clock is counted as off", async || (setup.clocks("off").await > 0).then_some(())).await;
        setup.logs("the clock of a hub, or of this machine, is off").await;
        let log = std::fs::read_to_string(setup.log()).unwrap();
        assert_eq!(log.matches("the clock of a hub, or of this machine, is off").count(), 1, "{log}");
        setup.hostile.execute(&["INCR", "theirs"]).unwrap();
        setup.reads("theirs", "1").await;
        setup.goes_on().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_absurd_number_is_refused() {
    let setup = Setup::new().await;
    let mut parts = batch(now());
    parts[0].to = No(NUMBER_MAX + 1);
    setup.say(HubToOrigin::Delta(parts)).await;
    setup.is_refused(r#"headwater_hub_refusals_total{cause="limit"}"#, "an operation's number is").await;
}

/// Neither hub refuses what it alone can count; both together are more than an integer holds, and show as the greatest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn absurd_amounts_hold_nobody_up() {
    let setup = Setup::new().await;
    let most = i64::MAX.to_string();
    setup.hostile.execute(&["INCRBY", "sum", &most]).unwrap();
    setup.honest.execute(&["INCRBY", "sum", &most]).unwrap();
    setup.reads("sum", &most).await;
    for edge in [&setup.hostile, &setup.honest] {
        eventually("all is committed", async || (edge.status().pending == 0).then_some(())).await;
    }
    setup.goes_on().await;
}

fn hello(hub: ReplicaId, name: &str) -> HubToOrigin {
    HubToOrigin::Hello {
        hub,
        name: name.to_owned(),
        now: now(),
        unstable: Vec::new(),
        capabilities: Default::default(),
    }
}

/// Where no daemon that is there has met the honest hub, and the impostor comes first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_comes_later_knows_whose_an_identity_is() {
    let mut setup = Setup::new().await;
    setup.kill_daemon().await;
    let arguments = ["--store", &setup.redis.url()];
    setup.daemon = Daemon::start(&setup.hostile.url(), arguments, &setup.log());
    setup.say(hello(ReplicaId::from_entropy(HONEST), "test/hostile")).await;
    let counted = r#"headwater_hub_refusals_total{cause="identity"}"#;
    eventually("it is refused", async || setup.daemon.get("/metrics").await?.1.contains(counted).then_some(())).await;
    setup.logs("of the hub test/honest at ").await;

    // Redis forgets it, and a daemon that has met the honest hub does not.
    setup.kill_daemon().await;
    let arguments = ["--store", &setup.redis.url(), "--edge", &setup.hostile.url()];
    setup.daemon = Daemon::start(&setup.honest.url(), arguments, &setup.log());
    setup.honest.execute(&["INCR", "hits"]).unwrap();
    setup.reads("hits", "2").await;
    let plain = Plain::connect(&setup.redis).await;
    plain.ask::<()>(&["DEL", "hw:hubs:{hw:daemons}"]).await;
    setup.say(hello(ReplicaId::from_entropy(HONEST), "test/hostile")).await;
    eventually("it is refused", async || setup.daemon.get("/metrics").await?.1.contains(counted).then_some(())).await;
    let owner: String =
        plain.ask(&["HGET", "hw:hubs:{hw:daemons}", &ReplicaId::from_entropy(HONEST).to_string()]).await;
    assert_eq!(owner, format!("{} test/honest", setup.honest.url()), "noted anew");
}

/// The same hub at another address is refused, until the operator says that its edge has moved; then the old address is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_that_moves_is_served_once_the_operator_says_so() {
    let mut setup = Setup::new().await;
    setup.kill_daemon().await;
    let moved = Edge::with_identity("test/honest", HONEST).await;
    let (redis, old, new) = (setup.redis.url(), setup.honest.url(), moved.url());
    let arguments = ["--store", &redis, "--edge", &setup.hostile.url()];
    setup.daemon = Daemon::start(&new, arguments, &setup.log());
    // Its number there would be its first again: in a slot of its own.
    moved.execute(&["INCR", "moved"]).unwrap();
    setup.logs("`origin-sync move-edge FROM TO`").await;
    let plain = Plain::connect(&setup.redis).await;
    assert_eq!(plain.ask::<Option<String>>(&["GET", "moved"]).await, None);

    let refused = setup.daemon.run(&["move-edge", "nowhere", &new]).await.unwrap_err();
    assert!(refused.contains("\"nowhere\" is no URL of an edge"), "{refused}");
    let nobody = setup.daemon.run(&["move-edge", "https://edge.example", &new]).await.unwrap();
    assert!(nobody.contains("moved            0"), "{nobody}");
    let told = setup.daemon.run(&["move-edge", &old, &new]).await.unwrap();
    assert!(told.contains("moved            1"), "{told}");
    setup.reads("moved", "1").await;

    setup.kill_daemon().await;
    setup.daemon = Daemon::start(&old, ["--store", &redis], &setup.log());
    let counted = r#"headwater_hub_refusals_total{cause="identity"}"#;
    eventually("the old address is refused", async || {
        setup.daemon.get("/metrics").await?.1.contains(counted).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_that_claims_anothers_identity_is_refused() {
    let setup = Setup::new().await;
    // With the hello goes what would have the honest hub's operations taken for committed.
    let committed = HubToOrigin::Delta(vec![SlotDelta {
        slot: Key::new("hits").unwrap().slot(),
        history: None,
        from: No(0),
        to: No(1000),
        keys: Vec::new(),
    }]);
    setup.say_all(&[hello(ReplicaId::from_entropy(HONEST), "test/hostile"), committed]).await;
    setup.is_refused(r#"headwater_hub_refusals_total{cause="identity"}"#, "claims the identity").await;
    eventually("the hub is dialled again", async || (setup.hostile.accepted() > 1).then_some(())).await;
    setup.say(hello(ReplicaId::from_entropy(5 << 32), "test/honest")).await;
    setup.logs("calls itself \"test/honest\"").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_bears_another_token_is_refused() {
    let setup = Setup::new().await;
    for path in ["/command", "/inspect", "/resolve", "/erase", "/move-edge", "/drain"] {
        assert_eq!(setup.daemon.post(path, "another", "k").await.unwrap().0, 401, "{path}");
    }
    setup.is_refused(r#"headwater_page_refusals_total{cause="token"}"#, "does not bear the origin's token").await;
    assert_eq!(setup.daemon.post("/inspect", TOKEN, "hits").await.unwrap().0, 200);
}

/// An edge that does not know this daemon's token serves it nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_that_refuses_the_daemon_is_told_of() {
    let honest = Edge::with_identity("test/honest", HONEST).await;
    let hostile = Edge::with_hub("test/hostile").await;
    hostile.refuse_tokens();
    let (redis, directory) = (RedisServer::start().await, tempfile::tempdir().unwrap());
    let log = directory.path().join("log");
    let daemon = Daemon::start(&honest.url(), ["--store", &redis.url(), "--edge", &hostile.url()], &log);
    honest.execute(&["INCR", "hits"]).unwrap();
    let setup = Setup { redis, honest, hostile, daemon, directory };
    setup.reads("hits", "1").await;
    let counted = r#"headwater_directory_polls_total{result="failed"}"#;
    setup.is_refused(counted, "the edge answered 401").await;
    assert_eq!(setup.hostile.accepted(), 0);
}
