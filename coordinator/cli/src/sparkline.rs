//! A series in one line of characters.

const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// One character for each value: the lowest level is `bottom`, or the smallest value, and the highest `top`, or the largest. Absent values are spaces.
pub(crate) fn sparkline(values: &[Option<f64>], bottom: Option<f64>, top: Option<f64>) -> String {
    let present = || values.iter().flatten().copied().filter(|value| value.is_finite());
    let low = bottom.unwrap_or_else(|| present().fold(f64::INFINITY, f64::min));
    let high = top.unwrap_or_else(|| present().fold(f64::NEG_INFINITY, f64::max));
    values.iter().map(|value| value.filter(|value| value.is_finite()).map_or(' ', |value| level(value, low, high))).collect()
}

fn level(value: f64, low: f64, high: f64) -> char {
    let share = if high > low { ((value - low) / (high - low)).clamp(0.0, 1.0) } else { 0.0 };
    let step = share * (LEVELS.len() - 1) as f64;
    // Between 0 and 7, by the clamp above.
    LEVELS.get(step.round() as usize).copied().unwrap_or(' ')
}

#[cfg(test)]
mod tests {
    use super::sparkline;

    #[test]
    fn values_rise_from_the_lowest_to_the_highest_level() {
        let values: Vec<_> = (0..8).map(|value| Some(f64::from(value))).collect();
        assert_eq!(sparkline(&values, None, None), "▁▂▃▄▅▆▇█");
    }

    #[test]
    fn bounds_fix_the_scale_and_absent_values_leave_a_gap() {
        assert_eq!(sparkline(&[Some(0.0), None, Some(0.5), Some(2.0), Some(f64::NAN)], Some(0.0), Some(1.0)), "▁ ▅█ ");
        assert_eq!(sparkline(&[Some(3.0), Some(3.0)], None, None), "▁▁");
        assert_eq!(sparkline(&[], None, None), "");
    }
}
