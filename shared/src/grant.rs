//! What the bearer of a token may do: verbs on keys by pattern.
//!
//! A list of grants permits what any one of them permits. The verbs `read` and `write` stand for the commands that do no more,
//! a command's own name for that command, and `admin` for every command but those that must be named: FLUSHDB, FLUSHALL and HW.ERASE,
//! and scripts that the origin runs. A command that carries what one key holds to another also needs to be permitted to
//! read, so that who may write to a key cannot copy it to where it may be read. A grant may bear a rate; whoever asks here
//! counts what was done. Nothing here knows how a token is signed.

use crate::{
    command::{Command, CommandError, CommandName, Family, Passed, matches},
    id::Key,
    limit::{Limit, LimitError},
    topic::Topic,
};
use serde::{Deserialize, Serialize};

/// What a token permits.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Grants(Vec<Grant>);

/// Verbs on keys.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// What may be done.
    pub verbs: Vec<Verb>,
    /// To which keys: patterns as Redis' KEYS has them.
    pub keys: Vec<String>,
    /// How often, where not as often as the bearer likes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
}

/// How many commands a grant permits in any span of time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "UncheckedRate", into = "UncheckedRate")]
pub struct Rate(Limit);

/// A rate as a token has it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct UncheckedRate {
    limit: u64,
    window_ms: u64,
}

impl Rate {
    /// The limit that keeps to it.
    pub fn limit(&self) -> Limit {
        self.0
    }
}

impl TryFrom<UncheckedRate> for Rate {
    type Error = LimitError;

    fn try_from(rate: UncheckedRate) -> Result<Self, LimitError> {
        Limit::sliding_window(rate.limit, rate.window_ms).map(Self)
    }
}

impl From<Rate> for UncheckedRate {
    fn from(Rate(limit): Rate) -> Self {
        Self { limit: limit.per_window(), window_ms: limit.window_ms() }
    }
}

/// What may be done to a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Verb {
    /// Commands that change nothing.
    Read,
    /// Commands that may change a key; what they answer is seen.
    Write,
    /// Every command but FLUSHDB, FLUSHALL, HW.ERASE and scripts that the origin runs, which must be named.
    Admin,
    /// To listen to channels, whose names count as keys.
    Subscribe,
    /// This command.
    Command(CommandName),
}

/// Not the name of a verb or of a command.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is no verb; there are read, write, admin, subscribe and the names of commands")]
pub struct UnknownVerb(String);

/// The token does not grant a channel, or the verb on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("NOPERM this user has no permissions to access one of the channels used as arguments")]
pub struct TopicNotPermitted;

impl Grants {
    /// Whether a command may be executed. Linear in the grants for each key.
    ///
    /// # Errors
    /// [`CommandError::CommandNotPermitted`] where no key at all is granted to the command, and else
    /// [`CommandError::KeyNotPermitted`].
    pub fn check(&self, command: &Command) -> Result<(), CommandError> {
        let name = command.name();
        if let Command::Passed(passed) = command {
            return self.check_passed(passed);
        }
        let group = if command.is_write() { Verb::Write } else { Verb::Read };
        let may = |grant: &Grant| grant.has(group) || grant.has(Verb::Command(name));
        let reads = |grant: &Grant| grant.has(Verb::Read);
        if let Some(action) = command.of_keyspace() {
            return self.check_keyspace(name, action.pattern());
        }
        if command.has_pattern() {
            let pattern = command.script().and_then(|script| script.pattern()).map_or(&[][..], |pattern| pattern);
            let is_covered = self.0.iter().any(|grant| may(grant) && grant.covers(pattern));
            return if is_covered { Ok(()) } else { Err(CommandError::KeyNotPermitted) };
        }
        if command.keys().len() > 0 && !self.0.iter().any(may) {
            return Err(CommandError::CommandNotPermitted(name));
        }
        let is_granted = |key: &Key| {
            let granted = |has: &dyn Fn(&Grant) -> bool| self.0.iter().any(|grant| has(grant) && grant.names(key));
            granted(&may) && (!carries(name) || granted(&reads))
        };
        if command.keys().all(is_granted) { Ok(()) } else { Err(CommandError::KeyNotPermitted) }
    }

