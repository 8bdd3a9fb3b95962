//! Columns for people. Rows come one by one, and there can be a million: widths are those of the first rows.

use std::fmt::Write as _;

/// Rows that are looked at for the widths before the first is printed.
const ROWS_MEASURED: usize = 200;

/// How a column is aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A table while it is printed.
#[derive(Debug)]
pub struct Table<const N: usize> {
    columns: [(&'static str, Align); N],
    widths: [usize; N],
    waiting: Vec<[String; N]>,
    begun: bool,
}

impl<const N: usize> Table<N> {
    /// With these headings.
    pub fn new(columns: [(&'static str, Align); N]) -> Self {
        Self { columns, widths: columns.map(|(heading, _)| heading.len()), waiting: Vec::new(), begun: false }
    }

    /// Adds a row. Gives the text that can be printed now.
    pub fn add(&mut self, row: [String; N]) -> String {
        if self.begun {
            return self.line(&row);
        }
        for (width, cell) in self.widths.iter_mut().zip(&row) {
            *width = (*width).max(cell.chars().count());
        }
        self.waiting.push(row);
        if self.waiting.len() < ROWS_MEASURED { String::new() } else { self.begin() }
    }

    /// Gives what was held back. Headings too, unless there was nothing at all.
    pub fn finish(mut self) -> String {
        if self.begun || self.waiting.is_empty() { String::new() } else { self.begin() }
    }

    fn begin(&mut self) -> String {
        self.begun = true;
        let mut text = self.line(&self.columns.map(|(heading, _)| heading.to_owned()));
        for row in std::mem::take(&mut self.waiting) {
            text.push_str(&self.line(&row));
        }
        text
    }

    fn line(&self, row: &[String; N]) -> String {
        let mut line = String::new();
        for ((cell, width), (_, align)) in row.iter().zip(&self.widths).zip(&self.columns) {
            // Writing to a String cannot fail.
            let _ = match align {
                Align::Left => write!(line, "{cell:width$}  "),
                Align::Right => write!(line, "{cell:>width$}  "),
            };
        }
        line.truncate(line.trim_end().len());
        line.push('\n');
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table<2> {
        Table::new([("NAME", Align::Left), ("SIZE", Align::Right)])
    }

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let mut table = table();
        assert_eq!(table.add(["a".into(), "1".into()]), "");
        assert_eq!(table.add(["longer".into(), "123456".into()]), "");
        assert_eq!(table.finish(), "NAME      SIZE\na            1\nlonger  123456\n");
    }

    #[test]
    fn of_many_rows_the_first_decide_and_the_rest_are_not_held_back() {
        let mut table = table();
        let mut text = String::new();
        for number in 0..ROWS_MEASURED {
            text.push_str(&table.add([format!("r{number:03}"), "1".into()]));
        }
        assert_eq!(text.lines().count(), ROWS_MEASURED + 1);
        assert_eq!(table.add(["a-longer-one".into(), "1".into()]), "a-longer-one     1\n");
        assert_eq!(table.finish(), "");
    }

    #[test]
    fn nothing_has_no_headings() {
        assert_eq!(table().finish(), "");
    }
}
