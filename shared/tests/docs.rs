//! The transcripts in the documentation are what happens: `docs/semantics.md` and `docs/recipes.md`, reply by reply.
//!
//! Two hubs hold every key of a transcript from its beginning. A line that begins with `-- ` is not a command: they meet, time
//! passes, or the tab, which is at the second hub, loses its socket or gets it back.

use crate::common::{SECOND, World};
use headwater::command::{CommandError, Reply};
use std::collections::BTreeSet;

const PAGES: [(&str, &str); 2] =
    [("semantics.md", include_str!("../../docs/semantics.md")), ("recipes.md", include_str!("../../docs/recipes.md"))];

const EDGES: [&str; 2] = ["eu", "us"];
const US: usize = 1;

#[test]
fn every_transcript_replies_as_the_page_says() {
    for (page, text) in PAGES {
        let transcripts: Vec<&str> = text.split("```transcript\n").skip(1).collect();
        assert!(transcripts.len() >= 5, "{page} has {} transcripts", transcripts.len());
        for transcript in transcripts {
            let (transcript, _) = transcript.split_once("\n```").expect("the block ends");
            assert_eq!(replayed(transcript), transcript, "{page}");
        }
    }
}

/// The transcript with what was really replied.
fn replayed(transcript: &str) -> String {
    let mut world = World::new(EDGES.len());
    let commands = || transcript.lines().filter_map(command);
    let keys: BTreeSet<&str> = commands().map(|(_, line)| line.split(' ').nth(1).expect("a key")).collect();
    let keys: Vec<&str> = keys.into_iter().collect();
    world.hold(&keys);
    let tab = commands().any(|(who, _)| who == "tab").then(|| world.leaf_at(US, &keys));
    let mut lines = Vec::new();
    for line in transcript.lines() {
        if let Some(event) = line.strip_prefix("-- ") {
            happen(&mut world, tab, event);
            lines.push(line.to_owned());
        } else if let Some((who, command)) = command(line) {
            lines.push(line.to_owned());
            lines.push(run(&mut world, tab, who, command));
        }
    }
    lines.join("\n")
}

/// Who runs what, if the line is a command.
fn command(line: &str) -> Option<(&str, &str)> {
    let (who, command) = line.split_once("> ")?;
    (EDGES.contains(&who) || who == "any" || who == "tab").then_some((who, command))
}

fn happen(world: &mut World, tab: Option<usize>, event: &str) {
    let leaf = || tab.expect("the transcript has a tab");
    match event.split(' ').collect::<Vec<_>>()[..] {
        ["they", "meet"] => {
            world.settle();
            // What comes next is later by every clock.
            world.skip(SECOND);
        }
        ["the", "tab", "goes", "offline"] => world.disconnect(leaf()),
        ["the", "tab", "is", "back"] => {
            world.connect(leaf(), US);
            world.settle();
            assert_eq!(world.refused(leaf()), [""; 0]);
        }
        [seconds, "s", "pass" | "passes"] => world.sleep(seconds.parse::<i64>().expect("seconds") * SECOND),
        _ => panic!("nobody knows what \"{event}\" is"),
    }
}

fn run(world: &mut World, tab: Option<usize>, who: &str, command: &str) -> String {
    match who {
        "tab" => {
            let reply = world.leaf_reply(tab.expect("the transcript has a tab"), command);
            shown(&reply)
        }
        "any" => {
            world.agreed(command);
            at(world, 0, command)
        }
        edge => at(world, EDGES.iter().position(|name| *name == edge).expect("an edge"), command),
    }
}

fn at(world: &mut World, hub: usize, command: &str) -> String {
    shown(&world.pipeline(hub, &[command], None).replies[0])
}

/// As redis-cli shows it.
fn shown(reply: &Result<Reply, CommandError>) -> String {
    match reply {
        Err(error) => format!("(error) {error}"),
        Ok(Reply::Nil) => "(nil)".to_owned(),
        Ok(Reply::Ok) => "OK".to_owned(),
        Ok(Reply::Simple(text)) => text.to_string(),
        Ok(Reply::Int(number)) => format!("(integer) {number}"),
        Ok(Reply::Bulk(bytes)) => format!("\"{}\"", bytes.escape_ascii()),
        Ok(Reply::Array(all)) if all.is_empty() => "(empty array)".to_owned(),
        Ok(Reply::Array(all)) => {
            let item = |(at, item): (usize, &Reply)| format!("{}) {}", at + 1, shown(&Ok(item.clone())));
            all.iter().enumerate().map(item).collect::<Vec<_>>().join("\n")
        }
    }
}
