//! What happens to the plain values in Redis beside the companions.

use crate::support::{
    bed::{Bed, Plain},
    say::{PartExt, commit, committed, integer, key, load, load_all, marker, part},
};
use headwater::{
    id::Key,
    state::Kind,
    store::{Expected, KeyCommit, Outcome},
};
use origin_sync::store::Store;
use std::time::{Duration, Instant};

fn plain(bed: &impl Bed) -> Plain {
    bed.plain().unwrap()
}

/// Commits to a fresh slot, and demands this outcome and that nothing happened: no marker, no companion.
async fn refused(bed: &impl Bed, parts: Vec<KeyCommit>, outcome: Outcome) {
    let slot = parts[0].key.slot();
    let keys: Vec<Key> = parts.iter().map(|part| part.key.clone()).collect();
    let before = load(bed.store(), slot, &keys.iter().collect::<Vec<_>>(), Some(0)).await;
    let seq = before.marker.as_ref().map_or(0, |marker| marker.seq);
    assert_eq!(bed.store().commit(commit(slot, seq, parts)).await.unwrap(), outcome);
    assert_eq!(load(bed.store(), slot, &keys.iter().collect::<Vec<_>>(), Some(0)).await, before);
}

pub async fn plain_commands_run_with_the_commit(bed: impl Bed) {
    let [text, sum, set, hash, board] = ["{s}t", "{s}i", "{s}s", "{s}h", "{s}z"].map(key);
    let parts = vec![
        part(&text, None, 1).run(&["SET", "a\0b"]).run(&["PEXPIREAT", "33333333333333"]),
        part(&sum, None, 1).run(&["INCRBY", "9223372036854775807"]),
        part(&set, None, 1).run(&["SADD", "a", "b", "c"]).run(&["SREM", "b"]),
        part(&hash, None, 1).run(&["HSET", "f", "1"]).run(&["HINCRBY", "f", "-9223372036854775808"]),
        part(&board, None, 1).run(&["ZADD", "0.1", "a", "-inf", "b"]).run(&["ZINCRBY", "0.2", "a"]),
    ];
    committed(bed.store(), commit(text.slot(), 0, parts)).await;
    let plain = plain(&bed);
    assert_eq!(plain.ask::<String>(&["GET", "{s}t"]).await, "a\0b");
    assert_eq!(plain.ask::<i64>(&["PEXPIRETIME", "{s}t"]).await, 33_333_333_333_333);
    assert_eq!(plain.ask::<String>(&["GET", "{s}i"]).await, "9223372036854775807");
    assert_eq!(plain.ask::<Vec<String>>(&["SORT", "{s}s", "ALPHA"]).await, ["a", "c"]);
    assert_eq!(plain.ask::<String>(&["HGET", "{s}h", "f"]).await, "-9223372036854775807");
    let scores = ["b", "-inf", "a", "0.30000000000000004"];
    assert_eq!(plain.ask::<Vec<String>>(&["ZRANGE", "{s}z", "0", "-1", "WITHSCORES"]).await, scores);

    let gone = part(&text, Some(1), 2).expecting(Expected::Present(Kind::String)).run(&["UNLINK"]);
    committed(bed.store(), commit(text.slot(), 1, vec![gone])).await;
    assert_eq!(plain.ask::<u32>(&["EXISTS", "{s}t"]).await, 0);
}

