//! Signing in and out, and who one is.

use std::sync::Arc;

use loopback_api::account::{Identity, Login, LoginAnswer, Logout, WhoAmI};
use loopback_api::{Nothing, Operation as _, Problem, ProblemKind};
use loopback_core::access::Actor;

use crate::commands::account::{self, LoginRefused};
use crate::http::api::{AccountCall, Api, PublicCall, with};
use crate::login_limit::LoginLimit;
use crate::password::Passwords;
use crate::queries;
use crate::storage::{Entry, Storage, Trail};

/// What signing in needs.
#[derive(Debug, Clone)]
pub struct Door {
    /// Where accounts are.
    pub storage: Storage,
    /// Checks passwords.
    pub passwords: Passwords,
    /// Counts failures.
    pub limit: Arc<LoginLimit>,
}

/// Registers this noun's operations.
pub fn register(api: &mut Api, door: &Door) {
    api.public::<Login, _, _>(with(door, login));
    api.account::<Logout, _, _>(with(&door.storage, logout));
    api.account::<WhoAmI, _, _>(with(&door.storage, who_am_i));
}

async fn login(door: Door, call: PublicCall<Login>) -> Result<LoginAnswer, Problem> {
    let nobody = Entry { actor: Actor::Anonymous, actor_name: "anonymous".to_owned(), ..Entry::of_system(Trail::Platform, Login::SPEC.audit, "") };
    let entry = call.origin.stamp(nobody);
    let session = account::login(&door.storage, &door.passwords, &door.limit, &call.body.email, call.body.password, call.origin.address, entry).await;
    let session = session.map_err(|refused| match refused {
        LoginRefused::Storage(error) => error.into(),
        LoginRefused::Wrong => Problem::new(ProblemKind::Unauthenticated, refused.to_string()),
        LoginRefused::TooMany(_) => Problem::new(ProblemKind::RateLimited, refused.to_string()),
        LoginRefused::Password(_) => Problem::new(ProblemKind::Unavailable, refused.to_string()),
    })?;
    let identity = queries::account::identity(&door.storage, session.account).await?;
    Ok(LoginAnswer { secret: session.secret.reveal(), key: session.secret.id(), expires_at: session.expires_at, identity })
}

async fn logout(storage: Storage, call: AccountCall<Logout>) -> Result<Nothing, Problem> {
    account::logout(&storage, call.account, call.key, call.entry(call.key.to_string())).await?;
    Ok(Nothing {})
}

async fn who_am_i(storage: Storage, call: AccountCall<WhoAmI>) -> Result<Identity, Problem> {
    queries::account::identity(&storage, call.account).await
}
