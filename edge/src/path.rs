//! A command in the path of a request: `GET /get/key`, `POST /set/key?EX=100` with the value as body.
//!
//! The arguments are the segments of the path, then the body of a POST or PUT, then the names and values of the query; its
//! `_token` may stand for the header and is no argument. As Upstash's REST API reads them. Pure.

use bytes::Bytes;
use headwater::command::CommandName;
use percent_encoding::percent_decode_str;

/// The name in the query under which a request may bear its token.
const TOKEN: &str = "_token";

/// Commands whose answer would have no end, and is not served.
const STREAMS: [&str; 2] = ["monitor", "ssubscribe"];

/// What the path of a request asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Asked {
    /// A command that Headwater knows.
    Command,
    /// A stream of what is published: to channels, or to those that a pattern matches.
    Listen {
        /// Whether it is a pattern.
        is_pattern: bool,
    },
    /// A stream that is not served.
    Stream,
    /// Something else: perhaps a command of Redis, perhaps a file of the site.
    Other,
}

/// What a path asks for, by its first segment.
pub(crate) fn asked(path: &str) -> Asked {
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    if CommandName::find(first.as_bytes()).is_some() {
        Asked::Command
    } else if first.eq_ignore_ascii_case("subscribe") || first.eq_ignore_ascii_case("psubscribe") {
        Asked::Listen { is_pattern: first.len() > "subscribe".len() }
    } else if STREAMS.iter().any(|name| first.eq_ignore_ascii_case(name)) {
        Asked::Stream
    } else {
        Asked::Other
    }
}

/// The arguments of the command.
pub(crate) fn arguments(path: &str, body: Option<Vec<u8>>, query: Option<&str>) -> Vec<Bytes> {
    let segments = path.strip_prefix('/').unwrap_or(path).split('/');
    let mut argv: Vec<Bytes> =
        segments.map(|segment| percent_decode_str(segment).collect::<Vec<u8>>().into()).collect();
    argv.extend(body.map(Bytes::from));
    let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes()).filter(|(name, _)| name != TOKEN);
    for (name, value) in pairs {
        argv.push(Bytes::from(name.into_owned()));
        // An option without a value, such as NX, is sent as its name alone.
        if !value.is_empty() {
            argv.push(Bytes::from(value.into_owned()));
        }
    }
    argv
}

/// The channel or pattern that a path names, if it is one alone. A client that does not escape what it writes there means something
/// else by further segments or a query.
pub(crate) fn topic(path: &str, query: Option<&str>) -> Option<Bytes> {
    match arguments(path, None, query).as_slice() {
        [_, name] if !name.is_empty() => Some(name.clone()),
        _ => None,
    }
}

/// The token in the query.
pub(crate) fn token(query: &str) -> Option<String> {
    form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == TOKEN).map(|(_, value)| value.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str, body: Option<&str>, query: Option<&str>) -> Vec<String> {
        let argv = arguments(path, body.map(|body| body.as_bytes().to_vec()), query);
        argv.iter().map(|argument| String::from_utf8_lossy(argument).into_owned()).collect()
    }

    #[test]
    fn arguments_are_the_path_the_body_and_the_query_in_this_order() {
        assert_eq!(read("/get/key", None, None), ["get", "key"]);
        assert_eq!(read("/set/k%20y/a%2Fb+c", None, None), ["set", "k y", "a/b+c"]);
        assert_eq!(read("/set/key", Some("a value"), Some("EX=100&NX")), ["set", "key", "a value", "EX", "100", "NX"]);
        assert_eq!(read("/get/key", None, Some("_token=secret")), ["get", "key"]);
        assert_eq!(read("/set/key/", None, None), ["set", "key", ""]);
        assert_eq!(arguments("/set/%ff", None, None), ["set".into(), Bytes::from_static(b"\xff")]);
    }

    #[test]
    fn a_path_is_a_command_by_its_first_segment() {
        for path in ["/get/key", "/GET/key", "/ping"] {
            assert_eq!(asked(path), Asked::Command, "{path}");
        }
        for path in ["/monitor", "/ssubscribe/channel"] {
            assert_eq!(asked(path), Asked::Stream, "{path}");
        }
        assert_eq!(asked("/SUBSCRIBE/channel"), Asked::Listen { is_pattern: false });
        assert_eq!(asked("/psubscribe/n*"), Asked::Listen { is_pattern: true });
        for path in ["/", "/index.html", "/assets/get", "/blpop/list/0"] {
            assert_eq!(asked(path), Asked::Other, "{path}");
        }
    }

    #[test]
    fn a_stream_is_of_one_channel() {
        assert_eq!(topic("/subscribe/a%2Fb", Some("_token=t")), Some("a/b".into()));
        assert_eq!(topic("/psubscribe/n*", None), Some("n*".into()));
        for (path, query) in
            [("/subscribe", None), ("/subscribe/", None), ("/subscribe/a/b", None), ("/psubscribe/h", Some("llo"))]
        {
            assert_eq!(topic(path, query), None, "{path}");
        }
    }

    #[test]
    fn the_query_may_bear_the_token() {
        assert_eq!(token("a=b&_token=a%20token"), Some("a token".into()));
        assert_eq!(token("a=b"), None);
    }
}
