//! Namespaces: applications that share a deployment and cannot see each other.
//!
//! Each namespace has a name, and its keys are those of Redis that begin with the name and a colon: what the clients of `shop`
//! call `k` is `shop:k`. A name has no colon, so no namespace's keys are among another's. The default namespace has no name and
//! all other keys: it is told which namespaces there are, and refuses what is theirs. What is in braces in a client's key
//! still decides the slot, since a name has no braces.
//!
//! A hub is of one namespace. It puts the name in front of keys where they come from clients and leaves, and takes it off
//! where they go back; everything between, and all that the origin is told, has Redis' keys. How commands are placed is
//! in [`crate::command`].

use crate::{
    command::CommandError,
    id::{BadKey, Key},
    limits::{KEY_BYTES_MAX, NAMESPACE_BYTES_MAX, NAMESPACES_MAX},
};
use bytes::Bytes;
use std::{fmt, str::FromStr, sync::Arc};

/// What stands between a namespace's name and its clients' keys.
const SEPARATOR: u8 = b':';

/// Names that begin so are for Headwater itself.
const OWN: &str = "hw";

/// The namespace in which the rates of tokens are counted. No token bears it.
const RATES: &str = "hw-rates";

/// The name of a namespace: lower-case letters, digits, `-` and `_`, the first a letter or a digit.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct NamespaceName(Box<str>);

/// No name of a namespace, or too many of them.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadNamespace {
    /// Not a name.
    #[error(
        "{0:?} is no name of a namespace: it has 1 to {NAMESPACE_BYTES_MAX} of a-z, 0-9, - and _, does not begin with - or _, \
         and not with {OWN}, which is Headwater's own"
    )]
    Name(String),
    /// More than a hub is told of.
    #[error("there are {0} namespaces; at most {NAMESPACES_MAX} are served")]
    TooMany(usize),
}

impl NamespaceName {
    /// A name as one that is sent has it, which may be Headwater's own.
    pub(crate) fn sent(text: &str) -> Option<Self> {
        let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
        let is_first = |byte: &u8| !b"-_".contains(byte);
        let is_name = text.len() <= NAMESPACE_BYTES_MAX && text.bytes().all(is_inner);
        (is_name && text.as_bytes().first().is_some_and(is_first)).then(|| Self(text.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What follows the name and the colon, in a key of the namespace.
    fn strip<'a>(&self, key: &'a [u8]) -> Option<&'a [u8]> {
        key.strip_prefix(self.0.as_bytes())?.strip_prefix(&[SEPARATOR])
    }
}

impl FromStr for NamespaceName {
    type Err = BadNamespace;

    fn from_str(text: &str) -> Result<Self, BadNamespace> {
        let name = Self::sent(text).filter(|name| !name.0.starts_with(OWN));
        name.ok_or_else(|| BadNamespace::Name(text.chars().take(NAMESPACE_BYTES_MAX).collect()))
    }
}

impl fmt::Display for NamespaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The namespaces of a deployment, beside the default one.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Namespaces(Vec<NamespaceName>);

impl Namespaces {
    /// Reads names with commas between them; spaces around them do not count.
    ///
    /// # Errors
    /// Where one is no name, or there are too many.
    pub fn parse(text: &str) -> Result<Self, BadNamespace> {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        let mut names = names.map(str::parse).collect::<Result<Vec<NamespaceName>, _>>()?;
        names.sort_unstable();
        names.dedup();
        if names.len() > NAMESPACES_MAX {
            return Err(BadNamespace::TooMany(names.len()));
        }
        Ok(Self(names))
    }

    /// The default namespace, whose keys are not those of the others.
    pub fn default_one(&self) -> Namespace {
        Namespace { name: None, others: self.0.iter().cloned().collect() }
    }

    /// The one that is called so, if there is such a one.
    pub fn named(&self, name: &str) -> Option<Namespace> {
        self.0.iter().find(|known| known.as_str() == name).cloned().map(Namespace::named)
    }

