//! The Apache combined log format: `host ident user [time] "request" status bytes "referer" "agent"`.
//!
//! Every line of a file becomes either an [`Entry`] or a [`Fault`] with its number and cause; none disappears. Two liberties are
//! taken because real logs take them: the last quoted field may be cut short (a writer died, a line limit struck; such lines are
//! kept, and counted), and the common format, which ends after the bytes, is read too.
//! Texts stay as the server wrote them: Apache's own escapes (`\"`, `\xe4`) are not undone, so a path has one spelling everywhere.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

/// One request as the log tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its line in the file, from 1.
    pub(crate) line: u64,
    /// Who asked: an address, or a name where the server resolves them.
    pub(crate) address: String,
    /// When, in the log's own time zone.
    pub(crate) time: LogTime,
    /// The request's target with its query; the whole request line where that is not HTTP.
    pub(crate) path: String,
    /// The response's status.
    pub(crate) status: u16,
    /// The response's size; a `-` is 0.
    pub(crate) bytes: u64,
    /// Whether the line ends inside its last quotation.
    pub(crate) cut_short: bool,
}

/// A moment to the minute, as the log writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LogTime {
    year: u16,
    month: u8,
    day: u8,
    hour: u8,
    minute: u8,
}

impl LogTime {
    /// The day, as in `2015-05-17`.
    pub(crate) fn day(self) -> String {
        format!("{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }

    /// The minute, as in `2015-05-17T10:05`.
    pub(crate) fn minute(self) -> String {
        format!("{}T{:02}:{:02}", self.day(), self.hour, self.minute)
    }
}

/// A line that is no log entry.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Its line in the file, from 1.
    pub(crate) line: u64,
    /// What is wrong with it.
    pub(crate) cause: LineError,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.cause)
    }
}

/// Why a line is no log entry.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LineError {
    /// Apache escapes what is not ASCII, so other bytes mean another kind of file.
    #[error("is not UTF-8")]
    NotUtf8,
    /// Nothing but white space.
    #[error("is empty")]
    Empty,
    /// No field where one must be.
    #[error("ends before its {0}")]
    Missing(&'static str),
    /// The time is not `[17/May/2015:10:05:03 +0000]`.
    #[error("has `{0}` where a time like [17/May/2015:10:05:03 +0000] belongs")]
    Time(String),
    /// A field that must be quoted is not.
    #[error("has no opening quotation mark before its {0}")]
    Unquoted(&'static str),
    /// A quotation that never ends, other than the last.
    #[error("has no closing quotation mark after its {0}")]
    Unclosed(&'static str),
    /// The status is not three digits.
    #[error("has `{0}` where a status belongs")]
    Status(String),
    /// The size is neither a number nor `-`.
    #[error("has `{0}` where a number of bytes belongs")]
    Bytes(String),
    /// More text than the format has fields.
    #[error("goes on after its last field: `{0}`")]
    Trailing(String),
}

/// A file that could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    /// The file is not there or not readable.
    #[error("cannot open the log {}", path.display())]
    Open {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Reading or unpacking stopped half way.
    #[error("cannot read the log {} after line {line}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// The last whole line.
        line: u64,
        /// What the system or the decompressor says.
        #[source]
        source: io::Error,
    },
}

/// A whole log: its entries in file order, and what could not be read as one.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// The requests, in file order.
    pub(crate) entries: Vec<Entry>,
    /// The malformed lines, in file order.
    pub(crate) faults: Vec<Fault>,
}

impl Log {
    /// Reads a file, gzip or plain; its first two bytes tell which.
    pub(crate) fn read(path: &Path) -> Result<Self, LogError> {
        let open = |source| LogError::Open { path: path.to_owned(), source };
        let mut file = BufReader::new(File::open(path).map_err(open)?);
        let packed = file.fill_buf().map_err(open)?.starts_with(&[0x1f, 0x8b]);
        let text: Box<dyn Read> = if packed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };

