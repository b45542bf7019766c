//! Commands that the origin runs, and what Redis answered.

use super::{Invalid, reader::Reader, writer::Writer};
use crate::{
    command::Reply,
    id::{Key, No},
    limits::JOBS_MAX,
    limits::{
        ARGUMENTS_MAX, ERROR_BYTES_MAX, NAMESPACE_BYTES_MAX, NAMESPACES_MAX, PIPELINE_MAX, REPLY_DEPTH_MAX,
        RUN_REPLY_BYTES_MAX, VALUE_BYTES_MAX,
    },
    message::{Job, RunReply},
    namespace::{Namespace, NamespaceName},
    slot::Slot,
};
use bytes::Bytes;

/// Tags of replies.
const NIL: u8 = 0;
const OK: u8 = 1;
const SIMPLE: u8 = 2;
const INT: u8 = 3;
const BULK: u8 = 4;
const ARRAY: u8 = 5;
/// Of an error, which stands in no array.
const ERROR: u8 = 6;

pub(super) fn write_commands(w: &mut Writer, commands: &[Vec<Bytes>]) {
    if commands.len() > PIPELINE_MAX {
        w.refuse(Invalid::TooMany("commands"));
    }
    w.count(commands.len());
    for argv in commands {
        write_arguments(w, argv);
    }
}

pub(super) fn read_commands(r: &mut Reader<'_>) -> Result<Vec<Vec<Bytes>>, Invalid> {
    r.list("commands", PIPELINE_MAX, 1, read_arguments)
}

pub(super) fn write_namespace(w: &mut Writer, namespace: &Namespace) {
    let (name, others) = namespace.parts();
    w.bytes(name.as_bytes());
    w.count(others.len());
    others.iter().for_each(|other| w.bytes(other.as_str().as_bytes()));
}

pub(super) fn read_namespace(r: &mut Reader<'_>) -> Result<Namespace, Invalid> {
    let read = |text: &str| NamespaceName::sent(text).ok_or(Invalid::Tag("namespace"));
    let name = r.string("namespace", NAMESPACE_BYTES_MAX)?;
    let name = if name.is_empty() { None } else { Some(read(&name)?) };
    let others = r.list("namespaces", NAMESPACES_MAX, 2, |r| read(&r.string("namespace", NAMESPACE_BYTES_MAX)?))?;
    Ok(Namespace::from_parts(name, others))
}

pub(crate) fn write_arguments(w: &mut Writer, argv: &[Bytes]) {
    w.count(argv.len());
    argv.iter().for_each(|argument| w.bytes(argument));
}

pub(crate) fn read_arguments(r: &mut Reader<'_>) -> Result<Vec<Bytes>, Invalid> {
    r.list("arguments", ARGUMENTS_MAX, 1, |r| r.bytes("argument", VALUE_BYTES_MAX))
}

pub(super) fn write_jobs(w: &mut Writer, slot: Slot, jobs: &[Job]) {
    if jobs.len() > JOBS_MAX {
        w.refuse(Invalid::TooMany("jobs"));
    }
    w.slot(slot);
    w.count(jobs.len());
    for (no, argv) in jobs {
        w.no(*no);
        write_arguments(w, argv);
    }
}

/// The key of each job must be of the slot, and the numbers ascend.
pub(super) fn read_jobs(r: &mut Reader<'_>) -> Result<(Slot, Vec<Job>), Invalid> {
    let (slot, mut last) = (r.slot()?, No::ZERO);
    let jobs = r.list("jobs", JOBS_MAX, 2, |r| {
        let (no, argv) = (r.no()?, read_arguments(r)?);
        if no <= std::mem::replace(&mut last, no) {
            return Err(Invalid::Order("jobs"));
        }
        if job_slot(&argv) != Some(slot) {
            return Err(Invalid::Slot);
        }
        Ok((no, argv))
    })?;
    Ok((slot, jobs))
}

