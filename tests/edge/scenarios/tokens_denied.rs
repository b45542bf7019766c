//! Denied tokens: refused at every edge until they expire.

use super::*;

fn in_seconds(seconds: i64) -> i64 {
    now().0 / 1000 + seconds
}

#[tokio::test]
async fn a_token_is_denied_at_every_edge_until_it_expires() {
    let setup = TwoRegions::new().await;
    let [one, two] = setup.http();
    for http in [&one, &two] {
        assert_eq!(ok(http, "tokens/check", json!({"jti": "a"})).await, json!({"denied": false}));
    }
    let exp = in_seconds(600);
    assert_eq!(ok(&one, "tokens/deny", json!({"jti": "a", "exp": exp})).await, json!({"denied": true, "until": exp}));
    assert_eq!(ok(&one, "tokens/check", json!({"jti": "a"})).await, json!({"denied": true}));
    until(&two, "tokens/check", json!({"jti": "a"}), |answer| answer.json()["denied"] == json!(true)).await;
    ok(&two, "tokens/deny", json!({"jti": "b", "exp": in_seconds(600), "list": "denied"})).await;
    let both = ok(&two, "tokens/check", json!({"jtis": ["b", "a", "c"]})).await;
    assert_eq!(both, json!({"denied": {"a": true, "b": true, "c": false}}));
    let stored: BTreeMap<String, i64> = setup.plain("HGETALL denied").await;
    assert!(stored.keys().any(|jti| jti == "a"), "{stored:?}");
    let exp = in_seconds(4);
    ok(&one, "tokens/deny", json!({"jti": "short", "exp": exp})).await;
    until(&two, "tokens/check", json!({"jti": "short"}), |answer| {
        answer.json()["denied"] == json!(true) || now().0 / 1000 >= exp
    })
    .await;
    for http in [&one, &two] {
        until(http, "tokens/check", json!({"jti": "short"}), |answer| answer.json()["denied"] == json!(false)).await;
        assert!(now().0 / 1000 >= exp, "no sooner");
        assert_eq!(ok(http, "tokens/check", json!({"jti": "a"})).await, json!({"denied": true}));
    }
}

#[tokio::test]
async fn an_edge_that_cannot_know_says_so_and_bad_calls_name_the_field() {
    let region = alone().await;
    let http = region.http();
    assert_eq!(ask(&http, "tokens/check", json!({"jti": "a"})).await.refusal(503), AWAY);
    let past = in_seconds(-5);
    assert_eq!(
        ok(&http, "tokens/deny", json!({"jti": "a", "exp": past})).await,
        json!({"denied": true, "until": past})
    );
    for (verb, body, error) in [
        ("deny", json!({"exp": 5}), "jti is missing"),
        ("deny", json!({"jti": "a"}), "exp is missing"),
        (
            "deny",
            json!({"jti": "a", "exp": in_seconds(0) * 1000}),
            "exp is in seconds since 1970, and lies more than ten years ahead",
        ),
        ("deny", json!({"jti": "a", "exp": 1.5}), "exp must be an integer between 0 and 9223372036854775807"),
        ("check", json!({}), "jti is missing"),
        ("check", json!({"jti": "a", "jtis": ["b"]}), "jtis and jti exclude each other"),
        ("check", json!({"jtis": []}), "jtis must be a list of 1 to 256 strings of 1 to 512 bytes"),
        ("check", json!({"jti": "a", "list": ""}), "list must have 1 to 1024 bytes"),
    ] {
        let refused = ask(&http, &format!("tokens/{verb}"), body.clone()).await.refusal(400);
        assert_eq!(refused, format!("ERR Headwater: {error}"), "{verb} {body}");
    }
    http.run("SET list text").await.unwrap();
    let refused =
        ask(&http, "tokens/deny", json!({"jti": "a", "exp": in_seconds(9), "list": "list"})).await.refusal(409);
    assert!(refused.starts_with("WRONGTYPE"), "{refused}");
}
