//! How a weight of the plan is put together: its parts, their formats, rows and segments, and how its values are spread.

use std::collections::BTreeMap;

use egui::{Rect, RichText, ScrollArea, Sense, Stroke, Ui, vec2};
use gabion_plan::{Part, PlanWeight};

use super::Loads;
use super::entry::entry_line;
use super::paint::{color, faint, link};
use crate::look::Look;
use crate::look::palette::{Rgb, mix};
use crate::look::panel::Link;
use crate::look::stack::{PartRow, Stack};
use crate::{Histogram, Taken};

/// The tab.
#[derive(Default)]
pub(super) struct StackTab {
    /// Of what parts take; nothing if it cannot be read.
    histograms: BTreeMap<Taken, Option<Histogram>>,
}

impl StackTab {
    pub(super) fn ui(&mut self, ui: &mut Ui, look: &mut Look<'_>, loader: Option<&Loads<'_>>) {
        let known = look.stack().and_then(|stack| {
            let weight = look.document().plan()?.weights.get(stack.number)?;
            Some((stack, weight))
        });
        let Some((stack, weight)) = known else {
            ui.label("Select a weight, or a step of the plan that multiplies by one.");
            return;
        };
        let mut followed = None;
        ScrollArea::both()
            .auto_shrink([false, false])
            .show(ui, |ui| {
                ui.horizontal_wrapped(|ui| {
                    ui.label(RichText::new(&weight.name).strong());
                    ui.label(format!(
                        "{}  {} parts, {} segments",
                        weight.ty,
                        weight.parts.len(),
                        weight.segments.len()
                    ));
                });
                strip(ui, look, &stack.parts, weight.rows().max(1));
                followed = self.parts(ui, look, &stack, weight, loader);
                segments(ui, &stack);
                followed = reasons(ui, look, &stack).or(followed);
            });
        if let Some(link) = followed {
            look.follow(link);
        }
    }

    /// The parts; where the one that was clicked leads.
    fn parts(
        &mut self,
        ui: &mut Ui,
        look: &Look<'_>,
        stack: &Stack,
        weight: &PlanWeight,
        loader: Option<&Loads<'_>>,
    ) -> Option<Link> {
        const HEADS: [&str; 6] = [
            "rows",
            "from",
            "stored as",
            "its rows",
            "while loading",
            "values",
        ];
        let mut followed = None;
        let grid = egui::Grid::new("parts").num_columns(HEADS.len());
        grid.spacing([14.0, 3.0]).striped(true).show(ui, |ui| {
            for head in HEADS {
                ui.label(RichText::new(head).color(color(look.theme.weak_text())));
            }
            ui.end_row();
            for (at, (row, part)) in stack.parts.iter().zip(&weight.parts).enumerate() {
                let rows = format!("{}..{}", row.rows.start, row.rows.end);
                ui.label(RichText::new(rows).color(color(part_color(look, at))));
                let name = RichText::new(&row.source).color(color(link(look.theme)));
                let name = ui.add(egui::Label::new(name).sense(Sense::click()));
                if name
                    .on_hover_cursor(egui::CursorIcon::PointingHand)
                    .clicked()
                {
                    followed = look.named_anywhere(&row.source);
                }
                ui.label(&row.stored);
                ui.label(format!("{}..{}", row.taken.start, row.taken.end));
                ui.label(match row.recipe.as_str() {
                    "" => "as it is",
                    recipe => recipe,
                });
                self.values(ui, look, part, loader);
                ui.end_row();
            }
        });
        followed
    }

    fn values(&mut self, ui: &mut Ui, look: &Look<'_>, part: &Part, loader: Option<&Loads<'_>>) {
        let Some(taken) = Taken::of(part) else {
            return;
        };
        let Some(loader) = loader else {
            ui.label("not loaded");
            return;
        };
        match self.histograms.get(&taken) {
            Some(Some(histogram)) => draw(ui, look, histogram),
            Some(None) => {
                ui.label("cannot be read");
            }
            None => {
                if ui
                    .small_button("count")
                    .on_hover_text("reads the tensor and counts the values of these rows")
                    .clicked()
                {
                    let tensor = loader(&taken.tensor);
                    let histogram = tensor.and_then(|it| Histogram::of(&it, part).ok());
                    self.histograms.insert(taken, histogram);
                    // The row is higher now.
                    ui.ctx().request_repaint();
                }
            }
        }
    }
}

/// How the rows are used.
fn segments(ui: &mut Ui, stack: &Stack) {
    if stack.segments.is_empty() {
        return;
    }
    ui.add_space(4.0);
    ui.label(RichText::new("Segments").strong());
    for segment in &stack.segments {
        ui.label(format!(
            "{}..{}  {}, after the product: {}",
            segment.rows.start, segment.rows.end, segment.arrangement, segment.after
        ));
    }
}

