use super::*;
use crate::namespace::Namespaces;

fn argv(line: &str) -> Vec<Bytes> {
    line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
}

fn words(argv: &[Bytes]) -> String {
    argv.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect::<Vec<_>>().join(" ")
}

fn spaces() -> Namespaces {
    Namespaces::parse("shop,blog").unwrap()
}

fn read(line: &str) -> Result<Placed, CommandError> {
    spaces().named("shop").unwrap().read(&argv(line))
}

/// As the client writes it, and the same with Redis' keys, for every shape in which commands name keys.
const LINES: [(&str, &str); 36] = [
    ("set k v ex 5", "set shop:k v ex 5"),
    ("get k", "get shop:k"),
    ("del a b a", "del shop:a shop:b shop:a"),
    ("mset a 1 b 2", "mset shop:a 1 shop:b 2"),
    ("mget a blog:b", "mget shop:a shop:blog:b"),
    ("copy a b replace", "copy shop:a shop:b replace"),
    ("rename a b", "rename shop:a shop:b"),
    ("smove a b a", "smove shop:a shop:b a"),
    ("sinterstore a b c", "sinterstore shop:a shop:b shop:c"),
    ("sintercard 2 a b limit 1", "sintercard 2 shop:a shop:b limit 1"),
    ("zunionstore d 2 a b weights 1 2", "zunionstore shop:d 2 shop:a shop:b weights 1 2"),
    ("zdiff 2 a b withscores", "zdiff 2 shop:a shop:b withscores"),
    ("zrangestore a b 0 -1", "zrangestore shop:a shop:b 0 -1"),
    ("hexpire k 1 fields 1 k", "hexpire shop:k 1 fields 1 k"),
    ("hscan k 0 match k", "hscan shop:k 0 match k"),
    ("hw.limit k fixed 1 1000 strict", "hw.limit shop:k fixed 1 1000 strict"),
    ("ping k", "ping k"),
    ("echo k", "echo k"),
    ("set k v nx get", "set shop:k v nx get"),
    ("setnx k k", "setnx shop:k k"),
    ("msetnx a b b a", "msetnx shop:a b shop:b a"),
    ("getdel k", "getdel shop:k"),
    ("renamenx a b", "renamenx shop:a shop:b"),
    ("spop k 2", "spop shop:k 2"),
    ("hw.lock k k 1000", "hw.lock shop:k k 1000"),
    ("keys a*", "keys shop:a*"),
    ("scan 0 count 5 match a* type set", "scan 0 count 5 match shop:a* type set"),
    ("scan 0 match match", "scan 0 match shop:match"),
    ("rpush k k", "rpush shop:k k"),
    ("lmove a b left right", "lmove shop:a shop:b left right"),
    ("lmpop 2 a b left", "lmpop 2 shop:a shop:b left"),
    (
        "xreadgroup group streams c count 1 streams a b > >",
        "xreadgroup group streams c count 1 streams shop:a shop:b > >",
    ),
    ("xgroup create k g $", "xgroup create shop:k g $"),
    ("bitop and d a b", "bitop and shop:d shop:a shop:b"),
    ("publish news text", "publish shop:news text"),
    (
        "evalsha 54bd274ddc59fb3be0f42deee2f64322a10e2b50 1 rl:* null",
        "evalsha 54bd274ddc59fb3be0f42deee2f64322a10e2b50 1 shop:rl:* null",
    ),
];

#[test]
fn a_command_is_what_its_client_would_say_with_redis_keys() {
    for (own, full) in LINES {
        let placed = read(own).unwrap();
        assert_eq!(placed.command, parse(&argv(full)).unwrap(), "{own}");
        let is_ordered = placed.command.needs_origin();
        assert_eq!(placed.argv.map(|argv| words(&argv)), is_ordered.then(|| full.to_owned()), "{own}");
        if let Command::Passed(passed) = placed.command {
            assert_eq!(words(&passed.argv), full);
        }
    }
}

#[test]
fn what_asks_of_all_keys_is_left_to_the_origin_to_confine() {
    for line in ["dbsize", "randomkey", "flushdb", "flushall async", "scan 0", "scan 5 type set"] {
        assert_eq!(read(line).unwrap(), Placed { command: parse(&argv(line)).unwrap(), argv: Some(argv(line)) });
    }
}

