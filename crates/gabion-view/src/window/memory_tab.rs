//! The arena over the steps of the plan: which bytes hold which buffer, and for how long.

use egui::{Align2, FontId, Rect, Sense, Stroke, Ui, pos2, vec2};

use super::paint::{color, faint};
use crate::document::{Document, FIRST_STEP, Key, StageKind};
use crate::look::Look;
use crate::look::colour::bytes;
use crate::look::palette::mix;
use crate::look::panel::{Bar, Link, Memory};
use crate::place::Item;

/// The tab.
#[derive(Default)]
pub(super) struct MemoryTab {
    memory: Option<Memory>,
}

impl MemoryTab {
    pub(super) fn ui(&mut self, ui: &mut Ui, look: &mut Look<'_>) {
        let document = look.document();
        let Some(plan) = document.plan() else {
            ui.label("There is no plan: lowering did not come that far.");
            return;
        };
        let memory = self
            .memory
            .get_or_insert_with(|| Memory::of(plan, &document.sizes));
        let at_once = bytes(memory.peak() as f64);
        ui.label(format!(
            "{} for {} buffers; at most {at_once} hold values at once, {} would be needed without sharing",
            bytes(memory.size as f64),
            memory.bars.len(),
            bytes(memory.bars.iter().map(|bar| bar.bytes as f64).sum())
        ));
        let room = ui.available_size() - vec2(4.0, 4.0);
        let (rect, response) = ui.allocate_exact_size(room.max(vec2(40.0, 40.0)), Sense::click());
        let chart = Chart {
            memory,
            rect: Rect::from_min_max(rect.min + vec2(64.0, 2.0), rect.max - vec2(2.0, 18.0)),
        };
        let selected = selected_step(look);
        let over = response.hover_pos().and_then(|at| chart.at(at));
        chart.draw(ui, look, selected, over);
        if let Some(bar) = over {
            let words = format!(
                "%{}\n{} at byte {}\nsteps {} to {}",
                bar.name,
                bytes(bar.bytes as f64),
                bar.offset,
                bar.steps.start,
                bar.steps.end.saturating_sub(1)
            );
            response.clone().on_hover_text_at_pointer(words);
        }
        if response.clicked() {
            let first = over.map(|bar| bar.steps.start);
            let step = first.or_else(|| response.interact_pointer_pos().map(|at| chart.step(at)));
            if let Some((stage, id)) = step.and_then(|step| step_box(document, step)) {
                look.follow(Link::Stage(stage, id));
            }
        }
    }
}

fn step_box(document: &Document, step: usize) -> Option<(usize, u32)> {
    let stage = document
        .stages
        .iter()
        .position(|stage| stage.kind == StageKind::Plan)?;
    Some((stage, document.find(stage, Key(FIRST_STEP + step as u32))?))
}

fn selected_step(look: &Look<'_>) -> Option<usize> {
    let Item::Box(id) = look.selection()? else {
        return None;
    };
    let number = look.document().get(id).key.0.checked_sub(FIRST_STEP)? as usize;
    let steps = look.document().plan()?.steps.len();
    (number < steps).then_some(number)
}

struct Chart<'m> {
    memory: &'m Memory,
    rect: Rect,
}

impl Chart<'_> {
    fn bar(&self, bar: &Bar) -> Rect {
        let x = |step: usize| {
            self.rect.left() + self.rect.width() * step as f32 / self.memory.steps.max(1) as f32
        };
        let y = |byte: u64| {
            self.rect.bottom()
                - self.rect.height() * (byte as f64 / self.memory.size.max(1) as f64) as f32
        };
        Rect::from_min_max(
            pos2(x(bar.steps.start), y(bar.offset + bar.bytes)),
            pos2(
                x(bar.steps.end).max(x(bar.steps.start) + 1.0),
                y(bar.offset),
            ),
        )
    }

    fn at(&self, at: egui::Pos2) -> Option<&Bar> {
        self.memory
            .bars
            .iter()
            .rev()
            .find(|bar| self.bar(bar).contains(at))
    }

    fn step(&self, at: egui::Pos2) -> usize {
        let share = ((at.x - self.rect.left()) / self.rect.width()).clamp(0.0, 1.0);
        ((share * self.memory.steps as f32) as usize).min(self.memory.steps.saturating_sub(1))
    }

    fn draw(&self, ui: &Ui, look: &Look<'_>, selected: Option<usize>, over: Option<&Bar>) {
        let theme = look.theme;
        let painter = ui.painter();
        painter.rect_filled(self.rect, 2.0, color(theme.ground()));
        for bar in &self.memory.bars {
            let rect = self.bar(bar);
            // Neighbours in the list get colours that are told apart.
            let share = (bar.offset / 64 + bar.steps.start as u64 * 7) % 5;
            let fill = mix([40, 110, 190], [20, 150, 120], share as f32 / 4.0);
            let strong = over.is_some_and(|it| it == bar);
            painter.rect_filled(rect, 0.0, faint(fill, if strong { 0.95 } else { 0.55 }));
            if rect.width() > 3.0 && rect.height() > 3.0 {
                painter.rect_stroke(
                    rect,
                    0.0,
                    Stroke::new(0.7, color(fill)),
                    egui::StrokeKind::Inside,
                );
            }
        }
        let font = FontId::proportional(10.5);
        let weak = color(theme.weak_text());
        for part in 0..=2u64 {
            let y = self.rect.bottom() - self.rect.height() * part as f32 / 2.0;
            let align = [
                Align2::RIGHT_BOTTOM,
                Align2::RIGHT_CENTER,
                Align2::RIGHT_TOP,
            ][part as usize];
            let words = bytes(self.memory.size as f64 * part as f64 / 2.0);
            painter.text(
                pos2(self.rect.left() - 5.0, y),
                align,
                words,
                font.clone(),
                weak,
            );
        }
        let last = self.memory.steps.saturating_sub(1);
        painter.text(
            self.rect.left_bottom() + vec2(0.0, 3.0),
            Align2::LEFT_TOP,
            "step 0",
            font.clone(),
            weak,
        );
        painter.text(
            self.rect.right_bottom() + vec2(0.0, 3.0),
            Align2::RIGHT_TOP,
            format!("step {last}"),
            font,
            weak,
        );
        if let Some(step) = selected {
            let x = self.rect.left()
                + self.rect.width() * (step as f32 + 0.5) / self.memory.steps.max(1) as f32;
            painter.vline(
                x,
                self.rect.y_range(),
                Stroke::new(2.0, color(theme.accent())),
            );
        }
    }
}
