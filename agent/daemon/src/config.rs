//! The agent's configuration. The comments of [`Settings`] are the default file that `loopback-agent config default` prints. It reads no environment.

#![expect(unused_qualifications, reason = "the derive of `Config` names the nested types through their paths")]

use std::io;
use std::path::{Path, PathBuf};

use confique::Config;
use loopback_agent_core::modules::Module;
use serde::Deserialize;

/// Where the configuration is looked for.
pub const DEFAULT_PATH: &str = "/etc/loopback/agent.toml";

/// The configuration of `loopback-agent`.
///
/// What is written here outranks the coordinator.
#[derive(Debug, Clone, Config)]
#[config(layer_attr(serde(deny_unknown_fields)))]
pub struct Settings {
    /// Where the coordinator is, as HOST:PORT. Without it the address given to `loopback-agent join` holds.
    pub coordinator: Option<String>,

    /// Where the host's key and certificate, the last policy and unsent metrics are kept.
    #[config(default = "/var/lib/loopback-agent")]
    pub state_dir: PathBuf,

    /// What the coordinator may do with this host. What is not listed is forbidden for good, whatever anyone's permissions are.
    #[config(default = ["firewall", "metrics", "shell"])]
    pub allow: Vec<Module>,

    /// Shell sessions.
    #[config(nested)]
    pub shell: ShellSettings,

    /// Observations of the host.
    #[config(nested)]
    pub metrics: MetricsSettings,

    /// The agent's own log.
    #[config(nested)]
    pub log: LogSettings,
}

/// Shell sessions.
#[derive(Debug, Clone, Config)]
#[config(layer_attr(serde(deny_unknown_fields)))]
pub struct ShellSettings {
    /// Whom a session runs as when the operator names nobody.
    #[config(default = "root")]
    pub login_user: String,
}

/// Observations of the host.
#[derive(Debug, Clone, Config)]
#[config(layer_attr(serde(deny_unknown_fields)))]
pub struct MetricsSettings {
    /// How many bytes of unsent metrics are kept while the coordinator is away. The oldest go first.
    #[config(default = 67_108_864)]
    pub spool_max_bytes: u64,

    /// Unsent metrics older than this many hours are not sent any more.
    #[config(default = 24)]
    pub spool_max_hours: u32,
}

/// The agent's own log.
#[derive(Debug, Clone, Config)]
#[config(layer_attr(serde(deny_unknown_fields)))]
pub struct LogSettings {
    /// "text" or "json".
    #[config(default = "text")]
    pub format: LogFormat,

    /// What is logged, such as "info" or "warn,loopback_agent=debug".
    #[config(default = "info")]
    pub filter: String,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}; give another with --config")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not what it should be.
    #[error("the configuration {path} is not valid; `loopback-agent config default` prints one that is")]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What is wrong and where.
        source: toml::de::Error,
    },
    /// A value has no meaning.
    #[error("the configuration is not valid")]
    Invalid(#[from] confique::Error),
}

impl Settings {
    /// Reads the file; without one, the default path may be absent.
    ///
    /// # Errors
    /// The file cannot be read or is not valid.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let path = file.unwrap_or_else(|| Path::new(DEFAULT_PATH));
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, path),
            Err(error) if error.kind() == io::ErrorKind::NotFound && file.is_none() => Self::parse("", path),
            Err(source) => Err(ConfigError::Unreadable { path: path.to_owned(), source }),
        }
    }

    /// The default file, with every key, its meaning and its default.
    #[must_use]
    pub fn default_file() -> String {
        confique::toml::template::<Self>(confique::toml::FormatOptions::default())
    }

    fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let layer = toml::from_str(text).map_err(|source| ConfigError::Malformed { path: path.to_owned(), source })?;
        Ok(Self::builder().preloaded(layer).load()?)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use loopback_agent_core::modules::Module;

    use super::{ConfigError, LogFormat, Settings};

    fn parse(text: &str) -> Result<Settings, ConfigError> {
        Settings::parse(text, Path::new("agent.toml"))
    }

    #[test]
    fn the_printed_default_is_the_default_also_when_uncommented() {
        let uncommented: String = Settings::default_file()
            .lines()
            .map(|line| line.strip_prefix('#').filter(|rest| rest.contains(" = ") && !rest.starts_with(' ')).unwrap_or(line))
            .flat_map(|line| [line, "\n"])
            .collect();
        let expected = format!("{:?}", parse("").unwrap());
        assert_eq!(format!("{:?}", parse(&Settings::default_file()).unwrap()), expected);
        assert_eq!(format!("{:?}", parse(&uncommented).unwrap()), expected);
        assert!(uncommented.contains("\nspool_max_bytes = 67108864") || uncommented.contains("\nspool_max_bytes = 67_108_864"), "{uncommented}");
    }

    #[test]
    fn what_the_owner_writes_holds() {
        let settings = parse("allow = ['metrics']\ncoordinator = 'c:1'\n[shell]\nlogin_user = 'ops'\n[log]\nformat = 'json'").unwrap();
        assert_eq!(settings.allow, [Module::Metrics]);
        assert_eq!((settings.shell.login_user.as_str(), settings.log.format, settings.coordinator.as_deref()), ("ops", LogFormat::Json, Some("c:1")));
    }

    #[test]
    fn a_misspelt_key_and_an_unknown_module_are_refused() {
        for text in ["alow = []", "allow = ['shel']", "[shell]\nuser = 'x'", "[log]\nformat = 'xml'", "metrics.spool_max_bytes = -1"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_named_file_must_exist_and_the_default_one_need_not() {
        assert!(matches!(Settings::load(Some(Path::new("/nonexistent/agent.toml"))), Err(ConfigError::Unreadable { .. })));
    }
}
