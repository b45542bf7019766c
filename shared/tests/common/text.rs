//! Commands from lines, and replies and keys as short text that a test can pin.

use bytes::Bytes;
use headwater::{
    command::{CommandError, Reply, format_score},
    id::TimestampMs,
    state::{Element, KeyView, Kind},
};
use std::{collections::BTreeMap, fmt};

/// A command from words between spaces; `""` is an empty word, `\xNN` and `\s` are a byte and a space.
pub fn argv(line: &str) -> Vec<Bytes> {
    line.split(' ').map(|word| if word == "\"\"" { Bytes::new() } else { unescaped(word) }).collect()
}

fn unescaped(word: &str) -> Bytes {
    let mut bytes = Vec::new();
    let mut rest = word;
    while let Some((before, after)) = rest.split_once('\\') {
        bytes.extend_from_slice(before.as_bytes());
        rest = if let Some(rest) = after.strip_prefix('s') {
            bytes.push(b' ');
            rest
        } else {
            let (digits, rest) = after.strip_prefix('x').expect("an escape is \\s or \\xNN").split_at(2);
            bytes.push(u8::from_str_radix(digits, 16).expect("an escape has two digits"));
            rest
        };
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes.into()
}

/// A reply much as RESP2 has it: `+OK`, `:1`, `$text`, `nil`, `[:1 $a]`, `-ERR …`.
pub fn show(reply: &Result<Reply, CommandError>) -> String {
    match reply {
        Ok(reply) => show_reply(reply),
        Err(error) => format!("-{error}"),
    }
}

fn show_reply(reply: &Reply) -> String {
    match reply {
        Reply::Nil => "nil".to_owned(),
        Reply::Ok => "+OK".to_owned(),
        Reply::Simple(text) => format!("+{text}"),
        Reply::Int(number) => format!(":{number}"),
        Reply::Bulk(bytes) => format!("${}", bytes.escape_ascii()),
        Reply::Array(replies) => {
            let replies: Vec<String> = replies.iter().map(show_reply).collect();
            format!("[{}]", replies.join(" "))
        }
    }
}

/// A key as a reader sees it: the type that shows with its elements.
#[derive(Clone, PartialEq, Debug)]
pub struct PlainView {
    pub kind: PlainKind,
    pub deadline: Option<TimestampMs>,
    pub elements: BTreeMap<Bytes, Bytes>,
}

/// A type under the name that Redis gives it.
#[derive(Clone, Copy, PartialEq)]
pub struct PlainKind(pub Kind);

impl fmt::Debug for PlainKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.redis_name())
    }
}

/// What a state shows at `now`.
pub fn view(state: KeyView<'_>, now: TimestampMs) -> Option<PlainView> {
    let kind = state.shown(now)?;
    let present = state.elements_of(kind).into_iter().filter(|(_, element)| element.is_present_at(now));
    let value = |element: &Element| match kind {
        Kind::Set => Some(Bytes::new()),
        Kind::String | Kind::Hash => element.value(),
        Kind::Board => element.score().map(format_score),
    };
    let elements = present.filter_map(|(id, element)| Some((id.name(), value(&element)?))).collect();
    Some(PlainView { kind: PlainKind(kind), deadline: state.header().deadline.at(), elements })
}

/// Named bytes as a golden file has them: a name and hexadecimal digits a line.
pub fn golden(lines: &[(String, Vec<u8>)]) -> String {
    let line = |(name, bytes): &(String, Vec<u8>)| {
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{name} {digits}\n")
    };
    lines.iter().map(line).collect()
}
