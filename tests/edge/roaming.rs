//! A leaf that roams: what it sent to one hub is settled there, through the hub where it is now.

use std::collections::BTreeMap;

use headwater::id::Seq;
use headwater_tests::harness::free_port;
use serde_json::json;

use super::region::Region;
use super::socket::{Leaf, batch, increment};

/// Two regions that know each other.
async fn two() -> (Region, Region) {
    let (eu, us) = (free_port().unwrap(), free_port().unwrap());
    let peers = |region: &str, port: u16| BTreeMap::from([(region.to_owned(), format!("http://127.0.0.1:{port}"))]);
    (Region::named("eu", eu, peers("us", us)).await, Region::named("us", us, peers("eu", eu)).await)
}

#[tokio::test]
async fn a_session_of_another_region_is_settled_there_once() {
    let (eu, us) = two().await;
    let mut at_eu = Leaf::hello(&eu, 1, None).await;
    let first = at_eu.increment("n", 1, 2).await;
    let session = at_eu.session;
    let mut at_us = Leaf::hello(&us, 1, Some(session)).await;
    assert_ne!(at_us.session.hub, session.hub);
    // What it never got an answer for, and one more.
    let relayed = at_us.operate(session, 1, vec![increment("n"); 3]).await;
    assert_eq!(relayed.through, Seq(3));
    assert_eq!(relayed.accepted[..2], first.accepted);
    assert_eq!(eu.http().run("GET n").await, Ok(json!("3")));
    assert!(us.http().run("GET n").await.is_err());
    let new = at_us.increment("n", 1, 1).await;
    assert_eq!(new.through, Seq(1));
    assert_eq!(us.http().run("GET n").await, Ok(json!("1")));
}

#[tokio::test]
async fn while_the_other_region_is_away_nothing_is_answered_and_nothing_lost() {
    let (mut eu, us) = two().await;
    let session = Leaf::hello(&eu, 1, None).await.session;
    let mut at_us = Leaf::hello(&us, 1, None).await;
    eu.edge.kill();
    at_us.socket.send(&batch(session, 1, vec![increment("n")])).await;
    // The next thing that the leaf is told is the verdict on its own session.
    assert_eq!(at_us.increment("n", 1, 1).await.through, Seq(1));
    eu.edge.restart().await.unwrap();
    assert_eq!(at_us.operate(session, 1, vec![increment("n")]).await.through, Seq(1));
    assert_eq!(eu.http().run("GET n").await, Ok(json!("1")));
}
