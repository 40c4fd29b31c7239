//! Bindings one may see.

use loopback_api::binding::Binding;
use loopback_api::{Page, PageQuery, Problem};
use loopback_core::access::Grant;

use super::page;
use crate::storage::Storage;
use crate::storage::binding::{self, PlacedBinding};

/// The bindings on scopes the grant reaches.
///
/// # Errors
/// The cursor, or the database.
pub async fn list(storage: &Storage, grant: &Grant, query: &PageQuery) -> Result<Page<Binding>, Problem> {
    let visible = |placed: &PlacedBinding| grant.reaches(&placed.scope);
    let fetch = |before: String, rows| async move { binding::list(storage.reader(), grant, &before, rows).await };
    let Page { items, next } = page(query, |placed| placed.binding.id, visible, fetch).await?;
    Ok(Page { items: items.into_iter().map(|placed| placed.binding).collect(), next })
}
