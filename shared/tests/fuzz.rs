//! Replays what the fuzzer keeps and found: the corpus, and every input that ever crashed a target.
//!
//! `cargo xtask fuzz` looks for more. `HEADWATER_BLESS=1 cargo test -p headwater --test suite fuzz` writes the seeds anew, which
//! a change of the format asks for.
#![cfg(not(target_arch = "wasm32"))]

use crate::common::{
    corpus,
    targets::{TARGETS, chunk},
};
use headwater::wire::{HEADER_BYTES, Message, Terms, encode};
use std::{fs, path::PathBuf};

#[test]
fn every_input_of_the_corpus_and_every_crasher_is_taken() {
    if std::env::var_os("HEADWATER_BLESS").is_some() {
        write_seeds();
    }
    for (name, target) in TARGETS {
        let mut inputs = 0;
        for directory in ["corpus", "crashers"] {
            let Ok(entries) = fs::read_dir(fuzz().join(directory).join(name)) else { continue };
            for entry in entries {
                let path = entry.expect("the directory can be read").path();
                // The harness shows what was printed when a target fails.
                println!("{}", path.display());
                target(&fs::read(path).expect("the input can be read"));
                inputs += 1;
            }
        }
        assert!(inputs > 0, "{name} has seeds");
    }
}

#[test]
fn scripts_are_cut_where_they_end_and_no_bytes_are_too_few() {
    for (_, target) in TARGETS {
        for data in [&b""[..], b"\0", b"\x06\xff\xff", b"\x06\x01\0\0\x06", &[0xff; 64]] {
            target(data);
        }
    }
}

fn fuzz() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}

/// The golden messages and rows as inputs: frames alone, and a machine's whole direction as one script.
fn write_seeds() {
    for (name, bytes) in seeds() {
        let path = fuzz().join("corpus").join(name);
        fs::create_dir_all(path.parent().expect("a seed lies in its target's directory")).expect("it can be made");
        fs::write(path, bytes).expect("the seed can be written");
    }
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds = frames("leaf_to_hub", corpus::leaf_to_hub());
    seeds.extend(frames("hub_to_leaf", corpus::hub_to_leaf()));
    seeds.extend(frames("hub_to_origin", corpus::hub_to_origin()));
    seeds.extend(frames("origin_to_hub", corpus::origin_to_hub()));

    let command = |line: &str| line.replace(' ', "\0").into_bytes();
    let lines =
        ["SET k v EX 10 NX", "INCRBY n -5", "SADD s a b", "ZADD b GT CH 1.5 m", "ZRANGE b (1 +inf BYSCORE", "DEL k"];
    let script: Vec<Vec<u8>> = lines.iter().map(|line| command(line)).collect();
    seeds.push(("commands/script".to_owned(), script.join(&b'\n')));

    let mut leaf = vec![chunk(3, b"k\0s"), chunk(0, b"")];
    leaf.extend(corpus::hub_to_leaf().iter().map(|(_, message)| chunk(6, &body(message))));
    leaf.insert(3, chunk(5, &command("SADD k m")));
    seeds.push(("leaf/messages".to_owned(), leaf.concat()));

    let mut hub: Vec<Vec<u8>> = corpus::leaf_to_hub().iter().map(|(_, message)| chunk(0, &body(message))).collect();
    hub.extend(corpus::origin_to_hub().iter().map(|(_, message)| chunk(5, &body(message))));
    hub.extend(lines.iter().map(|line| chunk(15, &command(line))));
    hub.push(chunk(14, b""));
    seeds.push(("hub/messages".to_owned(), hub.concat()));

    let mut origin = vec![chunk(0, b"")];
    origin.extend(corpus::hub_to_origin().iter().map(|(_, message)| chunk(3, &body(message))));
    origin.push(chunk(0x12, b""));
    seeds.push(("origin/messages".to_owned(), origin.concat()));

    for (at, (name, bytes)) in corpus::files()
        .into_iter()
        .filter(|(file, _)| *file == "stored" || *file == "row_ids")
        .flat_map(|(_, lines)| lines)
        .enumerate()
    {
        let seed = if name.starts_with("companion_h") {
            [&[3][..], &chunk(0, &bytes)].concat()
        } else if name.starts_with("companion_") {
            [&[3][..], &chunk(7, &bytes)].concat()
        } else {
            [&[2][..], &bytes].concat()
        };
        seeds.push((format!("stored/golden_{at}"), seed));
    }
    let state = corpus::full_key();
    seeds.push(("stored/header".to_owned(), [&[0][..], &headwater::wire::encode_header(&state.header())].concat()));
    for (at, (id, element)) in state.to_complete_delta().elements.into_iter().enumerate() {
        let body = headwater::wire::encode_element(id.kind(), &element);
        seeds.push((format!("stored/element_{at}"), [&[1][..], &body].concat()));
    }
    seeds
}

fn frames<M: Message>(direction: &str, messages: Vec<(&'static str, M)>) -> Vec<(String, Vec<u8>)> {
    let compressing = Terms { features: headwater::wire::Features::LZ4, ..Terms::default() };
    let seed = |(name, message): (&str, M)| {
        let frame = compressing.encode(&message).expect("the corpus has an encoding");
        (format!("frames/{direction}_{name}"), [&frame[3..5], &frame[HEADER_BYTES..]].concat())
    };
    messages.into_iter().map(seed).collect()
}

fn body<M: Message>(message: &M) -> Vec<u8> {
    encode(message).expect("the corpus has an encoding").split_off(HEADER_BYTES)
}
