//! Sessions: they live at every edge, rotate, and end for all.

use super::*;

#[tokio::test]
async fn a_session_lives_at_every_edge_until_one_revokes_it_for_all() {
    let setup = TwoRegions::new().await;
    let [one, two] = setup.http();
    let session = created(&one, "ada").await;
    let read = ok(&one, "sessions/read", json!({"session": session})).await;
    assert_eq!((&read["active"], &read["subject"]), (&json!(true), &json!("ada")));
    assert_eq!(read["data"], json!({"role": "admin"}));
    until(&two, "sessions/read", json!({"session": session}), |answer| answer.status.is_success()).await;
    // Any client of the Redis reads it, and cannot take it over.
    let names: Vec<String> = setup.plain("KEYS session:*").await;
    let [name] = &names[..] else { panic!("{names:?}") };
    let stored: BTreeMap<String, String> = setup.plain(&format!("HGETALL {name}")).await;
    assert_eq!(stored["role"], "admin");
    let secret = session.as_str().unwrap().rsplit('.').next().unwrap();
    assert!(stored.values().all(|value| !value.contains(secret)), "{stored:?}");
    let ttl: i64 = setup.plain(&format!("PTTL {name}")).await;
    assert!((1..=600_000).contains(&ttl), "{ttl}");

    let revoked = ok(&two, "sessions/revoke", json!({"session": session})).await;
    assert_eq!((&revoked["revoked"], &revoked["was_active"]), (&json!(true), &json!(true)));
    assert_inactive(&ask(&two, "sessions/read", json!({"session": session})).await, "revoked");
    let answer = until(&one, "sessions/read", json!({"session": session}), |answer| !answer.status.is_success()).await;
    assert_inactive(&answer, "revoked");
    assert!(!setup.plain::<bool>(&format!("EXISTS {name}")).await);
    // Not even a plain client brings it back.
    setup.plain::<()>(&format!("HSET {name} role admin")).await;
    let deadline = Instant::now() + DEADLINE;
    while setup.plain::<bool>(&format!("EXISTS {name}")).await {
        assert!(Instant::now() < deadline, "the plain client's write is taken away");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn what_was_written_beside_a_revocation_is_dead() {
    let mut setup = TwoRegions::new().await;
    let [one, two] = setup.http();
    let session = created(&one, "ada").await;
    until(&two, "sessions/read", json!({"session": session}), |answer| answer.status.is_success()).await;
    setup.part().await;
    ok(&one, "sessions/revoke", json!({"session": session})).await;
    // The other edge has not heard of it: it goes on, and tells a new secret.
    ok(&two, "sessions/update", json!({"session": session, "set": {"role": "root"}, "unset": ["old"]})).await;
    let rotated = ok(&two, "sessions/rotate", json!({"session": session, "ttl_ms": 3_600_000})).await;
    let rotated = json!({"session": rotated["session"]});
    ok(&two, "sessions/read", rotated.clone()).await;
    setup.meet().await;
    let answer = until(&two, "sessions/read", rotated.clone(), |answer| !answer.status.is_success()).await;
    assert_inactive(&answer, "revoked");
    assert_inactive(&ask(&one, "sessions/read", rotated).await, "revoked");
    assert_eq!(setup.plain::<Vec<String>>("KEYS session:*").await, [""; 0]);
}

#[tokio::test]
async fn a_session_that_is_rotated_keeps_what_it_has_under_another_secret() {
    let region = alone().await;
    let http = region.http();
    let session = created(&http, "ada").await;
    let rotated = ok(&http, "sessions/rotate", json!({"session": session})).await["session"].clone();
    assert_ne!(session, rotated);
    assert_inactive(&ask(&http, "sessions/read", json!({"session": session})).await, "rotated");
    assert_inactive(&ask(&http, "sessions/update", json!({"session": session, "set": {"a": "b"}})).await, "rotated");
    assert_inactive(&ask(&http, "sessions/rotate", json!({"session": session})).await, "rotated");
    let read = ok(&http, "sessions/read", json!({"session": rotated})).await;
    assert_eq!(read["data"], json!({"role": "admin"}));
    ok(&http, "sessions/update", json!({"session": rotated, "set": {"cart": "7"}, "unset": ["role"]})).await;
    let read = ok(&http, "sessions/read", json!({"session": rotated})).await;
    assert_eq!(read["data"], json!({"cart": "7"}));
    // Whoever still has the first handle can end it.
    ok(&http, "sessions/revoke", json!({"session": session, "for_ms": 60_000})).await;
    assert_inactive(&ask(&http, "sessions/read", json!({"session": rotated})).await, "revoked");
    assert_inactive(&ask(&http, "sessions/rotate", json!({"session": rotated})).await, "revoked");
}

#[tokio::test]
async fn all_sessions_of_a_subject_end_at_once_and_new_ones_begin() {
    let region = alone().await;
    let http = region.http();
    let (first, second) = (created(&http, "ada").await, created(&http, "ada").await);
    know(&http, "session:{bob}").await;
    let other = created(&http, "bob").await;
    let revoked = ok(&http, "sessions/revoke-all", json!({"subject": "ada"})).await;
    assert_eq!(revoked, json!({"revoked": true, "generation": 1}));
    for session in [&first, &second] {
        assert_inactive(&ask(&http, "sessions/read", json!({"session": session})).await, "revoked");
    }
    ok(&http, "sessions/read", json!({"session": other})).await;
    let third = created(&http, "ada").await;
    ok(&http, "sessions/read", json!({"session": third})).await;
}

#[tokio::test]
async fn a_read_prolongs_what_has_lived_a_part_of_its_life_and_an_idle_session_ends() {
    let region = alone().await;
    let http = region.http();
    let body = json!({"subject": "ada", "ttl_ms": 15_000, "prefix": "s:"});
    know(&http, "s:{ada}").await;
    let session = ok(&http, "sessions/create", body).await;
    let ends = |answer: &Value| answer["expires_at"].as_i64().unwrap();
    let read = json!({"session": session["session"], "prefix": "s:"});
    let peek = json!({"session": session["session"], "prefix": "s:", "touch": false});
    sleep(Duration::from_millis(1_800)).await;
    assert_eq!(ends(&ok(&http, "sessions/read", peek.clone()).await), ends(&session), "a peek");
    assert!(ends(&ok(&http, "sessions/read", read.clone()).await) - ends(&session) >= 1_800, "a touch");
    let answer = until(&http, "sessions/read", peek, |answer| !answer.status.is_success()).await;
    assert_inactive(&answer, "unknown");
    // Under another prefix there is nothing.
    let elsewhere = json!({"session": session["session"], "prefix": "t:"});
    assert_eq!(ask(&http, "sessions/read", elsewhere).await.refusal(503), AWAY);
}

#[tokio::test]
async fn bad_calls_are_refused_with_the_field_and_a_grant_is_asked_for_its_keys() {
    let region = alone().await;
    let http = region.http();
    let session = created(&http, "ada").await;
    for (verb, body, error) in [
        ("create", json!({"ttl_ms": 5}), "subject is missing"),
        ("create", json!({"subject": "", "ttl_ms": 5}), "subject must have 1 to 256 bytes"),
        ("create", json!({"subject": "a{b", "ttl_ms": 5}), "subject must have no braces"),
        ("create", json!({"subject": "ada"}), "ttl_ms is missing"),
        ("create", json!({"subject": "ada", "ttl_ms": 0}), "ttl_ms must be an integer between 1 and 34560000000"),
        ("create", json!({"subject": "ada", "ttl_ms": "5"}), "ttl_ms must be an integer between 1 and 34560000000"),
        (
            "create",
            json!({"subject": "ada", "ttl_ms": 5, "data": {"n": 5}}),
            "data must be an object of at most 128 strings",
        ),
        (
            "create",
            json!({"subject": "ada", "ttl_ms": 5, "data": {"_secret": "x"}}),
            "data names \"_secret\": what is empty or begins with _ is not the application's",
        ),
        (
            "create",
            json!({"subject": "ada", "ttl_ms": 5, "user": "x"}),
            "user is not known; a session to create has subject, ttl_ms, data, prefix",
        ),
        (
            "create",
            json!({"subject": "ada", "ttl_ms": 5, "prefix": "{"}),
            "prefix must have at most 128 bytes, and no braces",
        ),
        ("read", json!({}), "session is missing"),
        ("read", json!({"session": "made.up.handle"}), "session is none that was created here"),
        ("read", json!({"session": session, "touch": 1}), "touch must be true or false"),
        ("update", json!({"session": session}), "set or unset must name something"),
        (
            "update",
            json!({"session": session, "unset": ["_secret"]}),
            "unset names \"_secret\": what begins with _ is not the application's",
        ),
        ("revoke", json!({"session": session, "for_ms": -1}), "for_ms must be an integer between 1 and 34560000000"),
    ] {
        let refused = ask(&http, &format!("sessions/{verb}"), body.clone()).await.refusal(400);
        assert_eq!(refused, format!("ERR Headwater: {error}"), "{verb} {body}");
    }
    assert_eq!(http.post("/v1/sessions/read", "[]").await.refusal(400), "ERR Headwater: the body must be an object");
    assert!(http.post("/v1/sessions/read", "{").await.refusal(400).starts_with("ERR Headwater: the body is no JSON: "));
    assert_eq!(http.post("/v1/sessions/steal", "{}").await.status.as_u16(), 405);
    let stranger = region.stranger();
    assert_eq!(ask(&stranger, "sessions/read", json!({"session": session})).await.status.as_u16(), 401);
    let grants = json!([{"verbs": ["read", "write"], "keys": ["session:{bob}*"]}]);
    let bob = tokens::bearer_of(&region, &grants);
    assert_eq!(ask(&bob, "sessions/read", json!({"session": session})).await.status.as_u16(), 403);
    assert_eq!(ask(&bob, "sessions/revoke-all", json!({"subject": "ada"})).await.status.as_u16(), 403);
    ok(&bob, "sessions/revoke-all", json!({"subject": "bob"})).await;
    ok(&http, "sessions/read", json!({"session": session})).await;
}

#[tokio::test]
async fn with_the_origin_away_unknown_is_an_error_and_a_revocation_holds() {
    let mut setup = TwoRegions::new().await;
    let [one, two] = setup.http();
    let session = created(&one, "ada").await;
    let names = async || setup.plain::<Vec<String>>("KEYS session:*").await;
    let deadline = Instant::now() + DEADLINE;
    while names().await.is_empty() {
        assert!(Instant::now() < deadline, "the session arrives in Redis");
        sleep(Duration::from_millis(10)).await;
    }
    setup.part().await;
    assert_eq!(ask(&two, "sessions/read", json!({"session": session})).await.refusal(503), AWAY);
    assert_eq!(ask(&two, "sessions/create", json!({"subject": "ada", "ttl_ms": 1000})).await.refusal(503), AWAY);
    let revoked = ask(&two, "sessions/revoke", json!({"session": session})).await;
    assert!(revoked.is_provisional() && revoked.json()["revoked"] == json!(true), "{revoked:?}");
    ok(&one, "sessions/read", json!({"session": session})).await;
    setup.meet().await;
    let answer = until(&one, "sessions/read", json!({"session": session}), |answer| !answer.status.is_success()).await;
    assert_inactive(&answer, "revoked");
}