    /// Whether a command may be passed through: by its name or `admin`, on each of its keys; a script by its name alone, and
    /// where that is granted on every key, since it may touch any.
    fn check_passed(&self, Passed { name, keys, .. }: &Passed) -> Result<(), CommandError> {
        let named = |grant: &Grant| grant.verbs.contains(&Verb::Command(*name));
        let is_script = matches!(name.passes(), None | Some(Family::Scripts));
        let may = |grant: &Grant| if is_script { named(grant) } else { grant.has(Verb::Command(*name)) };
        if !self.0.iter().any(may) {
            return Err(CommandError::CommandNotPermitted(*name));
        }
        let is_granted = |key: &Key| self.0.iter().any(|grant| may(grant) && grant.names(key));
        let on_all = |grant: &Grant| may(grant) && grant.keys.iter().any(|pattern| pattern == "*");
        let is_granted = if is_script { self.0.iter().any(on_all) } else { keys.iter().all(is_granted) };
        if is_granted { Ok(()) } else { Err(CommandError::KeyNotPermitted) }
    }

    /// Whether a command may tell of the keys that match a pattern: where all of these may be read. To delete all keys needs a
    /// grant of its own, by the command's name on every key.
    fn check_keyspace(&self, name: CommandName, pattern: &[u8]) -> Result<(), CommandError> {
        let named = |grant: &Grant| grant.verbs.contains(&Verb::Command(name));
        let may = |grant: &Grant| {
            named(grant) || !name.flushes() && (grant.has(Verb::Read) || grant.has(Verb::Command(name)))
        };
        if !self.0.iter().any(may) {
            return Err(CommandError::CommandNotPermitted(name));
        }
        let is_covered = self.0.iter().any(|grant| may(grant) && grant.covers(pattern));
        if is_covered { Ok(()) } else { Err(CommandError::KeyNotPermitted) }
    }

    /// Whether some of them are permitted only so often.
    pub fn are_rated(&self) -> bool {
        self.0.iter().any(|grant| grant.rate.is_some())
    }

    /// Those that hold as often as the bearer likes.
    #[must_use]
    pub fn without_rates(&self) -> Self {
        Self(self.0.iter().filter(|grant| grant.rate.is_none()).cloned().collect())
    }

    /// The rates against which a command that is permitted counts, by the places of their grants: none where grants without
    /// a rate permit it, else that of the first grant with which they do. A command that needs several counts against all
    /// rates. Linear in the grants, of which copies are made.
    pub fn rates_of(&self, command: &Command) -> Vec<(usize, Rate)> {
        let rated: Vec<(usize, Rate)> =
            self.0.iter().enumerate().filter_map(|(at, grant)| Some((at, grant.rate?))).collect();
        if rated.is_empty() {
            return rated;
        }
        let free = self.without_rates();
        if free.check(command).is_ok() {
            return Vec::new();
        }
        let suffices = |(at, _): &&(usize, Rate)| {
            let with = self.0.get(*at).into_iter().chain(&free.0).cloned().collect();
            Self(with).check(command).is_ok()
        };
        match rated.iter().find(suffices) {
            Some(one) => vec![*one],
            None => rated,
        }
    }

    /// Whether a topic may be listened to: a channel by its name, and a pattern where all that it may match is granted.
    ///
    /// # Errors
    /// [`TopicNotPermitted`].
    pub fn check_topic(&self, topic: &Topic) -> Result<(), TopicNotPermitted> {
        let grants = |grant: &Grant| match topic {
            Topic::Channel(name) => grant.names(name),
            Topic::Pattern(pattern) => grant.covers(pattern.as_bytes()),
        };
        let is_granted = self.0.iter().any(|grant| grant.has(Verb::Subscribe) && grants(grant));
        if is_granted { Ok(()) } else { Err(TopicNotPermitted) }
    }

    /// Whether a key may be read, or written.
    pub fn permits(&self, verb: Verb, key: &Key) -> bool {
        self.0.iter().any(|grant| grant.has(verb) && grant.names(key))
    }
}

impl From<Vec<Grant>> for Grants {
    fn from(grants: Vec<Grant>) -> Self {
        Self(grants)
    }
}

impl Grant {
    fn has(&self, verb: Verb) -> bool {
        self.verbs.iter().any(|own| *own == verb || *own == Verb::Admin)
    }

    fn names(&self, key: &Key) -> bool {
        self.keys.iter().any(|pattern| matches(pattern.as_bytes(), key.as_bytes()))
    }

    /// Whether every key that `asked` matches is granted: where what is granted is a plain beginning and a star, and `asked`
    /// begins so. Other patterns might cover it too, which is not tried.
    fn covers(&self, asked: &[u8]) -> bool {
        self.keys.iter().filter_map(|pattern| pattern.strip_suffix('*')).any(|beginning| {
            !beginning.bytes().any(|byte| b"*?[\\".contains(&byte)) && asked.starts_with(beginning.as_bytes())
        })
    }
}

