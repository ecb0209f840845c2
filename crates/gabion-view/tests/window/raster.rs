//! The rasteriser: exact where it can be.

use egui::epaint::{Mesh, Primitive};
use egui::{ClippedPrimitive, Color32, ColorImage, Rect, TextureId, TexturesDelta, pos2};
use gabion_view::window::raster::Raster;

fn white() -> Raster {
    let mut raster = Raster::default();
    let mut delta = TexturesDelta::default();
    let image = ColorImage::filled([1, 1], Color32::WHITE);
    let full = egui::epaint::ImageDelta::full(image, egui::TextureOptions::LINEAR);
    delta
        .set
        .entry(TextureId::default())
        .or_default()
        .push(full);
    raster.textures(&delta);
    delta.clear();
    raster
}

fn paint(rects: &[(Rect, Color32)], clip: Rect) -> ColorImage {
    let mut mesh = Mesh::default();
    for (rect, color) in rects {
        mesh.add_colored_rect(*rect, *color);
    }
    let primitive = ClippedPrimitive {
        clip_rect: clip,
        primitive: Primitive::Mesh(mesh),
    };
    white().paint(&[primitive], 1.0, [8, 6], Color32::BLACK)
}

fn rect(x: f32, y: f32, w: f32, h: f32) -> Rect {
    Rect::from_min_size(pos2(x, y), egui::vec2(w, h))
}

/// Both triangles of a rectangle paint all of it, and no pixel twice: half transparent ones would be darker there.
#[test]
fn shared_edges_are_painted_once() {
    let half = Color32::from_rgba_premultiplied(64, 0, 0, 128);
    let image = paint(&[(rect(1.0, 1.0, 4.0, 3.0), half)], Rect::EVERYTHING);
    for y in 0..6 {
        for x in 0..8 {
            let inside = (1..5).contains(&x) && (1..4).contains(&y);
            let expected = if inside { 64 } else { 0 };
            assert_eq!(image.pixels[y * 8 + x].r(), expected, "{x} {y}");
        }
    }
}

#[test]
fn colours_lie_over_each_other_and_stay_in_their_clip() {
    let blue = Color32::from_rgb(0, 0, 200);
    let half = Color32::from_rgba_premultiplied(100, 0, 0, 128);
    let image = paint(
        &[
            (rect(0.0, 0.0, 8.0, 6.0), blue),
            (rect(0.0, 0.0, 8.0, 6.0), half),
        ],
        rect(2.0, 0.0, 3.0, 6.0),
    );
    assert_eq!(image.pixels[0], Color32::BLACK);
    let over = image.pixels[3];
    assert_eq!((over.r(), over.b()), (100, 100));
}
