//! The permission catalogue: one table from which the API, the role editor, the documentation and the decisions are made.

use std::fmt;
use std::str::FromStr;

use super::scope::ScopeKind;

/// What is done to a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// See it.
    Read,
    /// Make one.
    Create,
    /// Change it.
    Update,
    /// Remove it.
    Delete,
    /// Use it.
    Execute,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Self; 5] = [Self::Read, Self::Create, Self::Update, Self::Delete, Self::Execute];

    /// Its name in roles and messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Execute => "execute",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

const R: u8 = Verb::Read.bit();
const C: u8 = Verb::Create.bit();
const U: u8 = Verb::Update.bit();
const D: u8 = Verb::Delete.bit();
const X: u8 = Verb::Execute.bit();

macro_rules! catalogue {
    ($($variant:ident $name:literal $verbs:expr, $narrowest:ident, $sensitive:literal, $sentence:literal;)*) => {
        /// What a permission is about.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Key {
            $(#[doc = $sentence] $variant,)*
        }

        impl Key {
            /// The whole catalogue, in its order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name in roles and messages.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            const fn verb_bits(self) -> u8 {
                match self { $(Self::$variant => $verbs,)* }
            }

            /// The narrowest level at which a binding of it has a meaning.
            #[must_use]
            pub const fn narrowest(self) -> ScopeKind {
                match self { $(Self::$variant => ScopeKind::$narrowest,)* }
            }

            /// Whether holding it deserves a second look in a review.
            #[must_use]
            pub const fn is_sensitive(self) -> bool {
                match self { $(Self::$variant => $sensitive,)* }
            }

            /// What it allows, in plain language.
            #[must_use]
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$variant => $sentence,)* }
            }
        }
    };
}

