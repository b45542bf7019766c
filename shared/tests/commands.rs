//! The page that lists Redis' commands says what the code does: `docs/commands.md` against [`CommandName::ALL`].

use bytes::Bytes;
use headwater::command::{CommandError, CommandName, parse};
use std::collections::BTreeMap;

const PAGE: &str = include_str!("../../docs/commands.md");

/// Where each command on the page is said to run; a row may list several.
fn listed() -> BTreeMap<String, String> {
    let mut listed = BTreeMap::new();
    for row in PAGE.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, names, place, ..] = cells[..] else { panic!("{row}") };
        assert!(matches!(place, "edge" | "origin" | "passed" | "stream" | "refused"), "{row}");
        for name in names.split(", ") {
            let name = name.trim_matches('`').to_owned();
            assert_eq!(listed.insert(name.clone(), place.to_owned()), None, "{name} is listed twice");
        }
    }
    listed
}

#[test]
fn every_command_that_is_known_is_listed_where_it_runs() {
    let mut listed = listed();
    for name in CommandName::ALL {
        let place = match name.passes() {
            Some(_) => "passed",
            None if name.needs_origin() => "origin",
            None => "edge",
        };
        assert_eq!(listed.remove(name.as_str()).as_deref(), Some(place), "{name}");
    }
    assert!(listed.values().all(|place| place == "refused" || place == "stream"), "{listed:?}");
}

#[test]
fn what_is_listed_as_refused_is_an_unknown_command() {
    let refused: Vec<String> = listed()
        .into_iter()
        .filter(|(_, place)| place == "refused" || place == "stream")
        .map(|(name, _)| name)
        .collect();
    assert!(refused.len() > 60, "Redis has many more commands: {refused:?}");
    for name in refused {
        let error = parse(&[Bytes::from(name.clone()), Bytes::from_static(b"k")]);
        assert!(matches!(error, Err(CommandError::Unknown { .. })), "{name}: {error:?}");
    }
}
