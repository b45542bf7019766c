//! A Worker of one's own that uses the edge's as a library: `edge/example`.

use std::collections::BTreeMap;
use std::time::Duration;

use headwater_tests::harness::{Example, ExampleConfig, Layout, free_port};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::http::{Answer, Http};
use super::region::TOKEN;

/// How long a condition may take to come about.
const DEADLINE: Duration = Duration::from_secs(60);

struct Stage {
    example: Example,
    dir: TempDir,
}

impl Stage {
    async fn start() -> Self {
        Self::with(BTreeMap::new()).await
    }

    async fn with(variables: BTreeMap<String, String>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (port, edge_port) = (free_port().unwrap(), free_port().unwrap());
        let config = ExampleConfig { dir: dir.path().into(), port, edge_port, token: TOKEN.into(), variables };
        let example = Example::start(&Layout::of_workspace(), config).await.unwrap();
        Self { example, dir }
    }

    /// A visitor from this address.
    fn visitor(&self, address: &str) -> Http {
        Http::new(&self.example.url()).with("cf-connecting-ip", address)
    }

    fn edge(&self) -> Http {
        let edge = Http::new(&format!("http://{}", self.example.edge_address()));
        edge.with("authorization", &format!("Bearer {TOKEN}"))
    }

    /// Has the object hold the key, as if there were an origin that had nothing of it.
    async fn hold(&self, key: &str) {
        let edge = self.edge();
        for line in [format!("SET {key} v"), format!("DEL {key}")] {
            edge.run(&line).await.unwrap();
        }
    }
}

fn text(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.body).into_owned()
}

#[tokio::test]
async fn visitors_are_limited_each_for_itself_and_are_told() {
    let stage = Stage::start().await;
    let [one, other] = ["192.0.2.1", "192.0.2.2"];
    stage.hold(&format!("pages:{one}")).await;
    stage.hold(&format!("pages:{other}")).await;
    let visitor = stage.visitor(one);
    for left in (0..5).rev() {
        let answer = visitor.get("/exact").await;
        assert_eq!((answer.status.as_u16(), text(&answer)), (200, format!("welcome, {left} left\n")));
        assert_eq!(answer.header("ratelimit-policy"), Some("\"limit\";q=5;w=60"));
        assert!(answer.header("ratelimit").is_some_and(|told| told.starts_with(&format!("\"limit\";r={left};t="))));
        assert_eq!(answer.header("retry-after"), None);
    }
    is_refused(&visitor.get("/exact").await);
    assert_eq!(stage.visitor(other).get("/exact").await.status.as_u16(), 200);
}

fn is_refused(answer: &Answer) {
    assert_eq!(answer.status.as_u16(), 429, "{answer:?}");
    // A spend counts for the window and for up to a slot longer.
    let wait: Option<u64> = answer.header("retry-after").map(|seconds| seconds.parse().unwrap());
    assert!(wait.is_some_and(|seconds| (1..=61).contains(&seconds)), "{answer:?}");
}

#[tokio::test]
async fn an_isolate_limits_by_what_it_and_the_object_know() {
    let stage = Stage::start().await;
    stage.hold("pages:192.0.2.7").await;
    let visitor = stage.visitor("192.0.2.7");
    let mut welcome = 0;
    let refused = loop {
        let answer = visitor.get("/").await;
        if answer.status.as_u16() != 200 {
            break answer;
        }
        welcome += 1;
    };
    is_refused(&refused);
    // The first are decided by the object, which has not yet heard of what the isolate decides meanwhile.
    assert!((5..=10).contains(&welcome), "{welcome}");
}

#[tokio::test]
async fn what_the_isolate_counted_reaches_the_object() {
    let stage = Stage::start().await;
    stage.hold("pages:192.0.2.3").await;
    let visitor = stage.visitor("192.0.2.3");
    for _ in 0..3 {
        assert_eq!(visitor.get("/").await.status.as_u16(), 200);
    }
    let edge = stage.edge();
    let deadline = Instant::now() + DEADLINE;
    loop {
        let told = edge.run("HW.LIMIT pages:192.0.2.3 SLIDING 5 60000 COST 0 PEEK").await.unwrap();
        if told[1] == 2 {
            break;
        }
        assert!(Instant::now() < deadline, "{told}");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_limit_that_cannot_be_decided_is_no_limit_that_is_used_up() {
    let stage = Stage::start().await;
    // Nobody knows the key, and there is no origin to ask.
    let answer = stage.visitor("192.0.2.4").get("/").await;
    assert_eq!(answer.status.as_u16(), 503, "{answer:?}");
    assert!(text(&answer).contains("the origin is away and this edge does not hold the key"), "{answer:?}");
    assert_eq!(answer.header("ratelimit"), None);
}

#[tokio::test]
async fn many_decisions_are_made_in_one_request() {
    let stage = Stage::start().await;
    stage.hold("events:ada").await;
    stage.hold("events:bob").await;
    let visitor = stage.visitor("192.0.2.5");
    let deadline = Instant::now() + DEADLINE;
    let lines = ["ada\n", "bob\n"].concat().repeat(5_000);
    loop {
        let answer = visitor.post("/events", lines.clone()).await;
        // More than an isolate keeps for its object without word of it are refused, until it has heard of what it keeps.
        if text(&answer) == "10000 taken, 0 refused\n" {
            break;
        }
        assert!(Instant::now() < deadline, "{answer:?}");
    }
}

#[tokio::test]
async fn a_variable_that_is_wrong_is_named() {
    let stage = Stage::with(BTreeMap::from([("HEADWATER_SHARDS".into(), "none".into())])).await;
    let answer = stage.visitor("192.0.2.6").get("/").await;
    assert_eq!(answer.status.as_u16(), 500, "{answer:?}");
    let log = std::fs::read_to_string(stage.dir.path().join("workerd.log")).unwrap();
    assert!(log.contains("HEADWATER_SHARDS is \"none\"; it must be a number from 1 to 1024"), "{log}");
}