catalogue! {
    Organization "organization" R | U | D, Organization, false, "The organization's profile and status.";
    OrganizationBilling "organization.billing" R | U, Organization, true, "Invoices, spending and financial settings.";
    OrganizationProject "organization.project" R | C | U | D, Project, false, "The organization's projects.";
    OrganizationMembership "organization.membership" R | C | U | D, Host, true, "Who belongs to the organization, and the roles they hold on a scope.";
    OrganizationMembershipInvite "organization.membership_invite" R | C | D, Organization, true, "Pending invitations.";
    OrganizationRole "organization.role" R | C | U | D, Organization, true, "Custom roles.";
    OrganizationPaymentMethod "organization.payment_method" R | C | U | D, Organization, true, "Cards and direct debits.";
    OrganizationAuthenticationProvider "organization.authentication_provider" R | C | U | D, Organization, true, "Identity providers for signing in.";
    OrganizationDomain "organization.domain" R | C | U | D, Organization, false, "Domain records.";
    OrganizationDnsRecord "organization.dns_record" R | C | U | D, Organization, false, "DNS records of the organization.";
    OrganizationDnsRecordZone "organization.dns_record_zone" R | C | U | D, Organization, false, "DNS zones of the organization.";
    OrganizationFirewall "organization.firewall" R | C | U | D, Organization, false, "Firewalls of the organization.";
    OrganizationFirewallRule "organization.firewall.rule" R | C | U | D, Organization, false, "Rules of the organization's firewalls.";
    OrganizationNotificationChannel "organization.notification_channel" R | C | U | D | X, Organization, false, "Where alerts are delivered.";
    OrganizationMonitoringSource "organization.monitoring_source" R | C | U | D, Organization, false, "Vantage points of monitoring.";
    OrganizationBundle "organization.bundle" R | C | U | D, Organization, false, "Bundle definitions.";
    OrganizationBundleRepository "organization.bundle.repository" R | C | U | D, Organization, false, "Bundle repositories.";
    OrganizationBundleEnvironment "organization.bundle.environment" R | C | U | D, Organization, false, "Bundle environments.";
    OrganizationBundleRevision "organization.bundle.revision" R | C | U | D, Organization, false, "Bundle revisions.";
    OrganizationBundleImage "organization.bundle.image" R | C | U | D, Organization, false, "Bundle images.";
    OrganizationBundleManifest "organization.bundle.manifest" R | C | U | D, Organization, false, "Bundle manifests.";
    OrganizationBundleDeployment "organization.bundle.deployment" R | C | U | D | X, Organization, false, "Bundle deployments.";
    OrganizationAudit "organization.audit" R | X, Organization, true, "The audit trail, and proving that it is whole.";
    OrganizationNetwork "organization.network" R | C | U | D, Organization, false, "Networks of the organization.";
    OrganizationNetworkBridge "organization.network_bridge" R | C | U | D, Organization, false, "Bridges between networks.";
    OrganizationLimits "organization.limits" R, Organization, false, "What the organization may hold, and how much of it is used.";
    ProjectDnsZone "project.dns_zone" R | C | U | D, Project, false, "DNS zones of a project.";
    ProjectObjectStore "project.object_store" R | C | U | D, Project, false, "Buckets of a project.";
    ProjectObjectStoreCredentials "project.object_store.credentials" R | C | D, Project, true, "Access keys of buckets.";
    ProjectObjectStorePolicy "project.object_store.policy" R | U, Project, false, "Policy documents of buckets.";
    ProjectLoadBalancer "project.load_balancer" R | C | U | D, Project, false, "Load balancers of a project.";
    ProjectLoadBalancerTarget "project.load_balancer.target" R | C | U | D, Project, false, "Targets of a project's load balancers.";
    ProjectLoadBalancerService "project.load_balancer.service" R | C | U | D, Project, false, "Services of a project's load balancers.";
    ProjectMonitoringObject "project.monitoring_object" R | C | U | D, Workspace, false, "What is observed.";
    ProjectMonitoringObjectCondition "project.monitoring_object.condition" R | C | U | D, Workspace, false, "The thresholds on what is observed.";
    ProjectMonitoringObjectState "project.monitoring_object.state" R, Workspace, false, "The present state of what is observed.";
    ProjectMonitoringAlert "project.monitoring.alert" R | U, Workspace, false, "Alerts: read sees them, update acknowledges and resolves them.";
    ProjectMonitoringSilence "project.monitoring.silence" R | C | U | D, Workspace, false, "Silences and maintenance windows.";
    ProjectBundleEnvironment "project.bundle.environment" R | C | U | D, Project, false, "Bundle environments of a project.";
    ProjectBundleRevision "project.bundle.revision" R | C | U | D, Project, false, "Bundle revisions of a project.";
    ProjectWorkspace "project.workspace" R | C | U | D, Workspace, false, "Workspaces.";
    ProjectWorkspaceKubernetes "project.workspace.kubernetes" R, Workspace, false, "Kubernetes metadata.";
    ProjectWorkspaceKubernetesDeployments "project.workspace.kubernetes.deployments" R | U, Workspace, false, "Kubernetes deployments.";
    ProjectWorkspaceKubernetesKubeconf "project.workspace.kubernetes.kubeconf" R, Workspace, true, "The cluster administrator's kubeconfig.";
    ProjectWorkspaceKubernetesAuthenticate "project.workspace.kubernetes.authenticate" X, Workspace, true, "A personal kubeconfig.";
    ProjectWorkspaceKubernetesSecrets "project.workspace.kubernetes.secrets" R | U, Workspace, true, "Kubernetes secrets.";
    ProjectWorkspaceHost "project.workspace.host" R | C | U | D, Host, false, "Hosts.";
    ProjectWorkspaceHostFirewall "project.workspace.host.firewall" R | C | U | D, Host, false, "The firewall in force on a host, and attaching firewalls to it.";
    ProjectWorkspaceHostMetrics "project.workspace.host.metrics" R, Host, false, "A host's metrics.";
    ProjectWorkspaceHostPower "project.workspace.host.power" X, Host, true, "Restarting and stopping a host.";
    ProjectWorkspaceHostMaintenance "project.workspace.host.maintenance" R | U, Host, false, "Maintenance of a host.";
    ProjectWorkspaceHostUpdate "project.workspace.host.update" R | X, Host, true, "Updating a host's agent.";
    ProjectWorkspaceHostShellSession "project.workspace.host.shell_session" R | U | D | X, Host, true, "Shell sessions: execute opens one, read sees them, update joins, delete terminates.";
    ProjectWorkspaceHostShellSessionRecording "project.workspace.host.shell_session.recording" R | D, Host, true, "Recordings of shell sessions.";
    ProjectWorkspaceHostShellSessionApproval "project.workspace.host.shell_session.approval" R | U, Host, true, "Approving the shell sessions of others.";
    ProjectWorkspaceShellPolicy "project.workspace.shell_policy" R | U, Workspace, true, "The rules for shell sessions of a workspace.";
    ProjectWorkspaceAgentToken "project.workspace.agent_token" R | C | D, Workspace, true, "Agent tokens, which let machines join.";
    ProjectWorkspaceApiKey "project.workspace.api_key" R | C | D, Workspace, true, "Automation keys of a workspace.";
    ProjectWorkspaceScalingGroup "project.workspace.scaling_group" R | C | U | D, Workspace, false, "Scaling groups.";
    ProjectWorkspaceFirewall "project.workspace.firewall" R | C | U | D, Workspace, false, "Firewalls of a workspace.";
    ProjectWorkspaceFirewallRule "project.workspace.firewall.rule" R | C | U | D, Workspace, false, "Rules of a workspace's firewalls.";
    ProjectWorkspaceLoadBalancer "project.workspace.load_balancer" R | C | U | D, Workspace, false, "Load balancers of a workspace.";
    ProjectWorkspaceLoadBalancerTarget "project.workspace.load_balancer.target" R | C | U | D, Workspace, false, "Targets of a workspace's load balancers.";
    ProjectWorkspaceLoadBalancerService "project.workspace.load_balancer.service" R | C | U | D, Workspace, false, "Services of a workspace's load balancers.";
    ProjectWorkspaceDnsZone "project.workspace.dns_zone" R | C | U | D, Workspace, false, "DNS zones of a workspace.";
    ProjectWorkspaceBundleDeployment "project.workspace.bundle.deployment" R | C | U | D | X, Workspace, false, "Bundle deployments to a workspace.";
}

