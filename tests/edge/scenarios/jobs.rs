//! Jobs: taken in with the origin away, delivered once and in order, and counted on their way.

use super::*;

#[tokio::test]
async fn jobs_are_stored_while_the_origin_is_away_and_arrive_once_and_in_order() {
    let mut setup = TwoRegions::new().await;
    let one = setup.regions[0].http();
    let keyed = one.with("idempotency-key", "k");
    let mails = |jobs: &[&str]| json!({"list": "mails", "jobs": jobs});
    assert_eq!(ok(&one, "jobs/add", mails(&["a"])).await, json!({"state": "delivered", "length": 1}));
    let event = json!({"stream": "events", "fields": {"kind": "login"}, "length_max": 1000});
    let event = ok(&one, "jobs/add", event).await;
    assert_eq!(event["state"], json!("delivered"));
    assert!(event["id"].as_str().is_some_and(|id| id.contains('-')), "{event}");

    setup.part().await;
    for jobs in [&["b", "c"][..], &["d"]] {
        let answer = ask(if jobs.len() == 1 { &keyed } else { &one }, "jobs/add", mails(jobs)).await;
        assert_eq!((answer.status.as_u16(), answer.json()), (202, json!({"state": "stored"})));
        assert!(answer.is_provisional());
    }
    let again = ask(&keyed, "jobs/add", mails(&["d"])).await;
    assert_eq!((again.status.as_u16(), again.json()), (202, json!({"state": "stored"})), "not a second time");
    let state = ok(&one, "jobs/state", json!({"list": "mails"})).await;
    assert_eq!((&state["stored"], &state["origin_connected"]), (&json!(2), &json!(false)));
    // What was stored outlives the object.
    setup.regions[0].kill_and_restart().await;
    let state = ok(&one, "jobs/state", json!({"list": "mails"})).await;
    assert!(state["stored"].as_u64() >= Some(2), "{state}");
    let elsewhere = ok(&setup.regions[1].http(), "jobs/state", json!({"list": "mails"})).await;
    assert_eq!(elsewhere["stored"], json!(0));

    setup.meet().await;
    let answer =
        until(&one, "jobs/state", json!({"list": "mails"}), |answer| answer.json()["stored"] == json!(0)).await;
    assert_eq!(answer.json()["origin_connected"], json!(true));
    assert_eq!(setup.plain::<Vec<String>>("LRANGE mails 0 -1").await, ["a", "b", "c", "d"]);
    // And once Redis cannot lose them any more nothing is kept.
    let kept_none = json!({"stored": 0, "unstable": 0, "origin_connected": true});
    until(&one, "jobs/state", json!({"list": "mails"}), |answer| answer.json() == kept_none).await;
}

#[tokio::test]
async fn what_cannot_be_delivered_is_told_and_bad_calls_name_the_field() {
    let setup = TwoRegions::new().await;
    let http = setup.regions[0].http();
    setup.plain::<()>("SET text x").await;
    let refused = ask(&http, "jobs/add", json!({"list": "text", "jobs": ["a"]})).await.refusal(409);
    assert!(refused.starts_with("WRONGTYPE"), "{refused}");
    for (verb, body, error) in [
        ("add", json!({"jobs": ["a"]}), "list or stream must say where the job goes"),
        ("add", json!({"list": "a", "stream": "b", "jobs": ["a"]}), "list and stream exclude each other"),
        ("add", json!({"list": "a", "jobs": []}), "jobs must be a list of 1 to 1000 strings of 1 to 1048576 bytes"),
        ("add", json!({"list": "a", "fields": {}}), "fields is not known; jobs for a list has list, jobs"),
        ("add", json!({"stream": "a", "fields": {}}), "fields must be an object with at least one string"),
        ("add", json!({"stream": "a", "fields": {"n": 5}}), "fields must be an object of at most 1000 strings"),
        ("state", json!({}), "list or stream must say where the job goes"),
    ] {
        let refused = ask(&http, &format!("jobs/{verb}"), body).await.refusal(400);
        assert_eq!(refused, format!("ERR Headwater: {error}"), "{verb}");
    }
    let reserved = ask(&http, "jobs/add", json!({"list": "hw:m:{0}", "jobs": ["a"]})).await.refusal(400);
    assert!(reserved.contains("list is wrong"), "{reserved}");
    let grants = json!([{"verbs": ["read", "write"], "keys": ["*"]}]);
    let other = tokens::bearer_of(&setup.regions[0], &grants);
    assert_eq!(ask(&other, "jobs/add", json!({"list": "a", "jobs": ["a"]})).await.status.as_u16(), 403);
    let grants = json!([{"verbs": ["rpush"], "keys": ["a"]}]);
    let worker = tokens::bearer_of(&setup.regions[0], &grants);
    ok(&worker, "jobs/add", json!({"list": "a", "jobs": ["a"]})).await;
    assert_eq!(ask(&worker, "jobs/add", json!({"list": "b", "jobs": ["a"]})).await.status.as_u16(), 403);
}
