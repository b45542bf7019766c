//! The scenarios' API, through workerd and the daemon to Redis: at two regions of one origin, beside a plain client, and with the
//! origin away.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::join;
use tokio::time::{Instant, sleep};

use super::http::{Answer, Http};
use super::region::Region;
use super::setup::TwoRegions;
use super::socket::now;
use super::tokens;

const AWAY: &str = "ERR Headwater: the origin is away and this edge does not hold the key";
const DEADLINE: Duration = Duration::from_secs(20);

impl TwoRegions {
    fn http(&self) -> [Http; 2] {
        [0, 1].map(|region: usize| self.regions[region].http())
    }

    /// The daemon goes, and both edges notice.
    async fn part(&mut self) {
        self.daemon.kill();
        for region in &self.regions {
            region.until("origin_connected", false).await;
        }
    }

    /// The daemon comes back.
    async fn meet(&mut self) {
        self.daemon.restart().await.unwrap();
        for region in &self.regions {
            region.until("origin_connected", true).await;
        }
    }
}

async fn ask(http: &Http, verb: &str, body: Value) -> Answer {
    http.post(&format!("/v1/{verb}"), body.to_string()).await
}

/// What a call answers that must succeed.
async fn ok(http: &Http, verb: &str, body: Value) -> Value {
    let answer = ask(http, verb, body).await;
    assert!(answer.status.is_success(), "{verb}: {answer:?}");
    answer.json()
}

/// Asks until the answer is as it should be.
async fn until(http: &Http, verb: &str, body: Value, is_right: impl Fn(&Answer) -> bool) -> Answer {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let answer = ask(http, verb, body.clone()).await;
        if is_right(&answer) {
            return answer;
        }
        assert!(Instant::now() < deadline, "{verb} {body}: {answer:?}");
        sleep(Duration::from_millis(10)).await;
    }
}

async fn created(http: &Http, subject: &str) -> Value {
    let body = json!({"subject": subject, "ttl_ms": 600_000, "data": {"role": "admin"}});
    let answer = ask(http, "sessions/create", body).await;
    assert_eq!(answer.status.as_u16(), 201, "{answer:?}");
    let body = answer.json();
    assert_eq!(body["subject"], json!(subject));
    body["session"].clone()
}

fn assert_inactive(answer: &Answer, reason: &str) {
    assert_eq!((answer.status.as_u16(), answer.json()), (404, json!({"active": false, "reason": reason})));
}

mod sessions {
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
        let answer =
            until(&one, "sessions/read", json!({"session": session}), |answer| !answer.status.is_success()).await;
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
        assert_inactive(
            &ask(&http, "sessions/update", json!({"session": session, "set": {"a": "b"}})).await,
            "rotated",
        );
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
        let body = json!({"subject": "ada", "ttl_ms": 4_000, "prefix": "s:"});
        know(&http, "s:{ada}").await;
        let session = ok(&http, "sessions/create", body).await;
        let ends = |answer: &Value| answer["expires_at"].as_i64().unwrap();
        let read = json!({"session": session["session"], "prefix": "s:"});
        let peek = json!({"session": session["session"], "prefix": "s:", "touch": false});
        sleep(Duration::from_millis(600)).await;
        assert_eq!(ends(&ok(&http, "sessions/read", peek.clone()).await), ends(&session), "a peek");
        assert!(ends(&ok(&http, "sessions/read", read.clone()).await) - ends(&session) >= 600, "a touch");
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
            (
                "revoke",
                json!({"session": session, "for_ms": -1}),
                "for_ms must be an integer between 1 and 34560000000",
            ),
        ] {
            let refused = ask(&http, &format!("sessions/{verb}"), body.clone()).await.refusal(400);
            assert_eq!(refused, format!("ERR Headwater: {error}"), "{verb} {body}");
        }
        assert_eq!(
            http.post("/v1/sessions/read", "[]").await.refusal(400),
            "ERR Headwater: the body must be an object"
        );
        assert!(
            http.post("/v1/sessions/read", "{").await.refusal(400).starts_with("ERR Headwater: the body is no JSON: ")
        );
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
        let answer =
            until(&one, "sessions/read", json!({"session": session}), |answer| !answer.status.is_success()).await;
        assert_inactive(&answer, "revoked");
    }
}

mod tokens_denied {
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
        let exp = in_seconds(4);
        assert_eq!(
            ok(&one, "tokens/deny", json!({"jti": "a", "exp": exp})).await,
            json!({"denied": true, "until": exp})
        );
        assert_eq!(ok(&one, "tokens/check", json!({"jti": "a"})).await, json!({"denied": true}));
        until(&two, "tokens/check", json!({"jti": "a"}), |answer| answer.json()["denied"] == json!(true)).await;
        ok(&two, "tokens/deny", json!({"jti": "b", "exp": in_seconds(600), "list": "denied"})).await;
        let both = ok(&two, "tokens/check", json!({"jtis": ["b", "a", "c"]})).await;
        assert_eq!(both, json!({"denied": {"a": true, "b": true, "c": false}}));
        let stored: BTreeMap<String, i64> = setup.plain("HGETALL denied").await;
        assert!(stored.keys().any(|jti| jti == "a"), "{stored:?}");
        for http in [&one, &two] {
            until(http, "tokens/check", json!({"jti": "a"}), |answer| answer.json()["denied"] == json!(false)).await;
            assert!(now().0 / 1000 >= exp, "no sooner");
        }
        assert_eq!(ok(&one, "tokens/check", json!({"jti": "b"})).await, json!({"denied": true}));
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
}

mod cache {
    use super::*;

    fn state(answer: &Value) -> &str {
        answer["state"].as_str().unwrap()
    }

