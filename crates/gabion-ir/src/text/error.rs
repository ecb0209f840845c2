//! Errors of the text form: collected, each with the line it speaks of, drawn by annotate-snippets.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::lex::Span;

/// More errors than this are not collected.
pub(super) const MAX_ERRORS: usize = 20;
/// Bytes of a line that are shown on either side of the place.
const SHOWN: usize = 100;

/// One wrong place in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong: expected and found.
    pub message: String,
    /// What stands under the marked place.
    pub label: String,
    /// The way out, where one is known.
    pub help: Option<String>,
    shown: String,
    marked: Range<usize>,
    clipped: bool,
}

impl TextError {
    /// The error at `span` of `text`; offsets that are no character borders are moved down to one.
    pub(super) fn new(
        text: &str,
        span: &Span,
        message: String,
        label: String,
        help: Option<String>,
    ) -> Self {
        let start = text.floor_char_boundary(span.start);
        let line_start = text[..start].rfind('\n').map_or(0, |i| i + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |i| start + i);
        let end = text.floor_char_boundary(span.end.clamp(start, line_end));
        let shown_start = text.floor_char_boundary(line_start.max(start.saturating_sub(SHOWN)));
        let shown_end = text.floor_char_boundary(line_end.min(start.saturating_add(SHOWN)));
        let marked = start - shown_start..end.min(shown_end).max(start) - shown_start;
        Self {
            line: text[..line_start].bytes().filter(|&b| b == b'\n').count() + 1,
            column: text[line_start..start].chars().count() + 1,
            message,
            label,
            help,
            shown: text[shown_start..shown_end]
                .trim_end_matches('\r')
                .to_owned(),
            marked,
            clipped: shown_start != line_start,
        }
    }

    fn draw(&self, file: &str) -> String {
        let end = self.marked.end.min(self.shown.len());
        let start = self.marked.start.min(end);
        let mark = AnnotationKind::Primary
            .span(start..end)
            .label(self.label.as_str());
        let snippet = Snippet::source(self.shown.as_str())
            .line_start(self.line)
            .annotation(mark);
        let title = Level::ERROR.primary_title(self.message.as_str());
        let mut group: Group<'_> = if self.clipped {
            // The column within what is shown is not the column within the line.
            title
                .element(Origin::path(file).line(self.line).char_column(self.column))
                .element(snippet)
        } else {
            title.element(snippet.path(file))
        };
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        Renderer::plain().render(&[group])
    }
}

/// Every error of one text, in the order of the text; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextErrors {
    file: String,
    items: Vec<TextError>,
    more: bool,
}

impl TextErrors {
    pub(super) fn new(mut items: Vec<TextError>, more: bool) -> Self {
        items.sort_by_key(|e| (e.line, e.column));
        Self {
            file: "graph".to_owned(),
            items,
            more,
        }
    }

    /// The same errors, of this file.
    #[must_use]
    pub fn with_file(mut self, name: impl Into<String>) -> Self {
        self.file = name.into();
        self
    }

    /// The file's name; `graph` unless [`TextErrors::with_file`] gave one.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The errors.
    pub fn items(&self) -> &[TextError] {
        &self.items
    }
}

impl fmt::Display for TextErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, item) in self.items.iter().enumerate() {
            if i > 0 {
                writeln!(f, "\n")?;
            }
            f.write_str(&item.draw(&self.file))?;
        }
        if self.more {
            write!(f, "\n\nonly the first {MAX_ERRORS} errors are shown")?;
        }
        Ok(())
    }
}

impl std::error::Error for TextErrors {}
