//! What Redis answers to each wrong request, and what each right one becomes. No IO: Redis's answers are pinned here.

use super::*;
use crate::{
    command::{
        Limit, RankRange,
        ScoreBound::{Exclusive, Inclusive},
        ScoreRange, Selection,
    },
    limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX},
};
use proptest::prelude::*;

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn parsed(line: &str) -> Result<Command, CommandError> {
    parse(&line.split(' ').map(bytes).collect::<Vec<_>>())
}

fn key() -> Key {
    Key::new("k").unwrap()
}

fn m() -> Bytes {
    bytes("m")
}

#[test]
fn deadlines_of_fields_are_refused_as_by_redis_7_4() {
    for (line, expected) in [
        ("HEXPIRE k 10 FIELDS 1", "ERR wrong number of arguments for 'hexpire' command"),
        ("HEXPIRE k x FIELDS 1 f", "ERR value is not an integer or out of range"),
        ("HEXPIRE k -1 FIELDS 1 f", "ERR invalid expire time, must be >= 0"),
        ("HEXPIRE k 70368744178 FIELDS 1 f", "ERR invalid expire time in 'hexpire' command"),
        ("HPEXPIREAT k 70368744177664 FIELDS 1 f", "ERR invalid expire time in 'hpexpireat' command"),
        ("HEXPIRE k 10 NX XX FIELDS 1 f", "ERR Mandatory argument FIELDS is missing or not at the right position"),
        ("HTTL k FIELD 1 f", "ERR Mandatory argument FIELDS is missing or not at the right position"),
        ("HEXPIRE k 10 FIELDS 0 f", "ERR Parameter `numFields` should be greater than 0"),
        ("HEXPIRE k 10 FIELDS x f", "ERR Parameter `numFields` should be greater than 0"),
        ("HPERSIST k FIELDS 0 f", "ERR Number of fields must be a positive integer"),
        ("HEXPIRE k 10 FIELDS 2 f", "ERR The `numfields` parameter must match the number of arguments"),
        ("HTTL k FIELDS 1 f g", "ERR The `numfields` parameter must match the number of arguments"),
    ] {
        assert_eq!(parsed(line).unwrap_err().to_string(), expected, "{line}");
    }
}

