//! Who acts. It names the actor for decisions and for the audit trail; it proves nothing by itself.

use loopback_protocol::id::{AccountId, AgentTokenId, HostId, KeyId};

/// Who acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Actor {
    /// An account, through one of its credentials.
    Account {
        /// The account.
        account: AccountId,
        /// The login or API key.
        key: KeyId,
    },
    /// A machine that shows an agent token.
    Token {
        /// The token.
        token: AgentTokenId,
    },
    /// An enrolled host, about itself.
    Host {
        /// The host.
        host: HostId,
    },
    /// Whoever runs the coordinator's own command line on its machine.
    Console,
    /// The coordinator itself: an expiry, a limit, a retention.
    System,
    /// Nobody known: a failed login, a malformed token.
    Anonymous,
}

impl Actor {
    /// The account that acts, if an account does.
    #[must_use]
    pub const fn account(&self) -> Option<AccountId> {
        match self {
            Self::Account { account, .. } => Some(*account),
            _ => None,
        }
    }
}
