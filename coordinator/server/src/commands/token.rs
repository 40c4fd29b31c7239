//! Minting and revoking agent tokens.

use loopback_api::Time;
use loopback_api::token::{MintedToken, NewToken, Token, TokenState};
use loopback_core::access::Grant;
use loopback_core::enroll::{InvalidTerms, check_terms};
use loopback_core::limits::TOKEN_LIFE_DEFAULT_MS;
use loopback_protocol::id::AgentTokenId;
use loopback_protocol::secret::{Fingerprint, JoinString};

use super::{Refused, description};
use crate::clock::now_ms;
use crate::ids;
use crate::storage::organization::charter;
use crate::storage::{Entry, Storage, token};

/// What an install line says about this coordinator.
#[derive(Debug, Clone)]
pub struct InstallLine {
    /// `host:port` as agents reach it.
    pub address: String,
    /// Base64 of the SHA-256 of the server's public key.
    pub pin: String,
    /// The only CA the token may be shown to.
    pub ca: Fingerprint,
}

impl InstallLine {
    /// The line. The pin authenticates the first byte. The token stands in the environment, of `sudo` too, never in an argument that every user of the
    /// machine can read.
    fn text(&self, join: &str) -> String {
        format!(
            "curl -fsSk --pinnedpubkey 'sha256//{}' https://{}/install.sh | LOOPBACK_TOKEN='{join}' sudo --preserve-env=LOOPBACK_TOKEN sh",
            self.pin, self.address
        )
    }
}

/// Mints a token for the grant's workspace. Its secret is in the answer and nowhere else.
///
/// # Errors
/// Fields, or the organization's status.
pub async fn create(storage: &Storage, line: &InstallLine, grant: &Grant, new: &NewToken, entry: Entry) -> Result<MintedToken, Refused> {
    let (now, max_uses) = (now_ms(), new.max_uses.unwrap_or(1));
    let life_ms = new.life_seconds.map_or(TOKEN_LIFE_DEFAULT_MS, |seconds| seconds.saturating_mul(1_000));
    check_terms(life_ms, max_uses).map_err(|invalid| {
        let pointer = match invalid {
            InvalidTerms::Life => "/life_seconds",
            InvalidTerms::Uses => "/max_uses",
        };
        Refused::field(pointer, invalid)
    })?;
    let secret = ids::fresh_secret();
    let token = Token {
        id: secret.id(),
        description: description(&new.description)?,
        state: TokenState::Active,
        max_uses,
        uses: 0,
        expires_at: Time(now + life_ms),
        created_at: Time(now),
        created_by: entry.actor_name.clone(),
    };
    let mut tx = storage.begin().await?;
    charter(tx.connection(), grant.scope().organization()).await?.standing.admits_creation()?;
    token::insert(&mut tx, grant, &token, secret.hash()).await?;
    let target = format!("{}/{}", entry.target, token.id);
    let details = serde_json::json!({ "description": token.description, "max_uses": max_uses, "expires_at": token.expires_at });
    tx.commit(Entry { target, ..entry }.with_details(details)).await?;
    let join = JoinString { token: secret, ca: line.ca }.reveal();
    Ok(MintedToken { token, install: line.text(&join), join })
}

/// Revokes a token of the grant's workspace; again changes nothing. Hosts that joined with it stay.
///
/// # Errors
/// There is no such token.
pub async fn revoke(storage: &Storage, grant: &Grant, named: &str, entry: Entry) -> Result<(), Refused> {
    let missing = || Refused::missing("token", named);
    let id: AgentTokenId = named.parse().map_err(|_| missing())?;
    let mut tx = storage.begin().await?;
    if !token::revoke(&mut tx, grant, id, now_ms()).await? {
        return Err(missing());
    }
    Ok(tx.commit(entry).await?)
}
