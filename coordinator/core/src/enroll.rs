//! Whether a machine that shows an agent token becomes a host.

use loopback_protocol::id::AgentTokenId;
use loopback_protocol::secret::SecretHash;

use crate::access::ScopePath;
use crate::limits::{TOKEN_LIFE_MAX_MS, TOKEN_USES_MAX};
use crate::tenancy::{EntityStatus, LimitKind, LimitReached, Limits, Standing};

/// A stored agent token.
#[derive(Debug, Clone)]
pub struct AgentToken {
    /// Its id.
    pub id: AgentTokenId,
    /// Where the hosts it admits belong.
    pub workspace: ScopePath,
    /// Of its secret.
    pub hash: SecretHash,
    /// From when it admits nobody, in milliseconds since 1970.
    pub expires_at_ms: u64,
    /// How many it may admit.
    pub max_uses: u32,
    /// How many it has admitted.
    pub uses: u32,
    /// Since when it is revoked.
    pub revoked_at_ms: Option<u64>,
}

/// The proof that a token admits one more host.
#[derive(Debug, Clone, Copy)]
pub struct Admission {
    token: AgentTokenId,
    workspace: ScopePath,
}

/// Why a machine is not admitted. The reasons that depend on a secret are told only to who knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not a token's text.
    #[error("the token is malformed: copy the whole line again")]
    Malformed,
    /// No such token, or another secret.
    #[error("this coordinator knows no such token: mint one with `loopback token create`")]
    Unknown,
    /// Its time is over.
    #[error("the token has expired: mint another with `loopback token create`")]
    Expired,
    /// All of its uses are used.
    #[error("the token has been used up: mint another with `loopback token create`")]
    Spent,
    /// Somebody took it back.
    #[error("the token has been revoked: ask who sent it for another")]
    Revoked,
    /// The organization's status.
    #[error(transparent)]
    Status(#[from] EntityStatus),
    /// The organization's host limit.
    #[error(transparent)]
    Limit(#[from] LimitReached),
}

/// The terms of a token that cannot be minted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTerms {
    /// Too short or too long a life.
    #[error("a token lives from one second to 365 days")]
    Life,
    /// No use, or too many.
    #[error("a token admits from 1 to {TOKEN_USES_MAX} hosts")]
    Uses,
}

impl Admission {
    /// The token that admits.
    #[must_use]
    pub const fn token(&self) -> AgentTokenId {
        self.token
    }

    /// Where the host will belong.
    #[must_use]
    pub const fn workspace(&self) -> ScopePath {
        self.workspace
    }
}

impl Refused {
    /// A stable word for the wire, the audit trail and scripts.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::Expired => "expired",
            Self::Spent => "spent",
            Self::Revoked => "revoked",
            Self::Status(_) => "entity-status",
            Self::Limit(_) => "limit-reached",
        }
    }
}

/// Decides inside the transaction that creates the host, so that two machines cannot share the last use or the last place.
///
/// # Errors
/// The first reason that stands in the way.
pub fn admit(token: Option<&AgentToken>, presented: &SecretHash, standing: Standing, limits: &Limits, hosts: u64, now_ms: u64) -> Result<Admission, Refused> {
    let token = token.filter(|token| token.hash.matches(presented)).ok_or(Refused::Unknown)?;
    if token.revoked_at_ms.is_some() {
        return Err(Refused::Revoked);
    }
    if now_ms >= token.expires_at_ms {
        return Err(Refused::Expired);
    }
    if token.uses >= token.max_uses {
        return Err(Refused::Spent);
    }
    standing.admits_creation()?;
    limits.admit(LimitKind::Hosts, hosts, 1)?;
    Ok(Admission { token: token.id, workspace: token.workspace })
}

/// Checks the terms of a token to mint.
///
/// # Errors
/// Which of them is out of bounds.
pub const fn check_terms(life_ms: u64, max_uses: u32) -> Result<(), InvalidTerms> {
    if life_ms < 1_000 || life_ms > TOKEN_LIFE_MAX_MS {
        return Err(InvalidTerms::Life);
    }
    if max_uses == 0 || max_uses > TOKEN_USES_MAX {
        return Err(InvalidTerms::Uses);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use loopback_protocol::id::Id;
    use loopback_protocol::secret::SecretHash;

    use super::{AgentToken, InvalidTerms, Refused, admit, check_terms};
    use crate::access::ScopePath;
    use crate::limits::TOKEN_LIFE_MAX_MS;
    use crate::tenancy::{Limits, Standing, State, Verification};

    const VERIFIED: Standing = Standing { verification: Verification::Verified, state: State::Active };

    fn token() -> AgentToken {
        let workspace = ScopePath::Workspace(Id::new(1, [1; 10]), Id::new(1, [2; 10]), Id::new(1, [3; 10]));
        AgentToken { id: Id::new(1, [4; 10]), workspace, hash: SecretHash([7; 32]), expires_at_ms: 100, max_uses: 1, uses: 0, revoked_at_ms: None }
    }

    #[test]
    fn each_refusal_has_its_reason() {
        let check = |token: Option<AgentToken>, hash: u8, standing: Standing, hosts: u64, now_ms: u64, expected: Option<&str>| {
            let limits = Limits { hosts: 2, ..Limits::default() };
            let refused = admit(token.as_ref(), &SecretHash([hash; 32]), standing, &limits, hosts, now_ms).err();
            assert_eq!(refused.as_ref().map(Refused::reason), expected);
        };
        check(Some(token()), 7, VERIFIED, 1, 99, None);
        check(None, 7, VERIFIED, 0, 0, Some("unknown"));
        check(Some(token()), 8, VERIFIED, 0, 0, Some("unknown"));
        check(Some(token()), 7, VERIFIED, 0, 100, Some("expired"));
        check(Some(AgentToken { uses: 1, ..token() }), 7, VERIFIED, 0, 0, Some("spent"));
        check(Some(AgentToken { revoked_at_ms: Some(1), ..token() }), 7, VERIFIED, 0, 200, Some("revoked"));
        check(Some(token()), 7, Standing { verification: Verification::Blocked, ..VERIFIED }, 0, 0, Some("entity-status"));
        check(Some(token()), 7, VERIFIED, 2, 0, Some("limit-reached"));
    }

    #[test]
    fn a_wrong_secret_learns_nothing_of_the_token() {
        let revoked = AgentToken { revoked_at_ms: Some(1), uses: 1, ..token() };
        assert_eq!(admit(Some(&revoked), &SecretHash([8; 32]), VERIFIED, &Limits::default(), 0, 500).unwrap_err(), Refused::Unknown);
    }

    #[test]
    fn terms_are_bounded() {
        assert_eq!(check_terms(999, 1), Err(InvalidTerms::Life));
        assert_eq!(check_terms(TOKEN_LIFE_MAX_MS + 1, 1), Err(InvalidTerms::Life));
        assert_eq!(check_terms(1_000, 0), Err(InvalidTerms::Uses));
        assert_eq!(check_terms(1_000, 1), Ok(()));
    }
}
