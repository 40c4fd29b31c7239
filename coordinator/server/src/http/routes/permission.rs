//! The permission catalogue.

use loopback_api::Problem;
use loopback_api::permission::{CatalogueEntry, ListPermissions};
use loopback_core::access::Key;

use crate::http::api::{AccountCall, Api};

/// Registers this noun's operations.
pub fn register(api: &mut Api) {
    api.account::<ListPermissions, _, _>(list);
}

async fn list(_: AccountCall<ListPermissions>) -> Result<Vec<CatalogueEntry>, Problem> {
    let entry = |key: &Key| CatalogueEntry {
        key: key.name().to_owned(),
        verbs: key.verbs().collect(),
        narrowest_scope: key.narrowest(),
        sensitive: key.is_sensitive(),
        description: key.sentence().to_owned(),
    };
    Ok(Key::ALL.iter().map(entry).collect())
}
