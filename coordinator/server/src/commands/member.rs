//! Adding and removing members.

use loopback_api::Time;
use loopback_api::member::{Member, NewMember};
use loopback_core::access::Grant;
use loopback_core::tenancy::LimitKind;

use super::{Refused, admit_creation, email};
use crate::clock::now_ms;
use crate::ids;
use crate::storage::{Entry, Storage, account, member};

/// Makes an existing account a member of the grant's organization, without any role.
///
/// # Errors
/// Nobody has that address, they belong already, status, or limit.
pub async fn add(storage: &Storage, grant: &Grant, new: &NewMember, entry: Entry) -> Result<Member, Refused> {
    let email = email(&new.email)?;
    let mut tx = storage.begin().await?;
    let account = account::by_email(tx.connection(), &email).await?;
    let account =
        account.ok_or_else(|| Refused::field("/email", "nobody has an account with this address; `loopback-coordinator account create` makes one"))?;
    if member::find(&mut tx, grant, &email).await?.is_some() {
        return Err(Refused::Conflict(format!("{email} is a member already")));
    }
    admit_creation(&mut tx, grant, LimitKind::Members, 1).await?;
    let member = Member { id: ids::fresh(), account: account.id, email, name: account.name, created_at: Time(now_ms()) };
    member::insert(&mut tx, grant, &member).await?;
    tx.bump_revision(grant.scope().organization()).await?;
    tx.commit(entry.with_details(serde_json::json!({ "email": member.email, "account": member.account }))).await?;
    Ok(member)
}

/// Removes a member, by id or e-mail address, and every role they hold.
///
/// # Errors
/// There is none, or nobody else owns the organization.
pub async fn remove(storage: &Storage, grant: &Grant, name: &str, entry: Entry) -> Result<(), Refused> {
    let mut tx = storage.begin().await?;
    let member = member::find(&mut tx, grant, name).await?.ok_or_else(|| Refused::missing("member", name))?;
    let owners = member::owners(tx.connection(), grant).await?;
    let owns = owners.iter().any(|(_, account)| *account == member.account);
    if owns && owners.iter().all(|(_, account)| *account == member.account) {
        return Err(Refused::Conflict(format!("{} is the last owner; make somebody else an owner first", member.email)));
    }
    member::delete(&mut tx, grant, member.account).await?;
    tx.bump_revision(grant.scope().organization()).await?;
    Ok(tx.commit(entry.with_details(serde_json::json!({ "email": member.email, "account": member.account }))).await?)
}
