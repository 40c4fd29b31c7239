//! What the agent sees of its host: facts for the coordinator, and one observation of every series each time it is asked.
//!
//! Names, labels and units are node_exporter's, so that dashboards and rules written for it work unchanged. The kernel's files stay open and are read in
//! place. A source that fails is named and the others go on. Nothing here keeps time, stores or sends.

mod agent;
mod clock;
mod conntrack;
mod cpu;
mod descriptors;
mod disk;
mod facts;
mod filesystem;
mod kernel_file;
mod load;
mod memory;
mod network;
mod pressure;
mod samples;
mod sockets;
mod uname;

use std::io;

use loopback_protocol::metrics::Series;

pub(crate) use facts::boot_id;
pub use facts::facts;
use kernel_file::KernelFile;
use samples::Samples;

/// One look at the host.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// In an order that changes only when devices, mounts or CPUs come and go. At most the protocol's `SERIES_MAX`.
    pub series: Vec<Series>,
    /// One for each series, at the same position. `NaN` where the host gave no answer this time.
    pub values: Vec<f64>,
    /// The sources that failed and why, in words for people.
    pub failed: Vec<(String, String)>,
}

/// Reads the host's figures.
///
/// One look costs well under a millisecond. It takes at most a second more in a round in which a mounted file system stops answering, so call it where blocking is allowed.
pub struct Collector {
    sources: Vec<Source>,
}

impl std::fmt::Debug for Collector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.sources.iter().map(|source| source.name)).finish()
    }
}

impl Default for Collector {
    fn default() -> Self {
        Self::new()
    }
}

impl Collector {
    /// A collector of every source. Files are opened when they are first read.
    #[must_use]
    pub fn new() -> Self {
        let mut cpu = cpu::Cpu::default();
        let mut filesystems = filesystem::Filesystems::new();
        // Network devices come last: a host with a thousand of them then loses the tail of them to the bound, and nothing else.
        Self {
            sources: vec![
                Source::file("cpu", "/proc/stat", move |text, samples| cpu.read(text, samples)),
                Source::file("load", "/proc/loadavg", load::read),
                Source::file("memory", "/proc/meminfo", memory::read),
                Source::optional_file("pressure", "/proc/pressure/cpu", |text, samples| pressure::read("cpu", text, samples)),
                Source::optional_file("pressure", "/proc/pressure/io", |text, samples| pressure::read("io", text, samples)),
                Source::optional_file("pressure", "/proc/pressure/memory", |text, samples| pressure::read("memory", text, samples)),
                Source::optional_file("pressure", "/proc/pressure/irq", |text, samples| pressure::read("irq", text, samples)),
                Source::new("uname", uname::read),
                Source::new("clock", clock::read),
                Source::file("agent", "/proc/self/statm", agent::read),
                Source::file("disk", "/proc/diskstats", disk::read),
                Source::new("filesystem", move |samples| filesystems.read(samples)),
                Source::optional_file("descriptors", "/proc/sys/fs/file-nr", descriptors::read),
                Source::optional_file("sockets", "/proc/net/sockstat", sockets::read),
                Source::optional_file("sockets", "/proc/net/sockstat6", sockets::read),
                Source::optional_file("conntrack", "/proc/sys/net/netfilter/nf_conntrack_count", conntrack::read_entries),
                Source::optional_file("conntrack", "/proc/sys/net/netfilter/nf_conntrack_max", conntrack::read_limit),
                Source::file("network", "/proc/net/dev", network::read),
            ],
        }
    }

    /// Looks at the host.
    pub fn collect(&mut self) -> Observation {
        let mut samples = Samples::default();
        let mut failed = Vec::new();
        for source in &mut self.sources {
            source.collect(&mut samples, &mut failed);
        }
        let (series, values) = samples.into_parts();
        Observation { series, values, failed }
    }
}

type Read = Box<dyn FnMut(&mut Samples) -> Result<(), Failure> + Send>;

struct Source {
    name: &'static str,
    read: Read,
    /// What it gave last. A failing source keeps its series, with absent samples, so that the schema stays.
    series: Vec<Series>,
}

impl Source {
    fn new(name: &'static str, read: impl FnMut(&mut Samples) -> Result<(), Failure> + Send + 'static) -> Self {
        Self { name, read: Box::new(read), series: Vec::new() }
    }

    /// A source of one file that every kernel has.
    fn file(name: &'static str, path: &'static str, mut parse: impl FnMut(&str, &mut Samples) -> Result<(), Failure> + Send + 'static) -> Self {
        let mut file = KernelFile::new(path);
        Self::new(name, move |samples| parse(&file.text()?, samples))
    }

    /// A source of one file that is there only if the kernel was built or told to have it.
    fn optional_file(name: &'static str, path: &'static str, mut parse: impl FnMut(&str, &mut Samples) -> Result<(), Failure> + Send + 'static) -> Self {
        let mut file = KernelFile::new(path);
        Self::new(name, move |samples| match file.text() {
            Ok(text) => parse(&text, samples),
            // Pressure files exist but cannot be opened where the kernel was booted with psi=0.
            Err(Failure::Unreadable { error, .. }) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::Unsupported) => Ok(()),
            Err(failure) => Err(failure),
        })
    }

    fn collect(&mut self, samples: &mut Samples, failed: &mut Vec<(String, String)>) {
        let start = samples.len();
        if let Err(failure) = (self.read)(samples) {
            failed.push((self.name.to_owned(), failure.to_string()));
            samples.replace_with_absent(start, &self.series);
        } else if samples.series_from(start) != self.series {
            self.series = samples.series_from(start).to_vec();
        }
        failed.extend(samples.take_complaints().map(|complaint| (self.name.to_owned(), complaint)));
    }
}

/// Why a source gave nothing this time.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("cannot read {path}: {error}")]
    Unreadable { path: &'static str, error: io::Error },
    #[error("the kernel wrote a line of a form this agent does not know: {0:?}")]
    Unexpected(String),
    #[error("the kernel refused {call}: {error}")]
    Refused { call: &'static str, error: nix::Error },
}

impl Failure {
    fn unexpected(line: &str) -> Self {
        const SHOWN_MAX_CHARS: usize = 120;
        Self::Unexpected(line.chars().take(SHOWN_MAX_CHARS).collect())
    }
}

/// A number as the kernel prints it, however large. Anything but digits is none.
fn number(token: &str) -> Option<f64> {
    if !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_digit()) { token.parse().ok() } else { None }
}

#[cfg(test)]
mod tests;