/// Whether a command puts what one of its keys holds into another.
fn carries(name: CommandName) -> bool {
    matches!(
        name,
        CommandName::Copy
            | CommandName::Rename
            | CommandName::RenameNx
            | CommandName::SMove
            | CommandName::SInterStore
            | CommandName::SUnionStore
            | CommandName::SDiffStore
            | CommandName::ZInterStore
            | CommandName::ZUnionStore
            | CommandName::ZDiffStore
            | CommandName::ZRangeStore
    )
}

impl TryFrom<String> for Verb {
    type Error = UnknownVerb;

    fn try_from(name: String) -> Result<Self, UnknownVerb> {
        match name.as_str() {
            "read" => Ok(Self::Read),
            "write" => Ok(Self::Write),
            "admin" => Ok(Self::Admin),
            "subscribe" => Ok(Self::Subscribe),
            _ => CommandName::find(name.as_bytes()).map(Self::Command).ok_or(UnknownVerb(name)),
        }
    }
}

impl From<Verb> for String {
    fn from(verb: Verb) -> Self {
        match verb {
            Verb::Read => "read".to_owned(),
            Verb::Write => "write".to_owned(),
            Verb::Admin => "admin".to_owned(),
            Verb::Subscribe => "subscribe".to_owned(),
            Verb::Command(name) => name.as_str().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::parse;
    use bytes::Bytes;

    fn grants(list: &[(&[Verb], &[&str])]) -> Grants {
        let grant = |(verbs, keys): &(&[Verb], &[&str])| Grant {
            verbs: verbs.to_vec(),
            keys: keys.iter().map(|key| (*key).to_owned()).collect(),
            rate: None,
        };
        list.iter().map(grant).collect::<Vec<_>>().into()
    }

    fn check(grants: &Grants, line: &str) -> Result<(), CommandError> {
        let argv: Vec<Bytes> = line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        grants.check(&parse(&argv).unwrap())
    }

    #[test]
    fn a_verb_permits_its_commands_on_its_keys_only() {
        let own = grants(&[(&[Verb::Read], &["user:1:*", "news"]), (&[Verb::Command(CommandName::Incr)], &["hits"])]);
        for line in ["get user:1:name", "hgetall news", "mget news user:1:a", "incr hits", "ping", "time"] {
            assert_eq!(check(&own, line), Ok(()), "{line}");
        }
        for (line, name) in [("set user:1:name v", CommandName::Set), ("incrby hits 2", CommandName::IncrBy)] {
            assert_eq!(check(&own, line), Err(CommandError::CommandNotPermitted(name)), "{line}");
        }
        for line in ["get user:2:name", "get hits", "incr news", "mget news other"] {
            assert_eq!(check(&own, line), Err(CommandError::KeyNotPermitted), "{line}");
        }
        assert_eq!(check(&Grants::default(), "get k"), Err(CommandError::CommandNotPermitted(CommandName::Get)));
    }

    #[test]
    fn admin_permits_all_on_its_keys() {
        let admin = grants(&[(&[Verb::Admin], &["a*"])]);
        for line in ["get a", "set a v", "copy a ab", "evalsha 54bd274ddc59fb3be0f42deee2f64322a10e2b50 1 ab* null"] {
            assert_eq!(check(&admin, line), Ok(()), "{line}");
        }
        assert_eq!(check(&admin, "del a b"), Err(CommandError::KeyNotPermitted));
    }

    #[test]
    fn only_who_may_read_all_that_a_pattern_matches_may_list_it() {
        let own = grants(&[(&[Verb::Read], &["user:1:*"]), (&[Verb::Write], &["*"])]);
        for line in
            ["keys user:1:*", "scan 0 match user:1:a*", "keys user:1:name", "scan 5 MATCH user:1:* COUNT 9 TYPE set"]
        {
            assert_eq!(check(&own, line), Ok(()), "{line}");
        }
        for line in ["keys *", "scan 0", "scan 0 match user:*", "dbsize", "randomkey", "keys ?ser:1:a"] {
            assert_eq!(check(&own, line), Err(CommandError::KeyNotPermitted), "{line}");
        }
        let all = grants(&[(&[Verb::Read], &["*"])]);
        for line in ["keys *", "scan 0", "dbsize", "randomkey"] {
            assert_eq!(check(&all, line), Ok(()), "{line}");
        }
        let none = grants(&[(&[Verb::Write], &["*"])]);
        assert_eq!(check(&none, "dbsize"), Err(CommandError::CommandNotPermitted(CommandName::DbSize)));
    }

    #[test]
    fn only_what_is_granted_can_be_listened_to() {
        let own = grants(&[(&[Verb::Subscribe], &["news", "room:1:*"]), (&[Verb::Read, Verb::Write], &["*"])]);
        let channel = |name: &'static str| own.check_topic(&Topic::channel(name.into()).unwrap());
        let pattern = |name: &'static str| own.check_topic(&Topic::pattern(name.into()).unwrap());
        assert_eq!((channel("news"), channel("room:1:a"), pattern("room:1:a*")), (Ok(()), Ok(()), Ok(())));
        for refused in [channel("other"), pattern("*"), pattern("room:*"), pattern("news"), pattern("room:?:*")] {
            assert_eq!(refused, Err(TopicNotPermitted));
        }
        assert_eq!("subscribe".to_owned().try_into(), Ok(Verb::Subscribe));
        let admin = grants(&[(&[Verb::Admin], &["a*"])]);
        assert_eq!(admin.check_topic(&Topic::pattern("a?".into()).unwrap()), Ok(()));
    }

    #[test]
    fn all_keys_are_deleted_only_by_who_is_granted_that_by_name() {
        let admin = grants(&[(&[Verb::Admin, Verb::Write], &["*"])]);
        assert_eq!(check(&admin, "flushdb"), Err(CommandError::CommandNotPermitted(CommandName::FlushDb)));
        let some = grants(&[(&[Verb::Command(CommandName::FlushDb)], &["a*"])]);
        assert_eq!(check(&some, "flushdb"), Err(CommandError::KeyNotPermitted));
        let named = grants(&[(&[Verb::Command(CommandName::FlushDb)], &["*"])]);
        assert_eq!(check(&named, "flushdb"), Ok(()));
        assert_eq!(check(&named, "hw.erase ada"), Err(CommandError::CommandNotPermitted(CommandName::Erase)));
        assert_eq!(check(&admin, "hw.erase ada"), Err(CommandError::CommandNotPermitted(CommandName::Erase)));
        assert_eq!(check(&named, "flushall"), Err(CommandError::CommandNotPermitted(CommandName::FlushAll)));
    }

    #[test]
    fn what_needs_one_order_is_a_write_of_its_keys() {
        let own = grants(&[(&[Verb::Write], &["a*"]), (&[Verb::Read], &["b"])]);
        for line in ["set a v nx get", "getdel a", "spop a", "zpopmin a", "msetnx a 1 ab 2", "hw.lock a me 1000"] {
            assert_eq!(check(&own, line), Ok(()), "{line}");
        }
        assert_eq!(check(&own, "getdel b"), Err(CommandError::KeyNotPermitted));
        // Who may not read the source could read it at the target.
        assert_eq!(check(&own, "renamenx a ab"), Err(CommandError::KeyNotPermitted));
    }

    #[test]
    fn who_may_only_write_a_key_cannot_carry_it_where_it_may_be_read() {
        let write = grants(&[(&[Verb::Write], &["secret", "own"]), (&[Verb::Read], &["own"])]);
        for line in ["copy secret own", "rename secret own", "sunionstore own secret", "zrangestore own secret 0 1"] {
            assert_eq!(check(&write, line), Err(CommandError::KeyNotPermitted), "{line}");
        }
        assert_eq!(check(&write, "del secret own"), Ok(()));
    }

    #[test]
    fn a_script_is_a_read_or_a_write_of_its_keys() {
        let limit = grants(&[(&[Verb::Write], &["rl:*"])]);
        let fixed = "evalsha b2efc02798c8e9b471a10f9b1d5745db89923ff3 1";
        assert_eq!(check(&limit, &format!("{fixed} rl:a 5 1000 1")), Ok(()));
        assert_eq!(check(&limit, &format!("{fixed} other 5 1000 1")), Err(CommandError::KeyNotPermitted));
        let left = "evalsha 823cb2a5a902d69681244f5e28e5ebb8f2a89edd 1 rl:a 5";
        assert_eq!(check(&limit, left), Err(CommandError::CommandNotPermitted(CommandName::EvalSha)));
    }

    #[test]
    fn what_passes_through_is_granted_by_its_name_only() {
        let own = grants(&[(&[Verb::Read, Verb::Write, Verb::Command(CommandName::RPush)], &["jobs:*"])]);
        assert_eq!(check(&own, "rpush jobs:a x"), Ok(()));
        assert_eq!(check(&own, "rpush other x"), Err(CommandError::KeyNotPermitted));
        let refused = Err(CommandError::CommandNotPermitted(CommandName::LRange));
        assert_eq!(check(&own, "lrange jobs:a 0 -1"), refused);
        let admin = grants(&[(&[Verb::Admin], &["jobs:*"])]);
        assert_eq!(check(&admin, "lmove jobs:a jobs:b left right"), Ok(()));
        assert_eq!(check(&admin, "lmove jobs:a other left right"), Err(CommandError::KeyNotPermitted));
        let publisher = grants(&[(&[Verb::Command(CommandName::Publish)], &["news"])]);
        assert_eq!(check(&publisher, "publish news x"), Ok(()));
        assert_eq!(check(&publisher, "publish other x"), Err(CommandError::KeyNotPermitted));
    }

    #[test]
    fn a_script_passes_through_only_where_it_is_named_on_every_key() {
        let admin = grants(&[(&[Verb::Admin], &["*"])]);
        assert_eq!(check(&admin, "eval text 0"), Err(CommandError::CommandNotPermitted(CommandName::Eval)));
        let some = grants(&[(&[Verb::Command(CommandName::Eval)], &["a*"])]);
        assert_eq!(check(&some, "eval text 1 a"), Err(CommandError::KeyNotPermitted));
        let named = grants(&[(&[Verb::Command(CommandName::Eval)], &["*"])]);
        assert_eq!(check(&named, "eval text 1 a"), Ok(()));
        assert_eq!(check(&named, "fcall mine 0"), Err(CommandError::CommandNotPermitted(CommandName::FCall)));
    }

    #[test]
    fn a_pattern_is_granted_only_where_all_that_it_matches_is() {
        let reset = |pattern: &str| format!("evalsha 54bd274ddc59fb3be0f42deee2f64322a10e2b50 1 {pattern} null");
        for (granted, asked, is_granted) in [
            ("user:1:*", "user:1:*", true),
            ("user:1:*", "user:1:a?", true),
            ("*", "a*", true),
            ("user:1:*", "user:1*", false),
            ("user:1:*", "*", false),
            ("user:?:*", "user:*:*", false),
            ("a?c", "a*c", false),
            ("exact", "exac?", false),
        ] {
            let granted_keys = grants(&[(&[Verb::Write], &[granted])]);
            assert_eq!(check(&granted_keys, &reset(asked)).is_ok(), is_granted, "{granted} for {asked}");
        }
    }

    #[test]
    fn a_command_counts_against_the_rate_of_the_grant_that_it_needs() {
        let rate = |limit, window_ms| Rate::try_from(UncheckedRate { limit, window_ms }).ok();
        let mut grants = grants(&[
            (&[Verb::Read], &["free:*"]),
            (&[Verb::Read], &["*"]),
            (&[Verb::Command(CommandName::Incr)], &["n"]),
            (&[Verb::Write], &["n:*"]),
        ]);
        for (at, limit) in [(1, 5), (2, 1), (3, 2)] {
            grants.0[at].rate = rate(limit, 60_000);
        }
        let places = |line: &str| {
            let argv: Vec<Bytes> = line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
            let command = parse(&argv).unwrap();
            assert_eq!(grants.check(&command), Ok(()), "{line}");
            grants.rates_of(&command).into_iter().map(|(at, _)| at).collect::<Vec<_>>()
        };
        for (line, expected) in [
            ("get free:a", &[][..]),
            ("ping", &[]),
            ("get a", &[1]),
            ("mget free:a a", &[1]),
            ("incr n", &[2]),
            ("set n:a 1", &[3]),
            // To carry one key's value to another takes a right to read besides.
            ("copy n:a n:b", &[1, 2, 3]),
        ] {
            assert_eq!(places(line), expected, "{line}");
        }
        assert!(grants.are_rated() && !grants.without_rates().are_rated());
        assert_eq!(grants.without_rates().0.len(), 1);
    }

    #[test]
    fn verbs_are_read_by_name() {
        for name in ["read", "write", "admin", "hw.limit"] {
            assert_eq!(Verb::try_from(name.to_owned()).map(String::from), Ok(name.to_owned()));
        }
        assert_eq!(Verb::try_from("blpop".to_owned()), Err(UnknownVerb("blpop".to_owned())));
    }
}
