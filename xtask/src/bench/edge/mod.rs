//! The area `edge`: the Worker in raw workerd, beside a bare Worker and object on the same workerd, and beside a bridge to
//! Redis. The load comes from the same machine, over connections that are kept.
//!
//! Contenders take turns, and of each the median of its turns counts.

mod bridge;
mod load;
mod soak;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use headwater_tests::harness::{
    Edge, EdgeConfig, Example, ExampleConfig, Redis, RedisConfig, Workerd, WorkerdConfig, free_port, text_literal,
};

use crate::build::{self, Artefact, Profile};
use crate::setup::{self, Part};
use crate::workspace::Workspace;

use super::Options;
use super::row::{Bar, Row, Unit};
use bridge::{Bridge, LIMIT};
use load::{Call, answer, per_second};

const TOKEN: &str = "bench";

const ORIGIN_TOKEN: &str = "bench of the origin";

/// Connections with a request under way, where there is more than one.
const CONNECTIONS: usize = 32;

/// Commands in a pipeline, less than the dialect allows.
const PIPELINE: usize = 1_000;

/// Decisions that the example makes in a request.
const DECISIONS: usize = 10_000;

/// Commands that an isolate may answer before its hub acknowledges one: more than is asked of it here.
const LEAF_OPERATIONS_MAX: (&str, &str) = ("HEADWATER_LEAF_OPERATIONS_MAX", "10000000");

/// How long an isolate may take to follow a key.
const FOLLOWED_WITHIN: Duration = Duration::from_secs(30);

pub(super) fn rows(workspace: &Workspace, options: &Options) -> Result<Vec<Row>> {
    const ARTEFACTS: &[Artefact] = &[Artefact::Edge, Artefact::Daemon];
    setup::ensure(workspace, build::parts(ARTEFACTS).into_iter().chain([Part::Redis]))?;
    build::run(workspace, ARTEFACTS, Profile::Release)?;
    build::example(workspace, Profile::Release, &build::FAST)?;
    build::worker(workspace, "bench/worker", "headwater-bench-worker", Profile::Release, &build::FAST)?;
    // One thread here leaves the others to what is measured.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let stage = Stage::start(workspace).await?;
        stage.rows(workspace, options).await
    })
}

/// All that takes part.
struct Stage {
    edge: Edge,
    example: Example,
    peers: Workerd,
    bridge: Bridge,
    redis: Redis,
}

/// How long and how often each contender is measured.
#[derive(Clone, Copy)]
struct Turns {
    duration: Duration,
    count: usize,
}

impl Turns {
    fn of(options: &Options) -> Self {
        if options.quick {
            Self { duration: Duration::from_millis(500), count: 1 }
        } else {
            Self { duration: Duration::from_secs(4), count: 5 }
        }
    }

    /// The median rate of each, in requests a second.
    async fn measure<const N: usize>(self, contenders: [&Call; N], connections: usize) -> Result<[f64; N]> {
        let mut rates = [(); N].map(|()| Vec::new());
        for _ in 0..self.count {
            for (call, rates) in contenders.iter().zip(&mut rates) {
                rates.push(per_second(call, connections, self.duration).await?);
            }
        }
        Ok(rates.map(|mut rates: Vec<f64>| {
            rates.sort_by(f64::total_cmp);
            rates[rates.len() / 2]
        }))
    }
}

