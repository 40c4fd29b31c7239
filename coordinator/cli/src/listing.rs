//! Lists over more than one page.

use loopback_api::audit::AuditQuery;
use loopback_api::session::SessionQuery;
use loopback_api::{Nothing, Operation, Page, PageQuery};

use crate::client::{CallError, Client};
use crate::limits::{LIST_DEFAULT_ITEMS, LIST_MAX_ITEMS, PAGE_ITEMS};

/// How much of a list to fetch.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub(crate) struct ListArgs {
    /// Show at most so many, newest first [default: 1000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(LIST_MAX_ITEMS)))]
    limit: Option<u32>,
}

/// A query that asks for a page.
pub(crate) trait Paged {
    /// Asks for another page.
    fn turn(&mut self, limit: u32, cursor: Option<String>);
}

impl Paged for PageQuery {
    fn turn(&mut self, limit: u32, cursor: Option<String>) {
        (self.limit, self.cursor) = (Some(limit), cursor);
    }
}

impl Paged for SessionQuery {
    fn turn(&mut self, limit: u32, cursor: Option<String>) {
        (self.limit, self.cursor) = (Some(limit), cursor);
    }
}

impl Paged for AuditQuery {
    fn turn(&mut self, limit: u32, cursor: Option<String>) {
        (self.limit, self.cursor) = (Some(limit), cursor);
    }
}

impl ListArgs {
    /// At most so many items.
    pub(crate) const fn first(items: u32) -> Self {
        Self { limit: Some(items) }
    }

    fn items(self) -> usize {
        self.limit.unwrap_or(LIST_DEFAULT_ITEMS) as usize
    }
}

impl Client {
    /// Every page of a list up to the limit, as one; `next` remains when there is more.
    pub(crate) async fn list<O, T>(&self, scope: &[&str], mut query: O::Query, args: ListArgs) -> Result<Page<T>, CallError>
    where
        O: Operation<Body = Nothing, Output = Page<T>>,
        O::Query: Paged,
    {
        let mut all = Page { items: Vec::new(), next: None };
        loop {
            let wanted = args.items().saturating_sub(all.items.len());
            query.turn(u32::try_from(wanted).unwrap_or(PAGE_ITEMS).min(PAGE_ITEMS), all.next.take());
            let page = self.call::<O>(scope, None, &query, &Nothing {}).await?;
            // A page without items and with a next one would never end.
            let stuck = page.items.is_empty();
            all.items.extend(page.items);
            all.next = page.next;
            if all.next.is_none() || all.items.len() >= args.items() || stuck {
                return Ok(all);
            }
        }
    }
}