#[test]
fn errors_speak_of_the_clients_names() {
    for (line, error) in [
        ("get hw:k", CommandError::Reserved { name: "hw:k".into() }),
        ("getdel hw:k", CommandError::Reserved { name: "hw:k".into() }),
        ("nonsense k", CommandError::unknown(b"nonsense", &argv("k"))),
        ("set k v ex x", CommandError::NotAnInteger),
        ("lmpop 3 a left", CommandError::NumKeysTooMany),
    ] {
        assert_eq!(read(line), Err(error), "{line}");
    }
}

#[test]
fn no_script_that_is_not_known_runs_where_there_are_namespaces() {
    let scripts = ["eval text 0", "eval text 1 k", "evalsha 0123 0", "fcall mine 1 k", "fcall_ro mine 0"];
    for line in scripts {
        assert_eq!(read(line), Err(CommandError::ScriptInNamespace), "{line}");
        assert_eq!(spaces().default_one().read(&argv(line)), Err(CommandError::ScriptInNamespace), "{line}");
        assert!(Namespace::default().read(&argv(line)).is_ok(), "{line}");
    }
    let known = read("evalsha b2efc02798c8e9b471a10f9b1d5745db89923ff3 1 k 5 1000 1").unwrap();
    assert_eq!(known.command.keys().map(Key::to_string).collect::<Vec<_>>(), ["shop:k"]);
}

#[test]
fn the_default_namespace_reads_as_ever_and_refuses_what_is_anothers() {
    let default = spaces().default_one();
    for (line, _) in LINES.into_iter().filter(|(line, _)| !line.contains("blog:")) {
        assert_eq!(
            default.read(&argv(line)),
            Ok(Placed { command: parse(&argv(line)).unwrap(), argv: None }),
            "{line}"
        );
    }
    let other = Err(CommandError::OtherNamespace { name: "shop:k".into() });
    for line in
        ["get shop:k", "mget a shop:k", "msetnx a 1 shop:k 2", "rpush shop:k a", "publish shop:k x", "copy a shop:k"]
    {
        assert_eq!(default.read(&argv(line)), other, "{line}");
    }
}

#[test]
fn replies_name_keys_as_the_client_does() {
    let shop = spaces().named("shop").unwrap();
    let bulk = |text: &str| Reply::Bulk(Bytes::copy_from_slice(text.as_bytes()));
    let list = |items: &[Reply]| Reply::Array(items.to_vec());
    for (name, full, own) in [
        (CommandName::RandomKey, bulk("shop:k"), bulk("k")),
        (CommandName::RandomKey, Reply::Nil, Reply::Nil),
        (CommandName::Keys, list(&[bulk("shop:a"), bulk("shop:b")]), list(&[bulk("a"), bulk("b")])),
        (CommandName::Scan, list(&[bulk("17"), list(&[bulk("shop:a")])]), list(&[bulk("17"), list(&[bulk("a")])])),
        (
            CommandName::LMPop,
            list(&[bulk("shop:l"), list(&[bulk("shop:x")])]),
            list(&[bulk("l"), list(&[bulk("shop:x")])]),
        ),
        (
            CommandName::XRead,
            list(&[list(&[bulk("shop:s"), list(&[bulk("shop:1-0")])])]),
            list(&[list(&[bulk("s"), list(&[bulk("shop:1-0")])])]),
        ),
        // A value is the client's own, whatever it looks like.
        (CommandName::GetDel, bulk("shop:k"), bulk("shop:k")),
        (CommandName::LRange, list(&[bulk("shop:k")]), list(&[bulk("shop:k")])),
    ] {
        assert_eq!(shop.unplaced(name, Ok(full)), Ok(own), "{name:?}");
    }
    let error = |text: &str| CommandError::AtOrigin(text.into());
    let told = shop.unplaced(CommandName::XReadGroup, Err(error("NOGROUP No such key 'shop:s' or consumer group 'g'")));
    assert_eq!(told, Err(error("NOGROUP No such key 's' or consumer group 'g'")));
}