    /// All of them but the default one, by their names.
    pub fn iter(&self) -> impl Iterator<Item = Namespace> + '_ {
        self.0.iter().cloned().map(Namespace::named)
    }
}

/// One namespace, and which keys of Redis are its own. The default is the default namespace where there is no other.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Namespace {
    name: Option<NamespaceName>,
    /// Of the default namespace, those whose keys are not its own.
    others: Arc<[NamespaceName]>,
}

impl Namespace {
    /// The one of this name.
    pub fn named(name: NamespaceName) -> Self {
        Self { name: Some(name), others: Arc::default() }
    }

    /// The one of this name, as a hub's name has it, which may be Headwater's own.
    pub fn of_name(name: &str) -> Option<Self> {
        NamespaceName::sent(name).map(Self::named)
    }

    /// The one in which the rates of tokens are counted.
    pub fn rates() -> Self {
        Self::named(NamespaceName(RATES.into()))
    }

    /// Whether the rates of tokens are counted in it, and nothing else.
    pub fn is_of_rates(&self) -> bool {
        self.as_str() == RATES
    }

    /// As it is sent: its name, and of the default namespace the others' names.
    pub(crate) fn parts(&self) -> (&str, &[NamespaceName]) {
        (self.as_str(), &self.others)
    }

    pub(crate) fn from_parts(name: Option<NamespaceName>, others: Vec<NamespaceName>) -> Self {
        Self { name, others: others.into() }
    }

    /// Its name; nothing of the default one.
    pub fn as_str(&self) -> &str {
        self.name.as_ref().map_or("", NamespaceName::as_str)
    }

    /// Whether it is the default one.
    pub fn is_default(&self) -> bool {
        self.name.is_none()
    }

    /// Whether there are keys that are not its own, beside Headwater's.
    pub fn is_confined(&self) -> bool {
        self.name.is_some() || !self.others.is_empty()
    }

    /// Whether a name in Redis is one of its keys. Linear in the namespaces, of the default one.
    pub fn holds(&self, name: &[u8]) -> bool {
        match &self.name {
            Some(own) => own.strip(name).is_some(),
            None => {
                let is_others = self.others.iter().any(|other| other.strip(name).is_some());
                !is_others && name.strip_prefix(RATES.as_bytes()).is_none_or(|rest| rest.first() != Some(&SEPARATOR))
            }
        }
    }

    /// What its keys begin with.
    pub(crate) fn prefix(&self) -> Vec<u8> {
        let name = self.name.iter().flat_map(|name| name.as_str().bytes().chain([SEPARATOR]));
        name.collect()
    }

    /// A pattern that all of its keys match, if there is one.
    pub fn pattern(&self) -> Option<Bytes> {
        self.name.as_ref().map(|_| [&self.prefix()[..], b"*"].concat().into())
    }

    /// The key of Redis that its clients call so.
    ///
    /// # Errors
    /// Where that is too long, or another namespace's.
    pub fn key(&self, own: &Key) -> Result<Key, CommandError> {
        if self.name.is_none() {
            return if self.holds(own.as_bytes()) { Ok(own.clone()) } else { Err(CommandError::other_namespace(own)) };
        }
        let prefix = self.prefix();
        Key::new([&prefix[..], own.as_bytes()].concat()).map_err(|bad| match bad {
            BadKey::TooLong { .. } => CommandError::key_too_long(KEY_BYTES_MAX.saturating_sub(prefix.len())),
            BadKey::Reserved { .. } => bad.into(),
        })
    }

    /// What its clients call a key of Redis that is its own; any other is given back as it is.
    pub fn own(&self, key: &Key) -> Key {
        let own = self.name.as_ref().and_then(|name| name.strip(key.as_bytes()));
        own.and_then(|own| Key::copied(own).ok()).unwrap_or_else(|| key.clone())
    }

