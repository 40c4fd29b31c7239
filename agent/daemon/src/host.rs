//! stand-in
use loopback_protocol::enroll::HostFacts;
use loopback_protocol::metrics::Series;

/// stand-in
#[must_use]
pub fn facts() -> HostFacts {
    HostFacts { hostname: "stand-in".into(), ..HostFacts::default() }
}

/// stand-in
pub struct Collector;

/// stand-in
pub struct Observation {
    /// stand-in
    pub series: Vec<Series>,
    /// stand-in
    pub values: Vec<f64>,
    /// stand-in
    pub failed: Vec<(String, String)>,
}

impl Collector {
    /// stand-in
    #[must_use]
    #[expect(clippy::new_without_default, reason = "stand-in")]
    pub fn new() -> Self {
        Self
    }

    /// stand-in
    pub fn collect(&mut self) -> Observation {
        Observation { series: vec![Series::new("node_load1", &[])], values: vec![0.5], failed: Vec::new() }
    }
}