pub async fn of_commits_handed_over_together_each_is_judged_by_itself(bed: impl Bed) {
    let [new, taken, known, again] = ["{a}new", "{b}taken", "{c}known", "{d}again"].map(key);
    committed(bed.store(), commit(known.slot(), 0, vec![part(&known, None, 1)])).await;
    let begin = |key: &Key| part(key, None, 1).put("f", "1").run(&["SET", "1"]);
    // Once where nothing stands at any of the keys, and once where something does.
    let together = [&new, &again].map(|key| commit(key.slot(), 0, vec![begin(key)]));
    assert_eq!(bed.store().commit_all(together.to_vec()).await.unwrap(), [Outcome::Committed, Outcome::Committed]);

    plain(&bed).ask::<()>(&["RPUSH", "{b}taken", "theirs"]).await;
    let more = key("{a}more");
    let together = vec![
        commit(new.slot(), 1, vec![part(&more, None, 2).put("f", "1").run(&["SET", "1"])]),
        commit(taken.slot(), 0, vec![begin(&taken)]),
        commit(known.slot(), 1, vec![begin(&known)]),
        commit(again.slot(), 0, vec![begin(&again)]),
    ];
    let outcomes = bed.store().commit_all(together).await.unwrap();
    let [foreign, conflict] = [Outcome::Foreign(vec![taken.clone()]), Outcome::Conflict(vec![known.clone()])];
    assert_eq!(outcomes, [Outcome::Committed, foreign, conflict, Outcome::Stale]);
    assert_eq!(plain(&bed).ask::<String>(&["GET", "{a}more"]).await, "1");
    assert_eq!(plain(&bed).ask::<Vec<String>>(&["LRANGE", "{b}taken", "0", "-1"]).await, ["theirs"]);
    assert_eq!(plain(&bed).ask::<u32>(&["EXISTS", "{c}known"]).await, 0);
    assert_eq!(marker(bed.store(), taken.slot()).await, None);
    assert_eq!(load_all(bed.store(), &again).await.marker.map(|marker| marker.seq), Some(1));
}

pub async fn several_new_keys_of_a_slot_are_begun_or_none(bed: impl Bed) {
    let [hash, alike, set] = ["{s}h", "{s}i", "{s}s"].map(key);
    let [board, known, taken] = ["{s}z", "{s}known", "{s}taken"].map(key);
    let begin = |version: u64| {
        vec![
            part(&hash, None, version).put("f", "1").put("h", "").run(&["HSET", "f", "1", "g", "2"]),
            part(&alike, None, version).put("g", "").put("h", "2").run(&["HSET", "h", "3", "f", "4"]),
            part(&set, None, version).put("f", "1").run(&["SADD", "a", "b"]),
            part(&board, None, version).run(&["ZADD", "1", "a"]),
        ]
    };
    committed(bed.store(), commit(hash.slot(), 0, vec![part(&known, None, 1).put("f", "1")])).await;
    plain(&bed).ask::<()>(&["SET", "{s}taken", "theirs"]).await;
    let with = |key: &Key| [begin(2), vec![part(key, None, 2).run(&["SET", "ours"])]].concat();
    refused(&bed, with(&known), Outcome::Conflict(vec![known.clone()])).await;
    refused(&bed, with(&taken), Outcome::Foreign(vec![taken.clone()])).await;
    let both = [with(&taken), vec![part(&known, None, 2).run(&["SET", "ours"])]].concat();
    refused(&bed, both, Outcome::Conflict(vec![known.clone()])).await;
    assert_eq!(plain(&bed).ask::<u32>(&["EXISTS", "{s}h", "{s}i", "{s}s", "{s}z", "{s}known"]).await, 0);

    committed(bed.store(), commit(hash.slot(), 1, begin(2))).await;
    let loaded = load(bed.store(), hash.slot(), &[&hash, &alike, &set, &board], Some(1)).await;
    let companions: Vec<_> = loaded.keys.iter().map(|(_, companion)| companion.as_ref().unwrap()).collect();
    assert!(companions.iter().all(|companion| companion.version == 2), "{companions:?}");
    assert_eq!(companions.iter().map(|companion| companion.fields.len()).collect::<Vec<_>>(), [2, 2, 1, 0]);
    assert_eq!(companions[1].fields.values().map(|body| body.len()).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(loaded.changed.len(), 4);
    assert_eq!(plain(&bed).ask::<Vec<String>>(&["HMGET", "{s}i", "f", "h"]).await, ["4", "3"]);
    assert_eq!(plain(&bed).ask::<Vec<String>>(&["HMGET", "{s}h", "f", "g"]).await, ["1", "2"]);
    assert_eq!(plain(&bed).ask::<u32>(&["SCARD", "{s}s"]).await, 2);
    assert_eq!(plain(&bed).ask::<String>(&["ZSCORE", "{s}z", "a"]).await, "1");
}

pub async fn a_missing_value_is_told(bed: impl Bed) {
    let [here, gone, either] = ["{s}here", "{s}gone", "{s}either"].map(key);
    plain(&bed).ask::<()>(&["SET", "{s}here", "1"]).await;
    let present = Expected::Present(Kind::String);
    let parts = vec![
        part(&here, None, 1).expecting(present).run(&["SET", "2"]),
        part(&gone, None, 1).expecting(present).run(&["SET", "2"]),
        part(&either, None, 1).expecting(Expected::AbsentOr(Kind::String)).run(&["SET", "2"]),
    ];
    refused(&bed, parts.clone(), Outcome::Missing(vec![gone.clone()])).await;
    assert_eq!(plain(&bed).ask::<String>(&["GET", "{s}here"]).await, "1");
    assert_eq!(plain(&bed).ask::<u32>(&["EXISTS", "{s}gone", "{s}either"]).await, 0);
    plain(&bed).ask::<()>(&["SET", "{s}gone", "1"]).await;
    committed(bed.store(), commit(here.slot(), 0, parts)).await;
}

pub async fn an_expired_value_is_missing(bed: impl Bed) {
    let key = key("k");
    // The server's own sweep is off, so that the commit meets a key that is past its time but still in memory.
    plain(&bed).ask::<()>(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]).await;
    plain(&bed).ask::<()>(&["SET", "k", "1", "PX", "1"]).await;
    let since = Instant::now();
    while since.elapsed() < Duration::from_millis(5) {
        tokio::task::yield_now().await;
    }
    let change = part(&key, None, 1).expecting(Expected::Present(Kind::String)).run(&["INCRBY", "1"]);
    refused(&bed, vec![change], Outcome::Missing(vec![key.clone()])).await;
    committed(bed.store(), commit(key.slot(), 0, vec![part(&key, None, 1).run(&["INCRBY", "7"])])).await;
    assert_eq!(plain(&bed).ask::<String>(&["GET", "k"]).await, "7");
    assert_eq!(plain(&bed).ask::<i64>(&["PTTL", "k"]).await, -1);
}