/// Each line is one argv, split at single spaces; each answer is that of redis-server 7.0.15, whose replies to the same
/// lines were compared when this table was written.
#[test]
fn errors_are_those_of_redis() {
    let table: &[(&str, &str)] = &[
        ("foo a b", "ERR unknown command 'foo', with args beginning with: 'a' 'b' "),
        ("foo", "ERR unknown command 'foo', with args beginning with: "),
        ("get", "ERR wrong number of arguments for 'get' command"),
        ("gEt a b", "ERR wrong number of arguments for 'get' command"),
        ("set k", "ERR wrong number of arguments for 'set' command"),
        ("hset k f v g", "ERR wrong number of arguments for 'hset' command"),
        ("hset k f", "ERR wrong number of arguments for 'hset' command"),
        ("ping a b", "ERR wrong number of arguments for 'ping' command"),
        ("echo", "ERR wrong number of arguments for 'echo' command"),
        ("del", "ERR wrong number of arguments for 'del' command"),
        ("zincrby k ch 1 m", "ERR wrong number of arguments for 'zincrby' command"),
        // SET
        ("set k v bad", "ERR syntax error"),
        ("set k v persist", "ERR syntax error"),
        ("set k v ex", "ERR syntax error"),
        ("set k v nx xx", "ERR syntax error"),
        ("set k v ex 1 px 1", "ERR syntax error"),
        ("set k v ex 1 exat 1", "ERR syntax error"),
        ("set k v keepttl ex 1", "ERR syntax error"),
        ("set k v ex 1 keepttl", "ERR syntax error"),
        ("set k v ex 0 bad", "ERR syntax error"),
        ("set k v ex x", "ERR value is not an integer or out of range"),
        ("set k v ex 01", "ERR value is not an integer or out of range"),
        ("set k v ex -0", "ERR value is not an integer or out of range"),
        ("set k v ex +1", "ERR value is not an integer or out of range"),
        ("set k v ex nx", "ERR value is not an integer or out of range"),
        ("set k v ex 1 ex x", "ERR value is not an integer or out of range"),
        ("set k v ex 0", "ERR invalid expire time in 'set' command"),
        ("set k v exat -1", "ERR invalid expire time in 'set' command"),
        ("set k v ex 9223372036854776", "ERR invalid expire time in 'set' command"),
        ("set k v get ex 0", "ERR invalid expire time in 'set' command"),
        // EXPIRE
        ("expire k x", "ERR value is not an integer or out of range"),
        ("expire k x foo", "ERR Unsupported option foo"),
        ("expire k 1 foo nx xx", "ERR Unsupported option foo"),
        ("expire k 1 foo\r\n", "ERR Unsupported option foo"),
        ("expire k 1 f\r\no", "ERR Unsupported option f  o"),
        ("expire k x nx xx", "ERR NX and XX, GT or LT options at the same time are not compatible"),
        ("expire k 1 nx gt", "ERR NX and XX, GT or LT options at the same time are not compatible"),
        ("expire k 1 nx lt xx gt", "ERR NX and XX, GT or LT options at the same time are not compatible"),
        ("pexpire k 1 gt lt", "ERR GT and LT options at the same time are not compatible"),
        ("pexpire k 1 gt lt xx", "ERR GT and LT options at the same time are not compatible"),
        ("expire k 9223372036854775807", "ERR invalid expire time in 'expire' command"),
        ("expire k -9223372036854775808", "ERR invalid expire time in 'expire' command"),
        // Integers
        ("incrby k x", "ERR value is not an integer or out of range"),
        ("incrby k 01", "ERR value is not an integer or out of range"),
        ("decrby k x", "ERR value is not an integer or out of range"),
        ("decrby k 9223372036854775808", "ERR value is not an integer or out of range"),
        ("decrby k -9223372036854775808", "ERR decrement would overflow"),
        ("hincrby k f x", "ERR value is not an integer or out of range"),
        // ZADD
        ("zadd k 1 a 2", "ERR syntax error"),
        ("zadd k nx ch", "ERR syntax error"),
        ("zadd k nx xx", "ERR syntax error"),
        ("zadd k nx xx x a", "ERR XX and NX options at the same time are not compatible"),
        ("zadd k nx xx gt 1 a", "ERR XX and NX options at the same time are not compatible"),
        ("zadd k nx xx incr 1 a 2 b", "ERR XX and NX options at the same time are not compatible"),
        ("zadd k gt nx 1 a", "ERR GT, LT, and/or NX options at the same time are not compatible"),
        ("zadd k lt nx 1 a", "ERR GT, LT, and/or NX options at the same time are not compatible"),
        ("zadd k gt lt 1 a", "ERR GT, LT, and/or NX options at the same time are not compatible"),
        ("zadd k gt lt incr 1 a 2 b", "ERR GT, LT, and/or NX options at the same time are not compatible"),
        ("zadd k incr 1 a 2 b", "ERR INCR option supports a single increment-element pair"),
        ("zadd k incr x a 2 b", "ERR INCR option supports a single increment-element pair"),
        ("zadd k x a", "ERR value is not a valid float"),
        ("zadd k 1 a x b", "ERR value is not a valid float"),
        ("zadd k nan a", "ERR value is not a valid float"),
        ("zadd k 1e400 a", "ERR value is not a valid float"),
        ("zincrby k x a", "ERR value is not a valid float"),
        ("zincrby k nx a", "ERR syntax error"),
        ("zincrby k nx xx", "ERR syntax error"),
        // ZRANGE
        ("zrange k 0 -1 foo", "ERR syntax error"),
        ("zrange k x 1 foo", "ERR syntax error"),
        ("zrange k 0 -1 rev rev", "ERR syntax error"),
        ("zrange k 0 -1 byscore byscore", "ERR syntax error"),
        ("zrange k 0 -1 byscore bylex", "ERR syntax error"),
        ("zrange k 0 -1 limit 0", "ERR syntax error"),
        ("zrange k x 1", "ERR value is not an integer or out of range"),
        ("zrange k 0 9223372036854775808", "ERR value is not an integer or out of range"),
        ("zrange k 0 1 byscore limit x 2 foo", "ERR value is not an integer or out of range"),
        ("zrange k 0 1 limit limit limit", "ERR value is not an integer or out of range"),
        (
            "zrange k x 1 limit 0 1",
            "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
        ),
        ("zrange k 0 1 bylex withscores", "ERR syntax error, WITHSCORES not supported in combination with BYLEX"),
        ("zrange k x 1 byscore", "ERR min or max is not a float"),
        ("zrange k x 1 rev byscore", "ERR min or max is not a float"),
        ("zrange k [1 2 byscore", "ERR min or max is not a float"),
        ("zrange k nan 2 byscore", "ERR min or max is not a float"),
    ];
    for (line, error) in table {
        assert_eq!(parsed(line).map_err(|error| error.to_string()), Err((*error).to_owned()), "{line}");
    }
}

