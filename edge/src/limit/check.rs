//! The body of a call, field by field, so that what is wrong with it is told with the field's name.

use crate::fields::{BadField, Fields};
use bytes::Bytes;
use headwater::{
    command::Command,
    id::{BadKey, Key},
    limit::{AMOUNT_MAX, Algorithm, Limit, LimitError},
};
use serde_json::{Map, Value};
use std::{borrow::Cow, num::NonZeroU64};

/// Checks in one call. Each may be at a hub of its own.
const CHECKS_MAX: usize = 64;

/// The characters of a check's name, which stands in headers.
const NAME_CHARACTERS_MAX: usize = 64;

const FIELDS: [&str; 11] =
    ["key", "name", "algorithm", "limit", "window_ms", "burst", "cost", "mode", "nodes", "peek", "on_error"];

/// The body is no call.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadCheck {
    /// Not even JSON.
    #[error("ERR Headwater: the body is no JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Neither an object nor a list.
    #[error("ERR Headwater: the body must be a check, which is an object, or a list of 1 to {CHECKS_MAX} checks")]
    Shape,
    /// A field is missing or says what it cannot.
    #[error(transparent)]
    Field(#[from] BadField),
}

/// Headers cannot call a check so.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("must have 1 to {NAME_CHARACTERS_MAX} printable ASCII characters")]
pub struct BadName;

/// What is asked.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Call {
    /// In order; at least one.
    pub(crate) checks: Vec<Check>,
    /// Whether they came as a list, and so go back as one.
    pub(crate) is_list: bool,
}

/// One limit, and what a request costs under it.
///
/// ```
/// use headwater_edge::{Check, Limit};
///
/// let limit = Limit::sliding_window(100, 60_000)?;
/// let check = Check::new("login:ada", limit)?.cost(3).open_on_error();
/// assert!(Check::new("hw:mine", limit).is_err(), "such keys are Headwater's own");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Debug)]
pub struct Check {
    /// Where its windows are counted.
    pub(crate) key: Key,
    /// What the headers call it: its position, unless the client says otherwise.
    pub(crate) name: Cow<'static, str>,
    /// The limit.
    pub(crate) limit: Limit,
    /// What the request costs.
    pub(crate) cost: u64,
    /// How many nodes at most decide on it, where the client says.
    pub(crate) nodes: Option<NonZeroU64>,
    /// Whether it is decided by rights that the origin granted.
    pub(crate) is_strict: bool,
    /// Whether nothing is to be counted.
    pub(crate) peek: bool,
    /// Whether a request passes on which nothing could be decided.
    pub(crate) is_open_on_error: bool,
}

impl Call {
    /// Reads a body.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, BadCheck> {
        match serde_json::from_slice(body)? {
            Value::Object(fields) => Ok(Self { checks: vec![check("", "1", &fields)?], is_list: false }),
            Value::Array(items) if (1..=CHECKS_MAX).contains(&items.len()) => {
                let checks = items.iter().enumerate().map(|(at, item)| match item {
                    Value::Object(fields) => check(&format!("[{at}]."), &(at + 1).to_string(), fields),
                    _ => Err(Fields::of("", &Map::new()).wrong(&format!("[{at}]"), "must be an object")),
                });
                Ok(Self { checks: checks.collect::<Result<_, _>>()?, is_list: true })
            }
            _ => Err(BadCheck::Shape),
        }
    }
}

impl Check {
    /// Of a request that costs 1. Its windows are counted under the key: one for each subject and limit. Headers call it
    /// `limit`.
    ///
    /// # Errors
    /// Where the key is longer than 1,024 bytes, or begins with `hw:`.
    pub fn new(key: impl Into<Bytes>, limit: Limit) -> Result<Self, BadKey> {
        Ok(Self::of(Key::new(key)?, Cow::Borrowed("limit"), limit, 1))
    }

    /// One that lets nothing pass on which nothing could be decided.
    pub(crate) fn of(key: Key, name: Cow<'static, str>, limit: Limit, cost: u64) -> Self {
        Self { key, name, limit, cost, nodes: None, is_strict: false, peek: false, is_open_on_error: false }
    }

