//! Aligned columns. On a terminal narrower than the table, the widest columns wrap; in a pipe, lines do not
//! wrap.

use anstyle::Style;
use tabled::builder::Builder;
use tabled::settings::peaker::PriorityMax;
use tabled::settings::{Color, Padding, Style as Borders, Width};

use super::Console;

/// On a narrower terminal, tables are not wrapped, because cells would become too narrow for words.
const NARROWEST: usize = 60;

/// Rows of cells, each with its own colour.
#[derive(Default)]
pub(super) struct TextTable {
    rows: Vec<Vec<Cell>>,
}

pub(super) struct Cell {
    text: String,
    style: Style,
}

/// Text without a colour.
pub(super) fn cell(text: impl Into<String>) -> Cell {
    styled(text, Style::new())
}

pub(super) fn styled(text: impl Into<String>, style: Style) -> Cell {
    Cell { text: text.into(), style }
}

impl TextTable {
    /// A table with a heading.
    pub(super) fn with_head(names: &[&str]) -> TextTable {
        let style = Style::new().bold();
        TextTable { rows: vec![names.iter().map(|name| styled(*name, style)).collect()] }
    }

    pub(super) fn push(&mut self, row: Vec<Cell>) {
        self.rows.push(row);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn print(mut self, console: &Console) {
        for cell in self.rows.iter_mut().flatten() {
            cell.text = console.for_people(&cell.text).into_owned();
        }
        for line in self.lines(Console::columns()) {
            console.data(&line);
        }
    }

    fn lines(self, width: Option<usize>) -> Vec<String> {
        let mut builder = Builder::default();
        for row in &self.rows {
            builder.push_record(row.iter().map(|cell| cell.text.as_str()));
        }
        let mut table = builder.build();
        table.with(Borders::empty()).with(Padding::new(0, 2, 0, 0));
        for (row, cells) in self.rows.iter().enumerate() {
            for (column, cell) in cells.iter().enumerate() {
                if cell.style != Style::new() {
                    let (on, off) = (cell.style.render(), cell.style.render_reset());
                    table.modify((row, column), Color::new(on.to_string(), off.to_string()));
                }
            }
        }
        if let Some(width) = width {
            // The padding of the last column is not printed.
            table.with(Width::wrap(width.max(NARROWEST) + 2).priority(PriorityMax::right()).keep_words(true));
        }
        table.to_string().lines().map(|line| line.trim_end().to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use anstyle::AnsiColor;

    use super::*;

    fn table() -> TextTable {
        let mut table = TextTable::with_head(&["TAG", "REASON"]);
        table.push(vec![cell("v1.0.0"), styled("older than v1.1.0, the newest tag so far", Style::new())]);
        table
    }

    #[test]
    fn lines_do_not_wrap_in_a_pipe() {
        let lines = table().lines(None);
        assert_eq!(lines.len(), 2);
        assert!(lines[1].ends_with("v1.0.0  older than v1.1.0, the newest tag so far"), "{lines:?}");
    }

    #[test]
    fn wide_cells_wrap_between_words() {
        let mut table = table();
        table.push(vec![
            cell("v0.9.0"),
            cell("the list has it no more, and the stage was given a newer one since"),
        ]);
        let lines = table.lines(Some(62));
        assert_eq!(
            lines[2..],
            ["v0.9.0  the list has it no more, and the stage was given a", "        newer one since"]
        );
    }

    #[test]
    fn words_stay_whole_on_a_narrow_terminal() {
        for width in [1, 12, 59] {
            assert_eq!(table().lines(Some(width)), table().lines(Some(60)));
        }
    }

    #[test]
    fn a_colour_stays_in_its_cell() {
        let mut table = TextTable::default();
        table.push(vec![styled("a", AnsiColor::Red.on_default()), cell("b")]);
        table.push(vec![cell("long"), cell("b")]);
        assert_eq!(table.lines(None), ["\u{1b}[31ma\u{1b}[0m     b", "long  b"]);
    }
}