impl Stage {
    async fn start(workspace: &Workspace) -> Result<Self> {
        let dir = workspace.scratch("bench-edge");
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        let layout = &workspace.layout;
        let variables = BTreeMap::from([LEAF_OPERATIONS_MAX].map(|(name, value)| (name.to_owned(), value.to_owned())));
        let edge = EdgeConfig {
            region: "eu".to_owned(),
            dir: dir.join("edge"),
            port: free_port()?,
            token: TOKEN.to_owned(),
            token_keys: BTreeMap::new(),
            origin_token: ORIGIN_TOKEN.to_owned(),
            peers: BTreeMap::new(),
            variables: variables.clone(),
        };
        let edge = Edge::start(layout, edge).await?;
        let example = ExampleConfig {
            dir: dir.join("example"),
            port: free_port()?,
            edge_port: free_port()?,
            token: TOKEN.to_owned(),
            variables,
        };
        let example = Example::start(layout, example).await?;
        let peers = Self::peers(workspace, &dir).await?;
        let redis =
            Redis::start(RedisConfig { dir: dir.join("redis"), port: free_port()?, append_only: false }).await?;
        let bridge = Bridge::start(&redis.url()).await?;
        Ok(Self { edge, example, peers, bridge, redis })
    }

    async fn peers(workspace: &Workspace, dir: &Path) -> Result<Workerd> {
        let folder = workspace.root.join("bench/worker");
        let objects = dir.join("peers/objects");
        fs::create_dir_all(&objects)?;
        let port = free_port()?;
        let configuration = fs::read_to_string(folder.join("config.capnp"))?
            .replace("{{OBJECTS}}", &text_literal(&std::path::absolute(objects)?.display().to_string()))
            .replace("{{PORT}}", &port.to_string());
        let config =
            WorkerdConfig { dir: dir.join("peers"), port, builds: vec![("", folder.join("build"))], configuration };
        Workerd::start(&workspace.layout, config).await
    }

