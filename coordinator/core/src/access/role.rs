//! The built-in roles, copied into each organization when it is made. All but the owner's can be edited there.

use super::permission::{Key, Permission, PermissionSet, Verb};

/// The slug of the role that holds everything and cannot be edited.
pub const OWNER: &str = "owner";

/// A role every organization starts with.
#[derive(Debug, Clone)]
pub struct BuiltInRole {
    /// Unique in the organization.
    pub slug: &'static str,
    /// For people.
    pub name: &'static str,
    /// What it allows.
    pub permissions: PermissionSet,
}

/// The roles every organization starts with.
#[must_use]
pub fn built_in_roles() -> Vec<BuiltInRole> {
    let role = |slug, name, holds: &dyn Fn(Permission) -> bool| BuiltInRole { slug, name, permissions: Permission::all().filter(|p| holds(*p)).collect() };
    vec![
        role(OWNER, "Owner", &|_| true),
        role("admin", "Administrator", &|p| !is_money(p.key())),
        role("billing-administrator", "Billing administrator", &|p| is_money(p.key()) || p == Key::Organization.may(Verb::Read)),
        role("project-administrator", "Project administrator", &|p| {
            p.key().name().starts_with("project.") || p.key() == Key::OrganizationProject && matches!(p.verb(), Verb::Read | Verb::Update)
        }),
        role("operator", "Operator", &|p| is_operators(p) || is_shape(p)),
        role("deployer", "Deployer", &|p| p.key().name().contains("bundle") || is_shape(p)),
        role("monitoring-responder", "Monitoring responder", &|p| {
            (p.key().name().starts_with("project.monitoring") && p.verb() == Verb::Read)
                || p == Key::ProjectMonitoringAlert.may(Verb::Update)
                || p == Key::ProjectWorkspaceHostMetrics.may(Verb::Read)
                || is_shape(p)
        }),
        role("security-auditor", "Security auditor", &|p| (p.verb() == Verb::Read && !is_secret(p.key())) || p.key() == Key::OrganizationAudit),
        role("read-only", "Read-only", &|p| {
            p.verb() == Verb::Read
                && !is_secret(p.key())
                && !is_money(p.key())
                && p.key() != Key::OrganizationAudit
                && p.key() != Key::ProjectWorkspaceHostShellSessionRecording
        }),
    ]
}

fn is_money(key: Key) -> bool {
    matches!(key, Key::OrganizationBilling | Key::OrganizationPaymentMethod)
}

fn is_secret(key: Key) -> bool {
    matches!(
        key,
        Key::ProjectObjectStoreCredentials
            | Key::ProjectWorkspaceKubernetesKubeconf
            | Key::ProjectWorkspaceKubernetesAuthenticate
            | Key::ProjectWorkspaceKubernetesSecrets
    )
}

/// What one must see to find one's way to a host.
fn is_shape(permission: Permission) -> bool {
    permission.verb() == Verb::Read
        && matches!(permission.key(), Key::Organization | Key::OrganizationProject | Key::ProjectWorkspace | Key::ProjectWorkspaceHost)
}

fn is_operators(permission: Permission) -> bool {
    match permission.key() {
        Key::ProjectWorkspaceHostShellSessionRecording | Key::ProjectWorkspaceHostShellSessionApproval => false,
        Key::OrganizationFirewall | Key::OrganizationFirewallRule | Key::ProjectWorkspaceShellPolicy => permission.verb() == Verb::Read,
        key => {
            key.name().starts_with("project.workspace.host")
                || matches!(key, Key::ProjectWorkspaceAgentToken | Key::ProjectWorkspaceFirewall | Key::ProjectWorkspaceFirewallRule)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::permission::{Key, Permission, Verb};
    use super::{BuiltInRole, built_in_roles};

    fn role(slug: &str) -> BuiltInRole {
        built_in_roles().into_iter().find(|role| role.slug == slug).unwrap()
    }

    #[test]
    fn the_owner_holds_everything() {
        assert!(Permission::all().all(|permission| role("owner").permissions.contains(permission)));
    }

    #[test]
    fn reading_a_workspace_implies_no_secret_shell_token_or_money() {
        let read_only = role("read-only").permissions;
        assert!(read_only.contains(Key::ProjectWorkspace.may(Verb::Read)));
        assert!(read_only.iter().all(|permission| permission.verb() == Verb::Read));
        for key in [
            Key::ProjectWorkspaceKubernetesKubeconf,
            Key::OrganizationBilling,
            Key::ProjectObjectStoreCredentials,
            Key::ProjectWorkspaceHostShellSessionRecording,
        ] {
            assert!(!read_only.contains(key.may(Verb::Read)), "{}", key.name());
        }
    }

    #[test]
    fn an_operator_opens_shells_and_cannot_watch_recordings_or_bend_guardrails() {
        let operator = role("operator").permissions;
        assert!(operator.contains(Key::ProjectWorkspaceHostShellSession.may(Verb::Execute)));
        assert!(!operator.contains(Key::ProjectWorkspaceHostShellSessionRecording.may(Verb::Read)));
        assert!(!operator.contains(Key::OrganizationFirewall.may(Verb::Update)));
    }
}
