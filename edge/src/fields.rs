//! The fields of a JSON object that a client sent, each read by its name, so that what is wrong is told with it.

use bytes::Bytes;
use headwater::{id::Key, limits::KEY_BYTES_MAX};
use serde_json::{Map, Value};

/// A field is missing or says what it cannot.
#[derive(Debug, thiserror::Error)]
#[error("ERR Headwater: {field} {problem}")]
pub(crate) struct BadField {
    /// Where it is, such as `[2].window_ms`.
    field: String,
    /// What is wrong.
    problem: String,
}

/// The fields of one object.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a> {
    at: &'a str,
    map: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    /// The fields of an object that stands at `at`, such as `[2].`.
    pub(crate) fn of(at: &'a str, map: &'a Map<String, Value>) -> Self {
        Self { at, map }
    }

    /// Refuses any field that is none of `names`.
    pub(crate) fn expect(&self, names: &[&str], what: &str) -> Result<(), BadField> {
        match self.map.keys().find(|name| !names.contains(&name.as_str())) {
            None => Ok(()),
            Some(unknown) => Err(self.wrong(unknown, format!("is not known; {what} has {}", names.join(", ")))),
        }
    }

    pub(crate) fn wrong(&self, field: &str, problem: impl Into<String>) -> BadField {
        BadField { field: format!("{}{field}", self.at), problem: problem.into() }
    }

    pub(crate) fn missing(&self, field: &str) -> BadField {
        self.wrong(field, "is missing")
    }

    pub(crate) fn value(&self, field: &str) -> Option<&'a Value> {
        self.map.get(field)
    }

    pub(crate) fn text(&self, field: &str) -> Result<Option<&'a str>, BadField> {
        let text = |value: &'a Value| value.as_str().ok_or_else(|| self.wrong(field, "must be a string"));
        self.map.get(field).map(text).transpose()
    }

    /// A string of some bytes.
    pub(crate) fn name(&self, field: &str, bytes_max: usize) -> Result<&'a str, BadField> {
        let name = self.text(field)?.ok_or_else(|| self.missing(field))?;
        if (1..=bytes_max).contains(&name.len()) {
            Ok(name)
        } else {
            Err(self.wrong(field, format!("must have 1 to {bytes_max} bytes")))
        }
    }

    /// A key.
    pub(crate) fn key(&self, field: &str) -> Result<Key, BadField> {
        let name = self.name(field, KEY_BYTES_MAX)?;
        Key::new(Bytes::copy_from_slice(name.as_bytes()))
            .map_err(|error| self.wrong(field, format!("is wrong: {error}")))
    }

    pub(crate) fn integer(&self, field: &str) -> Result<Option<u64>, BadField> {
        let integer = |value: &Value| value.as_u64().ok_or_else(|| self.wrong(field, "must be an integer, 0 or more"));
        self.map.get(field).map(integer).transpose()
    }

    pub(crate) fn required(&self, field: &str) -> Result<u64, BadField> {
        self.integer(field)?.ok_or_else(|| self.missing(field))
    }

    /// A whole number between these, if there is one.
    pub(crate) fn between(&self, field: &str, least: i64, most: i64) -> Result<Option<i64>, BadField> {
        let Some(value) = self.map.get(field) else { return Ok(None) };
        let number = value.as_i64().filter(|number| (least..=most).contains(number));
        let wrong = || self.wrong(field, format!("must be an integer between {least} and {most}"));
        number.map(Some).ok_or_else(wrong)
    }

    /// True or false; else what is said.
    pub(crate) fn flag(&self, field: &str, otherwise: bool) -> Result<bool, BadField> {
        match self.map.get(field) {
            None => Ok(otherwise),
            Some(value) => value.as_bool().ok_or_else(|| self.wrong(field, "must be true or false")),
        }
    }

    /// An object of strings: names and values, in the order of names; none where there is no such field.
    pub(crate) fn strings(&self, field: &str, count_max: usize) -> Result<Vec<(&'a str, &'a str)>, BadField> {
        let problem = || self.wrong(field, format!("must be an object of at most {count_max} strings"));
        let Some(value) = self.map.get(field) else { return Ok(Vec::new()) };
        let map = value.as_object().filter(|map| map.len() <= count_max).ok_or_else(problem)?;
        map.iter().map(|(name, value)| Ok((name.as_str(), value.as_str().ok_or_else(problem)?))).collect()
    }

    /// A list of strings of some bytes each.
    pub(crate) fn names(&self, field: &str, count_max: usize, bytes_max: usize) -> Result<Vec<&'a str>, BadField> {
        let wrong =
            || self.wrong(field, format!("must be a list of 1 to {count_max} strings of 1 to {bytes_max} bytes"));
        let list = self.map.get(field).ok_or_else(|| self.missing(field))?.as_array().ok_or_else(wrong)?;
        if !(1..=count_max).contains(&list.len()) {
            return Err(wrong());
        }
        let name = |value: &'a Value| value.as_str().filter(|name| (1..=bytes_max).contains(&name.len()));
        list.iter().map(|value| name(value).ok_or_else(wrong)).collect()
    }
}