pub async fn a_foreign_type_is_told(bed: impl Bed) {
    let [list, set, fine] = ["{s}list", "{s}set", "{s}fine"].map(key);
    plain(&bed).ask::<()>(&["RPUSH", "{s}list", "x"]).await;
    plain(&bed).ask::<()>(&["SADD", "{s}set", "x"]).await;
    let parts = vec![
        part(&fine, None, 1).run(&["SET", "2"]),
        part(&list, None, 1).expecting(Expected::Present(Kind::String)).run(&["SET", "2"]),
        part(&set, None, 1).expecting(Expected::AbsentOr(Kind::Board)).run(&["ZADD", "1", "m"]),
    ];
    refused(&bed, parts, Outcome::Foreign(vec![list, set])).await;
    assert_eq!(plain(&bed).ask::<String>(&["TYPE", "{s}list"]).await, "list");
    assert_eq!(plain(&bed).ask::<u32>(&["EXISTS", "{s}fine"]).await, 0);
}

pub async fn a_value_where_none_is_expected_is_foreign(bed: impl Bed) {
    let key = key("k");
    plain(&bed).ask::<()>(&["SET", "k", "theirs"]).await;
    refused(&bed, vec![part(&key, None, 1).run(&["SET", "ours"])], Outcome::Foreign(vec![key])).await;
    assert_eq!(plain(&bed).ask::<String>(&["GET", "k"]).await, "theirs");
}

pub async fn without_commands_any_value_is_right(bed: impl Bed) {
    let key = key("k");
    plain(&bed).ask::<()>(&["RPUSH", "k", "theirs"]).await;
    committed(bed.store(), commit(key.slot(), 0, vec![part(&key, None, 1).put("f", "1")])).await;
    let change = part(&key, Some(1), 2).expecting(Expected::Present(Kind::String));
    committed(bed.store(), commit(key.slot(), 1, vec![change])).await;
    assert_eq!(plain(&bed).ask::<Vec<String>>(&["LRANGE", "k", "0", "-1"]).await, ["theirs"]);
}

