//! The JSON dialect of Upstash's REST API: commands in, replies out. Pure.
//!
//! A command is an array of strings, numbers and booleans; a pipeline or transaction an array of such arrays. A reply is
//! `{"result": …}` or `{"error": "…"}`. Bytes that are no UTF-8 are replaced, unless the client asks for base64, under which
//! every string but a bare `OK` is encoded, as `@upstash/redis` expects.

use crate::limits::REQUEST_ARGUMENTS_MAX;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use headwater::{
    command::{CommandError, Placed, Reply},
    limits::PIPELINE_MAX,
    namespace::Namespace,
};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeSeed, Error, SeqAccess, Visitor},
    ser::SerializeMap,
};
use std::{cell::Cell, fmt};

/// The body is not what the dialect asks for.
#[derive(Debug, thiserror::Error)]
#[error("ERR Headwater: the body is no {expected}: {source}")]
pub(crate) struct BadBody {
    expected: &'static str,
    source: serde_json::Error,
}

/// A command of a transaction is wrong before anything is executed.
#[derive(Debug, thiserror::Error)]
#[error("EXECABORT Transaction discarded because of: {0}")]
pub(crate) struct Discarded(#[source] CommandError);

/// Whether the body of a request is one command or several, and so its answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Shape {
    /// `POST /`
    Single,
    /// `POST /pipeline`
    Pipeline,
    /// `POST /multi-exec`: nothing is executed unless all of it can be read.
    Transaction,
}

/// How strings are written into replies.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Encoding {
    /// As text; what is no UTF-8 is replaced.
    Lossy,
    /// `Upstash-Encoding: base64`
    Base64,
}

impl Shape {
    /// The commands in a body.
    ///
    /// # Errors
    /// [`BadBody`] where it is no JSON, no array of the right depth, or too long a one.
    pub(crate) fn parse(self, body: &[u8]) -> Result<Vec<Vec<Bytes>>, BadBody> {
        let arguments = &Cell::new(0);
        let mut json = serde_json::Deserializer::from_slice(body);
        let (expected, commands) = match self {
            Self::Single => {
                ("JSON array of a command", CommandSeed { arguments }.deserialize(&mut json).map(|one| vec![one]))
            }
            Self::Pipeline | Self::Transaction => {
                ("JSON array of commands", PipelineSeed { arguments }.deserialize(&mut json))
            }
        };
        let commands = commands.and_then(|commands| json.end().map(|()| commands));
        commands.map_err(|source| BadBody { expected, source })
    }

    /// Why none of these commands is executed, if that is so.
    pub(crate) fn discarded(self, commands: &[Vec<Bytes>], namespace: &Namespace) -> Option<Discarded> {
        let mut causes = commands.iter().filter(|_| self == Self::Transaction).map(|argv| match namespace.read(argv) {
            Ok(Placed { command, .. }) if command.is_passed() || command.needs_origin() => {
                Err(CommandError::NotInTransaction)
            }
            read => read,
        });
        causes.find_map(Result::err).map(Discarded)
    }

    /// The answer's status and body.
    pub(crate) fn answer(self, results: &[Result<Reply, CommandError>], encoding: Encoding) -> (u16, Vec<u8>) {
        let outcome = |result| Outcome { result, encoding };
        match (self, results) {
            (Self::Single, [result]) => (if result.is_ok() { 200 } else { 400 }, json(&outcome(result))),
            _ => (200, json(&results.iter().map(outcome).collect::<Vec<_>>())),
        }
    }
}

/// `{"error": "…"}`
pub(crate) fn error_body(error: &dyn fmt::Display) -> Vec<u8> {
    json(&ErrorBody { error: &error.to_string() })
}

/// The JSON of a value that has no map keys but strings.
pub(crate) fn json<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: &'a str,
}

struct Outcome<'a> {
    result: &'a Result<Reply, CommandError>,
    encoding: Encoding,
}

impl Serialize for Outcome<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.result {
            Ok(reply) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("result", &Value { reply, encoding: self.encoding })?;
                map.end()
            }
            Err(error) => ErrorBody { error: &error.to_string() }.serialize(serializer),
        }
    }
}

