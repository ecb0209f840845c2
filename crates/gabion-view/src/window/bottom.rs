//! The tabs below the drawing.

use std::sync::Arc;

use egui::{Label, RichText, ScrollArea, Ui};

use super::Loads;
use super::entry::entry_line;
use super::memory_tab::MemoryTab;
use super::paint::color;
use super::stack_tab::StackTab;
use super::text_tab::TextTab;
use crate::document::{BoxId, FIRST_STEP, Kind, StageKind};
use crate::look::colour::{bytes, count, time};
use crate::look::panel::Link;
use crate::look::{Look, ledger};
use crate::place::Item;

/// Which tab is shown below the drawing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tab {
    /// The text form of the stage.
    #[default]
    Text,
    /// What the passes noted.
    Ledger,
    /// How a weight of the plan is put together.
    Stack,
    /// The arena over the steps.
    Memory,
    /// The steps with their costs.
    Steps,
}

impl Tab {
    /// All of them, in their order.
    pub const ALL: [Self; 5] = [
        Self::Text,
        Self::Ledger,
        Self::Stack,
        Self::Memory,
        Self::Steps,
    ];

    /// The word on it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Text => "Text",
            Self::Ledger => "Ledger",
            Self::Stack => "Stack",
            Self::Memory => "Memory",
            Self::Steps => "Steps",
        }
    }
}

/// The steps of the plan in the order in which they are shown, and the longest time of one.
struct Steps {
    steps: Vec<BoxId>,
    most: f64,
}

impl Steps {
    fn new(look: &Look<'_>, plan: usize, by_time: bool) -> Self {
        let document = look.document();
        let mut steps = document.stages[plan].boxes.clone();
        steps.retain(|id| document.get(*id).kind == Kind::Step);
        if by_time && look.timings().is_some() {
            let time = |id: &BoxId| time_of(look, *id).unwrap_or(0.0);
            steps.sort_by(|a, b| time(b).total_cmp(&time(a)));
        }
        let times = steps.iter().filter_map(|id| time_of(look, *id));
        let most = times.fold(0.0, f64::max);
        Self { steps, most }
    }
}

fn time_of(look: &Look<'_>, id: BoxId) -> Option<f64> {
    look.timings()?.of(look.document().get(id).key)
}

/// The tabs and what they keep.
#[derive(Default)]
pub(super) struct Bottom {
    pub(super) tab: Tab,
    text: TextTab,
    filter: String,
    only: Option<bool>,
    /// The entries that the filter finds, and the filter.
    entries: Option<(String, Option<bool>, Vec<usize>)>,
    stack: StackTab,
    memory: MemoryTab,
    by_time: bool,
    /// The steps as they are shown, and for which revision and order.
    steps: Option<((u64, bool), Arc<Steps>)>,
}

impl Bottom {
    pub(super) fn ui(&mut self, ui: &mut Ui, look: &mut Look<'_>, loader: Option<&Loads<'_>>) {
        ui.horizontal(|ui| {
            for tab in Tab::ALL {
                ui.selectable_value(&mut self.tab, tab, tab.word());
            }
            ui.separator();
            self.beside_tabs(ui, look);
        });
        ui.separator();
        match self.tab {
            Tab::Text => self.text.ui(ui, look),
            Tab::Ledger => self.ledger(ui, look),
            Tab::Stack => self.stack.ui(ui, look, loader),
            Tab::Memory => self.memory.ui(ui, look),
            Tab::Steps => self.steps(ui, look),
        }
    }

    fn beside_tabs(&mut self, ui: &mut Ui, look: &mut Look<'_>) {
        let theme = look.theme;
        let weak = |ui: &mut Ui, words: String| {
            ui.label(RichText::new(words).color(color(theme.weak_text())))
        };
        match self.tab {
            Tab::Text => {
                weak(ui, "click a line to see its box".to_owned());
            }
            Tab::Ledger => {
                ui.add(
                    egui::TextEdit::singleline(&mut self.filter)
                        .hint_text("filter")
                        .desired_width(180.0),
                )
                .widget_info(|| {
                    egui::WidgetInfo::labeled(egui::WidgetType::TextEdit, true, "Filter the ledger")
                });
                for (only, words) in [
                    (None, "all"),
                    (Some(true), "fired"),
                    (Some(false), "refused"),
                ] {
                    ui.selectable_value(&mut self.only, only, words);
                }
                if let Some((_, _, entries)) = &self.entries {
                    weak(
                        ui,
                        format!(
                            "{} of {}",
                            entries.len(),
                            look.document().ledger.entries().len()
                        ),
                    );
                }
            }
            Tab::Stack => {
                weak(
                    ui,
                    "how the weight of the selection is put together".to_owned(),
                );
            }
            Tab::Memory => {
                weak(ui, "the arena over the steps of the plan".to_owned());
            }
            Tab::Steps => {
                ui.selectable_value(&mut self.by_time, false, "in order");
                ui.add_enabled_ui(look.timings().is_some(), |ui| {
                    ui.selectable_value(&mut self.by_time, true, "slowest first")
                });
                super::top::which_times(ui, look);
                if let Some(timings) = look.timings() {
                    let total = time(timings.total());
                    weak(ui, format!("{total} in all, {}", timings.whence));
                }
            }
        }
    }

