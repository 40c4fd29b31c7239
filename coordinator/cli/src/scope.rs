//! Paths as operators write them: `acme/prod/web/host-1`, slugs or ids mixed, wide to narrow.
//!
//! Only their form is checked here; whether such a thing exists is the coordinator's to say.

use std::fmt;

/// A path of one to four segments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScopeArg(Vec<String>);

/// A text that is not a path of the form that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidScope {
    /// Another number of segments.
    #[error("write it as {0}")]
    Form(&'static str),
    /// A segment that is neither a slug nor an id.
    #[error("`{0}` is neither a slug (such as `web-1`) nor an id (such as `host_01h455vb4pex5vsknk084sn02q`)")]
    Segment(String),
}

impl ScopeArg {
    pub(crate) fn organization(text: &str) -> Result<Self, InvalidScope> {
        Self::of(text, &[1], "ORGANIZATION, such as acme")
    }

    pub(crate) fn project(text: &str) -> Result<Self, InvalidScope> {
        Self::of(text, &[2], "ORGANIZATION/PROJECT, such as acme/prod")
    }

    pub(crate) fn workspace(text: &str) -> Result<Self, InvalidScope> {
        Self::of(text, &[3], "ORGANIZATION/PROJECT/WORKSPACE, such as acme/prod/web")
    }

    pub(crate) fn host(text: &str) -> Result<Self, InvalidScope> {
        Self::of(text, &[4], "ORGANIZATION/PROJECT/WORKSPACE/HOST, such as acme/prod/web/host-1")
    }

    /// What has firewalls and lists of hosts.
    pub(crate) fn organization_or_workspace(text: &str) -> Result<Self, InvalidScope> {
        Self::of(text, &[1, 3], "ORGANIZATION or ORGANIZATION/PROJECT/WORKSPACE, such as acme or acme/prod/web")
    }

    pub(crate) fn any(text: &str) -> Result<Self, InvalidScope> {
        Self::of(text, &[1, 2, 3, 4], "a path of one to four parts, such as acme, acme/prod, acme/prod/web or acme/prod/web/host-1")
    }

    fn of(text: &str, lengths: &[usize], form: &'static str) -> Result<Self, InvalidScope> {
        let segments: Vec<String> = text.split('/').map(str::to_owned).collect();
        if !lengths.contains(&segments.len()) || segments.iter().any(String::is_empty) {
            return Err(InvalidScope::Form(form));
        }
        let well = |segment: &&String| !segment.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        match segments.iter().find(well) {
            Some(segment) => Err(InvalidScope::Segment(segment.clone())),
            None => Ok(Self(segments)),
        }
    }

    /// Wide to narrow.
    pub(crate) fn segments(&self) -> Vec<&str> {
        self.0.iter().map(String::as_str).collect()
    }

    /// The first segment.
    pub(crate) fn organization_name(&self) -> &str {
        self.0.first().map_or("", String::as_str)
    }

    /// What it lies in, and its own name.
    pub(crate) fn parent_and_name(&self) -> (Vec<&str>, &str) {
        let mut segments = self.segments();
        let name = segments.pop().unwrap_or_default();
        (segments, name)
    }
}

impl fmt::Display for ScopeArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("/"))
    }
}

/// The name of an item in a scope: a slug, an id or an e-mail address. What would change the meaning of a URL's path is refused.
pub(crate) fn item(text: &str) -> Result<String, &'static str> {
    match text {
        "" | "." | ".." => Err("write a name or an id"),
        _ if text.chars().any(|c| c.is_control() || c == '/') => Err("write a name or an id, without `/`"),
        _ => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::{InvalidScope, ScopeArg, item};

    #[test]
    fn a_path_has_the_length_its_command_wants() {
        assert_eq!(ScopeArg::host("acme/prod/web/host-1").unwrap().segments(), ["acme", "prod", "web", "host-1"]);
        assert_eq!(ScopeArg::workspace("acme/prod/web").unwrap().parent_and_name(), (vec!["acme", "prod"], "web"));
        assert_eq!(ScopeArg::project("org_01h455vb4pex5vsknk084sn02q/prod").unwrap().organization_name(), "org_01h455vb4pex5vsknk084sn02q");
        assert!(ScopeArg::organization_or_workspace("acme").is_ok() && ScopeArg::organization_or_workspace("acme/prod/web").is_ok());
        for text in ["", "acme", "acme/prod", "acme/prod/web", "acme/prod/web/", "/acme/prod/web", "acme//web/h", "a/b/c/d/e"] {
            let refused = ScopeArg::host(text).unwrap_err();
            assert_eq!(refused.to_string(), "write it as ORGANIZATION/PROJECT/WORKSPACE/HOST, such as acme/prod/web/host-1", "{text}");
        }
        assert!(ScopeArg::organization_or_workspace("acme/prod").is_err());
    }

    #[test]
    fn what_would_leave_the_url_is_no_segment() {
        for text in ["..", "a?b", "a%2fb", "a b", "ä"] {
            assert_eq!(ScopeArg::organization(text).unwrap_err(), InvalidScope::Segment(text.to_owned()));
        }
        assert!(item("ada@example.org").is_ok());
        assert!(item("..").is_err() && item("a/b").is_err() && item("").is_err() && item("a\nb").is_err());
    }
}
