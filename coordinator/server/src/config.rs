//! The configuration file: its documented defaults are printed from the comments below, and all of it is checked before anything is bound.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use confique::{Config as _, Layer as _};
use loopback_core::limits::CERTIFICATE_LIFE_MS;
use tracing_subscriber::EnvFilter;

/// Where the file is when nothing else is said.
pub const DEFAULT_FILE: &str = "/etc/loopback/coordinator.toml";

/// Configuration of loopback-coordinator.
#[derive(Debug, Clone, confique::Config)]
#[config(layer_attr(serde(deny_unknown_fields)))]
pub struct Config {
    /// Where the coordinator keeps everything: its databases, keys and recordings. Back it up; whoever can read it owns the fleet.
    #[config(default = "/var/lib/loopback-coordinator")]
    pub state_dir: PathBuf,

    /// The address and port it listens on: TCP for HTTPS (operators, install lines), UDP for QUIC (agents).
    #[config(default = "[::]:8443")]
    pub listen: String,

    /// The "host:port" by which agents and operators reach it; it stands in every install line. The machine's host name and the port of `listen` when
    /// left out.
    pub public_address: Option<String>,

    /// The agent's program, which install lines download. Beside the coordinator's own program when left out.
    pub agent_binary: Option<PathBuf>,

    /// Milliseconds between an agent's signs of life; after three missed ones its host is offline.
    #[config(default = 5_000)]
    pub heartbeat_interval_ms: u64,

    /// Milliseconds between an agent's samples of its host's metrics.
    #[config(default = 10_000)]
    pub metrics_interval_ms: u64,

    /// Milliseconds a host's certificate is valid; agents renew at two thirds of it.
    #[config(default = 86_400_000)]
    pub certificate_life_ms: u64,

    /// What the coordinator writes to standard error.
    #[config(nested)]
    pub log: LogConfig,
}

/// What the coordinator writes to standard error.
#[derive(Debug, Clone, confique::Config)]
#[config(layer_attr(serde(deny_unknown_fields)))]
pub struct LogConfig {
    /// "text" for people, "json" for programs.
    #[config(default = "text")]
    pub format: LogFormat,

    /// Which events: a level, or levels by part, such as "info,loopback_coordinator::link=debug".
    #[config(default = "info")]
    pub filter: String,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// What is wrong with the file, and what to write instead.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("{path}: {source}; `loopback-coordinator config default` prints a file to start from")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not TOML, or has a key or value of another kind.
    #[error("{path}: {reason}")]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// Where and why.
        reason: String,
    },
    /// A value that cannot work.
    #[error("`{key}` {reason}")]
    Value {
        /// Which key.
        key: &'static str,
        /// Why, and what to write.
        reason: String,
    },
}