    fn ledger(&mut self, ui: &mut Ui, look: &mut Look<'_>) {
        let document = look.document();
        let fits = |known: &(String, Option<bool>, Vec<usize>)| {
            known.0 == self.filter && known.1 == self.only
        };
        if !self.entries.as_ref().is_some_and(fits) {
            let found = ledger::filtered(document, &self.filter, self.only);
            self.entries = Some((self.filter.clone(), self.only, found));
        }
        let entries = self.entries.as_ref().map_or(&[][..], |it| &it.2);
        if entries.is_empty() {
            ui.label(match document.ledger.entries().is_empty() {
                true => "The passes noted nothing, or none ran.",
                false => "No line matches.",
            });
            return;
        }
        let height = ui.text_style_height(&egui::TextStyle::Body);
        let mut followed = None;
        ScrollArea::both().auto_shrink([false, false]).show_rows(
            ui,
            height,
            entries.len(),
            |ui, rows| {
                for at in &entries[rows] {
                    followed = entry_line(ui, look, *at).or(followed);
                }
            },
        );
        if let Some(link) = followed {
            look.follow(link);
        }
    }

    /// The steps of the plan with their costs and times.
    fn steps(&mut self, ui: &mut Ui, look: &mut Look<'_>) {
        let document = look.document();
        let Some(plan) = document
            .stages
            .iter()
            .position(|stage| stage.kind == StageKind::Plan)
        else {
            ui.label("There is no plan: lowering did not come that far.");
            return;
        };
        let made_for = (look.revision(), self.by_time);
        let steps = match &self.steps {
            Some((known, steps)) if *known == made_for => steps.clone(),
            _ => {
                let steps = Arc::new(Steps::new(look, plan, self.by_time));
                self.steps = Some((made_for, steps.clone()));
                steps
            }
        };
        let Steps { steps, most } = &*steps;
        let measured = |id: &BoxId| time_of(look, *id);
        let height = ui.text_style_height(&egui::TextStyle::Body);
        let mut followed = None;
        ScrollArea::both().auto_shrink([false, false]).show_rows(
            ui,
            height,
            steps.len(),
            |ui, rows| {
                for id in &steps[rows] {
                    let it = document.get(*id);
                    ui.horizontal(|ui| {
                        let selected = look.selection() == Some(Item::Box(*id));
                        let number = it.key.0 - FIRST_STEP;
                        let words = format!("{number:>4}  {}", it.op);
                        let name = ui
                            .add_sized([150.0, height], egui::Button::selectable(selected, words));
                        if name.clicked() {
                            followed = Some(*id);
                        }
                        if let Some(us) = measured(id) {
                            bar(ui, look, us, *most, height);
                            ui.add_sized([70.0, height], Label::new(time(us)));
                        }
                        ui.add_sized(
                            [90.0, height],
                            Label::new(format!("{} op", count(it.flops as f64))),
                        );
                        ui.add_sized([80.0, height], Label::new(bytes(it.bytes as f64)));
                        let scope = &document.tree.get(it.group).path;
                        ui.label(
                            RichText::new(format!("{scope}  {}", it.name))
                                .color(color(look.theme.weak_text())),
                        );
                    });
                }
            },
        );
        if let Some(id) = followed {
            look.follow(Link::Stage(plan, id));
        }
    }
}

fn bar(ui: &mut Ui, look: &Look<'_>, us: f64, most: f64, height: f32) {
    let (rect, _) = ui.allocate_exact_size(egui::vec2(120.0, height), egui::Sense::hover());
    let share = if most > 0.0 { (us / most) as f32 } else { 0.0 };
    let filled = egui::Rect::from_min_size(
        rect.min + egui::vec2(0.0, 3.0),
        egui::vec2(120.0 * share, height - 6.0),
    );
    ui.painter()
        .rect_filled(filled, 2.0, color(look.theme.heat(share.sqrt()).fill));
}
