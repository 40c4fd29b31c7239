//! What shows something: each query takes a grant, or the account it is about, and changes nothing.

use std::fmt::Display;

use loopback_api::{Page, PageQuery, Problem, ProblemKind};

use crate::storage::StorageError;

pub mod account;
pub mod audit;
pub mod binding;
pub mod metrics;
pub mod project;
pub mod session;
pub mod workspace;

/// Gathers one page, newest first: `fetch` reads rows from before an id, `visible` keeps those the caller may see. Rows that are not visible leave no
/// trace, neither in the count nor in the cursor.
///
/// # Errors
/// The cursor is none of ours, or the database fails.
pub(crate) async fn page<T, I, F, Fut>(query: &PageQuery, id: impl Fn(&T) -> I, visible: impl Fn(&T) -> bool, mut fetch: F) -> Result<Page<T>, Problem>
where
    I: Display,
    F: FnMut(String, i64) -> Fut,
    Fut: Future<Output = Result<Vec<T>, StorageError>>,
{
    let mut before = query.cursor.clone().unwrap_or_default();
    if before.len() > 64 || !before.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_') {
        return Err(bad_cursor());
    }
    let size = usize::try_from(query.size()).unwrap_or(1);
    let mut items = Vec::new();
    loop {
        let rows = fetch(before, i64::from(query.size()) + 1).await?;
        before = rows.last().map(|row| id(row).to_string()).unwrap_or_default();
        let exhausted = rows.len() <= size;
        items.extend(rows.into_iter().filter(&visible));
        if exhausted || items.len() > size {
            break;
        }
    }
    let more = items.len() > size;
    items.truncate(size);
    let next = items.last().filter(|_| more).map(|last| id(last).to_string());
    Ok(Page { items, next })
}

/// A page of everything the grant is for.
pub(crate) const fn all<T>(_: &T) -> bool {
    true
}

fn bad_cursor() -> Problem {
    Problem::new(ProblemKind::Validation, "this cursor is none of ours; send `next` of the page before as it was")
}

#[cfg(test)]
mod tests {
    use loopback_api::PageQuery;

    use super::page;

    async fn walk(visible: fn(&u32) -> bool, limit: u32) -> Vec<Vec<u32>> {
        let (mut pages, mut cursor) = (Vec::new(), None);
        loop {
            let query = PageQuery { limit: Some(limit), cursor };
            let fetch = |before: String, rows: i64| async move {
                let before = before.parse().unwrap_or(100);
                Ok((1..before).rev().take(usize::try_from(rows).unwrap()).collect())
            };
            let page = page(&query, |n: &u32| *n, visible, fetch).await.unwrap();
            pages.push(page.items);
            match page.next {
                Some(next) => cursor = Some(next),
                None => return pages,
            }
        }
    }

    #[tokio::test]
    async fn pages_are_full_of_visible_rows_and_the_last_says_that_it_is() {
        let pages = walk(|n| n % 7 == 0, 5).await;
        assert_eq!(pages, [vec![98, 91, 84, 77, 70], vec![63, 56, 49, 42, 35], vec![28, 21, 14, 7]]);
        assert_eq!(walk(|_| true, 50).await.concat().len(), 99);
        assert_eq!(walk(|_| true, 33).await.len(), 3);
        assert_eq!(walk(|_| false, 50).await, [Vec::<u32>::new()]);
    }
}
