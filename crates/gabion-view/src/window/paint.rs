//! Colours and looks as egui wants them.

use egui::{Color32, CornerRadius, FontFamily, FontId, Stroke, TextStyle, Visuals};

use crate::look::Theme;
use crate::look::palette::Rgb;

/// A colour.
pub(super) fn color([r, g, b]: Rgb) -> Color32 {
    Color32::from_rgb(r, g, b)
}

/// A colour, of which only a part is seen.
pub(super) fn faint(rgb: Rgb, share: f32) -> Color32 {
    color(rgb).gamma_multiply(share)
}

/// The looks of panels and buttons.
pub(super) fn visuals(theme: Theme) -> Visuals {
    let mut visuals = match theme {
        Theme::Light => Visuals::light(),
        Theme::Dark => Visuals::dark(),
    };
    let ground = theme.ground();
    visuals.panel_fill = color(theme.group_ground(0));
    visuals.window_fill = color(ground);
    visuals.extreme_bg_color = color(ground);
    visuals.hyperlink_color = color(link(theme));
    visuals.selection.bg_fill = faint(theme.accent(), 0.35);
    visuals.selection.stroke = Stroke::new(1.0, color(theme.text()));
    visuals.override_text_color = Some(color(theme.text()));
    visuals.window_corner_radius = CornerRadius::same(8);
    for state in [
        &mut visuals.widgets.inactive,
        &mut visuals.widgets.hovered,
        &mut visuals.widgets.active,
        &mut visuals.widgets.open,
    ] {
        state.corner_radius = CornerRadius::same(5);
    }
    visuals
}

/// The colour of words that lead somewhere.
pub(super) fn link(theme: Theme) -> Rgb {
    match theme {
        Theme::Light => [16, 92, 176],
        Theme::Dark => [124, 184, 255],
    }
}

/// Sizes of words and space between things.
pub(super) fn style(ctx: &egui::Context, theme: Theme) {
    ctx.set_theme(match theme {
        Theme::Light => egui::Theme::Light,
        Theme::Dark => egui::Theme::Dark,
    });
    ctx.set_visuals(visuals(theme));
    ctx.all_styles_mut(|style| {
        style.text_styles = [
            (
                TextStyle::Small,
                FontId::new(10.5, FontFamily::Proportional),
            ),
            (TextStyle::Body, FontId::new(13.0, FontFamily::Proportional)),
            (
                TextStyle::Button,
                FontId::new(13.0, FontFamily::Proportional),
            ),
            (
                TextStyle::Heading,
                FontId::new(16.0, FontFamily::Proportional),
            ),
            (
                TextStyle::Monospace,
                FontId::new(12.0, FontFamily::Monospace),
            ),
        ]
        .into();
        style.spacing.item_spacing = egui::vec2(7.0, 5.0);
        style.spacing.button_padding = egui::vec2(7.0, 3.0);
        style.interaction.tooltip_delay = 0.25;
        style.animation_time = 0.0;
    });
}
