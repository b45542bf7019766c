//! Topics, and what is published to them.

use super::{
    Invalid,
    reader::Reader,
    state::{read_key, write_key},
    writer::Writer,
};
use crate::{
    limits::{ERROR_BYTES_MAX, TOPICS_MAX, VALUE_BYTES_MAX},
    message::Published,
    topic::Topic,
};

const CHANNEL: u8 = 0;
const PATTERN: u8 = 1;

/// A kind and a key's length.
const TOPIC_BYTES_MIN: usize = 2;

pub(super) fn write_topic(w: &mut Writer, topic: &Topic) {
    w.u8(match topic {
        Topic::Channel(_) => CHANNEL,
        Topic::Pattern(_) => PATTERN,
    });
    write_key(w, topic.name());
}

pub(super) fn read_topic(r: &mut Reader<'_>) -> Result<Topic, Invalid> {
    Ok(match r.u8()? {
        CHANNEL => Topic::Channel(read_key(r)?),
        PATTERN => Topic::Pattern(read_key(r)?),
        _ => return Err(Invalid::Tag("topic")),
    })
}

pub(super) fn write_topics(w: &mut Writer, topics: &[Topic]) {
    if topics.len() > TOPICS_MAX {
        w.refuse(Invalid::TooMany("topics"));
    }
    w.count(topics.len());
    topics.iter().for_each(|topic| write_topic(w, topic));
}

pub(super) fn read_topics(r: &mut Reader<'_>) -> Result<Vec<Topic>, Invalid> {
    r.list("topics", TOPICS_MAX, TOPIC_BYTES_MIN, read_topic)
}

/// An empty text stands for no error.
pub(super) fn write_heard(w: &mut Writer, heard: &Result<(), Box<str>>) {
    w.bytes(heard.as_ref().err().map_or(&[][..], |error| error.as_bytes()));
}

pub(super) fn read_heard(r: &mut Reader<'_>) -> Result<Result<(), Box<str>>, Invalid> {
    let error = r.string("error", ERROR_BYTES_MAX)?;
    Ok(if error.is_empty() { Ok(()) } else { Err(error.into()) })
}

pub(super) fn write_published(w: &mut Writer, Published { topic, channel, payload }: &Published) {
    write_topic(w, topic);
    write_key(w, channel);
    w.bytes(payload);
}

pub(super) fn read_published(r: &mut Reader<'_>) -> Result<Published, Invalid> {
    Ok(Published { topic: read_topic(r)?, channel: read_key(r)?, payload: r.bytes("message", VALUE_BYTES_MAX)? })
}
