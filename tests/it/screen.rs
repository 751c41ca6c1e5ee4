//! A terminal around a run: `script` gives it one, and what it prints is put on a screen.

use crate::harness::Shop;

/// What a run printed to a terminal.
pub(crate) struct Screen {
    /// Every byte, with the lines that were erased later.
    pub(crate) printed: String,
    /// The content of the screen after the run.
    pub(crate) lines: Vec<String>,
}

/// Runs tagship on a terminal with this many columns.
pub(crate) fn on_terminal(shop: &Shop, columns: usize, arguments: &[&str]) -> Screen {
    let script = format!("script -qec \"stty cols {columns} rows 40; $*\" /dev/null");
    let run = shop.run_under(&["sh", "-c", &script, "sh"], arguments);
    let lines = left_of(&run.raw, columns).iter().map(|line| shop.redact(line)).collect();
    Screen { printed: run.raw.clone(), lines }
}

/// The lines that stand on the screen at the end, without empty ones at its end.
fn left_of(printed: &str, columns: usize) -> Vec<String> {
    let mut screen: Vec<Vec<char>> = vec![Vec::new()];
    let (mut row, mut column) = (0_usize, 0);
    let mut characters = printed.chars();
    while let Some(character) = characters.next() {
        match character {
            '\r' => column = 0,
            '\n' => row += 1,
            '\u{1b}' => {
                let mut sequence = characters.by_ref().skip_while(|character| "[?".contains(*character));
                let mut number = String::new();
                let kind = loop {
                    match sequence.next() {
                        Some(kind) if kind.is_ascii_alphabetic() => break kind,
                        Some(digit) => number.push(digit),
                        None => panic!("a control sequence has no end"),
                    }
                };
                let number = number.parse().unwrap_or(0usize);
                match (kind, number) {
                    ('A', _) => row = row.saturating_sub(number.max(1)),
                    ('B', _) => row += number.max(1),
                    ('K', 0) => screen[row].truncate(column),
                    ('K', _) => screen[row].clear(),
                    ('J', _) => screen.truncate(row + 1),
                    ('m' | 'h' | 'l', _) => {}
                    _ => panic!("the screen does not know {number}{kind}"),
                }
            }
            _ => {
                if column == columns {
                    (row, column) = (row + 1, 0);
                }
                screen.resize(screen.len().max(row + 1), Vec::new());
                let line = &mut screen[row];
                line.resize(line.len().max(column + 1), ' ');
                line[column] = character;
                column += 1;
            }
        }
        screen.resize(screen.len().max(row + 1), Vec::new());
    }
    let text = |line: &Vec<char>| line.iter().collect::<String>().trim_end().to_owned();
    let mut lines: Vec<String> = screen.iter().map(text).collect();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines
}