    /// What headers are to call it.
    ///
    /// # Errors
    /// Where that has not 1 to 64 printable ASCII characters.
    pub fn named(self, name: &str) -> Result<Self, BadName> {
        if is_name(name) { Ok(Self { name: Cow::Owned(name.to_owned()), ..self }) } else { Err(BadName) }
    }

    /// What the request costs, at most 2⁵³ − 1; 0 asks what is left.
    #[must_use]
    pub fn cost(self, cost: u64) -> Self {
        Self { cost: cost.min(AMOUNT_MAX), ..self }
    }

    /// No more nodes than this ever decide on the limit, which bounds its over-admission. Not for a strict one, which is held
    /// by any number of nodes.
    #[must_use]
    pub fn nodes(self, nodes: NonZeroU64) -> Self {
        Self { nodes: Some(nodes), ..self }
    }

    /// All edges together never let more pass: it is decided by rights that the origin granted to the region's object.
    #[must_use]
    pub fn strict(self) -> Self {
        Self { is_strict: true, ..self }
    }

    /// Decides and counts nothing.
    #[must_use]
    pub fn peek(self) -> Self {
        Self { peek: true, ..self }
    }

    /// Lets the request pass where nothing can be decided; otherwise it does not.
    #[must_use]
    pub fn open_on_error(self) -> Self {
        Self { is_open_on_error: true, ..self }
    }

    /// The command that decides it.
    pub(crate) fn command(&self) -> Command {
        let Self { limit, cost, peek, .. } = *self;
        let nodes = self.nodes.filter(|_| !self.is_strict);
        Command::Limit { key: self.key.clone(), limit, cost, nodes, peek, strict: self.is_strict }
    }

    /// The same as it is sent.
    pub(crate) fn argv(&self) -> Vec<Bytes> {
        let (algorithm, is_bucket) = match self.limit.algorithm() {
            Algorithm::FixedWindow => ("FIXED", false),
            Algorithm::SlidingWindow => ("SLIDING", false),
            Algorithm::TokenBucket => ("BUCKET", true),
        };
        let mut argv = vec![Bytes::from_static(b"HW.LIMIT"), Bytes::copy_from_slice(self.key.as_bytes())];
        let mut push = |word: String| argv.push(word.into());
        push(algorithm.into());
        push(self.limit.per_window().to_string());
        push(self.limit.window_ms().to_string());
        if is_bucket {
            push("BURST".into());
            push(self.limit.capacity().to_string());
        }
        push("COST".into());
        push(self.cost.to_string());
        match self.nodes {
            _ if self.is_strict => push("STRICT".into()),
            Some(nodes) => {
                push("NODES".into());
                push(nodes.to_string());
            }
            None => {}
        }
        if self.peek {
            push("PEEK".into());
        }
        argv
    }
}

