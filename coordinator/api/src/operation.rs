//! What an operation is, and the list of all of them.

use loopback_core::access::Permission;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// An API operation: everything about it but what it does.
pub trait Operation: Send + Sync + 'static {
    /// What its query string holds.
    type Query: Serialize + DeserializeOwned + JsonSchema + Send;
    /// What its body holds; [`Nothing`] for none.
    type Body: Serialize + DeserializeOwned + JsonSchema + Send;
    /// What it answers with.
    type Output: Serialize + DeserializeOwned + JsonSchema + Send;
    /// The rest.
    const SPEC: Spec;
}

/// An operation's constants.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// `list_hosts`: unique.
    pub name: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// The HTTP method.
    pub method: Method,
    /// The path. `{organization}`, `{project}`, `{workspace}` and `{host}` name the scope; any other placeholder names an item in it.
    pub path: &'static str,
    /// Who may call it.
    pub access: Access,
    /// The action of its audit events.
    pub audit: &'static str,
}

/// HTTP methods in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Reads.
    Get,
    /// Creates, or does.
    Post,
    /// Replaces.
    Put,
    /// Changes a part.
    Patch,
    /// Removes.
    Delete,
}

/// Who may call an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anybody.
    Public,
    /// Any account, about itself.
    Account,
    /// Who holds the permission on the path's scope.
    Holds(Permission),
    /// Who holds the permission on the path's scope, above it, or somewhere in it; the operation shows and touches only what it reaches.
    Reaches(Permission),
}

/// No query, no body, no answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

impl Method {
    /// Its name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    /// Whether it may change something.
    #[must_use]
    pub const fn writes(self) -> bool {
        !matches!(self, Self::Get)
    }
}

impl Spec {
    /// The path for a scope (`["acme", "prod", "web"]`, wide to narrow) and an item.
    #[must_use]
    pub fn url(&self, scope: &[&str], item: Option<&str>) -> String {
        let mut scope = scope.iter();
        let fill = |segment: &str| match segment {
            "{organization}" | "{project}" | "{workspace}" | "{host}" => scope.next().map(|name| (*name).to_owned()).unwrap_or_default(),
            other if other.starts_with('{') => item.unwrap_or_default().to_owned(),
            other => other.to_owned(),
        };
        self.path.split('/').map(fill).collect::<Vec<_>>().join("/")
    }
}

/// An operation and the schemas of what goes in and comes out.
#[derive(Debug)]
pub struct Described {
    /// Its constants.
    pub spec: Spec,
    /// Of the query.
    pub query: schemars::Schema,
    /// Of the body.
    pub body: schemars::Schema,
    /// Of the answer.
    pub output: schemars::Schema,
}

/// Something to do with each operation's type.
pub trait Visitor {
    /// Called once for each operation.
    fn operation<O: Operation>(&mut self);
}

/// Every operation with its schemas.
#[must_use]
pub fn described(generator: &mut schemars::SchemaGenerator) -> Vec<Described> {
    struct Describe<'a> {
        generator: &'a mut schemars::SchemaGenerator,
        all: Vec<Described>,
    }
    impl Visitor for Describe<'_> {
        fn operation<O: Operation>(&mut self) {
            self.all.push(Described {
                spec: O::SPEC,
                query: self.generator.subschema_for::<O::Query>(),
                body: self.generator.subschema_for::<O::Body>(),
                output: self.generator.subschema_for::<O::Output>(),
            });
        }
    }
    let mut describe = Describe { generator, all: Vec::new() };
    visit(&mut describe);
    describe.all
}

macro_rules! operations {
    ($($(#[doc = $summary:literal])+ $operation:ident $name:literal $method:ident $path:literal, $access:expr, $audit:literal, $query:ty, $body:ty => $output:ty;)*) => {
        $(
            $(#[doc = $summary])+
            #[derive(Debug, Clone, Copy)]
            pub enum $operation {}

            impl $crate::Operation for $operation {
                type Query = $query;
                type Body = $body;
                type Output = $output;
                const SPEC: $crate::Spec = $crate::Spec {
                    name: $name,
                    summary: concat!($($summary),+).trim_ascii_start(),
                    method: $crate::Method::$method,
                    path: $path,
                    access: $access,
                    audit: $audit,
                };
            }
        )*

        pub(crate) fn visit(visitor: &mut impl $crate::Visitor) {
            $(visitor.operation::<$operation>();)*
        }
    };
}
pub(crate) use operations;

/// Shows every operation to a visitor.
pub fn visit(visitor: &mut impl Visitor) {
    crate::account::visit(visitor);
    crate::audit::visit(visitor);
    crate::binding::visit(visitor);
    crate::firewall::visit(visitor);
    crate::host::visit(visitor);
    crate::key::visit(visitor);
    crate::member::visit(visitor);
    crate::metrics::visit(visitor);
    crate::organization::visit(visitor);
    crate::permission::visit(visitor);
    crate::project::visit(visitor);
    crate::role::visit(visitor);
    crate::session::visit(visitor);
    crate::token::visit(visitor);
    crate::workspace::visit(visitor);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Access, Method, Nothing, Operation, Spec, Visitor, visit};
    use crate::host::GetHost;

    #[derive(Default)]
    struct Specs(Vec<Spec>);

    impl Visitor for Specs {
        fn operation<O: Operation>(&mut self) {
            self.0.push(O::SPEC);
        }
    }

    fn specs() -> Vec<Spec> {
        let mut specs = Specs::default();
        visit(&mut specs);
        specs.0
    }

    #[test]
    fn names_and_routes_are_unique_and_every_operation_says_what_it_does() {
        let names: BTreeSet<_> = specs().iter().map(|spec| spec.name).collect();
        let routes: BTreeSet<_> = specs().iter().map(|spec| (spec.method.name(), spec.path)).collect();
        assert_eq!((names.len(), routes.len()), (specs().len(), specs().len()));
        for spec in specs() {
            assert!(spec.summary.ends_with('.') && !spec.audit.is_empty(), "{}", spec.name);
        }
    }

    #[test]
    fn what_touches_a_tenant_names_the_organization_and_needs_a_permission() {
        for spec in specs() {
            let scoped = matches!(spec.access, Access::Holds(_) | Access::Reaches(_));
            assert_eq!(scoped, spec.path.contains("{organization}"), "{}", spec.name);
        }
    }

    #[test]
    fn a_path_is_filled_from_wide_to_narrow() {
        assert_eq!(GetHost::SPEC.url(&["acme", "prod", "web", "h1"], None), "/v1/organizations/acme/projects/prod/workspaces/web/hosts/h1");
        assert!(Method::Post.writes());
        assert!(serde_json::from_str::<Nothing>("{\"x\":1}").is_err());
    }
}