#[test]
fn set_with_a_condition_needs_the_origin_and_without_does_not() {
    for line in ["set k v nx", "set k v XX ex 5", "set k v nx nx get", "set k v get keepttl"] {
        assert!(parsed(line).unwrap().needs_origin(), "{line}");
    }
    for line in ["set k v", "set k v ex 5", "hsetnx k f v"] {
        assert!(!parsed(line).unwrap().needs_origin(), "{line}");
    }
    assert_eq!(parsed("set k v nx xx"), Err(CommandError::Syntax));
}

#[test]
fn commands_carry_their_arguments() {
    let set = |expiry| Command::Set { key: key(), value: bytes("v"), expiry };
    let expire = |after_ms, condition| Command::Expire { key: key(), after_ms, condition };
    let table: Vec<(&str, Command)> = vec![
        ("SeT k v", set(Expiry::None)),
        ("set k v EX 5", set(Expiry::In(5_000))),
        ("set k v ex 5 ex 6", set(Expiry::In(6_000))),
        ("set k v px 9223372036854775807", set(Expiry::In(i64::MAX))),
        ("set k v exat 5", set(Expiry::At(TimestampMs(5_000)))),
        ("set k v PXAT 5", set(Expiry::At(TimestampMs(5)))),
        ("set k v keepttl KeepTTL", set(Expiry::Keep)),
        ("expire k 5", expire(5_000, Condition::Always)),
        ("expire k -5 NX nx", expire(-5_000, Condition::Absent)),
        ("expire k 5 xx", expire(5_000, Condition::Present)),
        ("expire k 5 gt", expire(5_000, Condition::Greater)),
        ("expire k 5 lt xx", expire(5_000, Condition::PresentAndLess)),
        (
            "pexpire k -9223372036854775808 xx gt",
            Command::PExpire { key: key(), after_ms: i64::MIN, condition: Condition::PresentAndGreater },
        ),
        ("incr k", Command::Incr { key: key(), by: 1 }),
        ("decr k", Command::Decr { key: key(), by: -1 }),
        ("incrby k -9223372036854775808", Command::IncrBy { key: key(), by: i64::MIN }),
        ("decrby k 9223372036854775807", Command::DecrBy { key: key(), by: -i64::MAX }),
        ("sadd k m m", Command::SAdd { key: key(), members: vec![m(), m()] }),
        ("hset k m 1 m 2", Command::HSet { key: key(), fields: vec![(m(), bytes("1")), (m(), bytes("2"))] }),
        ("hincrby k m -1", Command::HIncrBy { key: key(), field: m(), by: -1 }),
        ("zincrby k -1.5 m", Command::ZIncrBy { key: key(), increment: -1.5, member: m() }),
        ("zrank k m", Command::ZRank { key: key(), member: m(), with_score: false }),
        ("zrevrank k m WithScore", Command::ZRevRank { key: key(), member: m(), with_score: true }),
        ("ping", Command::Ping { message: None }),
        ("ping m", Command::Ping { message: Some(m()) }),
        ("echo m", Command::Echo { message: m() }),
    ];
    for (line, command) in table {
        assert_eq!(parsed(line), Ok(command), "{line}");
    }
    assert_eq!(parsed("zrank k m foo"), Err(CommandError::Syntax));
}

