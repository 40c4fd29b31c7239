//! Columns of text for a terminal: aligned by what a terminal shows, and without anything that could command it.

use unicode_width::UnicodeWidthStr;

/// What a cell's colour means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Good,
    Doubtful,
    Bad,
}

/// A cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// Text from anywhere: control characters are replaced, so that a host's name cannot move the cursor.
    pub(crate) fn new(text: &str, tone: Tone) -> Self {
        let shown = |c: char| match c {
            '\n' | '\t' => ' ',
            c if c.is_control() => '\u{fffd}',
            c => c,
        };
        let text: String = text.chars().map(shown).collect();
        Self { text: if text.is_empty() { "-".to_owned() } else { text }, tone }
    }

    fn painted(&self, paint: bool) -> String {
        let colour = match self.tone {
            Tone::Plain => None,
            Tone::Good => Some(32),
            Tone::Doubtful => Some(33),
            Tone::Bad => Some(31),
        };
        match colour.filter(|_| paint) {
            Some(colour) => format!("\x1b[{colour}m{}\x1b[0m", self.text),
            None => self.text.clone(),
        }
    }
}

/// A head and its rows; every line ends with a newline and has no trailing spaces.
pub(crate) fn columns(head: &[&str], rows: &[Vec<Cell>], paint: bool) -> String {
    let head: Vec<Cell> = head.iter().map(|title| Cell::new(title, Tone::Plain)).collect();
    lines(std::iter::once(&head).chain(rows), paint)
}

/// A line for each title and its value.
pub(crate) fn record(fields: &[(&str, Cell)], paint: bool) -> String {
    let rows: Vec<Vec<Cell>> = fields.iter().map(|(title, cell)| vec![Cell::new(&format!("{title}:"), Tone::Plain), cell.clone()]).collect();
    lines(rows.iter(), paint)
}

fn lines<'a>(rows: impl Iterator<Item = &'a Vec<Cell>> + Clone, paint: bool) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for row in rows.clone() {
        widths.resize(widths.len().max(row.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.text.width());
        }
    }
    let mut text = String::new();
    for row in rows {
        let mut gap = 0;
        for (cell, width) in row.iter().zip(&widths) {
            text.push_str(&" ".repeat(gap));
            text.push_str(&cell.painted(paint));
            gap = width - cell.text.width() + 2;
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Cell, Tone, columns, record};

    fn plain(texts: &[&str]) -> Vec<Cell> {
        texts.iter().map(|text| Cell::new(text, Tone::Plain)).collect()
    }

    #[test]
    fn columns_align_by_what_a_terminal_shows() {
        let rows = [plain(&["host-1", "online"]), plain(&["日本", ""]), plain(&["e\u{301}", "x"])];
        assert_eq!(columns(&["HOST", "STATE"], &rows, false), "HOST    STATE\nhost-1  online\n日本    -\ne\u{301}       x\n");
    }

    #[test]
    fn colours_do_not_move_columns() {
        let rows = [vec![Cell::new("online", Tone::Good), Cell::new("a", Tone::Plain)]];
        assert_eq!(columns(&["STATE", "N"], &rows, true), "STATE   N\n\x1b[32monline\x1b[0m  a\n");
    }

    #[test]
    fn text_from_elsewhere_cannot_command_the_terminal() {
        assert_eq!(record(&[("name", Cell::new("a\x1b[2Jb\nc\u{9b}d", Tone::Plain))], false), "name:  a\u{fffd}[2Jb c\u{fffd}d\n");
    }
}
