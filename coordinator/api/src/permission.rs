//! The permission catalogue, for role editors and people.

use loopback_core::access::{ScopeKind, Verb};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::operation::{Access, Nothing, operations};

operations! {
    /// Lists every permission there is.
    ListPermissions "list_permissions" Get "/v1/permissions", Access::Account, "permission.list", Nothing, Nothing => Vec<CatalogueEntry>;
}

/// A key of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CatalogueEntry {
    /// `project.workspace.host`.
    pub key: String,
    /// The verbs that have a meaning for it.
    pub verbs: Vec<Verb>,
    /// The narrowest level at which a binding of it has a meaning.
    pub narrowest_scope: ScopeKind,
    /// Whether holding it deserves a second look.
    pub sensitive: bool,
    /// What it allows.
    pub description: String,
}