#[test]
fn boards_are_written_with_their_options() {
    let zadd = |condition, count_changed, entries: &[(f64, &str)]| Command::ZAdd {
        key: key(),
        condition,
        count_changed,
        entries: entries.iter().map(|&(score, member)| (score, bytes(member))).collect(),
    };
    let table = [
        ("zadd k 1 m", zadd(Condition::Always, false, &[(1.0, "m")])),
        ("zadd k 1 m 2 m", zadd(Condition::Always, false, &[(1.0, "m"), (2.0, "m")])),
        ("zadd k NX CH 1 m", zadd(Condition::Absent, true, &[(1.0, "m")])),
        ("zadd k ch xx gt -inf m", zadd(Condition::PresentAndGreater, true, &[(f64::NEG_INFINITY, "m")])),
        ("zadd k lt lt 1 nx", zadd(Condition::Less, false, &[(1.0, "nx")])),
        ("zadd k gt 1e5 m", zadd(Condition::Greater, false, &[(1e5, "m")])),
        (
            "zadd k incr ch lt xx 2 m",
            Command::ZAddIncr { key: key(), condition: Condition::PresentAndLess, increment: 2.0, member: m() },
        ),
    ];
    for (line, command) in table {
        assert_eq!(parsed(line), Ok(command), "{line}");
    }
}

#[test]
fn ranges_select_by_rank_or_score() {
    let zrange = |selection, reverse, with_scores| Command::ZRange { key: key(), selection, reverse, with_scores };
    let ranks = |start, stop| Selection::Ranks(RankRange { start, stop });
    let scores = |min, max, limit| Selection::Scores { scores: ScoreRange { min, max }, limit };
    let whole = Limit::default();
    let table = [
        ("zrange k 0 -1", zrange(ranks(0, -1), false, false)),
        ("zrange k -5 3 REV WithScores withscores", zrange(ranks(-5, 3), true, true)),
        ("zrange k 0 -1 limit 3 -1", zrange(ranks(0, -1), false, false)),
        ("zrange k 1 (2 byscore", zrange(scores(Inclusive(1.0), Exclusive(2.0), whole), false, false)),
        ("zrange k (2 1 rev byscore", zrange(scores(Inclusive(1.0), Exclusive(2.0), whole), true, false)),
        (
            "zrange k -inf +inf byscore limit 1 2",
            zrange(
                scores(Inclusive(f64::NEG_INFINITY), Inclusive(f64::INFINITY), Limit { offset: 1, count: Some(2) }),
                false,
                false,
            ),
        ),
        (
            "zrange k 1 2 limit -1 2 limit 4 -1 byscore",
            zrange(scores(Inclusive(1.0), Inclusive(2.0), Limit { offset: 4, count: None }), false, false),
        ),
    ];
    for (line, command) in table {
        assert_eq!(parsed(line), Ok(command), "{line}");
    }
}

#[test]
fn arguments_over_the_limit_are_refused_by_name() {
    let (long_key, long_value) = ("x".repeat(KEY_BYTES_MAX + 1), "x".repeat(VALUE_BYTES_MAX + 1));
    let table: &[(&[&str], &str)] = &[
        (&["get", &long_key], "ERR key is longer than the limit of 1024 bytes"),
        (&["del", "k", &long_key], "ERR key is longer than the limit of 1024 bytes"),
        (&["set", "k", &long_value], "ERR value is longer than the limit of 1048576 bytes"),
        (&["sadd", "k", "m", &long_value], "ERR member is longer than the limit of 1048576 bytes"),
        (&["zadd", "k", "1", &long_value], "ERR member is longer than the limit of 1048576 bytes"),
        (&["hset", "k", &long_value, "v"], "ERR field is longer than the limit of 1048576 bytes"),
        (&["hset", "k", "f", &long_value], "ERR value is longer than the limit of 1048576 bytes"),
    ];
    for (argv, error) in table {
        let argv: Vec<Bytes> = argv.iter().map(|argument| bytes(argument)).collect();
        assert_eq!(parse(&argv).map_err(|error| error.to_string()), Err((*error).to_owned()));
    }
    let (most_key, most_value) = ("x".repeat(KEY_BYTES_MAX), "x".repeat(VALUE_BYTES_MAX));
    assert!(parse(&[bytes("set"), bytes(&most_key), bytes(&most_value)]).is_ok());
}

#[test]
fn too_many_arguments_are_refused() {
    let mut argv = vec![bytes("del")];
    argv.resize(ARGUMENTS_MAX, bytes("k"));
    assert!(parse(&argv).is_ok());
    argv.push(bytes("k"));
    let error = parse(&argv).unwrap_err();
    assert_eq!(error.to_string(), "ERR number of arguments is larger than the limit of 16384");
    assert_eq!(parse(&[]), Err(CommandError::Empty));
}

