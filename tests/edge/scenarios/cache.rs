//! Caches: one filler, what is stale meanwhile, and what is forgotten.

use super::*;

fn state(answer: &Value) -> &str {
    answer["state"].as_str().unwrap()
}

#[tokio::test]
async fn of_many_who_find_nothing_one_fills_and_the_others_get_what_it_stored() {
    let setup = TwoRegions::new().await;
    let [one, two] = setup.http();
    let look = || ok(&one, "cache/get", json!({"key": "page:1", "wait_ms": 10_000, "lease_ms": 120_000}));
    let fillers = async {
        let found = futures_util::future::join_all((0..20).map(|_| look())).await;
        assert!(
            found.iter().filter(|answer| state(answer) == "fresh").all(|answer| answer["value"] == json!("<html>"))
        );
        found.into_iter().filter(|answer| state(answer) == "missing").count()
    };
    let fill = async {
        // Here another call stands for whoever won, whose token is read where it is kept.
        let deadline = Instant::now() + DEADLINE;
        let filler = loop {
            match one.run("HGET page:1 filler").await.unwrap() {
                Value::Null => assert!(Instant::now() < deadline, "somebody is to fill"),
                filler => break filler,
            }
            sleep(Duration::from_millis(5)).await;
        };
        let body = json!({"key": "page:1", "value": "<html>", "fresh_ms": 60_000, "fill": filler});
        assert_eq!(ok(&one, "cache/put", body).await, json!({"stored": true}));
    };
    let (fillers, ()) = join!(fillers, fill);
    assert_eq!(fillers, 1, "one filler");
    let answer = until(&two, "cache/get", json!({"key": "page:1", "wait_ms": 0}), |answer| {
        answer.json()["state"] == json!("fresh")
    })
    .await;
    assert_eq!(answer.json()["value"], json!("<html>"));
    let stored: BTreeMap<String, String> = setup.plain("HGETALL page:1").await;
    assert_eq!(stored["value"], "<html>");
    let ttl: i64 = setup.plain("PTTL page:1").await;
    assert!((1..=60_000).contains(&ttl), "{ttl}");
}

#[tokio::test]
async fn what_is_stale_is_served_while_one_computes_it_anew() {
    let region = alone().await;
    let http = region.http();
    let put = json!({"key": "k", "value": "old", "fresh_ms": 1, "stale_ms": 60_000});
    ok(&http, "cache/put", put).await;
    sleep(Duration::from_millis(5)).await;
    let first = ok(&http, "cache/get", json!({"key": "k", "lease_ms": 120_000})).await;
    assert_eq!((state(&first), &first["value"]), ("stale", &json!("old")));
    let fill = first["fill"].as_str().expect("the first is to fill");
    for _ in 0..5 {
        let other = ok(&http, "cache/get", json!({"key": "k"})).await;
        assert_eq!((state(&other), &other["value"], &other["fill"]), ("stale", &json!("old"), &Value::Null));
    }
    let put = json!({"key": "k", "value": "new", "fresh_ms": 60_000, "fill": fill});
    ok(&http, "cache/put", put.clone()).await;
    let fresh = ok(&http, "cache/get", json!({"key": "k"})).await;
    assert_eq!((state(&fresh), &fresh["value"]), ("fresh", &json!("new")));
    let again = ask(&http, "cache/put", put).await;
    assert_eq!((again.status.as_u16(), &again.json()["stored"]), (409, &json!(false)));
}

#[tokio::test]
async fn a_filler_that_dies_is_replaced_once_its_lease_has_ended_and_stores_nothing_late() {
    let region = alone().await;
    let http = region.http();
    let first = ok(&http, "cache/get", json!({"key": "k", "lease_ms": 5_000})).await;
    assert_eq!(state(&first), "missing");
    let waiting = ask(&http, "cache/get", json!({"key": "k", "wait_ms": 50, "lease_ms": 5_000})).await;
    assert_eq!((waiting.status.as_u16(), state(&waiting.json())), (202, "filling"));
    let second = ok(&http, "cache/get", json!({"key": "k", "wait_ms": 10_000, "lease_ms": 60_000})).await;
    assert_eq!(state(&second), "missing", "the next filler");
    let late = json!({"key": "k", "value": "late", "fresh_ms": 60_000, "fill": first["fill"]});
    assert_eq!(ask(&http, "cache/put", late).await.status.as_u16(), 409);
    let timely = json!({"key": "k", "value": "timely", "fresh_ms": 60_000, "fill": second["fill"]});
    ok(&http, "cache/put", timely).await;
    assert_eq!(ok(&http, "cache/get", json!({"key": "k"})).await["value"], json!("timely"));
}

#[tokio::test]
async fn what_is_forgotten_while_it_is_computed_stays_forgotten() {
    let region = alone().await;
    let http = region.http();
    let first = ok(&http, "cache/get", json!({"key": "k", "lease_ms": 120_000})).await;
    assert_eq!(ok(&http, "cache/forget", json!({"key": "k"})).await, json!({"forgotten": true}));
    let put = json!({"key": "k", "value": "before", "fresh_ms": 60_000, "fill": first["fill"]});
    assert_eq!(ask(&http, "cache/put", put).await.status.as_u16(), 409);
    assert_eq!(state(&ok(&http, "cache/get", json!({"key": "k"})).await), "missing");
}

#[tokio::test]
async fn bad_calls_name_the_field() {
    let region = alone().await;
    let http = region.http();
    for (verb, body, error) in [
        ("get", json!({}), "key is missing"),
        ("get", json!({"key": "k", "wait_ms": 10_001}), "wait_ms must be an integer between 0 and 10000"),
        ("get", json!({"key": "k", "lease_ms": 0}), "lease_ms must be an integer between 1 and 300000"),
        ("put", json!({"key": "k", "fresh_ms": 5}), "value is missing"),
        ("put", json!({"key": "k", "value": {"a": 1}, "fresh_ms": 5}), "value must be a string"),
        ("put", json!({"key": "k", "value": "v"}), "fresh_ms is missing"),
        (
            "put",
            json!({"key": "k", "value": "v".repeat(1 << 20 | 1), "fresh_ms": 5}),
            "value must have at most 1048576 bytes",
        ),
        ("forget", json!({"key": 5}), "key must be a string"),
    ] {
        let refused = ask(&http, &format!("cache/{verb}"), body).await.refusal(400);
        assert_eq!(refused, format!("ERR Headwater: {error}"), "{verb}");
    }
}