pub async fn an_overflow_undoes_all(bed: impl Bed) {
    let [one, new, full, last] = ["{s}one", "{s}new", "{s}full", "{s}last"].map(key);
    let plain = plain(&bed);
    plain.ask::<()>(&["SET", "{s}one", "1"]).await;
    plain.ask::<()>(&["SET", "{s}full", "9223372036854775807"]).await;
    let present = Expected::Present(Kind::String);
    let parts = vec![
        part(&one, None, 1).put("f", "1").expecting(present).run(&["SET", "5"]).run(&["INCRBY", "9007199254740993"]),
        part(&new, None, 1).put("f", "1").run(&["INCRBY", "3"]),
        part(&full, None, 1).put("f", "1").expecting(present).run(&["INCRBY", "1"]),
        part(&last, None, 1).put("f", "1").run(&["SET", "x"]),
    ];
    refused(&bed, parts, Outcome::Foreign(vec![full.clone()])).await;
    assert_eq!(plain.ask::<String>(&["GET", "{s}one"]).await, "1");
    assert_eq!(plain.ask::<String>(&["GET", "{s}full"]).await, "9223372036854775807");
    assert_eq!(plain.ask::<u32>(&["EXISTS", "{s}new", "{s}last"]).await, 0);
    assert_eq!(marker(bed.store(), full.slot()).await, None);
    // None of the four is gone for good: without the overflow the same commit happens.
    plain.ask::<()>(&["SET", "{s}full", "1"]).await;
    committed(bed.store(), commit(one.slot(), 0, vec![integer(&new, None, 1, "3")])).await;
    committed(bed.store(), commit(one.slot(), 1, vec![integer(&new, Some(1), 2, "-4")])).await;
    assert_eq!(plain.ask::<String>(&["GET", "{s}new"]).await, "-1");
}

pub async fn a_text_under_an_increment_undoes_all(bed: impl Bed) {
    let [sum, text] = ["{s}sum", "{s}text"].map(key);
    plain(&bed).ask::<()>(&["SET", "{s}sum", "40"]).await;
    plain(&bed).ask::<()>(&["SET", "{s}text", "no number"]).await;
    let present = Expected::Present(Kind::String);
    let parts = vec![
        part(&sum, None, 1).expecting(present).run(&["INCRBY", "2"]),
        part(&text, None, 1).expecting(present).run(&["INCRBY", "2"]),
    ];
    refused(&bed, parts, Outcome::Foreign(vec![text])).await;
    assert_eq!(plain(&bed).ask::<String>(&["GET", "{s}sum"]).await, "40");
    assert_eq!(plain(&bed).ask::<String>(&["GET", "{s}text"]).await, "no number");
    assert!(load_all(bed.store(), &sum).await.keys[0].1.is_none());
}

pub async fn increments_of_every_size_are_undone(bed: impl Bed) {
    let [sum, text] = ["{s}sum", "{s}text"].map(key);
    plain(&bed).ask::<()>(&["SET", "{s}text", "no number"]).await;
    let present = Expected::Present(Kind::String);
    for (before, by) in [
        ("0", "-9223372036854775808"),
        ("9223372036854775807", "-9223372036854775808"),
        ("-1", "9223372036854775807"),
        ("9007199254740993", "-9007199254740993"),
    ] {
        plain(&bed).ask::<()>(&["SET", "{s}sum", before]).await;
        let parts = vec![
            part(&sum, None, 1).expecting(present).run(&["INCRBY", by]).run(&["INCRBY", "1"]),
            part(&text, None, 1).expecting(present).run(&["INCRBY", "2"]),
        ];
        refused(&bed, parts, Outcome::Foreign(vec![text.clone()])).await;
        assert_eq!(plain(&bed).ask::<String>(&["GET", "{s}sum"]).await, before);
    }
}

pub async fn undoing_keeps_the_time_to_live(bed: impl Bed) {
    let [sum, text] = ["{s}sum", "{s}text"].map(key);
    plain(&bed).ask::<()>(&["SET", "{s}sum", "40", "PXAT", "33333333333333"]).await;
    plain(&bed).ask::<()>(&["SET", "{s}text", "no number"]).await;
    let present = Expected::Present(Kind::String);
    let parts = vec![
        part(&sum, None, 1).expecting(present).run(&["INCRBY", "2"]),
        part(&text, None, 1).expecting(present).run(&["INCRBY", "2"]),
    ];
    refused(&bed, parts, Outcome::Foreign(vec![text])).await;
    assert_eq!(plain(&bed).ask::<String>(&["GET", "{s}sum"]).await, "40");
    let at = plain(&bed).ask::<i64>(&["PEXPIRETIME", "{s}sum"]).await;
    assert!((at - 33_333_333_333_333).abs() <= 1, "{at}");
}

