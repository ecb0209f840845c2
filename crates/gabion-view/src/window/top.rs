//! The bar above the drawing, the legend in its corner, and messages.

use egui::{Align, Layout, RichText, Slider, Ui};

use super::paint::color;
use super::picture::{self, ExportKind};
use crate::look::{ColourBy, Command, Hidden, Look, Pane, Theme};
use crate::place::Direction;

/// The bar.
pub(super) fn bar(ui: &mut Ui, look: &mut Look<'_>, message: &mut Option<String>) {
    ui.horizontal_wrapped(|ui| {
        search(ui, look);
        ui.separator();
        ways(ui, look);
        ui.separator();
        switches(ui, look);
        ui.separator();
        if command(ui, look, Command::Fit, "Fit").clicked() {
            look.run(Command::Fit);
        }
        export(ui, look, message);
        let theme = match look.theme {
            Theme::Light => "Dark",
            Theme::Dark => "Light",
        };
        if command(ui, look, Command::Theme, theme).clicked() {
            look.run(Command::Theme);
        }
        if command(ui, look, Command::Help, "Keys").clicked() {
            look.run(Command::Help);
        }
    });
    stages(ui, look);
}

fn command(ui: &mut Ui, _: &Look<'_>, command: Command, words: &str) -> egui::Response {
    let what = crate::look::BINDINGS
        .iter()
        .find(|it| it.command == command);
    let response = ui.button(words);
    match what {
        Some(binding) => response.on_hover_text(format!("{} ({})", binding.what, binding.key)),
        None => response,
    }
}

fn search(ui: &mut Ui, look: &mut Look<'_>) {
    let mut text = look.search().text.clone();
    let hint = "Search: op:matmul shape:[*,576] in:layers.3";
    let field = egui::TextEdit::singleline(&mut text)
        .hint_text(hint)
        .desired_width(260.0);
    let response = ui.add(field);
    response.widget_info(|| egui::WidgetInfo::labeled(egui::WidgetType::TextEdit, true, "Search"));
    if look.wants_search {
        look.wants_search = false;
        response.request_focus();
    }
    if response.changed() {
        look.set_search(&text);
    }
    if response.lost_focus() && ui.input(|input| input.key_pressed(egui::Key::Enter)) {
        look.next_match(ui.input(|input| input.modifiers.shift));
        // One types on, or presses enter again.
        response.request_focus();
    }
    let fields: Vec<String> = crate::look::search::FIELDS
        .iter()
        .map(|(field, what)| format!("{field}  {what}"))
        .collect();
    response.on_hover_text(format!(
        "Words that all have to match; * and ? stand for anything, - for not; /gate|up/ is a regular expression.\n{}\nenter: next match",
        fields.join("\n")
    ));
    if let Some(fault) = look.search().fault() {
        let fault = fault.to_owned();
        ui.colored_label(ui.visuals().error_fg_color, &fault)
            .on_hover_text(fault);
        return;
    }
    let found = look.search().found.len();
    if !look.search().text.trim().is_empty() {
        let at = look
            .search()
            .at
            .map_or(String::new(), |at| format!("{}/", at + 1));
        ui.label(format!("{at}{found}"));
        if ui
            .small_button("<")
            .on_hover_text("previous match (shift+n)")
            .clicked()
        {
            look.run(Command::PreviousMatch);
        }
        if ui
            .small_button(">")
            .on_hover_text("next match (n)")
            .clicked()
        {
            look.run(Command::NextMatch);
        }
    }
}

fn ways(ui: &mut Ui, look: &mut Look<'_>) {
    let (back, forward) = look.ways();
    if ui
        .add_enabled(back, egui::Button::new("Back"))
        .on_hover_text("back (alt+left)")
        .clicked()
    {
        look.run(Command::Back);
    }
    if ui
        .add_enabled(forward, egui::Button::new("Forward"))
        .on_hover_text("forward (alt+right)")
        .clicked()
    {
        look.run(Command::Forward);
    }
    let marks = look.bookmarks().to_vec();
    ui.menu_button(format!("Bookmarks {}", marks.len()), |ui| {
        if ui.button("Set or remove for the selection (b)").clicked() {
            look.run(Command::Bookmark);
        }
        for spot in marks {
            let name = crate::look::trail::spot_name(look.document(), spot);
            if ui.button(name).clicked() {
                look.visit(spot);
            }
        }
    });
}