    /// Likewise of a name in a reply.
    pub(crate) fn own_name(&self, name: &Bytes) -> Bytes {
        self.name.as_ref().and_then(|own| own.strip(name)).map_or_else(|| name.clone(), |own| name.slice_ref(own))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key::new(name.to_owned()).unwrap()
    }

    fn all() -> Namespaces {
        Namespaces::parse("shop, shop2,sho,a-b_c,,shop").unwrap()
    }

    #[test]
    fn names_have_neither_colons_nor_braces_nor_headwaters_own_beginning() {
        let long = "x".repeat(NAMESPACE_BYTES_MAX + 1);
        for name in ["a:b", "{a}", "A", "a b", "-a", "_a", "a*", "hw", "hw-rates", "hwx", "a\u{e9}", &long] {
            assert!(matches!(Namespaces::parse(name), Err(BadNamespace::Name(_))), "{name}");
        }
        for name in ["a", "0", "a-b_c", &long[1..]] {
            assert_eq!(Namespaces::parse(name).unwrap().named(name).unwrap().as_str(), name);
        }
        let many: Vec<String> = (0..=NAMESPACES_MAX).map(|number| number.to_string()).collect();
        assert_eq!(Namespaces::parse(&many.join(",")), Err(BadNamespace::TooMany(NAMESPACES_MAX + 1)));
        assert_eq!(Namespaces::parse("").unwrap(), Namespaces::default());
    }

    #[test]
    fn every_key_of_redis_is_of_one_namespace_at_most_and_exactly_one_where_it_is_not_headwaters() {
        let all = all();
        let mut spaces: Vec<Namespace> = all.iter().collect();
        spaces.extend([all.default_one(), Namespace::rates()]);
        for name in
            ["k", "shop", "shop:", "shop:k", "shop2:k", "sho:p:k", "shop:shop2:k", "a-b_c:", ":", "", "hw-rates:a"]
        {
            let holders = spaces.iter().filter(|space| space.holds(name.as_bytes())).count();
            assert_eq!(holders, 1, "{name}");
        }
        // What a client calls a key in one is never a key of another.
        for space in &spaces {
            for own in ["k", "shop:k", "shop2:k", "{a}b", ""] {
                let Ok(full) = space.key(&key(own)) else { continue };
                let holders: Vec<&str> =
                    spaces.iter().filter(|other| other.holds(full.as_bytes())).map(Namespace::as_str).collect();
                assert_eq!(holders, [space.as_str()], "{own} of {space:?}");
                assert_eq!(space.own(&full), key(own));
            }
        }
    }

    #[test]
    fn the_default_namespace_refuses_what_is_anothers_by_name() {
        let default = all().default_one();
        for name in ["shop:k", "shop:", "a-b_c:x", "hw-rates:x"] {
            let error = default.key(&key(name)).unwrap_err();
            assert!(error.to_string().contains(&format!("the key {name} is another namespace's")), "{error}");
        }
        assert!(default.key(&key("shop")).is_ok() && Namespace::default().key(&key("shop:k")).is_ok());
        assert!(Namespace::default().key(&key("hw-rates:k")).is_err());
    }

    #[test]
    fn a_hash_tag_of_the_client_decides_the_slot() {
        let shop = all().named("shop").unwrap();
        let (one, other) = (shop.key(&key("{user:1}a")).unwrap(), shop.key(&key("b{user:1}")).unwrap());
        assert_eq!((one.slot(), other.slot()), (key("user:1").slot(), key("user:1").slot()));
    }

    #[test]
    fn a_key_has_room_for_the_name_of_its_namespace() {
        let shop = all().named("shop").unwrap();
        assert!(shop.key(&key(&"k".repeat(KEY_BYTES_MAX - 5))).is_ok());
        let error = shop.key(&key(&"k".repeat(KEY_BYTES_MAX - 4))).unwrap_err();
        assert_eq!(error.to_string(), "ERR key is longer than the limit of 1019 bytes");
    }
}
