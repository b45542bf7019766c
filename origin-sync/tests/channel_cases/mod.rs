//! What every Redis tells of what is published.

use crate::support::bed::{Bed, Plain};
use headwater::{id::Key, limits::VALUE_BYTES_MAX, message::Published, topic::Topic};
use origin_sync::store::{Heard, Store};
use std::time::Duration;
use tokio::time::timeout;

fn plain(bed: &impl Bed) -> Plain {
    bed.plain().expect("a store with plain values")
}

async fn heard(bed: &impl Bed) -> Heard {
    timeout(Duration::from_secs(60), bed.store().heard()).await.expect("something is heard")
}

fn channel(name: &'static str) -> Topic {
    Topic::channel(name.into()).unwrap()
}

fn pattern(name: &'static str) -> Topic {
    Topic::pattern(name.into()).unwrap()
}

fn published(topic: &Topic, to: &'static str, payload: &'static str) -> Heard {
    Heard::Published(Published { topic: topic.clone(), channel: Key::new(to).unwrap(), payload: payload.into() })
}

async fn publish(bed: &impl Bed, channel: &str, payload: &str) {
    plain(bed).ask::<u64>(&["PUBLISH", channel, payload]).await;
}

pub async fn what_is_published_is_heard_from_then_on(bed: impl Bed) {
    let (news, all) = (channel("news"), pattern("n*s"));
    publish(&bed, "news", "before").await;
    for topic in [&news, &all] {
        bed.store().listen(topic).unwrap();
        assert_eq!(heard(&bed).await, Heard::Listening(topic.clone(), Ok(())));
    }
    publish(&bed, "news", "a,b\nc").await;
    assert_eq!(heard(&bed).await, published(&news, "news", "a,b\nc"));
    assert_eq!(heard(&bed).await, published(&all, "news", "a,b\nc"));
    bed.store().unlisten(&news);
    publish(&bed, "nets", "d").await;
    assert_eq!(heard(&bed).await, published(&all, "nets", "d"));
    // Once that is done, only the pattern hears.
    loop {
        publish(&bed, "news", "e").await;
        let first = heard(&bed).await;
        if first == published(&all, "news", "e") {
            break;
        }
        assert_eq!((first, heard(&bed).await), (published(&news, "news", "e"), published(&all, "news", "e")));
    }
}

pub async fn headwaters_own_channels_and_endless_messages_are_passed_over(bed: impl Bed) {
    // Not `*`: Sentinels say hello to each other by a channel of the Redis that they watch.
    let some = pattern("[hn]*");
    bed.store().listen(&some).unwrap();
    assert_eq!(heard(&bed).await, Heard::Listening(some.clone(), Ok(())));
    publish(&bed, "hw:changed", "1 2 3").await;
    publish(&bed, "news", &"x".repeat(VALUE_BYTES_MAX + 1)).await;
    publish(&bed, "news", "short").await;
    assert_eq!(heard(&bed).await, published(&some, "news", "short"));
}

pub async fn a_connection_that_breaks_is_made_anew_and_that_is_told(bed: impl Bed) {
    // A cluster's client kills at any of its nodes.
    let Plain::Single(_) = plain(&bed) else { return };
    let news = channel("news");
    bed.store().listen(&news).unwrap();
    assert_eq!(heard(&bed).await, Heard::Listening(news.clone(), Ok(())));
    plain(&bed).ask::<u64>(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
    assert_eq!(heard(&bed).await, Heard::Listening(news.clone(), Ok(())));
    publish(&bed, "news", "after").await;
    assert_eq!(heard(&bed).await, published(&news, "news", "after"));
}

/// More than is kept comes while nobody takes it out: the subscription ends, and another one works.
pub async fn what_nobody_takes_out_is_bounded(bed: impl Bed) {
    let Plain::Single(_) = plain(&bed) else { return };
    // Redis must not cut off a slow subscriber first, as it does where this process gets little of the machine.
    plain(&bed).ask::<()>(&["CONFIG", "SET", "client-output-buffer-limit", "pubsub 0 0 0"]).await;
    let news = channel("news");
    bed.store().listen(&news).unwrap();
    assert_eq!(heard(&bed).await, Heard::Listening(news.clone(), Ok(())));
    let large = "x".repeat(VALUE_BYTES_MAX);
    let mut messages = 0;
    while plain(&bed).ask::<u64>(&["PUBLISH", "news", &large]).await > 0 {
        messages += 1;
        assert!(messages < 1000, "Redis still has a subscriber");
    }
    let mut taken = 0;
    let why = loop {
        match heard(&bed).await {
            Heard::Published(_) => taken += 1,
            Heard::Listening(_, heard) => break heard.unwrap_err(),
        }
    };
    assert!(why.contains("more is published") && taken <= 16, "{why}: {taken}");
    bed.store().listen(&news).unwrap();
    assert_eq!(heard(&bed).await, Heard::Listening(news.clone(), Ok(())));
}
