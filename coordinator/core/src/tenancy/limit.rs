//! What an organization may hold.

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LimitKind {
    /// Projects of the organization.
    Projects,
    /// Workspaces of all its projects.
    Workspaces,
    /// Hosts of all its workspaces.
    Hosts,
    /// Members.
    Members,
    /// Firewall rules of all its firewalls.
    FirewallRules,
    /// Shell sessions open at a time.
    ShellSessions,
    /// API keys of all its members.
    ApiKeys,
}

/// The maximum of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Projects of the organization.
    pub projects: u64,
    /// Workspaces of all its projects.
    pub workspaces: u64,
    /// Hosts of all its workspaces.
    pub hosts: u64,
    /// Members.
    pub members: u64,
    /// Firewall rules of all its firewalls.
    pub firewall_rules: u64,
    /// Shell sessions open at a time.
    pub shell_sessions: u64,
    /// API keys of all its members.
    pub api_keys: u64,
}

/// One more than allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the organization has {current} of at most {maximum} {}", .limit.name())]
pub struct LimitReached {
    /// Which limit.
    pub limit: LimitKind,
    /// What there is now.
    pub current: u64,
    /// What there may be.
    pub maximum: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { projects: 100, workspaces: 1_000, hosts: 10_000, members: 1_000, firewall_rules: 50_000, shell_sessions: 500, api_keys: 1_000 }
    }
}

impl Limits {
    /// Whether `added` more fit beside the `current` ones. Called inside the transaction that adds them.
    ///
    /// # Errors
    /// Names limit, current and maximum.
    pub const fn admit(&self, limit: LimitKind, current: u64, added: u64) -> Result<(), LimitReached> {
        let maximum = match limit {
            LimitKind::Projects => self.projects,
            LimitKind::Workspaces => self.workspaces,
            LimitKind::Hosts => self.hosts,
            LimitKind::Members => self.members,
            LimitKind::FirewallRules => self.firewall_rules,
            LimitKind::ShellSessions => self.shell_sessions,
            LimitKind::ApiKeys => self.api_keys,
        };
        if current.saturating_add(added) > maximum { Err(LimitReached { limit, current, maximum }) } else { Ok(()) }
    }
}

impl LimitKind {
    /// Its name in messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Projects => "projects",
            Self::Workspaces => "workspaces",
            Self::Hosts => "hosts",
            Self::Members => "members",
            Self::FirewallRules => "firewall rules",
            Self::ShellSessions => "shell sessions",
            Self::ApiKeys => "API keys",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LimitKind, LimitReached, Limits};

    #[test]
    fn the_last_place_is_given_and_the_next_is_not() {
        let limits = Limits { hosts: 3, ..Limits::default() };
        assert_eq!(limits.admit(LimitKind::Hosts, 2, 1), Ok(()));
        let refused = LimitReached { limit: LimitKind::Hosts, current: 3, maximum: 3 };
        assert_eq!(limits.admit(LimitKind::Hosts, 3, 1), Err(refused));
        assert_eq!(refused.to_string(), "the organization has 3 of at most 3 hosts");
    }
}
