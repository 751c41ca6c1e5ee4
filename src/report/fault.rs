//! Errors and warnings of a configuration, in cargo's format: the place, the line, and a caret below it.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Element, Level, Origin, Renderer, Snippet};

use super::console::{Console, escape_control};
use crate::config::{Excerpt, Fault, Faults, Place};

/// The most errors to print.
const MOST: usize = 100;

impl Console {
    /// The error that ends the process: each error of a configuration with its line, or one line.
    pub(crate) fn fatal(&self, error: &anyhow::Error) {
        let Some(Faults(faults)) = error.downcast_ref() else {
            return self.error(&format!("{error:#}"));
        };
        for (index, fault) in faults.iter().take(MOST).enumerate() {
            if index > 0 {
                self.message("");
            }
            self.fault(fault, Level::ERROR);
        }
        match faults.len() {
            0 | 1 => {}
            all => {
                let cut = if all > MOST { format!("; the first {MOST} are shown") } else { String::new() };
                self.message("");
                self.error(&format!("{all} errors in the configuration{cut}"));
            }
        }
    }

    /// A warning about a file of the configuration.
    pub(crate) fn fault_warning(&self, fault: &Fault) {
        self.fault(fault, Level::WARNING);
    }

    fn fault(&self, fault: &Fault, level: Level<'_>) {
        match &fault.place {
            Some(place) => self.message(&rendered(fault, place, level)),
            // The error has no line.
            None if level == Level::WARNING => self.warning(&fault.to_string()),
            None => self.error(&fault.to_string()),
        }
    }
}

fn rendered(fault: &Fault, place: &Place, level: Level<'_>) -> String {
    let path = escape_control(&fault.file.display().to_string());
    let snippet = place.excerpt.as_deref().map(escaped);
    let element: Element<'_> = match &snippet {
        Some((line, span)) => {
            let snippet = Snippet::source(line.as_str()).line_start(place.line).path(path);
            snippet.annotation(AnnotationKind::Primary.span(span.clone())).into()
        }
        None => Origin::path(path).line(place.line).char_column(place.column).into(),
    };
    let help = fault.help.as_ref().map(|help| Element::from(Level::HELP.message(escape_control(help))));
    let title = level.primary_title(escape_control(&fault.message)).element(element).elements(help);
    // The stream removes the colours if colour is off.
    Renderer::styled().render(&[title])
}

/// The line without control characters, and the range to mark with the caret.
fn escaped(excerpt: &Excerpt) -> (String, Range<usize>) {
    let Range { start, end } = excerpt.span;
    let [before, marked, after] =
        [&excerpt.line[..start], &excerpt.line[start..end], &excerpt.line[end..]].map(escape_control);
    let span = before.len()..before.len() + marked.len();
    (format!("{before}{marked}{after}"), span)
}
