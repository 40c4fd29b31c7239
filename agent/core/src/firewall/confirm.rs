//! stand-in
const CONFIRM_TIMEOUT_MS: u64 = 15_000;

/// stand-in
#[derive(Debug, Default)]
pub struct Confirm {
    waiting: Option<(u64, u64)>,
}

impl Confirm {
    /// stand-in
    #[must_use]
    pub const fn new() -> Self {
        Self { waiting: None }
    }

    /// stand-in
    pub fn applied(&mut self, generation: u64, now: u64) {
        self.waiting = Some((generation, now + CONFIRM_TIMEOUT_MS));
    }

    /// stand-in
    pub fn confirmed(&mut self, generation: u64) {
        self.waiting = self.waiting.filter(|(waiting, _)| *waiting != generation);
    }

    /// stand-in
    pub fn expired(&mut self, now: u64) -> Option<u64> {
        let (generation, _) = self.waiting.filter(|(_, deadline)| now >= *deadline)?;
        self.waiting = None;
        Some(generation)
    }
}
