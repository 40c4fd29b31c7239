//! stand-in
use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::Arc;

use loopback_protocol::metrics::{Frame, Schema};

/// stand-in
#[derive(Default)]
pub struct Spool {
    frames: VecDeque<(Arc<Schema>, Frame)>,
}

impl Spool {
    /// stand-in
    pub fn open(_dir: &Path, _max_bytes: u64) -> io::Result<Self> {
        Ok(Self::default())
    }

    /// stand-in
    pub fn push(&mut self, schema: &Schema, frame: &Frame) -> io::Result<()> {
        self.frames.push_back((Arc::new(schema.clone()), frame.clone()));
        Ok(())
    }

    /// stand-in
    pub fn pending(&mut self, after_sequence: u64, max: usize) -> io::Result<Vec<(Arc<Schema>, Frame)>> {
        Ok(self.frames.iter().filter(|(_, frame)| frame.sequence > after_sequence).take(max).cloned().collect())
    }

    /// stand-in
    pub fn acknowledge(&mut self, sequence: u64) -> io::Result<()> {
        self.frames.retain(|(_, frame)| frame.sequence > sequence);
        Ok(())
    }

    /// stand-in
    #[must_use]
    pub fn dropped(&self) -> u64 {
        0
    }

    /// stand-in
    #[must_use]
    pub fn last_sequence(&self) -> u64 {
        self.frames.back().map_or(0, |(_, frame)| frame.sequence)
    }
}
