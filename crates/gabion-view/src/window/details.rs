//! The panel beside the drawing: what is selected, with links that jump.

use egui::{CollapsingHeader, Grid, Label, RichText, ScrollArea, TextWrapMode, Ui};

use super::paint::{color, link};
use crate::look::panel::Row;
use crate::look::{Command, Cone, Look};

/// The panel.
pub(super) fn panel(ui: &mut Ui, look: &mut Look<'_>) {
    let title = look.selection().map_or_else(
        || look.document().title.clone(),
        |item| crate::look::item_name(look.document(), item),
    );
    ui.add(Label::new(RichText::new(title).heading()).wrap_mode(TextWrapMode::Wrap));
    if look.selection().is_some() {
        actions(ui, look);
    }
    ui.separator();
    let sections = look.details();
    let mut followed = None;
    ScrollArea::vertical()
        .auto_shrink([false, false])
        .show(ui, |ui| {
            for section in sections.iter() {
                CollapsingHeader::new(RichText::new(section.title).strong())
                    .default_open(true)
                    .show(ui, |ui| {
                        Grid::new(section.title)
                            .num_columns(2)
                            .spacing([10.0, 3.0])
                            .striped(true)
                            .show(ui, |ui| {
                                for row in &section.rows {
                                    if show_row(ui, look, row) {
                                        followed = row.link;
                                    }
                                    ui.end_row();
                                }
                            });
                        if section.more > 0 {
                            ui.label(format!("and {} more", section.more));
                        }
                    });
            }
        });
    if let Some(link) = followed {
        look.follow(link);
    }
}

fn show_row(ui: &mut Ui, look: &Look<'_>, row: &Row) -> bool {
    ui.label(RichText::new(&row.label).color(color(look.theme.weak_text())));
    let fault = row.label == "fault";
    let words = RichText::new(&row.value);
    let words = if fault {
        words.color(color(look.theme.fault()))
    } else {
        words
    };
    match row.link {
        Some(_) => {
            let label = Label::new(words.color(color(link(look.theme))))
                .sense(egui::Sense::click())
                .wrap_mode(TextWrapMode::Wrap);
            let response = ui
                .add(label)
                .on_hover_cursor(egui::CursorIcon::PointingHand);
            response.widget_info(|| {
                egui::WidgetInfo::labeled(egui::WidgetType::Link, true, &row.value)
            });
            response.clicked()
        }
        None => {
            ui.add(Label::new(words).wrap_mode(TextWrapMode::Wrap));
            false
        }
    }
}

fn actions(ui: &mut Ui, look: &mut Look<'_>) {
    ui.horizontal_wrapped(|ui| {
        let mut cone = look.cone();
        if ui
            .toggle_value(&mut cone.up, "Upstream")
            .on_hover_text("light up what it depends on (u)")
            .changed()
        {
            look.set_cone(Cone {
                up: cone.up,
                ..look.cone()
            });
        }
        if ui
            .toggle_value(&mut cone.down, "Downstream")
            .on_hover_text("light up what depends on it (d)")
            .changed()
        {
            look.set_cone(Cone {
                down: cone.down,
                ..look.cone()
            });
        }
        let mut isolated = look.is_isolated();
        if ui
            .toggle_value(&mut isolated, "Isolate")
            .on_hover_text("hide everything else (i)")
            .changed()
        {
            look.run(Command::Isolate);
        }
        if ui.button("Show").on_hover_text("move there (s)").clicked() {
            look.run(Command::ShowSelection);
        }
    });
}
