//! The audit trail.

use loopback_api::audit::{AuditEvent, AuditVerification, ListAuditEvents, VerifyAudit};
use loopback_api::{Page, Problem};

use crate::http::api::{Api, Call, with};
use crate::queries;
use crate::storage::Storage;

/// Registers this noun's operations.
pub fn register(api: &mut Api, storage: &Storage) {
    api.operation::<ListAuditEvents, _, _>(with(storage, list));
    api.operation::<VerifyAudit, _, _>(with(storage, verify));
}

async fn list(storage: Storage, call: Call<ListAuditEvents>) -> Result<Page<AuditEvent>, Problem> {
    queries::audit::list(&storage, &call.grant, &call.query).await
}

async fn verify(storage: Storage, call: Call<VerifyAudit>) -> Result<AuditVerification, Problem> {
    Ok(queries::audit::verify(&storage, &call.grant).await?)
}
