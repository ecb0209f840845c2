//! The text of a stage, line by line, with each line's box.

use std::ops::Range;
use std::sync::Arc;

use egui::{FontId, Rect, ScrollArea, Sense, Ui, vec2};
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
}

/// Bytes of a line that are shown; constants may be very long.
const MOST_SHOWN: usize = 600;

/// The tab.
#[derive(Default)]
pub(super) struct TextTab {
    lines: Option<Lines>,
    shown: Option<Item>,
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
        let font = FontId::monospace(12.0);
        let (height, letter) = ui.fonts_mut(|fonts| {
            (
                fonts.row_height(&font).ceil() + 2.0,
                fonts.glyph_width(&font, 'm'),
            )
        });
        let mut area = ScrollArea::both()
            .auto_shrink([false, false])
            .id_salt(stage);
        let selection = look.selection_at(stage);
        let line = match selection {
            Some(Item::Box(id)) => lines.of_box.get(&id).copied(),
            _ => None,
        };
        if selection != self.shown {
            self.shown = selection;
            if let Some(line) = line {
                let room = (ui.available_height() - height) / 2.0;
                area = area.vertical_scroll_offset((line as f32 * height - room).max(0.0));
            }
        }
        let hovered_line = match look.hover() {
            Some(Item::Box(id)) => lines.of_box.get(&id).copied(),
            _ => None,
        };
        let (mut clicked, mut over) = (None, None);
        area.show_viewport(ui, |ui, viewport| {
            let digits = lines.lines.len().to_string().len() as f32 + 2.0;
            let width = (lines.longest as f32 + digits + 2.0) * letter;
            ui.set_min_size(vec2(width, lines.lines.len() as f32 * height));
            let origin = ui.max_rect().min;
            let first = (viewport.top() / height).floor().max(0.0) as usize;
            let last = ((viewport.bottom() / height).ceil() as usize).min(lines.lines.len());
            for at in first..last {
                let rect = Rect::from_min_size(origin + vec2(0.0, at as f32 * height), vec2(width.max(viewport.right()), height));
                let id = lines.text.boxes.get(at).copied().flatten();
                let words = shown(&lines.text.text[lines.lines[at].clone()]);
                let response = ui.interact(rect, ui.id().with(("line", at)), if id.is_some() { Sense::click() } else { Sense::hover() });
                let inside = matches!((selection, id), (Some(Item::Group(group)), Some(id)) if look.document().tree.ancestors(look.document().get(id).group).any(|it| it == group));
                let theme = look.theme;
                let back = match (Some(at) == line, Some(at) == hovered_line || response.hovered() && id.is_some(), inside) {
                    (true, _, _) => Some(faint(theme.accent(), 0.30)),
                    (_, true, _) => Some(faint(theme.accent(), 0.16)),
                    (_, _, true) => Some(faint(theme.accent(), 0.09)),
                    _ => None,
                };
                if let Some(back) = back {
                    ui.painter().rect_filled(rect, 3.0, back);
                }
                let number = egui::pos2(origin.x + (digits - 1.0) * letter, rect.top() + 1.0);
                ui.painter().text(number, egui::Align2::RIGHT_TOP, at + 1, font.clone(), faint(theme.weak_text(), 0.7));
                let strong = if id.is_some() { theme.text() } else { theme.weak_text() };
                let place = egui::pos2(origin.x + digits * letter, rect.top() + 1.0);
                ui.painter().text(place, egui::Align2::LEFT_TOP, words, font.clone(), color(strong));
                if let Some(id) = id {
                    if response.hovered() {
                        over = Some(id);
                    }
                    if response.clicked() {
                        clicked = Some(id);
                    }
                }
            }
        });
        if let Some(id) = over {
            look.set_hover(Some(Item::Box(id)));
            look.hold_hover();
        }
        if let Some(id) = clicked {
            look.jump(Item::Box(id));
            self.shown = look.selection_at(stage);
        }
    }
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