fn switches(ui: &mut Ui, look: &mut Look<'_>) {
    let mut right = look.direction() == Direction::Right;
    if ui
        .toggle_value(&mut right, "Left-right")
        .on_hover_text("direction (r)")
        .changed()
    {
        look.run(Command::Turn);
    }
    let mut colours = look.colours();
    egui::ComboBox::from_id_salt("colours")
        .width(96.0)
        .selected_text(format!("By {}", colours.word()))
        .show_ui(ui, |ui| {
            for by in ColourBy::ALL {
                let known = by != ColourBy::Time || look.timings().is_some();
                ui.add_enabled_ui(known, |ui| ui.selectable_value(&mut colours, by, by.word()));
            }
        });
    look.set_colours(colours);
    if colours == ColourBy::Time {
        which_times(ui, look);
    }
    let mut hidden = look.hidden();
    let mut shown = !hidden.weights;
    if ui
        .toggle_value(&mut shown, "Weights")
        .on_hover_text("show weights and constants (w)")
        .changed()
    {
        hidden = Hidden {
            weights: !shown,
            ..hidden
        };
    }
    let mut shown = !hidden.movement;
    if ui
        .toggle_value(&mut shown, "Movement")
        .on_hover_text("show what only moves elements (m)")
        .changed()
    {
        hidden = Hidden {
            movement: !shown,
            ..hidden
        };
    }
    look.hide(hidden);
    let mut compare = look.against().is_some();
    if ui
        .toggle_value(&mut compare, "Compare")
        .on_hover_text("two stages side by side (c)")
        .changed()
    {
        look.run(Command::Compare);
    }
}

fn export(ui: &mut Ui, look: &mut Look<'_>, message: &mut Option<String>) {
    ui.menu_button("Export", |ui| {
        for kind in ExportKind::ALL {
            if ui.button(kind.words()).clicked() {
                *message = Some(
                    match picture::export(look, kind, &std::env::current_dir().unwrap_or_default())
                    {
                        Ok(path) => format!("written: {}", path.display()),
                        Err(error) => error.to_string(),
                    },
                );
                ui.close();
            }
        }
    });
}

/// The slider over the stages, with what each did.
fn stages(ui: &mut Ui, look: &mut Look<'_>) {
    let document = look.document();
    let last = document.stages.len().saturating_sub(1);
    if last == 0 {
        return;
    }
    ui.horizontal(|ui| {
        let mut stage = look.stage();
        if ui
            .add_enabled(stage > 0, egui::Button::new("<").small())
            .on_hover_text("previous stage ([)")
            .clicked()
        {
            look.run(Command::PreviousStage);
        }
        ui.spacing_mut().slider_width = (ui.available_width() * 0.34).clamp(120.0, 460.0);
        let slider = Slider::new(&mut stage, 0..=last)
            .show_value(false)
            .trailing_fill(true)
            .handle_shape(egui::style::HandleShape::Rect { aspect_ratio: 0.5 });
        let response = ui.add(slider);
        response.widget_info(|| egui::WidgetInfo::slider(true, stage as f64, "Stage"));
        if response.changed() {
            look.set_stage(stage);
        }
        if ui
            .add_enabled(look.stage() < last, egui::Button::new(">").small())
            .on_hover_text("next stage (])")
            .clicked()
        {
            look.run(Command::NextStage);
        }
        let stage = look.stage();
        ui.label(format!("{stage}/{last}"));
        egui::ComboBox::from_id_salt("stage")
            .width(190.0)
            .selected_text(RichText::new(&*document.stages[stage].name).strong())
            .show_ui(ui, |ui| {
                for (at, it) in document.stages.iter().enumerate() {
                    let counts = look.counts()[at].text();
                    if ui
                        .selectable_label(at == stage, format!("{at}  {}  {counts}", it.name))
                        .clicked()
                    {
                        look.set_stage(at);
                    }
                }
            });
        let counts = look.counts()[stage];
        let theme = look.theme;
        use crate::document::Change;
        let parts = [
            ('+', counts.added, Change::Added, "added"),
            ('~', counts.changed, Change::Changed, "changed"),
            ('−', counts.removed, Change::Removed, "removed"),
        ];
        for (sign, n, change, word) in parts {
            if n > 0 {
                let rgb = theme.change(change).unwrap_or(theme.text());
                ui.label(RichText::new(format!("{sign}{n} {word}")).color(color(rgb)));
            }
        }
        if counts.is_empty() && stage > 0 {
            ui.label(RichText::new("no changes").color(color(theme.weak_text())));
        }
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            let faults = document.faults.len();
            if faults > 0 {
                ui.label(
                    RichText::new(format!("{faults} faults"))
                        .strong()
                        .color(color(theme.fault())),
                );
            }
        });
    });
}