struct Value<'a> {
    reply: &'a Reply,
    encoding: Encoding,
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let encoding = self.encoding;
        let bytes = match self.reply {
            Reply::Nil => return serializer.serialize_none(),
            Reply::Ok => return serializer.serialize_str("OK"),
            Reply::Int(number) => return serializer.serialize_i64(*number),
            Reply::Array(replies) => {
                return serializer.collect_seq(replies.iter().map(|reply| Value { reply, encoding }));
            }
            Reply::Simple(text) => text.as_bytes(),
            Reply::Bulk(bytes) => bytes,
        };
        match encoding {
            Encoding::Lossy => serializer.serialize_str(&String::from_utf8_lossy(bytes)),
            Encoding::Base64 => serializer.serialize_str(&STANDARD.encode(bytes)),
        }
    }
}

/// Counts the arguments of the whole request.
#[derive(Clone, Copy)]
struct PipelineSeed<'a> {
    arguments: &'a Cell<usize>,
}

impl<'de> DeserializeSeed<'de> for PipelineSeed<'_> {
    type Value = Vec<Vec<Bytes>>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for PipelineSeed<'_> {
    type Value = Vec<Vec<Bytes>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of commands")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut commands = Vec::new();
        while let Some(command) = seq.next_element_seed(CommandSeed { arguments: self.arguments })? {
            if commands.len() == PIPELINE_MAX {
                return Err(A::Error::custom(format_args!("a pipeline has at most {PIPELINE_MAX} commands")));
            }
            commands.push(command);
        }
        Ok(commands)
    }
}

#[derive(Clone, Copy)]
struct CommandSeed<'a> {
    arguments: &'a Cell<usize>,
}

impl<'de> DeserializeSeed<'de> for CommandSeed<'_> {
    type Value = Vec<Bytes>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for CommandSeed<'_> {
    type Value = Vec<Bytes>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a command as an array of its arguments")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut argv = Vec::new();
        while let Some(Argument(argument)) = seq.next_element()? {
            self.arguments.set(self.arguments.get() + 1);
            if self.arguments.get() > REQUEST_ARGUMENTS_MAX {
                return Err(A::Error::custom(format_args!("a request has at most {REQUEST_ARGUMENTS_MAX} arguments")));
            }
            argv.push(argument);
        }
        Ok(argv)
    }
}

/// One argument, in the text that Redis would be sent.
struct Argument(Bytes);

