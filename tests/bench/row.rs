//! A row of a bench, for people and for programs.

use serde::Serialize;

/// A figure beside its goal.
#[derive(Debug, Serialize)]
pub struct Row {
    /// The bench.
    pub bench: &'static str,
    /// What is measured.
    pub row: String,
    /// Whom we are compared with; `goal` where no peer takes part.
    pub peer: &'static str,
    /// Our median.
    pub ours: f64,
    /// The peer's median; absent without one.
    pub peer_value: Option<f64>,
    /// Of both.
    pub unit: &'static str,
    /// Ours over the peer's.
    pub ratio: Option<f64>,
    /// At most this: of the ratio where there is a peer, else of ours.
    pub goal: f64,
    /// Whether the goal is met.
    pub met: bool,
    /// From the least to the greatest of what was measured.
    #[serde(skip)]
    pub spread: (f64, f64),
}

impl Row {
    /// A row against an absolute goal, from what was measured in some rounds.
    pub fn against_goal(bench: &'static str, row: String, mut measured: Vec<f64>, unit: &'static str, goal: f64) -> Self {
        measured.sort_by(f64::total_cmp);
        let ours = measured.get(measured.len() / 2).copied().unwrap_or(f64::NAN);
        let spread = (measured.first().copied().unwrap_or(f64::NAN), measured.last().copied().unwrap_or(f64::NAN));
        Self { bench, row, peer: "goal", ours, peer_value: None, unit, ratio: None, goal, met: ours <= goal, spread }
    }

    /// Prints it.
    pub fn print(&self, json: bool) -> anyhow::Result<()> {
        if json {
            println!("{}", serde_json::to_string(self)?);
        } else {
            let met = if self.met { "met" } else { "NOT MET" };
            println!(
                "{:<28} {:>10.1} {:<5} goal {:>8.1}  {met:<8} spread {:.1}–{:.1}",
                self.row, self.ours, self.unit, self.goal, self.spread.0, self.spread.1
            );
        }
        Ok(())
    }
}