    #[tokio::test]
    async fn of_many_who_find_nothing_one_fills_and_the_others_get_what_it_stored() {
        let setup = TwoRegions::new().await;
        let [one, two] = setup.http();
        let look = || ok(&one, "cache/get", json!({"key": "page:1", "wait_ms": 10_000}));
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
        let first = ok(&http, "cache/get", json!({"key": "k"})).await;
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
        let first = ok(&http, "cache/get", json!({"key": "k", "lease_ms": 700})).await;
        assert_eq!(state(&first), "missing");
        let waiting = ask(&http, "cache/get", json!({"key": "k", "wait_ms": 50, "lease_ms": 700})).await;
        assert_eq!((waiting.status.as_u16(), state(&waiting.json())), (202, "filling"));
        let second = ok(&http, "cache/get", json!({"key": "k", "wait_ms": 5_000, "lease_ms": 60_000})).await;
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
        let first = ok(&http, "cache/get", json!({"key": "k"})).await;
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
}

mod flags {
    use super::*;

    #[tokio::test]
    async fn a_flag_that_a_plain_client_sets_arrives_at_every_edge_and_stays_with_the_origin_away() {
        let mut setup = TwoRegions::new().await;
        let [one, two] = setup.http();
        let defaults = json!({"defaults": {"checkout": "off", "rows": 20}});
        for http in [&one, &two] {
            let read = ok(http, "flags/read", defaults.clone()).await;
            assert_eq!(read, json!({"flags": {"checkout": "off", "rows": 20}, "known": true}));
        }
        setup.plain::<()>("HSET flags checkout on search beta").await;
        let right = json!({"flags": {"checkout": "on", "rows": 20, "search": "beta"}, "known": true});
        for http in [&one, &two] {
            until(http, "flags/read", defaults.clone(), |answer| answer.json() == right).await;
        }
        setup.part().await;
        for http in [&one, &two] {
            assert_eq!(ok(http, "flags/read", defaults.clone()).await, right);
            let unknown = ok(http, "flags/read", json!({"key": "flags:beta", "defaults": {"a": true}})).await;
            assert_eq!(unknown, json!({"flags": {"a": true}, "known": false}));
        }
        let refused = ask(&one, "flags/read", json!({"defaults": ["a"]})).await.refusal(400);
        assert_eq!(refused, "ERR Headwater: defaults must be an object");
    }
}

mod presence {
    use super::*;

    #[tokio::test]
    async fn who_is_there_is_seen_at_every_edge_until_it_leaves_or_falls_silent() {
        let setup = TwoRegions::new().await;
        let [one, two] = setup.http();
        let room = json!({"room": "lobby"});
        ok(&one, "presence/list", room.clone()).await;
        ok(&two, "presence/list", room.clone()).await;
        let join =
            |member: &str, ttl_ms: i64| json!({"room": "lobby", "member": member, "ttl_ms": ttl_ms, "info": "eu"});
        ok(&one, "presence/join", join("ada", 60_000)).await;
        ok(&two, "presence/join", join("bob", 1_500)).await;
        let all = json!({"count": 2, "members": {"ada": "eu", "bob": "eu"}});
        for http in [&one, &two] {
            until(http, "presence/list", room.clone(), |answer| answer.json() == all).await;
        }
        let beat = json!({"room": "lobby", "member": "ada", "ttl_ms": 60_000});
        assert_eq!(ok(&two, "presence/beat", beat).await["present"], json!(true));
        // One falls silent, the other leaves.
        for http in [&one, &two] {
            until(http, "presence/list", room.clone(), |answer| answer.json()["count"] == json!(1)).await;
        }
        let beat = json!({"room": "lobby", "member": "bob", "ttl_ms": 60_000});
        let silent = ask(&two, "presence/beat", beat).await;
        assert_eq!((silent.status.as_u16(), &silent.json()["present"]), (404, &json!(false)));
        let left = ok(&two, "presence/leave", json!({"room": "lobby", "member": "ada"})).await;
        assert_eq!(left["was_present"], json!(true));
        until(&one, "presence/list", room, |answer| answer.json()["count"] == json!(0)).await;
        for (verb, body, error) in [
            ("join", json!({"room": "lobby", "member": "ada"}), "ttl_ms is missing"),
            ("beat", json!({"room": "lobby", "ttl_ms": 5}), "member is missing"),
            ("list", json!({}), "room is missing"),
        ] {
            let refused = ask(&one, &format!("presence/{verb}"), body).await.refusal(400);
            assert_eq!(refused, format!("ERR Headwater: {error}"), "{verb}");
        }
    }
}

mod metrics {
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
        assert!(
            sum == 8 && buckets.iter().all(|bucket| bucket["at"].as_i64().unwrap() % 86_400_000 == 0),
            "{buckets:?}"
        );
        let later = json!({"metric": "hits", "bucket_ms": 86_400_000, "from": now().0 + 86_400_000});
        assert_eq!(ok(&two, "metrics/read", later).await, json!({"total": 0, "buckets": []}));
        let stored: BTreeMap<String, i64> = setup.plain("HGETALL metrics:hits:86400000").await;
        assert_eq!(stored.values().sum::<i64>(), 8);
        let refused = ask(&one, "metrics/add", json!({"metric": "hits", "by": 0.5})).await.refusal(400);
        assert_eq!(refused, "ERR Headwater: by must be an integer between -2147483648 and 2147483647");
    }
}

/// An edge without its origin, which knows that ada has never revoked anything.
async fn alone() -> Region {
    let region = Region::start().await;
    know(&region.http(), "session:{ada}").await;
    region
}

/// Makes an edge without its origin know that a key is absent.
async fn know(http: &Http, key: &str) {
    for line in [format!("SET {key} v"), format!("DEL {key}")] {
        http.run(&line).await.unwrap();
    }
}