/// The slot of a job's key, which is its first argument.
pub(crate) fn job_slot(argv: &[Bytes]) -> Option<Slot> {
    argv.get(1).and_then(|key| Key::new(key.clone()).ok()).map(|key| key.slot())
}

pub(super) fn write_job_replies(w: &mut Writer, replies: &[(No, RunReply)]) {
    w.count(replies.len());
    for (no, reply) in replies {
        w.no(*no);
        write_run_reply(w, reply);
    }
}

pub(super) fn read_job_replies(r: &mut Reader<'_>) -> Result<Vec<(No, RunReply)>, Invalid> {
    r.list("replies", JOBS_MAX, 2, |r| Ok((r.no()?, read_run_reply(r)?)))
}

pub(super) fn write_replies(w: &mut Writer, replies: &[RunReply]) {
    w.count(replies.len());
    replies.iter().for_each(|reply| write_run_reply(w, reply));
}

pub(super) fn read_replies(r: &mut Reader<'_>) -> Result<Vec<RunReply>, Invalid> {
    r.list("replies", PIPELINE_MAX, 1, read_run_reply)
}

pub(super) fn write_run_reply(w: &mut Writer, reply: &RunReply) {
    match reply {
        Ok(reply) => write_reply(w, reply),
        Err(error) => {
            w.u8(ERROR);
            w.bytes(error.as_bytes());
        }
    }
}

pub(super) fn read_run_reply(r: &mut Reader<'_>) -> Result<RunReply, Invalid> {
    match r.u8()? {
        ERROR => Ok(Err(r.string("error", ERROR_BYTES_MAX)?.into())),
        tag => read_reply(r, tag, REPLY_DEPTH_MAX).map(Ok),
    }
}

fn write_reply(w: &mut Writer, reply: &Reply) {
    match reply {
        Reply::Nil => w.u8(NIL),
        Reply::Ok => w.u8(OK),
        Reply::Simple(text) => {
            w.u8(SIMPLE);
            w.bytes(text.as_bytes());
        }
        Reply::Int(number) => {
            w.u8(INT);
            w.zigzag(*number);
        }
        Reply::Bulk(bytes) => {
            w.u8(BULK);
            w.bytes(bytes);
        }
        Reply::Array(replies) => {
            w.u8(ARRAY);
            w.count(replies.len());
            replies.iter().for_each(|reply| write_reply(w, reply));
        }
    }
}

/// Recursive, down to a depth that every stack has.
fn read_reply(r: &mut Reader<'_>, tag: u8, depth: usize) -> Result<Reply, Invalid> {
    Ok(match tag {
        NIL => Reply::Nil,
        OK => Reply::Ok,
        SIMPLE => Reply::Simple(r.string("reply", ERROR_BYTES_MAX)?.into()),
        INT => Reply::Int(r.zigzag()?),
        BULK => Reply::Bulk(r.bytes("reply", RUN_REPLY_BYTES_MAX)?),
        ARRAY => {
            let inner = depth.checked_sub(1).ok_or(Invalid::TooMany("levels of a reply"))?;
            Reply::Array(r.list("replies", RUN_REPLY_BYTES_MAX, 1, |r| {
                let tag = r.u8()?;
                read_reply(r, tag, inner)
            })?)
        }
        _ => return Err(Invalid::Tag("reply")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_that_is_nested_too_deeply_is_refused() {
        let nested = |depth: usize| (0..depth).fold(Reply::Nil, |inner, _| Reply::Array(vec![inner]));
        let read = |depth| {
            let mut w = Writer::default();
            write_run_reply(&mut w, &Ok(nested(depth)));
            let bytes = w.finish().unwrap();
            read_run_reply(&mut Reader::new(&bytes))
        };
        assert_eq!(read(REPLY_DEPTH_MAX), Ok(Ok(nested(REPLY_DEPTH_MAX))));
        assert_eq!(read(REPLY_DEPTH_MAX + 1), Err(Invalid::TooMany("levels of a reply")));
    }
}
