//! How a weight of the plan is put together: its parts, their formats, rows and segments, and how its values are spread.

use std::collections::BTreeMap;

use egui::{Rect, RichText, ScrollArea, Sense, Stroke, Ui, vec2};

use super::Loads;
use super::paint::{color, faint, link};
use crate::Histogram;
use crate::look::Look;
use crate::look::palette::{Rgb, mix};
use crate::look::panel::{PartRow, parts, segment_text};

/// The tab.
#[derive(Default)]
pub(super) struct StackTab {
    /// By the name of the tensor; nothing if it cannot be read.
    histograms: BTreeMap<String, Option<Histogram>>,
}

impl StackTab {
    pub(super) fn ui(&mut self, ui: &mut Ui, look: &mut Look<'_>, loader: Option<&Loads<'_>>) {
        let Some(weight) = look.plan_weight() else {
            ui.label("Select a weight, or a step of the plan that multiplies by one.");
            return;
        };
        let rows = parts(weight);
        let all = weight.rows().max(1);
        let mut followed = None;
        ScrollArea::vertical()
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
                strip(ui, look, &rows, all);
                egui::Grid::new("parts")
                    .num_columns(6)
                    .spacing([14.0, 3.0])
                    .striped(true)
                    .show(ui, |ui| {
                        for head in [
                            "rows",
                            "from",
                            "stored as",
                            "its rows",
                            "while loading",
                            "values",
                        ] {
                            ui.label(RichText::new(head).color(color(look.theme.weak_text())));
                        }
                        ui.end_row();
                        for (at, row) in rows.iter().enumerate() {
                            ui.label(
                                RichText::new(format!("{}..{}", row.rows.start, row.rows.end))
                                    .color(color(part_color(look, at))),
                            );
                            let name = egui::Label::new(
                                RichText::new(&row.source).color(color(link(look.theme))),
                            )
                            .sense(Sense::click());
                            if ui
                                .add(name)
                                .on_hover_cursor(egui::CursorIcon::PointingHand)
                                .clicked()
                            {
                                followed = Some(row.source.clone());
                            }
                            ui.label(&row.stored);
                            ui.label(format!("{}..{}", row.taken.start, row.taken.end));
                            ui.label(if row.recipe.is_empty() {
                                "as it is"
                            } else {
                                &row.recipe
                            });
                            self.values(ui, look, &row.source, loader);
                            ui.end_row();
                        }
                    });
                if !weight.segments.is_empty() {
                    ui.add_space(4.0);
                    ui.label(RichText::new("Segments").strong());
                    for segment in &weight.segments {
                        ui.label(format!(
                            "{}..{}  {}",
                            segment.rows.start,
                            segment.rows.end,
                            segment_text(segment)
                        ));
                    }
                }
            });
        if let Some(name) = followed
            && let Some(item) = look.named_anywhere(&name)
        {
            look.follow(item);
        }
    }

    fn values(&mut self, ui: &mut Ui, look: &Look<'_>, name: &str, loader: Option<&Loads<'_>>) {
        let Some(loader) = loader else {
            ui.label("not loaded");
            return;
        };
        if !self.histograms.contains_key(name) {
            if ui
                .small_button("count")
                .on_hover_text("reads the tensor and counts its values")
                .clicked()
            {
                let histogram = loader(name).and_then(|tensor| Histogram::of(&tensor).ok());
                self.histograms.insert(name.to_owned(), histogram);
                // The row is higher now.
                ui.ctx().request_repaint();
            }
            return;
        }
        match self.histograms.get(name).and_then(Option::as_ref) {
            Some(histogram) => draw(ui, look, histogram),
            None => {
                ui.label("cannot be read");
            }
        }
    }
}

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
        let counted = match histogram.step {
            1 => String::new(),
            step => format!(", one block in {step} counted"),
        };
        response.on_hover_text(format!(
            "from {} to {}{counted}",
            histogram.range.0, histogram.range.1
        ));
        let words = format!(
            "{:.3}..{:.3}  mean {:.4}  deviation {:.4}",
            histogram.range.0, histogram.range.1, histogram.mean.0, histogram.mean.1
        );
        ui.label(words);
        if histogram.not_finite > 0 {
            ui.label(
                RichText::new(format!("{} not finite", histogram.not_finite))
                    .color(color(look.theme.fault())),
            );
        }
    });
}
