//! Where something is: organization, project, workspace or host, always with all of its ancestors.

use std::fmt;

use loopback_protocol::id::{HostId, OrganizationId, ProjectId, WorkspaceId};

/// A level of the tree, from wide to narrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScopeKind {
    /// The tenant.
    Organization,
    /// A governance boundary.
    Project,
    /// The environment hosts live in.
    Workspace,
    /// One machine.
    Host,
}

/// A place in the tree. Being able to name it proves nothing; see [`super::Grant`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ScopePath {
    /// An organization.
    Organization(OrganizationId),
    /// A project of an organization.
    Project(OrganizationId, ProjectId),
    /// A workspace of a project.
    Workspace(OrganizationId, ProjectId, WorkspaceId),
    /// A host of a workspace.
    Host(OrganizationId, ProjectId, WorkspaceId, HostId),
}

impl ScopePath {
    /// The tenant it lies in.
    #[must_use]
    pub const fn organization(&self) -> OrganizationId {
        match self {
            Self::Organization(organization) | Self::Project(organization, _) | Self::Workspace(organization, ..) | Self::Host(organization, ..) => {
                *organization
            }
        }
    }

    /// The project it is or lies in.
    #[must_use]
    pub const fn project(&self) -> Option<ProjectId> {
        match self {
            Self::Organization(_) => None,
            Self::Project(_, project) | Self::Workspace(_, project, _) | Self::Host(_, project, ..) => Some(*project),
        }
    }

    /// The workspace it is or lies in.
    #[must_use]
    pub const fn workspace(&self) -> Option<WorkspaceId> {
        match self {
            Self::Organization(_) | Self::Project(..) => None,
            Self::Workspace(.., workspace) | Self::Host(_, _, workspace, _) => Some(*workspace),
        }
    }

    /// The host it is.
    #[must_use]
    pub const fn host(&self) -> Option<HostId> {
        if let Self::Host(.., host) = self { Some(*host) } else { None }
    }

    /// Its level.
    #[must_use]
    pub const fn kind(&self) -> ScopeKind {
        match self {
            Self::Organization(_) => ScopeKind::Organization,
            Self::Project(..) => ScopeKind::Project,
            Self::Workspace(..) => ScopeKind::Workspace,
            Self::Host(..) => ScopeKind::Host,
        }
    }

    /// Whether `other` is this place or lies inside it.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        match self {
            Self::Organization(organization) => *organization == other.organization(),
            Self::Project(organization, project) => *organization == other.organization() && Some(*project) == other.project(),
            Self::Workspace(organization, project, workspace) => {
                *organization == other.organization() && Some(*project) == other.project() && Some(*workspace) == other.workspace()
            }
            Self::Host(..) => self == other,
        }
    }
}

impl fmt::Display for ScopePath {
    /// The ids from wide to narrow, joined by slashes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Organization(organization) => write!(f, "{organization}"),
            Self::Project(organization, project) => write!(f, "{organization}/{project}"),
            Self::Workspace(organization, project, workspace) => write!(f, "{organization}/{project}/{workspace}"),
            Self::Host(organization, project, workspace, host) => write!(f, "{organization}/{project}/{workspace}/{host}"),
        }
    }
}
