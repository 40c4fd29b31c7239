//! The agent's modules and how they are. A module fails alone: the link stays and says so. What the host's owner forbids stays forbidden.

use loopback_protocol::control::{ModuleHealth, ModuleState};

use crate::wording::sayable;

/// A part of the agent that can fail, or be forbidden, by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Module {
    /// Enforces policies.
    Firewall,
    /// Observes the host.
    Metrics,
    /// Opens shells.
    Shell,
}

impl Module {
    /// Every module.
    pub const ALL: [Self; 3] = [Self::Firewall, Self::Metrics, Self::Shell];

    /// The name on the wire and in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Firewall => "firewall",
            Self::Metrics => "metrics",
            Self::Shell => "shell",
        }
    }
}

/// The state of every module.
#[derive(Debug)]
pub struct Modules {
    firewall: ModuleState,
    metrics: ModuleState,
    shell: ModuleState,
}

impl Modules {
    /// Healthy, as far as the host's configuration allows.
    #[must_use]
    pub fn allowing(allowed: &[Module]) -> Self {
        let state = |module| if allowed.contains(&module) { ModuleState::Healthy } else { ModuleState::Forbidden };
        Self { firewall: state(Module::Firewall), metrics: state(Module::Metrics), shell: state(Module::Shell) }
    }

    /// Whether the host's configuration allows it.
    #[must_use]
    pub fn allows(&self, module: Module) -> bool {
        *self.state(module) != ModuleState::Forbidden
    }

    /// Takes note of how a module is: its error, or none. Returns whether that is news; a forbidden module has none.
    pub fn observe(&mut self, module: Module, error: Option<&str>) -> bool {
        let observed =
            error.map_or(ModuleState::Healthy, |error| ModuleState::Failed(sayable(if error.is_empty() { "it failed without a word" } else { error })));
        let state = match module {
            Module::Firewall => &mut self.firewall,
            Module::Metrics => &mut self.metrics,
            Module::Shell => &mut self.shell,
        };
        let news = *state != ModuleState::Forbidden && *state != observed;
        if news {
            *state = observed;
        }
        news
    }

    /// What the coordinator is told.
    #[must_use]
    pub fn report(&self) -> Vec<ModuleHealth> {
        Module::ALL.into_iter().map(|module| ModuleHealth { module: module.name().to_owned(), state: self.state(module).clone() }).collect()
    }

    const fn state(&self, module: Module) -> &ModuleState {
        match module {
            Module::Firewall => &self.firewall,
            Module::Metrics => &self.metrics,
            Module::Shell => &self.shell,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Module, Modules};

    #[test]
    fn a_forbidden_module_never_changes() {
        let mut modules = Modules::allowing(&[Module::Metrics]);
        assert!(!modules.observe(Module::Shell, Some("broken")) && !modules.observe(Module::Shell, None));
        assert!(!modules.allows(Module::Shell) && modules.allows(Module::Metrics));
    }

    #[test]
    fn only_a_change_is_news() {
        let mut modules = Modules::allowing(&Module::ALL);
        assert!(!modules.observe(Module::Firewall, None));
        assert!(modules.observe(Module::Firewall, Some("no nft")));
        assert!(!modules.observe(Module::Firewall, Some("no nft")));
        assert!(modules.observe(Module::Firewall, None));
    }
}