impl Key {
    /// Whether the verb has a meaning for it.
    #[must_use]
    pub const fn has(self, verb: Verb) -> bool {
        self.verb_bits() & verb.bit() != 0
    }

    /// The verbs that have a meaning for it.
    pub fn verbs(self) -> impl Iterator<Item = Verb> {
        Verb::ALL.into_iter().filter(move |verb| self.has(*verb))
    }

    /// The permission to do `verb`. Meant for constants: a verb the catalogue does not give the key stops the build.
    #[must_use]
    pub const fn may(self, verb: Verb) -> Permission {
        assert!(self.has(verb), "the catalogue does not give this key that verb");
        Permission { key: self, verb }
    }
}

/// A key and a verb: what a role allows and what an operation needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Permission {
    key: Key,
    verb: Verb,
}

/// A text that names no permission of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no permission; `loopback permissions` lists them, written `key:verb`")]
pub struct UnknownPermission(pub String);

impl Permission {
    /// Its key.
    #[must_use]
    pub const fn key(self) -> Key {
        self.key
    }

    /// Its verb.
    #[must_use]
    pub const fn verb(self) -> Verb {
        self.verb
    }

    /// Every permission of the catalogue.
    pub fn all() -> impl Iterator<Item = Self> {
        Key::ALL.iter().flat_map(|key| key.verbs().map(|verb| Self { key: *key, verb }))
    }

    const fn index(self) -> usize {
        self.key as usize * Verb::ALL.len() + self.verb as usize
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.key.name(), self.verb.name())
    }
}

impl FromStr for Permission {
    type Err = UnknownPermission;

    fn from_str(text: &str) -> Result<Self, UnknownPermission> {
        Self::all().find(|permission| permission.to_string() == text).ok_or_else(|| UnknownPermission(text.to_owned()))
    }
}

const WORDS: usize = 6;
const _: () = assert!(Key::ALL.len() * Verb::ALL.len() <= WORDS * 64);

/// A set of permissions, as bits: subset checks are exact and cost nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct PermissionSet([u64; WORDS]);

impl PermissionSet {
    /// The set of nothing.
    pub const EMPTY: Self = Self([0; WORDS]);

