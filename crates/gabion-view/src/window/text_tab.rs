//! The text of a stage, line by line, with each line's box.

use std::ops::Range;
use std::sync::Arc;

use egui::{Align2, FontId, Rect, Response, ScrollArea, Sense, Ui, WidgetInfo, WidgetType, vec2};
use rustc_hash::FxHashMap;

use super::paint::{color, faint};
use crate::document::{BoxId, StageText};
use crate::look::Look;
use crate::place::Item;

/// A text that is cut into lines.
struct Lines {
    stage: usize,
    text: Arc<StageText>,
    lines: Vec<Range<usize>>,
    of_box: FxHashMap<BoxId, usize>,
    longest: usize,
}

impl Lines {
    fn new(stage: usize, text: Arc<StageText>) -> Self {
        let mut lines = Vec::new();
        let mut start = 0;
        for line in text.text.split_inclusive('\n') {
            lines.push(start..start + line.trim_end_matches('\n').len());
            start += line.len();
        }
        let mut of_box = FxHashMap::default();
        for (line, id) in text.boxes.iter().enumerate() {
            if let Some(id) = id {
                of_box.entry(*id).or_insert(line);
            }
        }
        let longest = lines
            .iter()
            .map(|line| line.len().min(MOST_SHOWN))
            .max()
            .unwrap_or(0);
        Self {
            stage,
            text,
            lines,
            of_box,
            longest,
        }
    }

    fn id(&self, line: usize) -> Option<BoxId> {
        self.text.boxes.get(line).copied().flatten()
    }
}

/// Bytes of a line that are shown; constants may be very long.
const MOST_SHOWN: usize = 600;

/// The tab.
#[derive(Default)]
pub(super) struct TextTab {
    lines: Option<Lines>,
    shown: Option<Item>,
}

/// How lines are laid out.
struct Rows {
    font: FontId,
    height: f32,
    letter: f32,
    /// Room for the number of a line.
    gutter: f32,
}

/// What is marked.
struct Marked {
    selection: Option<Item>,
    line: Option<usize>,
    hovered: Option<usize>,
}

impl TextTab {
    pub(super) fn ui(&mut self, ui: &mut Ui, look: &mut Look<'_>) {
        let stage = look.stage();
        if self.lines.as_ref().is_none_or(|it| it.stage != stage) {
            self.lines = look.text(stage).map(|text| Lines::new(stage, text));
            self.shown = None;
        }
        let Some(lines) = &self.lines else {
            return;
        };
        let rows = Rows::new(ui, lines.lines.len());
        let line_of = |item: Option<Item>| match item {
            Some(Item::Box(id)) => lines.of_box.get(&id).copied(),
            _ => None,
        };
        let selection = look.selection_at(stage);
        let marked = Marked {
            selection,
            line: line_of(selection),
            hovered: line_of(look.hover()),
        };
        let mut area = ScrollArea::both()
            .auto_shrink([false, false])
            .id_salt(stage);
        if selection != self.shown {
            self.shown = selection;
            if let Some(line) = marked.line {
                let room = (ui.available_height() - rows.height) / 2.0;
                area = area.vertical_scroll_offset((line as f32 * rows.height - room).max(0.0));
            }
        }
        let (mut clicked, mut over) = (None, None);
        area.show_viewport(ui, |ui, viewport| {
            let width = (lines.longest as f32 + 2.0) * rows.letter + rows.gutter;
            ui.set_min_size(vec2(width, lines.lines.len() as f32 * rows.height));
            let first = (viewport.top() / rows.height).floor().max(0.0) as usize;
            let last = ((viewport.bottom() / rows.height).ceil() as usize).min(lines.lines.len());
            for at in first..last {
                let size = vec2(width.max(viewport.right()), rows.height);
                let place = ui.max_rect().min + vec2(0.0, at as f32 * rows.height);
                let response = row(
                    ui,
                    look,
                    lines,
                    &rows,
                    &marked,
                    at,
                    Rect::from_min_size(place, size),
                );
                if let Some(id) = lines.id(at) {
                    over = response.hovered().then_some(id).or(over);
                    clicked = response.clicked().then_some(id).or(clicked);
                }
            }
        });
        if let Some(id) = over {
            look.set_hover(Some(Item::Box(id)));
            look.hold_hover();
        }
        if let Some(id) = clicked {
            look.jump(Item::Box(id));
            // The line is in sight already.
            self.shown = look.selection_at(stage);
        }
    }
}

impl Rows {
    fn new(ui: &Ui, lines: usize) -> Self {
        let font = FontId::monospace(12.0);
        let (height, letter) = ui.fonts_mut(|fonts| {
            (
                fonts.row_height(&font).ceil() + 2.0,
                fonts.glyph_width(&font, 'm'),
            )
        });
        let gutter = (lines.to_string().len() as f32 + 2.0) * letter;
        Self {
            font,
            height,
            letter,
            gutter,
        }
    }
}

/// Draws a line and says what the pointer does there.
fn row(
    ui: &Ui,
    look: &Look<'_>,
    lines: &Lines,
    rows: &Rows,
    marked: &Marked,
    at: usize,
    rect: Rect,
) -> Response {
    let (theme, document) = (look.theme, look.document());
    let id = lines.id(at);
    let sense = if id.is_some() {
        Sense::click()
    } else {
        Sense::hover()
    };
    let response = ui.interact(rect, ui.id().with(("line", at)), sense);
    response
        .widget_info(|| WidgetInfo::labeled(WidgetType::Label, true, format!("line {}", at + 1)));
    let inside = |group| {
        id.is_some_and(|id| {
            document
                .tree
                .ancestors(document.get(id).group)
                .any(|it| it == group)
        })
    };
    let share = if Some(at) == marked.line {
        0.30
    } else if Some(at) == marked.hovered || (response.hovered() && id.is_some()) {
        0.16
    } else if matches!(marked.selection, Some(Item::Group(group)) if inside(group)) {
        0.09
    } else {
        0.0
    };
    let painter = ui.painter();
    if share > 0.0 {
        painter.rect_filled(rect, 3.0, faint(theme.accent(), share));
    }
    let number = rect.min + vec2(rows.gutter - rows.letter, 1.0);
    painter.text(
        number,
        Align2::RIGHT_TOP,
        at + 1,
        rows.font.clone(),
        faint(theme.weak_text(), 0.7),
    );
    let strong = if id.is_some() {
        theme.text()
    } else {
        theme.weak_text()
    };
    let words = shown(&lines.text.text[lines.lines[at].clone()]);
    painter.text(
        rect.min + vec2(rows.gutter, 1.0),
        Align2::LEFT_TOP,
        words,
        rows.font.clone(),
        color(strong),
    );
    response
}

fn shown(line: &str) -> &str {
    match line
        .char_indices()
        .map(|(at, _)| at)
        .find(|at| *at >= MOST_SHOWN)
    {
        Some(at) => &line[..at],
        None => line,
    }
}