impl Config {
    /// Reads a file, or the default one if it is there.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let path = file.unwrap_or(Path::new(DEFAULT_FILE));
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, path),
            Err(error) if file.is_none() && error.kind() == std::io::ErrorKind::NotFound => Self::parse("", path),
            Err(source) => Err(ConfigError::File { path: path.to_owned(), source }),
        }
    }

    /// The defaults with another state directory and address, for tests and tours.
    ///
    /// # Errors
    /// The address is none.
    pub fn at(state_dir: &Path, listen: SocketAddr) -> Result<Self, ConfigError> {
        Ok(Self { state_dir: state_dir.to_owned(), listen: listen.to_string(), ..Self::parse("", Path::new("the defaults"))? })
    }

    fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let syntax = |reason: String| ConfigError::Syntax { path: path.to_owned(), reason };
        let layer: <Self as confique::Config>::Layer = toml::from_str(text).map_err(|error| syntax(error.to_string()))?;
        let layer = layer.with_fallback(<Self as confique::Config>::Layer::default_values());
        let config = Self::from_layer(layer).map_err(|error| syntax(format!("{error:#}")))?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let wrong = |key, reason: &str| Err(ConfigError::Value { key, reason: reason.to_owned() });
        if !self.state_dir.is_absolute() {
            return wrong("state_dir", "is no absolute path; write one such as \"/var/lib/loopback-coordinator\"");
        }
        self.listen_address()?;
        if let Some(address) = &self.public_address {
            let parts = address.rsplit_once(':').filter(|(host, port)| is_host(host) && port.parse::<u16>().is_ok_and(|port| port != 0));
            if parts.is_none() {
                return wrong("public_address", "is no \"host:port\"; write one such as \"coordinator.example.org:8443\" or \"[2001:db8::1]:8443\"");
            }
        }
        if self.agent_binary.as_ref().is_some_and(|path| !path.is_absolute()) {
            return wrong("agent_binary", "is no absolute path; write one such as \"/usr/local/lib/loopback/loopback-agent\"");
        }
        if !(100..=60_000).contains(&self.heartbeat_interval_ms) {
            return wrong("heartbeat_interval_ms", "must lie between 100 and 60000; 5000 is the default");
        }
        if !(1_000..=3_600_000).contains(&self.metrics_interval_ms) {
            return wrong("metrics_interval_ms", "must lie between 1000 and 3600000; 10000 is the default");
        }
        if !(60_000..=30 * CERTIFICATE_LIFE_MS).contains(&self.certificate_life_ms) {
            return wrong("certificate_life_ms", "must lie between 60000 (a minute) and 2592000000 (30 days); 86400000 is the default");
        }
        if let Err(error) = EnvFilter::builder().parse(&self.log.filter) {
            return wrong("log.filter", &format!("is no filter: {error}; write a level such as \"info\""));
        }
        Ok(())
    }

    /// `listen`, read.
    ///
    /// # Errors
    /// It is no address and port.
    pub fn listen_address(&self) -> Result<SocketAddr, ConfigError> {
        let reason = || "is no address and port; write one such as \"[::]:8443\" or \"192.0.2.1:8443\"".to_owned();
        self.listen.parse().map_err(|_| ConfigError::Value { key: "listen", reason: reason() })
    }

    /// The address others reach it by, when it listens on this port.
    #[must_use]
    pub fn public_address(&self, port: u16) -> String {
        self.public_address.clone().unwrap_or_else(|| format!("{}:{port}", hostname()))
    }
}

/// The shipped file, with every default and what it means.
#[must_use]
pub fn default_file() -> String {
    confique::toml::template::<Config>(confique::toml::FormatOptions::default())
}

fn is_host(host: &str) -> bool {
    let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match bracketed {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-'),
    }
}

fn hostname() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if is_host(name) { name.to_owned() } else { "localhost".to_owned() }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Config, LogFormat, default_file};

    fn check(text: &str, expected: &str) {
        let error = Config::parse(text, Path::new("coordinator.toml")).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn the_default_file_says_the_defaults() {
        let uncommented: String =
            default_file().lines().filter(|line| !line.starts_with("# ")).map(|line| format!("{}\n", line.trim_start_matches('#'))).collect();
        let written = Config::parse(&uncommented.replace("public_address =", "").replace("agent_binary =", ""), Path::new("coordinator.toml")).unwrap();
        let implied = Config::parse("", Path::new("coordinator.toml")).unwrap();
        assert_eq!(format!("{written:?}"), format!("{implied:?}"));
        assert_eq!((implied.listen.as_str(), implied.log.format), ("[::]:8443", LogFormat::Text));
        for key in ["state_dir", "listen", "public_address", "agent_binary", "heartbeat_interval_ms", "metrics_interval_ms", "certificate_life_ms", "[log]"] {
            assert!(default_file().contains(key), "{key}");
        }
    }

    #[test]
    fn a_fault_names_its_key_and_the_remedy() {
        check("listen = \"8443\"", "`listen` is no address and port; write one such as");
        check("listn = \"[::]:1\"", "unknown field `listn`");
        check("state_dir = \"here\"", "`state_dir` is no absolute path");
        check("public_address = \"nowhere\"", "`public_address`");
        check("public_address = \"a b:1\"", "`public_address`");
        check("heartbeat_interval_ms = 0", "`heartbeat_interval_ms` must lie between");
        check("[log]\nfilter = \"a=b=c\"", "`log.filter`");
        check("[log]\nformat = \"xml\"", "unknown variant `xml`");
        check("listen = 1", "invalid type");
    }
}