        let mut log = Self::default();
        let mut line = 0;
        for bytes in BufReader::new(text).split(b'\n') {
            let bytes = bytes.map_err(|source| LogError::Read { path: path.to_owned(), line, source })?;
            line += 1;
            match parse(line, &bytes) {
                Ok(entry) => log.entries.push(entry),
                Err(cause) => log.faults.push(Fault { line, cause }),
            }
        }
        Ok(log)
    }

    /// How many lines were kept although they end inside their last quotation.
    pub(crate) fn cut_short_count(&self) -> usize {
        self.entries.iter().filter(|entry| entry.cut_short).count()
    }
}

/// Reads one line without its line feed.
pub(crate) fn parse(line: u64, bytes: &[u8]) -> Result<Entry, LineError> {
    let Ok(text) = std::str::from_utf8(bytes) else { return Err(LineError::NotUtf8) };
    let text = text.trim_end();
    if text.is_empty() {
        return Err(LineError::Empty);
    }
    let (address, rest) = text.split_once(' ').ok_or(LineError::Missing("user"))?;
    // A user name may hold spaces, so the bracket finds the time.
    let (_, rest) = rest.split_once(" [").ok_or(LineError::Missing("time"))?;
    let (time, rest) = rest.split_once(']').ok_or(LineError::Missing("request"))?;
    let time = parse_time(time).ok_or_else(|| LineError::Time(time.to_owned()))?;
    let (request, closed, rest) = quoted(rest, "request")?;
    if !closed {
        return Err(LineError::Unclosed("request"));
    }
    let (status, rest) = word(rest, "status")?;
    let (bytes, rest) = word(rest, "bytes")?;
    let cut_short = parse_tail(rest)?;
    Ok(Entry {
        line,
        address: address.to_owned(),
        time,
        path: path_of(request).to_owned(),
        status: parse_status(status)?,
        bytes: parse_bytes(bytes)?,
        cut_short,
    })
}

/// Checks referer and agent, which the replay does not use; tells whether the agent is cut short.
fn parse_tail(rest: &str) -> Result<bool, LineError> {
    if rest.trim_start().is_empty() {
        return Ok(false);
    }
    let (_, closed, rest) = quoted(rest, "referer")?;
    if !closed {
        return Ok(true);
    }
    let (_, closed, rest) = quoted(rest, "agent")?;
    match rest.trim_start() {
        "" => Ok(!closed),
        more => Err(LineError::Trailing(more.to_owned())),
    }
}

/// The target out of `GET /path HTTP/1.1`. Spaces in a target belong to it; what is no HTTP request counts as a whole.
fn path_of(request: &str) -> &str {
    let Some((_, target)) = request.split_once(' ') else { return if request.is_empty() { "-" } else { request } };
    let target =
        target.rsplit_once(' ').filter(|(_, version)| version.starts_with("HTTP/")).map_or(target, |(it, _)| it);
    if target.is_empty() { request } else { target }
}

/// `17/May/2015:10:05:03 +0000`, every part checked, to the minute.
fn parse_time(text: &str) -> Option<LogTime> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (clock, zone) = text.split_once(' ')?;
    let zone_digits = zone.strip_prefix(['+', '-'])?;
    number(zone_digits, 4, 1_400)?;
    let (date, clock) = clock.split_once(':')?;
    let (day, rest) = date.split_once('/')?;
    let (month, year) = rest.split_once('/')?;
    let (hour, rest) = clock.split_once(':')?;
    let (minute, second) = rest.split_once(':')?;
    number(second, 2, 60)?;
    let month = (1..).zip(MONTHS).find(|(_, name)| *name == month)?.0;
    let day = u8::try_from(number(day, 2, 31)?).ok().filter(|day| *day >= 1)?;
    Some(LogTime {
        year: number(year, 4, 9_999)?,
        month,
        day,
        hour: u8::try_from(number(hour, 2, 23)?).ok()?,
        minute: u8::try_from(number(minute, 2, 59)?).ok()?,
    })
}

