//! How many requests one hub answers. Measured, not judged: run by hand against a release build of the edge, with
//! `cargo test --release -p headwater-tests --test edge -- --ignored --nocapture throughput`.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::http::Http;
use super::region::Region;

const CLIENTS: usize = 32;
const DURATION: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn throughput_of_one_hub() {
    let region = Region::start().await;
    let http = region.http();
    for (name, path, body) in [
        ("a page that is not there", "/v1/nothing", None),
        ("PING", "/", Some(json!(["PING"]))),
        ("GET", "/", Some(json!(["GET", "n"]))),
        ("INCR of one key", "/", Some(json!(["INCR", "n"]))),
        ("a pipeline of 100 INCR", "/pipeline", Some(json!(vec![["INCR", "n"]; 100]))),
        ("a pipeline of 100 INCR of 100 keys", "/pipeline", Some((0..100).map(|key| json!(["INCR", key])).collect())),
    ] {
        http.run("INCR n").await.unwrap();
        measure(&http, name, path, body.as_ref()).await;
    }
    for many in 0..100 {
        let keys: Vec<Value> = (0..1000).map(|key| json!(["INCR", format!("{many}-{key}")])).collect();
        http.pipeline(json!(keys)).await;
    }
    measure(&http, "INCR of one key among 100000", "/", Some(&json!(["INCR", "n"]))).await;
}

async fn measure(http: &Http, name: &str, path: &'static str, body: Option<&Value>) {
    let (begin, body) = (Instant::now(), body.map(Value::to_string));
    let clients = (0..CLIENTS).map(|_| {
        let (http, body) = (http.clone(), body.clone());
        tokio::spawn(async move {
            let mut latencies = Vec::new();
            while begin.elapsed() < DURATION {
                let sent = Instant::now();
                match &body {
                    Some(body) => assert!(http.post(path, body.clone()).await.status.is_success()),
                    None => assert!(http.get(path).await.status.is_client_error()),
                }
                latencies.push(sent.elapsed());
            }
            latencies
        })
    });
    let mut latencies = Vec::new();
    for client in clients.collect::<Vec<_>>() {
        latencies.extend(client.await.unwrap());
    }
    latencies.sort_unstable();
    let per_second = latencies.len() as f64 / begin.elapsed().as_secs_f64();
    let at = |percent: usize| latencies[latencies.len() * percent / 100].as_secs_f64() * 1000.0;
    println!("{name}: {per_second:.0} requests/s with {CLIENTS} clients, p50 {:.1} ms, p99 {:.1} ms", at(50), at(99));
}
