//! What only the coordinator's own command line does: accounts, and organizations with their built-in roles.

use loopback_api::Time;
use loopback_api::member::Member;
use loopback_api::organization::Organization;
use loopback_api::role::Role;
use loopback_core::access::{Actor, Grant, Key, OWNER, ScopePath, Verb, built_in_roles};
use loopback_core::tenancy::{LimitKind, Limits, State, Verification};
use loopback_protocol::id::{AccountId, OrganizationId};

use super::{Refused, admit_creation, email, name, present, slug};
use crate::clock::now_ms;
use crate::ids;
use crate::password::{PasswordError, Passwords};
use crate::storage::account::{self, Account};
use crate::storage::binding::{self, NewRow};
use crate::storage::{Entry, Storage, Trail, Tx, member, organization, role};

/// An account to make, unless there is one with its address.
#[derive(Clone)]
pub struct NewAccount {
    /// Its e-mail address.
    pub email: String,
    /// Its name; the address when left out.
    pub name: Option<String>,
    /// Its password; of no account that is there already.
    pub password: String,
}

/// Whether the account was made or was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountMade {
    /// Made, with the given password.
    New,
    /// There already; its password stays.
    Known,
}

/// Makes an organization with the built-in roles and an account that owns it.
///
/// # Errors
/// Fields, or a slug that is taken.
pub async fn organization(storage: &Storage, passwords: &Passwords, organization_slug: &str, owner: NewAccount) -> Result<AccountMade, Refused> {
    let slug = slug(organization_slug)?;
    let organization = Organization {
        id: ids::fresh(),
        slug: slug.as_str().to_owned(),
        name: slug.as_str().to_owned(),
        verification: Verification::Verified,
        state: State::Active,
        limits: Limits::default(),
        created_at: Time(now_ms()),
    };
    let (owner, password_hash) = read(passwords, owner).await?;
    let mut tx = storage.begin().await?;
    if organization::by_slug(&mut tx, slug.as_str()).await?.is_some() {
        return Err(Refused::Conflict(format!(
            "there is an organization {slug} already; `loopback-coordinator account create --organization {slug}` adds people"
        )));
    }
    let (account, made) = account(&mut tx, &owner, password_hash).await?;
    if made == AccountMade::New {
        tx.record(&entry(Trail::Platform, "account.create", &account.email)).await?;
    }
    let grant = grant(organization.id);
    organization::insert(&mut tx, &grant, &organization).await?;
    for built_in in built_in_roles() {
        let permissions = built_in.permissions.iter().map(|permission| permission.to_string()).collect();
        let role = Role { id: ids::fresh(), slug: built_in.slug.to_owned(), name: built_in.name.to_owned(), permissions };
        role::insert(&mut tx, &grant, &role, now_ms()).await?;
    }
    join(&mut tx, &grant, &account, OWNER).await?;
    let entry = entry(Trail::Organization(organization.id), "organization.create", slug.as_str());
    tx.commit(entry.with_details(serde_json::json!({ "id": organization.id, "owner": account.email }))).await?;
    Ok(made)
}

/// Makes an account, and a member with a role in the whole of an organization when one is named.
///
/// # Errors
/// Fields, no such organization or role, or an account that is there and joins nothing.
pub async fn person(storage: &Storage, passwords: &Passwords, new: NewAccount, place: Option<(&str, &str)>) -> Result<AccountMade, Refused> {
    let (new, password_hash) = read(passwords, new).await?;
    let mut tx = storage.begin().await?;
    let (account, made) = account(&mut tx, &new, password_hash).await?;
    let Some((organization_slug, role)) = place else {
        if made == AccountMade::Known {
            return Err(Refused::Conflict(format!("{} has an account already", account.email)));
        }
        tx.commit(entry(Trail::Platform, "account.create", &account.email)).await?;
        return Ok(made);
    };
    let organization = organization::by_slug(&mut tx, organization_slug).await?.ok_or_else(|| Refused::missing("organization", organization_slug))?;
    let grant = grant(organization);
    join(&mut tx, &grant, &account, role).await?;
    tx.bump_revision(organization).await?;
    if made == AccountMade::New {
        tx.record(&entry(Trail::Platform, "account.create", &account.email)).await?;
    }
    let entry = entry(Trail::Organization(organization), "member.add", organization_slug);
    tx.commit(entry.with_details(serde_json::json!({ "email": account.email, "role": role }))).await?;
    Ok(made)
}

async fn read(passwords: &Passwords, new: NewAccount) -> Result<(NewAccount, String), Refused> {
    let email = email(&new.email)?;
    let name = name(new.name.as_deref(), &email)?;
    let hash = passwords.hash(new.password.clone()).await.map_err(|error| match error {
        PasswordError::Length => Refused::field("/password", error),
        PasswordError::Hashing => Refused::Conflict(error.to_string()),
    })?;
    Ok((NewAccount { email, name: Some(name), ..new }, hash))
}

async fn account(tx: &mut Tx, new: &NewAccount, password_hash: String) -> Result<(Account, AccountMade), Refused> {
    if let Some(account) = account::by_email(tx.connection(), &new.email).await? {
        return Ok((account, AccountMade::Known));
    }
    let id: AccountId = ids::fresh();
    let account = Account { id, email: new.email.clone(), name: new.name.clone().unwrap_or_default(), password_hash };
    account::insert(tx, &account, now_ms()).await?;
    Ok((account, AccountMade::New))
}

async fn join(tx: &mut Tx, grant: &Grant, account: &Account, role_name: &str) -> Result<(), Refused> {
    let role = role::find(tx, grant, role_name).await?.ok_or_else(|| Refused::missing("role", role_name))?;
    if member::find(tx, grant, &account.email).await?.is_none() {
        admit_creation(tx, grant, LimitKind::Members, 1).await?;
        let member = Member { id: ids::fresh(), account: account.id, email: account.email.clone(), name: account.name.clone(), created_at: Time(now_ms()) };
        member::insert(tx, grant, &member).await?;
    }
    let held = present(tx, grant).await?;
    if held.live_bindings(account.id, now_ms()).any(|binding| binding.role == role.id && binding.scope == *grant.scope()) {
        return Err(Refused::Conflict(format!("{} holds the role {role_name} there already", account.email)));
    }
    let row = NewRow { id: ids::fresh(), account: account.id, role: role.id, scope: *grant.scope(), expires_at_ms: None };
    Ok(binding::insert(tx, grant, &row, now_ms()).await?)
}

/// Possession of the state directory is the proof.
fn grant(organization: OrganizationId) -> Grant {
    Grant::of_console(Key::OrganizationMembership.may(Verb::Create), ScopePath::Organization(organization))
}

fn entry(trail: Trail, action: &str, target: &str) -> Entry {
    Entry { actor: Actor::Console, actor_name: "console".to_owned(), ..Entry::of_system(trail, action, target) }
}
