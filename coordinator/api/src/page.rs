//! Lists: newest first, a page at a time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which page of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PageQuery {
    /// At most this many items: 50 when left out, 200 at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

impl PageQuery {
    const DEFAULT_ITEMS: u32 = 50;
    const MAX_ITEMS: u32 = 200;

    /// How many items the page holds.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.limit.unwrap_or(Self::DEFAULT_ITEMS).clamp(1, Self::MAX_ITEMS)
    }
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Page<T> {
    /// Newest first.
    pub items: Vec<T>,
    /// The cursor of the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}
