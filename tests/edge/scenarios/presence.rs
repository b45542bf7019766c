//! Who is there: at every edge, until it leaves or falls silent.

use super::*;

#[tokio::test]
async fn who_is_there_is_seen_at_every_edge_until_it_leaves_or_falls_silent() {
    let setup = TwoRegions::new().await;
    let [one, two] = setup.http();
    let room = json!({"room": "lobby"});
    ok(&one, "presence/list", room.clone()).await;
    ok(&two, "presence/list", room.clone()).await;
    let join = |member: &str, ttl_ms: i64| json!({"room": "lobby", "member": member, "ttl_ms": ttl_ms, "info": "eu"});
    ok(&one, "presence/join", join("ada", 60_000)).await;
    ok(&two, "presence/join", join("bob", 12_000)).await;
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