pub async fn failing_fields_and_scores_are_undone(bed: impl Bed) {
    let [hash, board, last] = ["{s}h", "{s}z", "{s}last"].map(key);
    let plain = plain(&bed);
    plain.ask::<()>(&["HSET", "{s}h", "old", "40", "text", "no number"]).await;
    plain.ask::<()>(&["ZADD", "{s}z", "0.30000000000000004", "old", "inf", "endless"]).await;
    let on_hash = part(&hash, None, 1).expecting(Expected::Present(Kind::Hash));
    let on_board = part(&board, None, 1).expecting(Expected::Present(Kind::Board));
    let parts = vec![
        on_hash.clone().run(&["HINCRBY", "old", "2"]).run(&["HINCRBY", "new", "2"]),
        on_board.run(&["ZINCRBY", "0.2", "old"]).run(&["ZINCRBY", "1", "new"]).run(&["ZINCRBY", "-inf", "endless"]),
        part(&last, None, 1).run(&["SET", "x"]),
    ];
    refused(&bed, parts, Outcome::Foreign(vec![board])).await;
    refused(&bed, vec![on_hash.run(&["HINCRBY", "text", "2"])], Outcome::Foreign(vec![hash])).await;
    assert_eq!(plain.ask::<Vec<String>>(&["HGETALL", "{s}h"]).await, ["old", "40", "text", "no number"]);
    let scores = ["old", "0.30000000000000004", "endless", "inf"];
    assert_eq!(plain.ask::<Vec<String>>(&["ZRANGE", "{s}z", "0", "-1", "WITHSCORES"]).await, scores);
    assert_eq!(plain.ask::<u32>(&["EXISTS", "{s}last"]).await, 0);
}

pub async fn a_malformed_command_is_refused_before_anything_happens(bed: impl Bed) {
    let [fine, broken] = ["{s}fine", "{s}broken"].map(key);
    for words in [&["INCRBY", "x"][..], &["EXPIRE", "5"], &["ZADD", "nan", "m"]] {
        let parts = vec![part(&fine, None, 1).run(&["SET", "1"]), part(&broken, None, 1).run(words)];
        assert!(bed.store().commit(commit(fine.slot(), 0, parts)).await.is_err());
    }
    assert_eq!(plain(&bed).ask::<u32>(&["DBSIZE"]).await, 0);
}

pub async fn companions_bear_the_documented_names(bed: impl Bed) {
    let key = key("foo");
    let mut first = commit(key.slot(), 0, vec![part(&key, None, 1).put("field", "body").run(&["SET", "1"])]);
    first.marker.hubs = vec![(headwater::id::ReplicaId::from_bits(65536), headwater::id::No(5))];
    committed(bed.store(), first).await;
    let plain = plain(&bed);
    let tag = key.slot().tag();
    let mut names: Vec<String> = plain.ask(&["KEYS", "*"]).await;
    names.sort();
    let [companion, feed, marker] = ["c", "f", "m"].map(|what| format!("hw:{what}:{{{tag}}}"));
    assert_eq!(names, ["foo".to_owned(), format!("{companion}foo"), feed.clone(), marker.clone()]);
    let mut marker: Vec<(String, String)> = plain.ask(&["HGETALL", &marker]).await;
    marker.sort();
    let incarnation = u64::MAX.to_string();
    let expected = [("h65536", "5"), ("i", incarnation.as_str()), ("n", "1"), ("r", "run"), ("s", "1")];
    assert!(marker.iter().map(|(field, value)| (field.as_str(), value.as_str())).eq(expected), "{marker:?}");
    let fields: Vec<String> = plain.ask(&["HGETALL", &format!("{companion}foo")]).await;
    assert_eq!(fields, ["v", "1", "field", "body"]);
    assert_eq!(plain.ask::<Vec<String>>(&["ZRANGE", &feed, "0", "-1", "WITHSCORES"]).await, ["foo", "1"]);
}
