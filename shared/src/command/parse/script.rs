//! EVAL and EVALSHA of the scripts that `@upstash/ratelimit` 2.2 publishes. Others are passed through to the origin.
//!
//! EVALSHA names a script by the SHA-1 of its text, and EVAL brings the text, whose SHA-1 is taken. What a script does is
//! ours; its text is not kept. Arguments beyond those that a script reads are ignored, as Redis ignores them.

use super::{Arguments, CommandError, CommandName};
use crate::{
    command::{Action, Keyed, Part, Place, Script},
    id::Key,
};
use sha1::{Digest, Sha1};
use std::ops::RangeInclusive;

type Read = fn(&mut Arguments<'_>) -> Result<Script, CommandError>;

/// Each script's SHA-1, how many keys it is given, and how its arguments are read.
const PUBLISHED: [(&str, RangeInclusive<usize>, Read); 13] = [
    ("b2efc02798c8e9b471a10f9b1d5745db89923ff3", 1..=2, |args| {
        Ok(Script::FixedWindow { limit: args.integer()?, window_ms: args.duration_ms()?, by: args.integer()? })
    }),
    ("823cb2a5a902d69681244f5e28e5ebb8f2a89edd", 1..=2, |args| Ok(Script::FixedWindowLeft { limit: args.integer()? })),
    ("74740bb3d7792848093cdef586b6b6037c455fd6", 2..=3, |args| {
        Ok(Script::SlidingWindow { limit: args.integer()?, place: args.place()?, by: args.integer()? })
    }),
    ("7ca36169e0fc9caedd81b4eef8e99854c157f9b5", 2..=3, |args| {
        Ok(Script::SlidingWindowLeft { limit: args.integer()?, place: args.place()? })
    }),
    ("d60be5bd3d83482ae229309f1f7425424f891204", 1..=2, |args| {
        Ok(Script::TokenBucket {
            capacity: args.integer()?,
            interval_ms: args.duration_ms()?,
            refill: args.positive()?,
            now_ms: args.integer()?,
            by: args.integer()?,
        })
    }),
    ("40daf4a441df736f5c99f8b77bbe176c909e5de4", 1..=2, |args| {
        Ok(Script::TokenBucketLeft { capacity: args.integer()? })
    }),
    ("1861a700bafe96c833a483af6b1c28a8897cfdb0", 1..=1, |args| {
        Ok(Script::CachedFixedWindow { window_ms: args.duration_ms()?, by: args.integer()? })
    }),
    ("eb82f0e853d2fc9a236fa9bfbe704fda6ac2fc36", 1..=1, |_| Ok(Script::CachedFixedWindowUsed)),
    ("e04b753a75909b7f99aae4c04cf8869a8de02a9e", 1..=1, |args| {
        let request = args.bytes(Part::Field)?;
        Ok(Script::RegionsFixedWindow { request, window_ms: args.duration_ms()?, by: args.integer()? })
    }),
    ("e066c8ce3eaca142b0894ad1541e0a58c9924819", 1..=1, |_| Ok(Script::RegionsFixedWindowUsed)),
    ("aeb4d8f381e8dafc8e69041baae1324d254ded44", 2..=2, |args| {
        let (limit, place) = (args.integer()?, args.place()?);
        Ok(Script::RegionsSlidingWindow { limit, place, request: args.bytes(Part::Field)?, by: args.integer()? })
    }),
    ("87828c1088f6a8d1f512a434ea330189982a1c0a", 2..=2, |args| {
        Ok(Script::RegionsSlidingWindowUsed { place: args.place()? })
    }),
    ("e8062088fe7e67994f617766e5d766490de1afb8", 2..=2, |args| {
        let first = args.bytes(Part::Member)?;
        let mut members = args.remaining(Part::Member)?;
        members.insert(0, first);
        Ok(Script::DenyList { members })
    }),
];

/// The one that is given a pattern for a key.
const RESET: &str = "54bd274ddc59fb3be0f42deee2f64322a10e2b50";

/// `script|sha1 numkeys key... argument...`; `None` for a script that is not known.
pub(super) fn script(args: &mut Arguments<'_>) -> Result<Option<Keyed>, CommandError> {
    let name = args.name;
    let sent = args.required()?;
    let key_count = args.integer()?;
    if usize::try_from(key_count).is_ok_and(|count| count > args.rest.len()) {
        return Err(CommandError::NumKeysTooMany);
    }
    let key_count = usize::try_from(key_count).or(Err(CommandError::NumKeysNegative))?;
    let sha1 = match name {
        CommandName::Eval => hexadecimal(&Sha1::digest(sent)),
        _ => sent.to_ascii_lowercase(),
    };
    if sha1 == RESET.as_bytes() && key_count == 1 {
        return reset(args).map(Some);
    }
    let published = PUBLISHED.iter().find(|(known, ..)| known.as_bytes() == sha1);
    let Some((_, counts, read)) = published else { return Ok(None) };
    if !counts.contains(&key_count) {
        return Err(CommandError::WrongArity(name));
    }
    let keys = (0..key_count).map(|_| args.key()).collect::<Result<_, _>>()?;
    Ok(Some(Keyed { name, keys, action: Action::Script(read(args)?) }))
}

/// A pattern that can only mean one key names it, so that it is fetched.
fn reset(args: &mut Arguments<'_>) -> Result<Keyed, CommandError> {
    let pattern = args.bytes(Part::Key)?;
    let is_literal = !pattern.iter().any(|byte| b"*?[\\".contains(byte));
    let keys = if is_literal { vec![Key::new(pattern.clone())?] } else { Vec::new() };
    Ok(Keyed { name: args.name, keys, action: Action::Script(Script::Reset { pattern }) })
}

fn hexadecimal(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect()
}

impl Arguments<'_> {
    fn positive(&mut self) -> Result<i64, CommandError> {
        Some(self.integer()?).filter(|number| *number > 0).ok_or(CommandError::NotAnInteger)
    }

    /// What PEXPIRE takes.
    fn duration_ms(&mut self) -> Result<i64, CommandError> {
        Some(self.integer()?).filter(|ms| *ms > 0).ok_or(CommandError::InvalidExpireTime(self.name))
    }

    fn place(&mut self) -> Result<Place, CommandError> {
        Ok(Place { now_ms: self.integer()?, window_ms: self.duration_ms()? })
    }
}
