//! Columns aligned by blanks, as Go's tabwriter aligns them for Docker.

use unicode_width::UnicodeWidthStr;

/// No column is narrower, padding included.
const MIN_WIDTH: usize = 10;
const PADDING: usize = 3;

/// Aligns the tab-separated cells of the lines of `text`. What stands behind a line's last tab is not padded.
///
/// As in tabwriter, a column is a run of consecutive lines that have a cell there.
pub(crate) fn align(text: &str) -> String {
    align_by(text, MIN_WIDTH, PADDING)
}

/// As [`align`], with another least width and padding.
pub(crate) fn align_by(text: &str, min_width: usize, padding: usize) -> String {
    let lines: Vec<Vec<Cell>> = text
        .lines()
        .map(|line| line.split('\t').map(Cell::of).collect())
        .collect();
    let mut widths: Vec<Vec<usize>> = lines.iter().map(|cells| vec![0; cells.len()]).collect();
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    for column in 0..columns {
        let mut at = 0;
        while at < lines.len() {
            // The last cell of a line ends no column.
            let inside = |line: &&Vec<Cell>| column + 1 < line.len();
            let run = lines[at..].iter().take_while(inside).count();
            let run = at..at + run;
            let width = lines[run.clone()]
                .iter()
                .map(|line| line[column].width)
                .max()
                .unwrap_or(0);
            for widths in &mut widths[run.clone()] {
                widths[column] = (width + padding).max(min_width);
            }
            at = run.end.max(at + 1);
        }
    }
    let mut out = String::with_capacity(text.len() * 2);
    for (cells, widths) in lines.iter().zip(&widths) {
        for (cell, width) in cells.iter().zip(widths) {
            out.push_str(cell.text);
            let missing = width.saturating_sub(cell.width);
            out.extend(std::iter::repeat_n(' ', missing));
        }
        out.push('\n');
    }
    out
}

struct Cell<'a> {
    text: &'a str,
    /// Columns of the terminal.
    width: usize,
}

impl<'a> Cell<'a> {
    fn of(text: &'a str) -> Self {
        // What nearly all cells are needs no table of character widths.
        let plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        Self {
            text,
            width: if plain { text.len() } else { text.width() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_at_least_ten_wide() {
        assert_eq!(
            align("A\tB\tC\n1\t2\t3\n"),
            "A         B         C\n1         2         3\n"
        );
        assert_eq!(
            align("REPOSITORY\tTAG\nlocalhost:5000/nginx\tx\n"),
            "REPOSITORY             TAG\nlocalhost:5000/nginx   x\n"
        );
    }

    #[test]
    fn wide_characters_take_two_columns() {
        assert_eq!(
            align("é…x\tb\n漢字漢字漢字\tb\n"),
            "é…x            b\n漢字漢字漢字   b\n"
        );
    }

    #[test]
    fn a_line_without_cells_ends_the_column() {
        assert_eq!(
            align("aaaaaaaaaaaa\tb\n\nc\td\n"),
            "aaaaaaaaaaaa   b\n\nc         d\n"
        );
    }
}
