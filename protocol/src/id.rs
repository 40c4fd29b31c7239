//! Typed, prefixed, time-ordered identifiers (`host_01h455vb4pex5vsknk084sn02q`): a UUIDv7 in Crockford's base32, as TypeID writes it.
//!
//! The registry of kinds is this file. It makes no randomness: the time and the random bits are arguments.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::str::FromStr;

use ulid::Ulid;

/// A kind of thing that has identifiers.
pub trait Kind: 'static {
    /// What stands before the underscore.
    const PREFIX: &'static str;
}

/// An identifier of one kind.
pub struct Id<K> {
    value: u128,
    kind: PhantomData<fn() -> K>,
}

impl<K: Kind> Id<K> {
    /// Makes an identifier from a time and ten random bytes (of which six bits give way to the version and variant).
    #[must_use]
    pub fn new(unix_ms: u64, random: [u8; 10]) -> Self {
        Self::from_value(uuid::Builder::from_unix_timestamp_millis(unix_ms, &random).into_uuid().as_u128())
    }

    const fn from_value(value: u128) -> Self {
        Self { value, kind: PhantomData }
    }

    /// The part after the underscore: 26 characters.
    #[must_use]
    pub fn suffix(&self) -> String {
        Ulid::from(self.value).to_string().to_ascii_lowercase()
    }

    /// Reads the part after the underscore.
    ///
    /// # Errors
    /// It is not 26 characters of lower-case Crockford base32.
    pub fn from_suffix(suffix: &str) -> Result<Self, InvalidId> {
        let invalid = || InvalidId { prefix: K::PREFIX };
        let id = Self::from_value(Ulid::from_string(suffix).map_err(|_| invalid())?.into());
        // Upper case and the ambiguous letters decode too; an identifier has one spelling.
        if id.suffix() == suffix { Ok(id) } else { Err(invalid()) }
    }

    /// When it was made, in milliseconds since 1970.
    #[must_use]
    pub fn unix_ms(&self) -> u64 {
        u64::try_from(self.value >> 80).unwrap_or_default()
    }
}

/// A text that is not an identifier of the kind it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an identifier of the form {prefix}_…")]
pub struct InvalidId {
    /// The prefix that was expected.
    pub prefix: &'static str,
}

impl<K> Clone for Id<K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K> Copy for Id<K> {}

impl<K> PartialEq for Id<K> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<K> Eq for Id<K> {}

impl<K> PartialOrd for Id<K> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<K> Ord for Id<K> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.value.cmp(&other.value)
    }
}

impl<K> Hash for Id<K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.value.hash(state);
    }
}

impl<K: Kind> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", K::PREFIX, self.suffix())
    }
}

impl<K: Kind> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<K: Kind> FromStr for Id<K> {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        match text.split_once('_') {
            Some((prefix, suffix)) if prefix == K::PREFIX => Self::from_suffix(suffix),
            _ => Err(InvalidId { prefix: K::PREFIX }),
        }
    }
}

impl<K: Kind> serde::Serialize for Id<K> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, K: Kind> serde::Deserialize<'de> for Id<K> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

macro_rules! registry {
    ($($(#[$doc:meta])* $kind:ident $alias:ident $prefix:literal)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Copy)]
            pub enum $kind {}

            impl Kind for $kind {
                const PREFIX: &'static str = $prefix;
            }

            $(#[$doc])*
            pub type $alias = Id<$kind>;
        )*

        /// Every prefix of the registry.
        pub const PREFIXES: &[&str] = &[$($prefix),*];
    };
}

registry! {
    /// A person or a service account.
    Account AccountId "acct"
    /// The tenant.
    Organization OrganizationId "org"
    /// A governance boundary inside an organization.
    Project ProjectId "prj"
    /// The environment hosts live in.
    Workspace WorkspaceId "ws"
    /// One Linux machine with an agent.
    Host HostId "host"
    /// An agent token.
    AgentToken AgentTokenId "tok"
    /// A firewall.
    Firewall FirewallId "fw"
    /// A rule of a firewall.
    Rule RuleId "rule"
    /// A named set of permissions.
    Role RoleId "role"
    /// A role on a scope, for an account.
    Binding BindingId "bind"
    /// An account's place in an organization.
    Membership MembershipId "mem"
    /// A credential of an account: a login or an API key.
    Key KeyId "key"
    /// A shell session.
    Session SessionId "ses"
    /// The recording of a shell session.
    Recording RecordingId "rec"
    /// An audit event.
    Event EventId "evt"
}

#[cfg(test)]
mod tests {
    use super::{Account, Host, HostId, Id, PREFIXES};

    #[test]
    fn an_id_reads_back_and_orders_by_time() {
        let early: HostId = Id::new(1_700_000_000_000, [7; 10]);
        let late: HostId = Id::new(1_700_000_000_001, [0; 10]);
        assert_eq!(early.to_string().parse::<HostId>(), Ok(early));
        assert_eq!(early.unix_ms(), 1_700_000_000_000);
        assert!(early < late);
        assert!(early.to_string() < late.to_string());
    }

    #[test]
    fn the_typeid_specification_agrees() {
        let id: Id<Host> = "host_01h455vb4pex5vsknk084sn02q".parse().unwrap();
        assert_eq!(uuid::Uuid::from_u128(id.value).to_string(), "01890a5d-ac96-774b-bcce-b302099a8057");
    }

    #[test]
    fn another_kind_another_case_and_another_length_are_refused() {
        let id: Id<Host> = Id::new(1, [1; 10]);
        assert!(id.to_string().parse::<Id<Account>>().is_err());
        assert!(id.to_string().to_uppercase().parse::<Id<Host>>().is_err());
        assert!(format!("{id}0").parse::<Id<Host>>().is_err());
        assert!("host_".parse::<Id<Host>>().is_err());
        assert!("".parse::<Id<Host>>().is_err());
    }

    #[test]
    fn prefixes_are_unique() {
        let mut seen = PREFIXES.to_vec();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), PREFIXES.len());
    }
}