impl<'de> Deserialize<'de> for Argument {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Argument;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, a number or a boolean")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Argument, E> {
                Ok(Argument(Bytes::copy_from_slice(text.as_bytes())))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Argument, E> {
                Ok(Argument(number.to_string().into()))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Argument, E> {
                Ok(Argument(number.to_string().into()))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Argument, E> {
                Ok(Argument(number.to_string().into()))
            }

            fn visit_bool<E: Error>(self, yes: bool) -> Result<Argument, E> {
                Ok(Argument(Bytes::from_static(if yes { b"true" } else { b"false" })))
            }
        }

        json.deserialize_any(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(shape: Shape, body: &str) -> Result<Vec<Vec<String>>, String> {
        let text =
            |argv: Vec<Bytes>| argv.iter().map(|argument| String::from_utf8_lossy(argument).into_owned()).collect();
        match shape.parse(body.as_bytes()) {
            Ok(commands) => Ok(commands.into_iter().map(text).collect()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn answered(shape: Shape, results: &[Result<Reply, CommandError>], encoding: Encoding) -> (u16, String) {
        let (status, body) = shape.answer(results, encoding);
        (status, String::from_utf8(body).expect("JSON is text"))
    }

    #[test]
    fn arguments_become_the_text_that_redis_is_sent() {
        let body = r#"["SET", "k\u00e9", 1, -2, 9223372036854775807, 18446744073709551615, 1.5, 1e3, true, false, ""]"#;
        let argv =
            ["SET", "ké", "1", "-2", "9223372036854775807", "18446744073709551615", "1.5", "1000", "true", "false", ""];
        assert_eq!(parsed(Shape::Single, body), Ok(vec![argv.map(str::to_owned).to_vec()]));
        assert_eq!(parsed(Shape::Single, "[]"), Ok(vec![vec![]]));
        assert_eq!(parsed(Shape::Pipeline, "[]"), Ok(vec![]));
        assert_eq!(
            parsed(Shape::Pipeline, r#"[["a"],["b",1]]"#),
            Ok(vec![vec!["a".into()], vec!["b".into(), "1".into()]])
        );
    }

    #[test]
    fn other_bodies_are_refused() {
        for body in
            ["", "{}", "nonsense", r#"["a""#, r#"["a"] x"#, r#"["a",null]"#, r#"["a",["b"]]"#, r#"[["a"]]"#, r#""a""#]
        {
            let error = parsed(Shape::Single, body).expect_err(body);
            assert!(error.starts_with("ERR Headwater: the body is no JSON array of a command: "), "{error}");
        }
        assert!(parsed(Shape::Pipeline, r#"["a"]"#).is_err());
    }

    #[test]
    fn a_transaction_is_discarded_for_one_command_that_is_wrong() {
        let commands = |body: &str| Shape::Transaction.parse(body.as_bytes()).unwrap();
        let (right, wrong) = (commands(r#"[["get","k"],["ping"]]"#), commands(r#"[["set","k","v"],["get"]]"#));
        assert!(
            Shape::Transaction.discarded(&right, &Namespace::default()).is_none()
                && Shape::Pipeline.discarded(&wrong, &Namespace::default()).is_none()
        );
        for elsewhere in [r#"[["get","k"],["rpush","k","v"]]"#, r#"[["set","k","v","nx"]]"#, r#"[["dbsize"]]"#] {
            let elsewhere = commands(elsewhere);
            assert!(Shape::Transaction.discarded(&elsewhere, &Namespace::default()).is_some());
            assert!(Shape::Pipeline.discarded(&elsewhere, &Namespace::default()).is_none());
        }
        assert_eq!(
            Shape::Transaction.discarded(&wrong, &Namespace::default()).map(|discarded| discarded.to_string()),
            Some(
                "EXECABORT Transaction discarded because of: ERR wrong number of arguments for 'get' command"
                    .to_owned()
            )
        );
    }

    #[test]
    fn pipelines_and_arguments_are_bounded() {
        let pipeline = |commands: usize| format!("[{}]", vec![r#"["ping"]"#; commands].join(","));
        assert!(parsed(Shape::Pipeline, &pipeline(PIPELINE_MAX)).is_ok());
        let error = parsed(Shape::Pipeline, &pipeline(PIPELINE_MAX + 1)).expect_err("too many");
        assert!(error.contains("a pipeline has at most 1024 commands"), "{error}");
        let arguments = |count: usize| format!("[{}]", vec!["1"; count].join(","));
        assert!(parsed(Shape::Single, &arguments(REQUEST_ARGUMENTS_MAX)).is_ok());
        assert!(parsed(Shape::Single, &arguments(REQUEST_ARGUMENTS_MAX + 1)).is_err());
    }

    #[test]
    fn replies_are_those_of_upstash() {
        let bulk = |bytes: &'static [u8]| Reply::Bulk(Bytes::from_static(bytes));
        let table = [
            (Reply::Nil, "null", "null"),
            (Reply::Ok, r#""OK""#, r#""OK""#),
            (Reply::simple("PONG"), r#""PONG""#, r#""UE9ORw==""#),
            (Reply::Int(i64::MIN), "-9223372036854775808", "-9223372036854775808"),
            (bulk(b"OK"), r#""OK""#, r#""T0s=""#),
            (bulk("é\"".as_bytes()), r#""é\"""#, r#""w6ki""#),
            (bulk(b"\xff"), "\"\u{fffd}\"", r#""/w==""#),
            (Reply::Array(vec![Reply::Nil, Reply::Int(1), bulk(b"a")]), r#"[null,1,"a"]"#, r#"[null,1,"YQ=="]"#),
        ];
        for (reply, lossy, base64) in table {
            let result = [Ok(reply)];
            assert_eq!(answered(Shape::Single, &result, Encoding::Lossy), (200, format!(r#"{{"result":{lossy}}}"#)));
            assert_eq!(answered(Shape::Single, &result, Encoding::Base64), (200, format!(r#"{{"result":{base64}}}"#)));
        }
    }

    #[test]
    fn only_a_single_command_fails_by_status() {
        let results = [Err(CommandError::Syntax), Ok(Reply::Int(1))];
        let error = r#"{"error":"ERR syntax error"}"#;
        assert_eq!(answered(Shape::Single, &results[..1], Encoding::Base64), (400, error.to_owned()));
        assert_eq!(answered(Shape::Pipeline, &results, Encoding::Lossy), (200, format!(r#"[{error},{{"result":1}}]"#)));
        assert_eq!(answered(Shape::Pipeline, &[], Encoding::Lossy), (200, "[]".to_owned()));
    }
}
