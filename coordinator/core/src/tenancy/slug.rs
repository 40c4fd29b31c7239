//! Slugs: the names in paths, unique within their parent.

use std::fmt;
use std::str::FromStr;

use crate::limits::SLUG_MAX_CHARS;

/// A name for paths: lower-case letters, digits and inner hyphens, at most 63; never of an identifier's form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slug(String);

/// A text that is no slug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("use 1 to {SLUG_MAX_CHARS} lower-case letters, digits and hyphens, beginning and ending with a letter or digit")]
pub struct InvalidSlug;

impl Slug {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The nearest slug to any text, for host names; `None` if nothing of it can be kept.
    #[must_use]
    pub fn from_hostname(hostname: &str) -> Option<Self> {
        let first_label = hostname.split('.').next().unwrap_or_default();
        let kept: String = first_label.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(SLUG_MAX_CHARS).collect();
        kept.trim_matches('-').parse().ok()
    }

    /// The same slug with a number behind it, for a name that is taken.
    #[must_use]
    pub fn numbered(&self, number: u32) -> Self {
        let suffix = format!("-{number}");
        let kept: String = self.0.chars().take(SLUG_MAX_CHARS - suffix.len()).collect();
        Self(format!("{}{suffix}", kept.trim_end_matches('-')))
    }
}

impl FromStr for Slug {
    type Err = InvalidSlug;

    fn from_str(text: &str) -> Result<Self, InvalidSlug> {
        let allowed = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let well_cut = !text.is_empty() && text.len() <= SLUG_MAX_CHARS && !text.starts_with('-') && !text.ends_with('-');
        if allowed && well_cut { Ok(Self(text.to_owned())) } else { Err(InvalidSlug) }
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Slug;

    #[test]
    fn slugs_are_strict() {
        for good in ["a", "web-1", "0", &"x".repeat(63)] {
            assert!(good.parse::<Slug>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a_b", "a/b", "ä", "..", &"x".repeat(64)] {
            assert!(bad.parse::<Slug>().is_err(), "{bad}");
        }
    }

    #[test]
    fn host_names_become_slugs() {
        let check = |hostname: &str, slug: Option<&str>| assert_eq!(Slug::from_hostname(hostname).as_ref().map(Slug::as_str), slug);
        check("web-1.example.org", Some("web-1"));
        check("Web_1", Some("web-1"));
        check("---", None);
        check("", None);
        assert_eq!("x".repeat(63).parse::<Slug>().unwrap().numbered(12).as_str().len(), 63);
    }
}