fn check(at: &str, position: &str, map: &Map<String, Value>) -> Result<Check, BadField> {
    let fields = Fields::of(at, map);
    fields.expect(&FIELDS, "a check")?;
    let key = fields.key("key")?;
    let name = fields.text("name")?.unwrap_or(position);
    if !is_name(name) {
        return Err(fields.wrong("name", BadName.to_string()));
    }
    let name = Cow::Owned(name.to_owned());
    let is_open_on_error = match fields.text("on_error")? {
        None | Some("closed") => false,
        Some("open") => true,
        Some(_) => return Err(fields.wrong("on_error", r#"must be "open" or "closed""#)),
    };
    let peek = fields.flag("peek", false)?;
    let cost = fields.integer("cost")?.unwrap_or(1);
    if cost > AMOUNT_MAX {
        return Err(fields.wrong("cost", format!("must be between 0 and {AMOUNT_MAX}")));
    }
    let nodes = match fields.integer("nodes")? {
        None => None,
        Some(nodes) => Some(NonZeroU64::new(nodes).ok_or_else(|| fields.wrong("nodes", "must be 1 or more"))?),
    };
    let is_strict = match fields.text("mode")? {
        None | Some("approximate") => false,
        Some("strict") => true,
        Some(_) => return Err(fields.wrong("mode", r#"must be "approximate" or "strict""#)),
    };
    if is_strict && nodes.is_some() {
        return Err(fields.wrong("nodes", "is for the mode approximate: a strict limit holds for any number of nodes"));
    }
    Ok(Check { key, name, limit: limit(&fields)?, cost, nodes, is_strict, peek, is_open_on_error })
}

fn is_name(name: &str) -> bool {
    (1..=NAME_CHARACTERS_MAX).contains(&name.len()) && name.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

fn limit(fields: &Fields<'_>) -> Result<Limit, BadField> {
    let algorithm = fields.text("algorithm")?.ok_or_else(|| fields.wrong("algorithm", "is missing"))?;
    let (per_window, window_ms) = (fields.required("limit")?, fields.required("window_ms")?);
    let burst = fields.integer("burst")?;
    if burst.is_some() && algorithm != "bucket" {
        return Err(fields.wrong("burst", "is for a bucket only"));
    }
    let limit = match algorithm {
        "fixed" => Limit::fixed_window(per_window, window_ms),
        "sliding" => Limit::sliding_window(per_window, window_ms),
        "bucket" => Limit::token_bucket(per_window, window_ms, burst.unwrap_or(per_window)),
        _ => return Err(fields.wrong("algorithm", r#"must be "fixed", "sliding" or "bucket""#)),
    };
    limit.map_err(|error| {
        let field = match error {
            LimitError::Amount(_) => "limit",
            LimitError::Window(_) => "window_ms",
            LimitError::Burst(_) | LimitError::FillsTooSlowly { .. } => "burst",
        };
        fields.wrong(field, format!("is wrong: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater::command::parse;

    fn error(body: &str) -> String {
        Call::parse(body.as_bytes()).expect_err(body).to_string()
    }

    fn command(body: &str) -> String {
        let call = Call::parse(body.as_bytes()).expect(body);
        let words = call.checks[0].argv();
        assert_eq!(parse(&words).as_ref(), Ok(&call.checks[0].command()));
        words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_check_becomes_the_command_that_decides_it() {
        let fixed = r#"{"key":"k","algorithm":"fixed","limit":10,"window_ms":1000}"#;
        assert_eq!(command(fixed), "HW.LIMIT k FIXED 10 1000 COST 1");
        let bucket =
            r#"{"key":"k","algorithm":"bucket","limit":10,"window_ms":1000,"burst":20,"cost":3,"nodes":4,"peek":true}"#;
        assert_eq!(command(bucket), "HW.LIMIT k BUCKET 10 1000 BURST 20 COST 3 NODES 4 PEEK");
        let strict = r#"{"key":"k","algorithm":"sliding","limit":10,"window_ms":1000,"mode":"strict"}"#;
        assert_eq!(command(strict), "HW.LIMIT k SLIDING 10 1000 COST 1 STRICT");
    }

    #[test]
    fn a_check_that_is_built_is_the_one_that_is_read() {
        let limit = Limit::token_bucket(10, 1000, 20).expect("valid");
        let built = || Check::new("k", limit).expect("a key").named("mine").expect("a name").cost(3).peek();
        let read = r#"{"key":"k","name":"mine","algorithm":"bucket","limit":10,"window_ms":1000,"burst":20,"cost":3,
            "peek":true,"nodes":4,"on_error":"open"}"#;
        let nodes = NonZeroU64::new(4).expect("not 0");
        let call = Call::parse(read.as_bytes()).expect("valid");
        assert_eq!(built().nodes(nodes).open_on_error(), call.checks[0]);
        let strict = built().nodes(nodes).strict();
        assert!(
            matches!(strict.command(), Command::Limit { strict: true, nodes: None, .. }),
            "held by any number of nodes"
        );
        assert_eq!(parse(&strict.argv()), Ok(strict.command()));
    }

    #[test]
    fn a_check_that_headers_or_the_store_cannot_name_is_refused() {
        let limit = Limit::fixed_window(1, 1).expect("valid");
        let named = |name: &str| Check::new("k", limit).expect("a key").named(name).map(drop);
        assert_eq!(["", "a\nb", "café", &"x".repeat(65)].map(named), [Err(BadName); 4]);
        assert_eq!(named(&"x".repeat(64)), Ok(()));
        assert!(Check::new("x".repeat(1025), limit).is_err());
        assert_eq!(Check::new("k", limit).expect("a key").cost(u64::MAX).cost, AMOUNT_MAX);
    }

    #[test]
    fn names_and_what_errors_mean_have_defaults() {
        let one = r#"{"key":"k","algorithm":"sliding","limit":1,"window_ms":1,"on_error":"open","name":"mine"}"#;
        let other = r#"{"key":"k","algorithm":"sliding","limit":1,"window_ms":1}"#;
        let call = Call::parse(format!("[{one},{other}]").as_bytes()).expect("valid");
        assert!(call.is_list && call.checks[0].is_open_on_error && !call.checks[1].is_open_on_error);
        assert_eq!(call.checks.iter().map(|check| check.name.as_ref()).collect::<Vec<_>>(), ["mine", "2"]);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_field() {
        let with = |field: &str, value: &str| {
            let mut check: Map<String, Value> =
                serde_json::from_str(r#"{"key":"k","algorithm":"fixed","limit":10,"window_ms":1000}"#).expect("JSON");
            check.remove(field);
            if !value.is_empty() {
                check.insert(field.into(), serde_json::from_str(value).expect("JSON"));
            }
            error(&Value::Object(check).to_string())
        };
        for (field, value, problem) in [
            ("key", "", "is missing"),
            ("key", r#""""#, "must have 1 to 1024 bytes"),
            ("key", "5", "must be a string"),
            ("key", r#""hw:m:a""#, "is wrong: the key hw:m:a is reserved: what begins with hw: is Headwater's own"),
            ("algorithm", "", "is missing"),
            ("algorithm", r#""leaky""#, r#"must be "fixed", "sliding" or "bucket""#),
            ("limit", "", "is missing"),
            ("limit", "0", "is wrong: the limit is 0; it must be between 1 and 9007199254740991"),
            ("limit", "1.5", "must be an integer, 0 or more"),
            ("limit", "\"5\"", "must be an integer, 0 or more"),
            ("window_ms", "-1", "must be an integer, 0 or more"),
            ("window_ms", "0", "is wrong: the window is 0 ms; it must be between 1 and 2678400000 ms"),
            ("burst", "5", "is for a bucket only"),
            ("cost", "9007199254740992", "must be between 0 and 9007199254740991"),
            ("nodes", "0", "must be 1 or more"),
            ("mode", r#""exact""#, r#"must be "approximate" or "strict""#),
            ("peek", "1", "must be true or false"),
            ("on_error", r#""ajar""#, r#"must be "open" or "closed""#),
            ("name", r#""caf\u00e9""#, "must have 1 to 64 printable ASCII characters"),
        ] {
            assert_eq!(with(field, value), format!("ERR Headwater: {field} {problem}"), "{field} {value}");
        }
        let both = r#"{"key":"k","algorithm":"fixed","limit":1,"window_ms":1,"mode":"strict","nodes":2}"#;
        assert!(error(both).starts_with("ERR Headwater: nodes is for the mode approximate"));
        assert!(with("windowMs", "5").starts_with("ERR Headwater: windowMs is not known; a check has key, "));
        let slow = r#"[{"key":"k","algorithm":"fixed","limit":1,"window_ms":1},
            {"key":"k","algorithm":"bucket","limit":1,"window_ms":2678400000,"burst":2}]"#;
        assert!(error(slow).starts_with("ERR Headwater: [1].burst is wrong: a bucket of 2 fills in"));
    }

    #[test]
    fn other_bodies_are_refused() {
        for body in ["5", "[]", "null", &format!("[{}]", vec!["{}"; CHECKS_MAX + 1].join(","))] {
            assert_eq!(error(body), BadCheck::Shape.to_string(), "{body}");
        }
        assert_eq!(error("[5]"), "ERR Headwater: [0] must be an object");
        assert!(error("{").starts_with("ERR Headwater: the body is no JSON: "));
    }
}
