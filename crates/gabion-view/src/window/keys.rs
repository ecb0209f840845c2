//! Keys: from egui's to the words that [`crate::look::command`] has for them.

use egui::{Event, Key, Ui};

use crate::look::{BINDINGS, Command, Look};

/// Does what the keys say, unless somebody is typing.
pub(super) fn keys(ui: &mut Ui, look: &mut Look<'_>) {
    if ui.ctx().text_edit_focused() {
        return;
    }
    let pressed: Vec<Command> = ui.input(|input| {
        let mut commands = Vec::new();
        for event in &input.events {
            let word = match event {
                // Signs are typed differently on every keyboard; letters and arrows are keys.
                Event::Text(text) if !text.chars().all(char::is_alphanumeric) => Some(text.clone()),
                Event::Key {
                    key,
                    pressed: true,
                    modifiers,
                    ..
                } => key_word(*key, *modifiers),
                _ => None,
            };
            commands.extend(word.and_then(|word| Command::of_key(&word)));
        }
        commands
    });
    for command in pressed {
        look.run(command);
    }
}

fn key_word(key: Key, modifiers: egui::Modifiers) -> Option<String> {
    let name = match key {
        Key::Enter => "enter",
        Key::Escape => "escape",
        Key::Backspace => "backspace",
        Key::ArrowLeft => "left",
        Key::ArrowRight => "right",
        Key::ArrowUp => "up",
        Key::ArrowDown => "down",
        key if key.name().len() == 1 && key.name().chars().all(|c| c.is_ascii_alphabetic()) => {
            key.name()
        }
        _ => return None,
    };
    if modifiers.command || modifiers.ctrl {
        return None;
    }
    let mut word = String::new();
    if modifiers.alt {
        word.push_str("alt+");
    }
    if modifiers.shift {
        word.push_str("shift+");
    }
    word.push_str(&name.to_lowercase());
    Some(word)
}

/// The list of keys.
pub(super) fn help(ui: &mut Ui, look: &mut Look<'_>) {
    let mut open = look.help;
    egui::Window::new("Keys")
        .open(&mut open)
        .collapsible(false)
        .resizable(false)
        .anchor(egui::Align2::CENTER_CENTER, egui::Vec2::ZERO)
        .show(ui.ctx(), |ui| {
            ui.horizontal_top(|ui| {
                let half = BINDINGS.len().div_ceil(2);
                for (at, part) in BINDINGS.chunks(half).enumerate() {
                    egui::Grid::new(("keys", at))
                        .num_columns(2)
                        .spacing([14.0, 4.0])
                        .show(ui, |ui| {
                            for binding in part {
                                ui.monospace(binding.key);
                                ui.label(binding.what);
                                ui.end_row();
                            }
                        });
                    ui.add_space(12.0);
                }
            });
            ui.separator();
            ui.label(
                "Click selects, double click opens and closes, dragging moves, the wheel zooms.",
            );
        });
    look.help = open;
}
