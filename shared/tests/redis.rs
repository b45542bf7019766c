//! Redis' own meaning within one node: commands with the replies of redis-server 7.0.15.
//!
//! `redis/replies.txt` was recorded there: a command, a tab and its reply a line (see [`common::text`]); a line with `#`
//! begins with an empty dataset. The same replies are demanded of a hub, of one that settles or restarts between any two
//! commands, and of a leaf.

use crate::common::{World, text::argv};
use headwater::command::CommandName;
use std::collections::BTreeSet;

const RECORDED: &str = include_str!("redis/replies.txt");

struct Section {
    title: &'static str,
    commands: Vec<(&'static str, &'static str)>,
}

fn sections() -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for line in RECORDED.lines() {
        if let Some(title) = line.strip_prefix("# ") {
            sections.push(Section { title, commands: Vec::new() });
        } else if let Some(command) = line.split_once('\t') {
            sections.last_mut().expect("the table begins with a title").commands.push(command);
        }
    }
    sections
}

impl Section {
    /// Runs the section's commands in a fresh world.
    fn check(&self, mut run: impl FnMut(&mut World, &str) -> String) {
        let mut world = World::new(1);
        for (at, (line, expected)) in self.commands.iter().enumerate() {
            let reply = run(&mut world, line);
            assert_eq!(reply, *expected, "{}, command {at}: {line}", self.title);
        }
    }

    fn keys(&self) -> Vec<&'static str> {
        let keys: BTreeSet<_> = self.commands.iter().flat_map(|(line, _)| line.split(' ').skip(1)).collect();
        keys.into_iter().filter(|key| !key.contains('\\')).collect()
    }
}

#[test]
fn a_hub_answers_as_redis_does() {
    for section in sections() {
        section.check(|world, line| world.run(0, line));
    }
}

#[test]
fn a_hub_whose_writes_are_committed_one_by_one_answers_as_redis_does() {
    for section in sections() {
        section.check(|world, line| {
            let reply = world.run(0, line);
            world.settle();
            if let Some(key) = line.split(' ').nth(1).filter(|key| !key.contains(['\\', '"'])) {
                world.assert_agreement(key);
            }
            reply
        });
    }
}

#[test]
fn a_hub_that_restarts_between_commands_answers_as_redis_does() {
    for section in sections() {
        section.check(|world, line| {
            let reply = world.run(0, line);
            world.restart_hub(0);
            reply
        });
    }
}

#[test]
fn a_leaf_answers_as_redis_does() {
    for section in sections().into_iter().filter(|section| section.title != "binary") {
        let keys = section.keys();
        let mut leaf = None;
        section.check(|world, line| {
            let leaf = *leaf.get_or_insert_with(|| world.leaf_at(0, &keys));
            world.run_leaf(leaf, line)
        });
    }
}

#[test]
fn a_leaf_whose_writes_are_settled_one_by_one_answers_as_redis_does() {
    for section in sections().into_iter().filter(|section| section.title != "binary") {
        let keys = section.keys();
        let mut leaf = None;
        section.check(|world, line| {
            let leaf = *leaf.get_or_insert_with(|| world.leaf_at(0, &keys));
            let reply = world.run_leaf(leaf, line);
            world.settle();
            assert_eq!(world.refused(leaf), [""; 0], "{line}");
            if let Some(key) = line.split(' ').nth(1).filter(|key| !key.contains('"')) {
                world.assert_agreement(key);
            }
            reply
        });
    }
}

const ELSEWHERE: [CommandName; 14] = [
    CommandName::HExpire,
    CommandName::HPExpire,
    CommandName::HExpireAt,
    CommandName::HPExpireAt,
    CommandName::HTtl,
    CommandName::HPTtl,
    CommandName::HExpireTime,
    CommandName::HPExpireTime,
    CommandName::HPersist,
    CommandName::Limit,
    CommandName::Eval,
    CommandName::EvalSha,
    CommandName::Revoke,
    CommandName::Revoked,
];

#[test]
fn every_command_is_in_the_table() {
    let recorded: BTreeSet<Vec<u8>> =
        sections().iter().flat_map(|s| &s.commands).map(|(line, _)| argv(line)[0].to_ascii_lowercase()).collect();
    // What runs only at the origin has no reply here, Redis 7.0 has neither deadlines of fields nor our own
    // commands, and of scripts only known ones are answered.
    let all = CommandName::ALL
        .iter()
        .filter(|name| !name.needs_origin() && name.passes().is_none() && !ELSEWHERE.contains(name));
    assert_eq!(recorded, all.map(|name| name.as_str().as_bytes().to_vec()).collect());
}
