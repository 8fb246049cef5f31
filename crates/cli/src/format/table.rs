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
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
    let mut widths: Vec<Vec<usize>> = lines.iter().map(|cells| vec![0; cells.len()]).collect();
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    for column in 0..columns {
        let mut at = 0;
        while at < lines.len() {
            // The last cell of a line ends no column.
            let inside = |line: &Vec<&str>| column + 1 < line.len();
            let run = lines[at..].iter().take_while(|line| inside(line)).count();
            let width = lines[at..at + run]
                .iter()
                .map(|line| line[column].width())
                .max()
                .unwrap_or(0);
            for widths in &mut widths[at..at + run] {
                widths[column] = (width + padding).max(min_width);
            }
            at += run.max(1);
        }
    }
    let mut out = String::new();
    for (cells, widths) in lines.iter().zip(&widths) {
        for (cell, width) in cells.iter().zip(widths) {
            out.push_str(cell);
            let missing = width.saturating_sub(cell.width());
            out.extend(std::iter::repeat_n(' ', missing));
        }
        out.push('\n');
    }
    out
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
    fn a_line_without_cells_ends_the_column() {
        assert_eq!(
            align("aaaaaaaaaaaa\tb\n\nc\td\n"),
            "aaaaaaaaaaaa   b\n\nc         d\n"
        );
    }
}