/// Which times are shown, where there are several.
pub(super) fn which_times(ui: &mut Ui, look: &mut Look<'_>) {
    if look.all_timings().len() < 2 {
        return;
    }
    let mut timed = look.timed();
    for (at, timings) in look.all_timings().iter().enumerate() {
        ui.selectable_value(&mut timed, at, format!("of the {}", timings.name))
            .on_hover_text(&timings.whence);
    }
    look.set_timed(timed);
}

/// What colours mean, in the corner of the drawing.
pub(super) fn legend(ui: &mut Ui, look: &mut Look<'_>) {
    let Some(scale) = look.scale(Pane::Now) else {
        return;
    };
    let total = look.costs(look.stage()).total();
    let theme = look.theme;
    let font = egui::FontId::proportional(11.0);
    let mut all = format!("all: {}", total.text(scale.by));
    if let (ColourBy::Time, Some(timings)) = (scale.by, look.timings()) {
        all = format!("{all}, {}", timings.whence);
    }
    let all = ui
        .painter()
        .layout(all, font.clone(), color(theme.text()), 240.0);
    let rect = ui.max_rect();
    let rows = all.rows.len().max(1) as f32;
    let height = 60.0 + all.size().y * (rows - 1.0) / rows;
    let place = egui::Rect::from_min_size(
        egui::pos2(rect.left() + 12.0, rect.bottom() - 12.0 - height),
        egui::vec2(260.0, height),
    );
    let painter = ui.painter();
    painter.rect(
        place,
        6.0,
        color(theme.ground()).gamma_multiply(0.92),
        egui::Stroke::new(1.0, color(theme.wire())),
        egui::StrokeKind::Inside,
    );
    let bar = egui::Rect::from_min_size(place.min + egui::vec2(10.0, 8.0), egui::vec2(240.0, 10.0));
    const STEPS: usize = 48;
    for step in 0..STEPS {
        let width = bar.width() / STEPS as f32;
        let at = egui::Rect::from_min_size(
            bar.min + egui::vec2(step as f32 * width, 0.0),
            egui::vec2(width + 0.5, bar.height()),
        );
        let heat = theme.heat(step as f32 / (STEPS - 1) as f32);
        painter.rect_filled(at, 0.0, color(heat.fill));
    }
    let short = |value: f64| crate::look::colour::short_text(scale.by, value);
    for (at, align, words) in [
        (bar.left_bottom(), egui::Align2::LEFT_TOP, "0".to_owned()),
        (
            bar.center_bottom(),
            egui::Align2::CENTER_TOP,
            short(scale.value(0.5)),
        ),
        (
            bar.right_bottom(),
            egui::Align2::RIGHT_TOP,
            short(scale.most),
        ),
    ] {
        let below = at + egui::vec2(0.0, 3.0);
        painter.text(below, align, words, font.clone(), color(theme.weak_text()));
    }
    let corner = place.left_bottom() + egui::vec2(10.0, -3.0);
    let place = egui::Align2::LEFT_BOTTOM.anchor_size(corner, all.size());
    painter.galley(place.min, all, color(theme.text()));
}

/// What was done, or could not be, until it is clicked away.
pub(super) fn message(ui: &mut Ui, message: &mut Option<String>) {
    let Some(words) = message.clone() else {
        return;
    };
    egui::Area::new("message".into())
        .anchor(egui::Align2::CENTER_BOTTOM, egui::vec2(0.0, -24.0))
        .show(ui.ctx(), |ui| {
            egui::Frame::popup(ui.style()).show(ui, |ui| {
                ui.horizontal(|ui| {
                    ui.label(words);
                    if ui.button("OK").clicked() {
                        *message = None;
                    }
                });
            });
        });
}
