//! Metrics: sums of all edges in buckets of time.

use super::*;

#[tokio::test]
async fn what_all_edges_counted_adds_up_in_its_bucket() {
    let setup = TwoRegions::new().await;
    let [one, two] = setup.http();
    let add = |by: i64| json!({"metric": "hits", "by": by, "bucket_ms": 86_400_000});
    let read = json!({"metric": "hits", "bucket_ms": 86_400_000});
    for http in [&one, &two] {
        for by in [1, 5, -2] {
            ok(http, "metrics/add", add(by)).await;
        }
    }
    let answer = until(&one, "metrics/read", read.clone(), |answer| answer.json()["total"] == json!(8)).await;
    let buckets = answer.json()["buckets"].as_array().unwrap().clone();
    let sum: i64 = buckets.iter().map(|bucket| bucket["value"].as_i64().unwrap()).sum();
    assert!(sum == 8 && buckets.iter().all(|bucket| bucket["at"].as_i64().unwrap() % 86_400_000 == 0), "{buckets:?}");
    let later = json!({"metric": "hits", "bucket_ms": 86_400_000, "from": now().0 + 86_400_000});
    assert_eq!(ok(&two, "metrics/read", later).await, json!({"total": 0, "buckets": []}));
    // This edge knew its own part before Redis did.
    let stored: BTreeMap<String, i64> = buckets
        .iter()
        .map(|bucket| (bucket["at"].as_i64().unwrap().to_string(), bucket["value"].as_i64().unwrap()))
        .collect();
    setup.until_plain("HGETALL metrics:hits:86400000", &stored).await;
    let refused = ask(&one, "metrics/add", json!({"metric": "hits", "by": 0.5})).await.refusal(400);
    assert_eq!(refused, "ERR Headwater: by must be an integer between -2147483648 and 2147483647");
}