/// The ledger's lines about the weight and its products; where the one that was clicked leads.
fn reasons(ui: &mut Ui, look: &Look<'_>, stack: &Stack) -> Option<Link> {
    if stack.reasons.is_empty() {
        return None;
    }
    ui.add_space(4.0);
    ui.label(RichText::new("Reasons").strong());
    let mut followed = None;
    for at in stack.reasons.iter().take(MOST_REASONS) {
        followed = entry_line(ui, look, *at).or(followed);
    }
    if let more @ 1.. = stack.reasons.len().saturating_sub(MOST_REASONS) {
        ui.label(format!("and {more} more lines of the ledger"));
    }
    // The bar for scrolling sideways lies over what is last.
    ui.add_space(14.0);
    followed
}

/// Lines that are drawn at most: all are laid out in each frame.
const MOST_REASONS: usize = 60;

fn part_color(look: &Look<'_>, at: usize) -> Rgb {
    const HUES: [Rgb; 6] = [
        [48, 108, 196],
        [24, 140, 96],
        [190, 100, 24],
        [150, 72, 176],
        [24, 128, 152],
        [190, 56, 88],
    ];
    let towards = match look.theme {
        crate::look::Theme::Light => [0, 0, 0],
        crate::look::Theme::Dark => [255, 255, 255],
    };
    mix(HUES[at % HUES.len()], towards, 0.2)
}

/// The rows of all parts side by side.
fn strip(ui: &mut Ui, look: &Look<'_>, rows: &[PartRow], all: usize) {
    let width = ui.available_width() - 8.0;
    let (rect, _) = ui.allocate_exact_size(vec2(width, 22.0), Sense::hover());
    for (at, row) in rows.iter().enumerate() {
        let x = |row: usize| rect.left() + width * row as f32 / all as f32;
        let part = Rect::from_x_y_ranges(x(row.rows.start)..=x(row.rows.end), rect.y_range());
        let fill = part_color(look, at);
        ui.painter().rect(
            part.shrink(0.5),
            3.0,
            faint(fill, 0.28),
            Stroke::new(1.0, color(fill)),
            egui::StrokeKind::Inside,
        );
        let words = row
            .source
            .trim_end_matches(".weight")
            .rsplit('.')
            .next()
            .unwrap_or_default();
        let galley = ui.painter().layout_no_wrap(
            words.to_owned(),
            egui::FontId::proportional(11.0),
            color(look.theme.text()),
        );
        if galley.size().x + 6.0 < part.width() {
            ui.painter().galley(
                part.center() - galley.size() / 2.0,
                galley,
                color(look.theme.text()),
            );
        }
    }
}

fn draw(ui: &mut Ui, look: &Look<'_>, histogram: &Histogram) {
    // As high as the drawing from the start: a table puts a lower row in the middle, from where it would grow downwards.
    let size = vec2(160.0, 34.0);
    let row = egui::Layout::left_to_right(egui::Align::Center);
    ui.allocate_ui_with_layout(size, row, |ui| {
        let (rect, response) = ui.allocate_exact_size(size, Sense::hover());
        let most = histogram.bins.iter().copied().max().unwrap_or(1).max(1) as f32;
        let width = rect.width() / histogram.bins.len() as f32;
        for (at, n) in histogram.bins.iter().enumerate() {
            let height = rect.height() * *n as f32 / most;
            let bar = Rect::from_min_max(
                egui::pos2(rect.left() + at as f32 * width, rect.bottom() - height),
                egui::pos2(rect.left() + (at + 1) as f32 * width, rect.bottom()),
            );
            ui.painter().rect_filled(bar, 0.0, color(link(look.theme)));
        }
        ui.painter().hline(
            rect.x_range(),
            rect.bottom(),
            Stroke::new(1.0, color(look.theme.weak_text())),
        );
        response.on_hover_text(format!(
            "from {} to {}",
            histogram.range.0, histogram.range.1
        ));
        let words = format!(
            "{:.3}..{:.3}  mean {:.4}  deviation {:.4}",
            histogram.range.0, histogram.range.1, histogram.mean.0, histogram.mean.1
        );
        ui.label(words);
        if histogram.step > 1 {
            ui.label(format!("one block in {} counted", histogram.step));
        }
        if histogram.not_finite > 0 {
            ui.label(
                RichText::new(format!("{} not finite", histogram.not_finite))
                    .color(color(look.theme.fault())),
            );
        }
    });
}