    /// Whether it holds the permission.
    #[must_use]
    pub fn contains(&self, permission: Permission) -> bool {
        let index = permission.index();
        self.0.get(index / 64).is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    /// Adds a permission.
    pub fn insert(&mut self, permission: Permission) {
        let index = permission.index();
        if let Some(word) = self.0.get_mut(index / 64) {
            *word |= 1 << (index % 64);
        }
    }

    /// What is in either.
    #[must_use]
    pub fn union(mut self, other: &Self) -> Self {
        self.0.iter_mut().zip(other.0).for_each(|(word, other)| *word |= other);
        self
    }

    /// What is in this and not in the other.
    #[must_use]
    pub fn difference(mut self, other: &Self) -> Self {
        self.0.iter_mut().zip(other.0).for_each(|(word, other)| *word &= !other);
        self
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::EMPTY
    }

    /// What is in it, in the catalogue's order.
    pub fn iter(&self) -> impl Iterator<Item = Permission> + '_ {
        Permission::all().filter(|permission| self.contains(*permission))
    }
}

impl FromIterator<Permission> for PermissionSet {
    fn from_iter<I: IntoIterator<Item = Permission>>(permissions: I) -> Self {
        let mut set = Self::EMPTY;
        permissions.into_iter().for_each(|permission| set.insert(permission));
        set
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Key, Permission, PermissionSet};

    /// The keys that existed before this project, in their spelling.
    const INHERITED: [&str; 52] = [
        "organization",
        "organization.billing",
        "organization.project",
        "organization.membership",
        "organization.membership_invite",
        "organization.role",
        "organization.payment_method",
        "organization.authentication_provider",
        "organization.domain",
        "organization.dns_record",
        "organization.dns_record_zone",
        "organization.firewall",
        "organization.firewall.rule",
        "organization.notification_channel",
        "organization.monitoring_source",
        "organization.bundle",
        "organization.bundle.repository",
        "organization.bundle.environment",
        "organization.bundle.revision",
        "organization.bundle.image",
        "organization.bundle.manifest",
        "organization.bundle.deployment",
        "project.dns_zone",
        "project.object_store",
        "project.object_store.credentials",
        "project.object_store.policy",
        "project.load_balancer",
        "project.load_balancer.target",
        "project.load_balancer.service",
        "project.monitoring_object",
        "project.monitoring_object.condition",
        "project.monitoring_object.state",
        "project.monitoring.alert",
        "project.bundle.environment",
        "project.bundle.revision",
        "project.workspace",
        "project.workspace.kubernetes",
        "project.workspace.kubernetes.deployments",
        "project.workspace.kubernetes.kubeconf",
        "project.workspace.kubernetes.authenticate",
        "project.workspace.kubernetes.secrets",
        "project.workspace.host",
        "project.workspace.host.shell_session",
        "project.workspace.agent_token",
        "project.workspace.scaling_group",
        "project.workspace.firewall",
        "project.workspace.firewall.rule",
        "project.workspace.load_balancer",
        "project.workspace.load_balancer.target",
        "project.workspace.load_balancer.service",
        "project.workspace.dns_zone",
        "project.workspace.bundle.deployment",
    ];

    #[test]
    fn the_catalogue_holds_every_inherited_key_and_no_name_twice() {
        let names: BTreeSet<&str> = Key::ALL.iter().map(|key| key.name()).collect();
        assert_eq!(names.len(), Key::ALL.len());
        for key in INHERITED {
            assert!(names.contains(key), "{key}");
        }
    }

    #[test]
    fn every_permission_reads_back_and_is_its_own_bit() {
        let mut set = PermissionSet::EMPTY;
        for permission in Permission::all() {
            assert_eq!(permission.to_string().parse(), Ok(permission));
            assert!(!set.contains(permission), "{permission}");
            set.insert(permission);
        }
        assert_eq!(set.iter().count(), Permission::all().count());
    }

    #[test]
    fn unknown_permissions_are_refused() {
        for text in ["", "organization", "organization:execute", "organisation:read", "organization:read "] {
            assert!(text.parse::<Permission>().is_err(), "{text}");
        }
    }
}
