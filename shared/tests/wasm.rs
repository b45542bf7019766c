//! The core on wasm32 in a JavaScript host, as a Worker or a tab runs it: the same scenarios, the same bytes, the same laws.
//!
//! The other tests run on wasm too where there is WASI; here is what must hold on `wasm32-unknown-unknown` itself.
#![cfg(all(target_arch = "wasm32", target_os = "unknown"))]

mod common;

use common::{DAY, World, corpus, history, text};
use wasm_bindgen_test::wasm_bindgen_test;

#[wasm_bindgen_test]
fn two_hubs_an_origin_and_a_leaf_converge() {
    let mut world = World::new(2);
    world.hold(&["n", "b", "s"]);
    let leaf = world.leaf_at(1, &["n", "b", "s"]);
    world.run(0, "SET n 5");
    world.run(0, "SADD s a b");
    world.settle();
    world.disconnect(leaf);
    world.run_leaf(leaf, "INCRBY n 100");
    world.run_leaf(leaf, "SREM s a b");
    world.run_leaf(leaf, "ZINCRBY b 0.1 m");
    world.run(0, "INCR n");
    world.run(0, "ZINCRBY b 0.2 m");
    world.run(1, "INCRBY n 10");
    world.run(1, "ZINCRBY b 0.3 m");
    world.run(1, "SADD s b");
    world.advance(DAY);
    world.restart_hub(1);
    world.connect(leaf, 1);
    world.settle();
    assert_eq!(world.refused(leaf), [""; 0]);
    assert_eq!(world.agreed("GET n"), "$116");
    assert_eq!(world.agreed("SMEMBERS s"), "[$b]");
    // The sums of the two hubs, each in the order of its operations, in replica order.
    let sum = 0.2_f64 + (0.3 + 0.1);
    assert_eq!(world.agreed("ZSCORE b m"), format!("${}", headwater::command::format_score(sum).escape_ascii()));
}

#[wasm_bindgen_test]
fn bytes_are_those_of_the_golden_files() {
    for (file, lines) in corpus::files() {
        let golden = match file {
            "leaf_to_hub" => include_str!("golden/leaf_to_hub.hex"),
            "hub_to_leaf" => include_str!("golden/hub_to_leaf.hex"),
            "hub_to_origin" => include_str!("golden/hub_to_origin.hex"),
            "origin_to_hub" => include_str!("golden/origin_to_hub.hex"),
            "row_ids" => include_str!("golden/row_ids.hex"),
            "stored" => include_str!("golden/stored.hex"),
            other => panic!("{other} has no golden file"),
        };
        assert_eq!(text::golden(&lines), golden, "{file}");
    }
}

#[wasm_bindgen_test]
fn keys_are_a_lattice_over_random_histories() {
    for seed in 0..300 {
        history::assert_lattice_laws(&history::three_replicas(seed, 40));
    }
}

#[wasm_bindgen_test]
fn a_hub_answers_as_redis_does() {
    let mut world = World::new(1);
    for line in include_str!("redis/replies.txt").lines() {
        match line.split_once('\t') {
            Some((command, reply)) => assert_eq!(world.run(0, command), reply, "{command}"),
            None => world = World::new(1),
        }
    }
}
