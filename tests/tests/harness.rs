//! The harness keeps what its page promises, shown on a real Redis.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use headwater_tests::harness::{Redis, RedisConfig, free_port};

/// Names a directory for the process that [`a_server_dies_with_a_killed_parent`] starts and kills.
const VICTIM: &str = "HEADWATER_HARNESS_VICTIM";

fn fresh_dir(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("headwater-harness-{}-{name}", std::process::id()));
    if dir.exists() {
        std::fs::remove_dir_all(&dir).expect("an old directory goes");
    }
    dir
}

fn config(dir: PathBuf) -> RedisConfig {
    RedisConfig { dir, port: free_port().expect("a free port"), append_only: true }
}

/// Sends one inline command and returns the first line of the answer.
fn command(url: &str, line: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(url.trim_start_matches("redis://"))?;
    stream.write_all(format!("{line}\r\nQUIT\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_redis_restarts_over_its_data_on_the_same_port() {
    let dir = fresh_dir("restart");
    let mut redis = Redis::start(config(dir.clone())).await.expect("starts");
    let url = redis.url();
    // Otherwise the kill might come before the write reaches the file. (Redis 7.0 has no WAITAOF.)
    assert_eq!(command(&url, "CONFIG SET appendfsync always").expect("obeys"), "+OK");
    assert_eq!(command(&url, "SET colour green").expect("writes"), "+OK");
    redis.kill();
    command(&url, "PING").expect_err("nobody listens");
    redis.restart().await.expect("starts again");
    assert_eq!(redis.url(), url);
    assert_eq!(command(&url, "STRLEN colour").expect("reads"), ":5");
    drop(redis);
    command(&url, "PING").expect_err("nobody listens");
    std::fs::remove_dir_all(dir).expect("the directory goes");
}

#[tokio::test]
async fn a_port_that_is_taken_is_an_error_that_quotes_the_log() {
    let (one, two) = (fresh_dir("taken-one"), fresh_dir("taken-two"));
    let first = config(one.clone());
    let _first = Redis::start(first.clone()).await.expect("starts");
    let second = Redis::start(RedisConfig { dir: two.clone(), ..first }).await;
    let error = second.err().expect("the port is taken").to_string();
    assert!(error.contains("Address already in use"), "{error}");
    for dir in [one, two] {
        std::fs::remove_dir_all(dir).expect("the directory goes");
    }
}

/// Not a test by itself: the parent below starts this process, and kills it once it has said where its Redis listens.
#[tokio::test]
async fn victim() {
    let Some(dir) = std::env::var_os(VICTIM) else { return };
    let redis = Redis::start(config(dir.into())).await.expect("starts");
    println!("\nlistening {}", redis.url());
    std::future::pending::<()>().await;
}

#[cfg(target_os = "linux")]
#[test]
fn a_server_dies_with_a_killed_parent() {
    let dir = fresh_dir("victim");
    let mut parent = Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", "victim", "--nocapture"])
        .env(VICTIM, &dir)
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let output = BufReader::new(parent.stdout.take().expect("piped"));
    let url = output
        .lines()
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("listening ").map(str::to_owned))
        .expect("it says where");
    assert_eq!(command(&url, "PING").expect("answers"), "+PONG");

    parent.kill().expect("it runs");
    parent.wait().expect("it ends");
    let deadline = Instant::now() + Duration::from_secs(60);
    while command(&url, "PING").is_ok() {
        assert!(Instant::now() < deadline, "Redis outlived its parent");
        std::thread::yield_now();
    }
    std::fs::remove_dir_all(dir).expect("the directory goes");
}
