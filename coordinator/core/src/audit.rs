//! The audit trail: what an event holds, and the hash chain that proves none was changed, dropped or reordered.

use loopback_protocol::id::EventId;
use sha2::{Digest, Sha256};

use crate::access::Actor;

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was done.
    Allowed,
    /// It was refused by access control or policy.
    Denied,
    /// It was allowed and did not succeed.
    Failed,
}

/// One entry of a trail. The field order is part of the hash.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Event {
    /// Its id.
    pub id: EventId,
    /// The trail it belongs to: an organization's id, or `platform`.
    pub trail: String,
    /// Its place in the trail, from 1.
    pub sequence: u64,
    /// When, in milliseconds since 1970.
    pub time_ms: u64,
    /// Who.
    pub actor: Actor,
    /// The actor's name for people at that time: an address, a host's path.
    pub actor_name: String,
    /// From where: an IP address, or empty.
    pub address: String,
    /// With what: a user agent, or empty.
    pub user_agent: String,
    /// What: the audit key declared with the operation.
    pub action: String,
    /// On what: a path of slugs and ids.
    pub target: String,
    /// How it ended.
    pub outcome: Outcome,
    /// What changed, or why not; never a secret.
    pub details: serde_json::Value,
    /// The request it came from, or empty.
    pub request: String,
}

/// A link of the chain: SHA-256 over the link before it and the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChainHash(pub [u8; 32]);

/// The first event that does not fit its chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// An event is missing or out of its place.
    #[error("event {expected} is missing: {found} stands in its place")]
    Sequence {
        /// The sequence that should come.
        expected: u64,
        /// The one that came.
        found: u64,
    },
    /// An event's hash is not that of its content and its predecessor.
    #[error("event {sequence} ({id}) is not what was written")]
    Hash {
        /// Its place.
        sequence: u64,
        /// Its id.
        id: EventId,
    },
}

impl ChainHash {
    /// The link that comes after this one. `serde_json` keeps the struct's field order and sorts the keys of maps, so the bytes are canonical.
    ///
    /// # Errors
    /// The event cannot be written as JSON.
    pub fn next(&self, event: &Event) -> Result<Self, serde_json::Error> {
        let mut hasher = Sha256::new();
        hasher.update(b"loopback-audit-1");
        hasher.update(self.0);
        hasher.update(serde_json::to_vec(event)?);
        Ok(Self(hasher.finalize().into()))
    }
}

/// Walks a trail from its beginning.
#[derive(Debug, Default)]
pub struct Verifier {
    head: ChainHash,
    sequence: u64,
}

impl Verifier {
    /// Takes the next stored event and the link stored with it.
    ///
    /// # Errors
    /// The event does not continue the chain.
    pub fn check(&mut self, event: &Event, stored: ChainHash) -> Result<(), Broken> {
        let expected = self.sequence + 1;
        if event.sequence != expected {
            return Err(Broken::Sequence { expected, found: event.sequence });
        }
        match self.head.next(event) {
            Ok(hash) if hash == stored => {
                (self.head, self.sequence) = (hash, expected);
                Ok(())
            }
            _ => Err(Broken::Hash { sequence: event.sequence, id: event.id }),
        }
    }

    /// How many events were found whole, and the last link.
    #[must_use]
    pub const fn head(&self) -> (u64, ChainHash) {
        (self.sequence, self.head)
    }
}

#[cfg(test)]
mod tests {
    use loopback_protocol::id::Id;

    use super::{Broken, ChainHash, Event, Outcome, Verifier};
    use crate::access::Actor;

    fn event(sequence: u64) -> Event {
        Event {
            id: Id::new(sequence, [1; 10]),
            trail: "org".into(),
            sequence,
            time_ms: sequence,
            actor: Actor::System,
            actor_name: "system".into(),
            address: String::new(),
            user_agent: String::new(),
            action: "test".into(),
            target: "acme".into(),
            outcome: Outcome::Allowed,
            details: serde_json::json!({"b": 1, "a": 2}),
            request: String::new(),
        }
    }

    fn trail(length: u64) -> Vec<(Event, ChainHash)> {
        let mut head = ChainHash::default();
        let link = |sequence| {
            head = head.next(&event(sequence)).unwrap();
            (event(sequence), head)
        };
        (1..=length).map(link).collect()
    }

    fn verify(trail: &[(Event, ChainHash)]) -> Result<u64, Broken> {
        let mut verifier = Verifier::default();
        trail.iter().try_for_each(|(event, hash)| verifier.check(event, *hash))?;
        Ok(verifier.head().0)
    }

    #[test]
    fn a_whole_trail_verifies_also_after_a_round_through_json() {
        assert_eq!(verify(&trail(5)), Ok(5));
        let stored: Vec<_> = trail(5).into_iter().map(|(event, hash)| (serde_json::from_str(&serde_json::to_string(&event).unwrap()).unwrap(), hash)).collect();
        assert_eq!(verify(&stored), Ok(5));
    }

    #[test]
    fn a_changed_a_dropped_and_a_moved_event_are_named() {
        let mut changed = trail(5);
        changed[2].0.target = "other".into();
        assert_eq!(verify(&changed), Err(Broken::Hash { sequence: 3, id: event(3).id }));
        let mut dropped = trail(5);
        dropped.remove(1);
        assert_eq!(verify(&dropped), Err(Broken::Sequence { expected: 2, found: 3 }));
        let mut moved = trail(5);
        moved.swap(3, 4);
        assert_eq!(verify(&moved), Err(Broken::Sequence { expected: 4, found: 5 }));
    }
}
