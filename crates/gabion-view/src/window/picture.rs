//! Pictures of whole drawings, and files of what is exported.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use egui::{ColorImage, Pos2, RawInput, Rect, vec2};

use super::canvas::Canvas;
use super::paint;
use super::raster::Raster;
use crate::export;
use crate::look::{Camera, Look, Pane};

/// What can be exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportKind {
    /// The drawing with vectors.
    Svg,
    /// The drawing with pixels.
    Png,
    /// Graphviz.
    Dot,
    /// Everything.
    Json,
    /// Model Explorer's JSON.
    ModelExplorer,
}

impl ExportKind {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Svg,
        Self::Png,
        Self::Dot,
        Self::Json,
        Self::ModelExplorer,
    ];

    /// Words for a menu.
    pub fn words(self) -> &'static str {
        match self {
            Self::Svg => "Drawing as SVG",
            Self::Png => "Drawing as PNG",
            Self::Dot => "Graph as DOT",
            Self::Json => "Everything as JSON",
            Self::ModelExplorer => "Model Explorer's JSON",
        }
    }

    fn ending(self) -> &'static str {
        match self {
            Self::Svg => "svg",
            Self::Png => "png",
            Self::Dot => "dot",
            Self::Json => "json",
            Self::ModelExplorer => "explorer.json",
        }
    }
}

/// Why a file could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{path} cannot be written: {reason}")]
pub struct ExportError {
    path: String,
    reason: String,
}

/// Pixels of a picture at most, and the longest side: what programs that show pictures can open.
const MOST_PIXELS: f32 = 64.0e6;
const LONGEST_SIDE: f32 = 16_000.0;

/// The whole drawing of a pane, two pixels for each point where that stays within what can be opened.
pub fn picture(look: &mut Look<'_>, pane: Pane) -> Option<ColorImage> {
    let placement = look.placement(pane)?;
    let (w, h) = (placement.size.0.max(1.0), placement.size.1.max(1.0));
    let zoom = (LONGEST_SIDE / w.max(h))
        .min((MOST_PIXELS / (w * h)).sqrt())
        .min(2.0);
    let size = vec2((w * zoom).ceil(), (h * zoom).ceil());
    let camera = look.camera;
    look.align();
    let shift = match pane {
        Pane::Now => (0.0, 0.0),
        Pane::Before => look.shift(),
    };
    look.camera = Camera {
        zoom,
        pan: (-shift.0 * zoom, -shift.1 * zoom),
    };
    let wanted = look.wanted.take();
    let ctx = egui::Context::default();
    paint::style(&ctx, look.theme);
    let mut canvas = Canvas::new(pane);
    let mut raster = Raster::default();
    let input = || RawInput {
        screen_rect: Some(Rect::from_min_size(Pos2::ZERO, size)),
        ..RawInput::default()
    };
    let mut output = None;
    // In its first frame egui_graphs shows what it likes to.
    for _ in 0..3 {
        let mut new = ctx.run_ui(input(), |ui| {
            egui::CentralPanel::no_frame().show(ui, |ui| canvas.ui(ui, look));
        });
        raster.textures(&new.textures_delta);
        new.textures_delta.clear();
        output = Some(new);
    }
    look.camera = camera;
    look.wanted = wanted;
    let output = output?;
    let primitives = ctx.tessellate(output.shapes, output.pixels_per_point);
    let ground = paint::color(look.theme.ground());
    Some(raster.paint(
        &primitives,
        output.pixels_per_point,
        [size.x as usize, size.y as usize],
        ground,
    ))
}

/// A PNG file's bytes.
fn png(image: &ColorImage) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, image.size[0] as u32, image.size[1] as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let rgb: Vec<u8> = image
        .pixels
        .iter()
        .flat_map(|pixel| [pixel.r(), pixel.g(), pixel.b()])
        .collect();
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&rgb)?;
    writer.finish()?;
    Ok(bytes)
}

/// Writes a file into a folder, named by the graph and the stage. A file that is there already is not replaced: the new
/// one gets a number.
pub fn export(
    look: &mut Look<'_>,
    kind: ExportKind,
    folder: &Path,
) -> Result<PathBuf, ExportError> {
    let document = look.document();
    let name: String = format!("{}.{}", document.title, document.stages[look.stage()].name)
        .chars()
        .map(|c| {
            if c.is_alphanumeric() || "._-".contains(c) {
                c
            } else {
                '_'
            }
        })
        .collect();
    let error = |path: &Path, reason: String| ExportError {
        path: path.display().to_string(),
        reason,
    };
    let nothing = || error(folder, "there is no drawing".to_owned());
    let bytes = match kind {
        ExportKind::Svg => export::svg(look, Pane::Now)
            .ok_or_else(nothing)?
            .into_bytes(),
        ExportKind::Dot => export::dot(look, Pane::Now)
            .ok_or_else(nothing)?
            .into_bytes(),
        ExportKind::Json => export::json(document).to_string().into_bytes(),
        ExportKind::ModelExplorer => export::model_explorer(document).to_string().into_bytes(),
        ExportKind::Png => {
            let image = picture(look, Pane::Now).ok_or_else(nothing)?;
            png(&image).map_err(|png| error(folder, png.to_string()))?
        }
    };
    let free = |path: &PathBuf| !path.exists();
    let paths = (1..10_000).map(|n| match n {
        1 => folder.join(format!("{name}.{}", kind.ending())),
        n => folder.join(format!("{name}.{n}.{}", kind.ending())),
    });
    let path = paths
        .into_iter()
        .find(free)
        .ok_or_else(|| error(folder, "too many files of this name".to_owned()))?;
    let written = tempfile::NamedTempFile::new_in(folder).and_then(|mut file| {
        file.write_all(&bytes)?;
        file.persist_noclobber(&path).map_err(|it| it.error)
    });
    written.map_err(|reason| error(&path, reason.to_string()))?;
    Ok(path)
}