    async fn rows(&self, workspace: &Workspace, options: &Options) -> Result<Vec<Row>> {
        let turns = Turns::of(options);
        self.edge_commands("/", "[\"SET\",\"n\",0]".to_owned(), false).send().await?;
        for line in [r#"["SET","l","v"]"#, r#"["DEL","l"]"#] {
            self.edge_commands("/", line.to_owned(), false).send().await?;
        }
        let check = format!(r#"{{"key":"l","algorithm":"fixed","limit":{LIMIT},"window_ms":86400000}}"#);
        let (incr, limit) = (r#"["INCR","n"]"#.to_owned(), ["\"HW.LIMIT\"", "\"l\"", "\"FIXED\""].join(","));
        let limit = format!(r#"[{limit},{LIMIT},86400000]"#);
        let pipeline = |command: &str| format!("[{}]", vec![command; PIPELINE].join(","));
        let at_leaf = |path, body| self.edge_commands(path, body, true);
        let at_hub = |path, body| self.edge_commands(path, body, false);
        for call in [at_leaf("/", incr.clone()), at_leaf("/v1/limit", check.clone())] {
            call.until_followed().await?;
        }
        self.begin_events().await?;
        let mut rows = Vec::new();
        let wanted = |name: &str| name.contains(&options.only);

        let name = "requests answered by the isolate: INCR";
        if wanted(name) {
            let [ours, empty] = turns.measure([&at_leaf("/", incr.clone()), &self.peer("/")], CONNECTIONS).await?;
            rows.push(self.against(name, ours, "an empty Worker in Rust", empty, Some(Bar::Ratio(0.9))));
        }
        let name = "requests answered by the isolate: POST /v1/limit";
        if wanted(name) {
            let ours = at_leaf("/v1/limit", check.clone());
            let [ours, empty] = turns.measure([&ours, &self.peer("/")], CONNECTIONS).await?;
            rows.push(self.against(name, ours, "an empty Worker in Rust", empty, Some(Bar::Ratio(0.9))));
        }
        let name = "requests answered by the hub: INCR";
        if wanted(name) {
            let [ours, row] = turns.measure([&at_hub("/", incr.clone()), &self.peer("/row")], CONNECTIONS).await?;
            rows.push(self.against(name, ours, "an object that writes a row a request", row, Some(Bar::Ratio(5.0))));
        }
        for (name, call) in [
            ("increments through one object, in pipelines", at_hub("/pipeline", pipeline(&incr))),
            ("increments through the isolate to one object, in pipelines", at_leaf("/pipeline", pipeline(&incr))),
        ] {
            if wanted(name) {
                let [pipelines] = turns.measure([&call], 4).await?;
                let row = Row::alone(name, pipelines * PIPELINE as f64, Unit::Rate).at(PIPELINE as u64, "commands");
                rows.push(row.judged(Some(Bar::AtLeast(50_000.0))));
            }
        }
        for (name, decisions, call, bar) in [
            ("a limit decision in the isolate, by the library", DECISIONS, self.events(), Some(Bar::Ratio(100.0))),
            ("a limit decision in the isolate, in pipelines", PIPELINE, at_leaf("/pipeline", pipeline(&limit)), None),
        ] {
            if wanted(name) {
                let [ours, bridge] = turns.measure([&call, &self.bridged()], 1).await?;
                let (ours, bridge) = (1e9 / (ours * decisions as f64), 1e9 / bridge);
                let row = Row::against(name, ours, "a call of a bridge from HTTP to Redis", bridge, Unit::Nanoseconds);
                rows.push(row.at(decisions as u64, "decisions").judged(bar));
            }
        }
        let name = "a limit decision in the isolate, a request each";
        if wanted(name) {
            let ours = at_leaf("/v1/limit", check);
            let [ours, bridge] = turns.measure([&ours, &self.bridged()], 1).await?;
            let peer = "a call of a bridge from HTTP to Redis";
            rows.push(Row::against(name, 1e9 / ours, peer, 1e9 / bridge, Unit::Nanoseconds));
        }
        let name = "soak: memory of the process";
        if wanted(name) {
            rows.extend(soak::rows(self, workspace, name, options.quick).await?);
        }
        Ok(rows)
    }

    /// Has the example's isolate follow the limit of the events. Its object holds the key from the first, so that it need not
    /// ask an origin.
    async fn begin_events(&self) -> Result<()> {
        let headers = vec![("authorization", format!("Bearer {TOKEN}"))];
        for line in [r#"["SET","events:user","v"]"#, r#"["DEL","events:user"]"#] {
            let address = self.example.edge_address();
            Call { address, path: "/", headers: headers.clone(), body: line.to_owned() }.send().await?;
        }
        let once = Call { body: "user".to_owned(), ..self.events() };
        for _ in 0..100 {
            once.send().await?;
        }
        Ok(())
    }

    fn against(&self, name: &str, ours: f64, peer_name: &str, peer: f64, bar: Option<Bar>) -> Row {
        Row::against(name, ours, peer_name, peer, Unit::Rate).at(CONNECTIONS as u64, "connections").judged(bar)
    }

    fn edge_commands(&self, path: &'static str, body: String, is_at_leaf: bool) -> Call {
        let mut headers = vec![("authorization", format!("Bearer {TOKEN}"))];
        if is_at_leaf {
            headers.push((DURABILITY, "leaf".to_owned()));
        }
        Call { address: self.edge.address(), path, headers, body }
    }

    fn peer(&self, path: &'static str) -> Call {
        Call { address: self.peers.address(), path, headers: Vec::new(), body: r#"["INCR","n"]"#.to_owned() }
    }

    /// As many events of one user, each of which the example's isolate decides on.
    fn events(&self) -> Call {
        let body = "user\n".repeat(DECISIONS);
        Call { address: self.example.address(), path: "/events", headers: Vec::new(), body }
    }

    fn bridged(&self) -> Call {
        Call { address: self.bridge.address.clone(), path: "/limit", headers: Vec::new(), body: "l".to_owned() }
    }
}

/// The header by which a call asks for the isolate, and by which the isolate says that it answered.
const DURABILITY: &str = "headwater-durability";

impl Call {
    async fn send(&self) -> Result<bool> {
        Ok(answer(self, DURABILITY).await?.0)
    }

    /// Returns when the isolate answers it.
    async fn until_followed(&self) -> Result<()> {
        let began = Instant::now();
        while !self.send().await? {
            ensure!(began.elapsed() < FOLLOWED_WITHIN, "the isolate does not answer {}", self.body);
        }
        Ok(())
    }
}