/// Exactly `digits` digits, at most `max`.
fn number(text: &str, digits: usize, max: u16) -> Option<u16> {
    (text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
        .filter(|value| *value <= max)
}

fn parse_status(text: &str) -> Result<u16, LineError> {
    number(text, 3, 999).filter(|status| *status >= 100).ok_or_else(|| LineError::Status(text.to_owned()))
}

fn parse_bytes(text: &str) -> Result<u64, LineError> {
    if text == "-" {
        return Ok(0);
    }
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().ok_or_else(|| LineError::Bytes(text.to_owned()))
}

/// The next word and what follows it.
fn word<'a>(text: &'a str, field: &'static str) -> Result<(&'a str, &'a str), LineError> {
    let text = text.trim_start();
    if text.is_empty() {
        return Err(LineError::Missing(field));
    }
    Ok(text.split_once(' ').unwrap_or((text, "")))
}

/// The next quoted text, whether its quotation ends, and what follows. A backslash guards the character after it.
fn quoted<'a>(text: &'a str, field: &'static str) -> Result<(&'a str, bool, &'a str), LineError> {
    let text = text.trim_start();
    if text.is_empty() {
        return Err(LineError::Missing(field));
    }
    let text = text.strip_prefix('"').ok_or(LineError::Unquoted(field))?;
    let mut guarded = false;
    for (at, character) in text.char_indices() {
        match character {
            _ if guarded => guarded = false,
            '\\' => guarded = true,
            '"' => {
                let (inside, rest) = text.split_at(at);
                return Ok((inside, true, rest.strip_prefix('"').unwrap_or(rest)));
            }
            _ => {}
        }
    }
    Ok((text, false, ""))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::io::Write as _;

    use super::*;

    const PLAIN: &str = r#"83.149.9.216 - - [17/May/2015:10:05:03 +0000] "GET /a.png?x=1 HTTP/1.1" 200 203023 "http://r/" "Mozilla/5.0""#;

    fn parse_text(text: &str) -> Result<Entry, LineError> {
        parse(1, text.as_bytes())
    }

    fn path(request: &str) -> String {
        parse_text(&PLAIN.replace("GET /a.png?x=1 HTTP/1.1", request)).unwrap().path
    }

    #[test]
    fn a_plain_line_gives_every_field() {
        let entry = parse_text(PLAIN).unwrap();
        assert_eq!(entry.address, "83.149.9.216");
        assert_eq!(entry.time.minute(), "2015-05-17T10:05");
        assert_eq!(entry.time.day(), "2015-05-17");
        assert_eq!(entry.path, "/a.png?x=1");
        assert_eq!((entry.status, entry.bytes, entry.cut_short), (200, 203_023, false));
    }

    #[test]
    fn a_dash_for_bytes_is_zero() {
        assert_eq!(parse_text(&PLAIN.replace("203023", "-")).unwrap().bytes, 0);
    }

    #[test]
    fn an_agent_cut_short_is_kept_and_marked() {
        let entry = parse_text(PLAIN.strip_suffix('"').unwrap()).unwrap();
        assert!(entry.cut_short);
        assert_eq!(entry.path, "/a.png?x=1");
    }

    #[test]
    fn a_guarded_quotation_mark_does_not_end_a_field() {
        assert_eq!(path(r#"GET /a\"b HTTP/1.1"#), r#"/a\"b"#);
        assert_eq!(path(r"GET /a\\ HTTP/1.1"), r"/a\\");
    }

    #[test]
    fn odd_requests_keep_a_name() {
        assert_eq!(path("-"), "-");
        assert_eq!(path(""), "-");
        assert_eq!(path("GET /two words HTTP/1.0"), "/two words");
        assert_eq!(path("GET /no-version"), "/no-version");
        assert_eq!(path(r"\x16\x03\x01"), r"\x16\x03\x01");
    }

    #[test]
    fn the_common_format_is_read_too() {
        let (common, _) = PLAIN.split_once(r#" "http"#).unwrap();
        assert_eq!(parse_text(common).unwrap().bytes, 203_023);
    }

    #[test]
    fn a_user_with_a_space_does_not_shift_the_fields() {
        assert_eq!(parse_text(&PLAIN.replace("- - [", "- Ada Lovelace [")).unwrap().status, 200);
    }

    #[test]
    fn each_malformed_line_names_its_cause() {
        let cause = |text: &str| parse_text(text).unwrap_err();
        assert_eq!(cause("  "), LineError::Empty);
        assert_eq!(parse(1, &[0xff, b' ']).unwrap_err(), LineError::NotUtf8);
        assert_eq!(cause("1.2.3.4"), LineError::Missing("user"));
        assert_eq!(cause("1.2.3.4 - -"), LineError::Missing("time"));
        for bad in ["17/Mai/2015:10:05:03 +0000", "17/May/2015:24:05:03 +0000", "00/May/2015:10:05:03 +0000", "x"] {
            assert_eq!(cause(&PLAIN.replace("17/May/2015:10:05:03 +0000", bad)), LineError::Time(bad.to_owned()));
        }
        assert_eq!(cause(&PLAIN.replace("\"GET", "GET")), LineError::Unquoted("request"));
        assert_eq!(cause(r#"a - - [17/May/2015:10:05:03 +0000] "GET /"#), LineError::Unclosed("request"));
        assert_eq!(cause(&PLAIN.replace(" 200 ", " 2oo ")), LineError::Status("2oo".to_owned()));
        assert_eq!(cause(&PLAIN.replace("203023", "-5")), LineError::Bytes("-5".to_owned()));
        assert_eq!(cause(&PLAIN.replace("203023", "99999999999999999999")), LineError::Bytes("9".repeat(20)));
        assert_eq!(cause(&format!("{PLAIN} more")), LineError::Trailing("more".to_owned()));
    }

    #[test]
    fn malformed_lines_are_counted_not_dropped() {
        let path = std::env::temp_dir().join(format!("headwater-log-{}.log", std::process::id()));
        std::fs::write(&path, format!("{PLAIN}\nnonsense\n{PLAIN}\n")).unwrap();
        let log = Log::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(log.entries.iter().map(|entry| entry.line).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(log.faults, [Fault { line: 2, cause: LineError::Missing("user") }]);
    }

    #[test]
    fn a_torn_gzip_file_is_an_error() {
        let path = std::env::temp_dir().join(format!("headwater-log-{}.gz", std::process::id()));
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(PLAIN.as_bytes()).unwrap();
        let packed = packer.finish().unwrap();
        std::fs::write(&path, &packed[..packed.len() - 12]).unwrap();
        let read = Log::read(&path);
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(read, Err(LogError::Read { line: 0, .. })), "{read:?}");
    }

    /// Beside the checkout where the house keeps its sample; the numbers are its README's, and awk's.
    #[test]
    fn the_sample_log_is_read_whole() {
        let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data/apache_logs.gz"));
        if !path.exists() {
            eprintln!("skipped: no {}", path.display());
            return;
        }
        let log = Log::read(path).unwrap();
        assert_eq!((log.entries.len(), log.faults.len(), log.cut_short_count()), (10_000, 0, 1));
        assert_eq!(log.entries.iter().map(|entry| &entry.address).collect::<BTreeSet<_>>().len(), 1_753);
        assert_eq!(log.entries.iter().map(|entry| &entry.path).collect::<BTreeSet<_>>().len(), 1_498);
        assert_eq!(log.entries.iter().map(|entry| entry.time.day()).collect::<BTreeSet<_>>().len(), 4);
        assert_eq!(log.entries.iter().filter(|entry| entry.bytes == 0).count(), 669);
    }
}