#[test]
fn what_needs_one_agreed_order_is_read_as_redis_reads_it() {
    for name in CommandName::ALL.iter().filter(|name| name.needs_origin()) {
        let numbers = vec![bytes("1"); *name.arguments().start() - 1];
        let argv: Vec<Bytes> = [bytes(name.as_str())].into_iter().chain(numbers).collect();
        assert!(parse(&argv).unwrap().needs_origin(), "{name}");
    }
    for (line, error) in [
        ("spop", CommandError::WrongArity(CommandName::SPop)),
        ("spop k 1 2", CommandError::Syntax),
        ("spop k -1", CommandError::CountNegative),
        ("zpopmin k x", CommandError::CountNegative),
        ("zpopmax k 1 2", CommandError::Syntax),
        ("msetnx a 1 b", CommandError::WrongArity(CommandName::MSetNx)),
        ("scan x", CommandError::InvalidCursor),
        ("scan 0 match", CommandError::Syntax),
        ("scan 0 count 0", CommandError::Syntax),
        ("flushdb now", CommandError::Syntax),
        ("hw.lock k me 0", CommandError::InvalidExpireTime(CommandName::Lock)),
        ("hw.extend k me soon", CommandError::NotAnInteger),
    ] {
        assert_eq!(parsed(line), Err(error), "{line}");
    }
}

#[test]
fn scripts_are_known_by_what_they_are_and_others_are_passed_through() {
    let sliding = "74740bb3d7792848093cdef586b6b6037c455fd6";
    assert!(parsed(&format!("evalsha {sliding} 2 a b 10 1700000000000 60000 1 more")).is_ok());
    assert!(parsed(&format!("evalsha {} 3 a b c 10 0 1 -1", sliding.to_uppercase())).is_ok());
    let evalsha = CommandName::EvalSha;
    for (arguments, error) in [
        ("2 a b 10 1700000000000 60000", CommandError::WrongArity(evalsha)),
        ("1 a 10 1700000000000 60000 1", CommandError::WrongArity(evalsha)),
        ("2 a b ten 1700000000000 60000 1", CommandError::NotAnInteger),
        ("2 a b 10 0.5 60000 1", CommandError::NotAnInteger),
        ("2 a b 10 1700000000000 0 1", CommandError::InvalidExpireTime(evalsha)),
        ("x a b 10 1700000000000 60000 1", CommandError::NotAnInteger),
        ("-1 a b", CommandError::NumKeysNegative),
        ("3 a b", CommandError::NumKeysTooMany),
    ] {
        assert_eq!(parsed(&format!("evalsha {sliding} {arguments}")), Err(error), "{arguments}");
    }
    for other in ["evalsha 74740bb3d7792848093cdef586b6b6037c455fd 0", "eval return\\s1 0"] {
        assert!(matches!(parsed(other), Ok(Command::Passed(_))), "{other}");
    }
}

#[test]
fn draws_that_may_repeat_are_bounded() {
    assert!(parsed("srandmember k -16384").is_ok() && parsed("srandmember k 9223372036854775807").is_ok());
    for line in ["srandmember k -16385", "hrandfield k -16385 withvalues", "zrandmember k -9223372036854775807"] {
        assert_eq!(parsed(line), Err(CommandError::CountOutOfRange), "{line}");
    }
}

proptest! {
    #[test]
    fn no_arguments_panic(argv in prop::collection::vec(word(), 0..9)) {
        let argv: Vec<Bytes> = argv.into_iter().map(Bytes::from).collect();
        if let Ok(command) = parse(&argv) {
            prop_assert!(command.name().as_str().as_bytes().eq_ignore_ascii_case(&argv[0]));
        }
    }
}

fn word() -> impl Strategy<Value = Vec<u8>> {
    let names = prop::sample::select(CommandName::ALL).prop_map(|name| name.as_str().as_bytes().to_vec());
    const OPTIONS: &[&str] = &[
        "nx",
        "xx",
        "gt",
        "lt",
        "ch",
        "incr",
        "ex",
        "limit",
        "byscore",
        "bylex",
        "rev",
        "weights",
        "aggregate",
        "sum",
        "withscores",
        "match",
        "count",
        "replace",
        "1",
        "-1",
        "(1",
        "[a",
        "inf",
        "k",
        "74740bb3d7792848093cdef586b6b6037c455fd6",
        "54bd274ddc59fb3be0f42deee2f64322a10e2b50",
    ];
    prop_oneof![
        names,
        prop::sample::select(OPTIONS).prop_map(|option| option.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..6),
    ]
}
