//! Triangles to pixels, without a graphics card: for pictures of whole drawings, which may be larger than any screen, and
//! for tests whose pictures are the same on every machine. Coverage is sampled at pixel centres, for egui's triangles have
//! soft edges of their own.

use egui::epaint::{ImageData, Mesh, Primitive, Vertex};
use egui::{ClippedPrimitive, Color32, ColorImage, Rect, TextureId, TexturesDelta};
use rustc_hash::FxHashMap;

/// Draws what egui tessellated.
#[derive(Default)]
pub struct Raster {
    textures: FxHashMap<TextureId, ColorImage>,
}

impl Raster {
    /// Takes textures, most of all the atlas of letters.
    pub fn textures(&mut self, delta: &TexturesDelta) {
        for (id, changes) in &delta.set {
            for changed in changes {
                let ImageData::Color(image) = &changed.image;
                match (changed.pos, self.textures.get_mut(id)) {
                    (Some([x, y]), Some(texture)) => patch(texture, image, x, y),
                    (None, _) => {
                        self.textures.insert(*id, image.as_ref().clone());
                    }
                    // A part of a texture that is not known.
                    (Some(_), None) => {}
                }
            }
        }
        for id in &delta.free {
            self.textures.remove(id);
        }
    }

    /// A picture of this many pixels on a ground.
    pub fn paint(
        &self,
        primitives: &[ClippedPrimitive],
        pixels_per_point: f32,
        size: [usize; 2],
        ground: Color32,
    ) -> ColorImage {
        let mut image = ColorImage::filled(size, ground);
        for primitive in primitives {
            if let Primitive::Mesh(mesh) = &primitive.primitive {
                let clip = pixels(primitive.clip_rect, pixels_per_point, size);
                self.mesh(&mut image, mesh, pixels_per_point, clip);
            }
        }
        image
    }

    fn mesh(&self, image: &mut ColorImage, mesh: &Mesh, scale: f32, clip: [usize; 4]) {
        let Some(texture) = self.textures.get(&mesh.texture_id) else {
            return;
        };
        for corners in mesh.indices.chunks_exact(3) {
            let corner = |at: u32| {
                let Vertex { pos, uv, color } = *mesh.vertices.get(at as usize)?;
                Some((pos.x * scale, pos.y * scale, uv, color))
            };
            if let (Some(a), Some(b), Some(c)) =
                (corner(corners[0]), corner(corners[1]), corner(corners[2]))
            {
                triangle(image, texture, [a, b, c], clip);
            }
        }
    }
}

fn patch(texture: &mut ColorImage, part: &ColorImage, x: usize, y: usize) {
    for row in 0..part.size[1] {
        let to = (y + row) * texture.size[0] + x;
        let from = row * part.size[0];
        if let Some(target) = texture.pixels.get_mut(to..to + part.size[0]) {
            target.copy_from_slice(&part.pixels[from..from + part.size[0]]);
        }
    }
}

/// A rectangle in whole pixels of the picture: left, top, right, bottom.
fn pixels(rect: Rect, scale: f32, size: [usize; 2]) -> [usize; 4] {
    let at = |v: f32, most: usize| (v * scale).round().clamp(0.0, most as f32) as usize;
    [
        at(rect.min.x, size[0]),
        at(rect.min.y, size[1]),
        at(rect.max.x, size[0]),
        at(rect.max.y, size[1]),
    ]
}

type Corner = (f32, f32, egui::Pos2, Color32);

fn triangle(image: &mut ColorImage, texture: &ColorImage, corners: [Corner; 3], clip: [usize; 4]) {
    let [a, b, mut c] = corners;
    let mut b = b;
    let area =
        |p: &Corner, q: &Corner, x: f32, y: f32| (q.0 - p.0) * (y - p.1) - (q.1 - p.1) * (x - p.0);
    let mut whole = area(&a, &b, c.0, c.1);
    if whole == 0.0 || !whole.is_finite() {
        return;
    }
    if whole < 0.0 {
        std::mem::swap(&mut b, &mut c);
        whole = -whole;
    }
    let low = |x: f32, y: f32, z: f32, edge: usize| {
        (x.min(y).min(z) - 0.5).ceil().max(edge as f32) as usize
    };
    let high = |x: f32, y: f32, z: f32, edge: usize| {
        ((x.max(y).max(z) + 0.5).floor().max(0.0) as usize).min(edge)
    };
    let (left, right) = (low(a.0, b.0, c.0, clip[0]), high(a.0, b.0, c.0, clip[2]));
    let (top, bottom) = (low(a.1, b.1, c.1, clip[1]), high(a.1, b.1, c.1, clip[3]));
    let flat = a.2 == b.2 && b.2 == c.2;
    let texel = sample(texture, a.2.x, a.2.y);
    for y in top..bottom {
        let row = y * image.size[0];
        for x in left..right {
            let (px, py) = (x as f32 + 0.5, y as f32 + 0.5);
            let (wa, wb, wc) = (
                area(&b, &c, px, py),
                area(&c, &a, px, py),
                area(&a, &b, px, py),
            );
            if !(inside(wa, &b, &c) && inside(wb, &c, &a) && inside(wc, &a, &b)) {
                continue;
            }
            let (wa, wb, wc) = (wa / whole, wb / whole, wc / whole);
            let texel = match flat {
                true => texel,
                false => sample(
                    texture,
                    a.2.x * wa + b.2.x * wb + c.2.x * wc,
                    a.2.y * wa + b.2.y * wb + c.2.y * wc,
                ),
            };
            let mix = |at: usize| {
                let of = |corner: &Corner| f32::from(corner.3.to_array()[at]);
                (of(&a) * wa + of(&b) * wb + of(&c) * wc) * f32::from(texel[at]) / 255.0
            };
            let source = [mix(0), mix(1), mix(2), mix(3)];
            let pixel = &mut image.pixels[row + x];
            let keep = 1.0 - source[3] / 255.0;
            let under = pixel.to_array();
            let over = |at: usize| {
                (source[at] + f32::from(under[at]) * keep)
                    .round()
                    .clamp(0.0, 255.0) as u8
            };
            *pixel = Color32::from_rgba_premultiplied(over(0), over(1), over(2), over(3));
        }
    }
}

/// A pixel on an edge that two triangles share belongs to one of them: to the one whose edge leads up, or left.
fn inside(weight: f32, from: &Corner, to: &Corner) -> bool {
    weight > 0.0 || (weight == 0.0 && (to.1 < from.1 || (to.1 == from.1 && to.0 < from.0)))
}

/// Between four texels.
fn sample(texture: &ColorImage, u: f32, v: f32) -> [u8; 4] {
    let [w, h] = texture.size;
    let (x, y) = (u * w as f32 - 0.5, v * h as f32 - 0.5);
    let (left, top) = (x.floor(), y.floor());
    let (fx, fy) = (x - left, y - top);
    let at = |x: f32, y: f32| {
        let x = x.clamp(0.0, (w - 1) as f32) as usize;
        let y = y.clamp(0.0, (h - 1) as f32) as usize;
        texture.pixels[y * w + x].to_array()
    };
    if fx == 0.0 && fy == 0.0 {
        return at(left, top);
    }
    let (a, b) = (at(left, top), at(left + 1.0, top));
    let (c, d) = (at(left, top + 1.0), at(left + 1.0, top + 1.0));
    let mix = |at: usize| {
        let upper = f32::from(a[at]) * (1.0 - fx) + f32::from(b[at]) * fx;
        let lower = f32::from(c[at]) * (1.0 - fx) + f32::from(d[at]) * fx;
        (upper * (1.0 - fy) + lower * fy).round() as u8
    };
    [mix(0), mix(1), mix(2), mix(3)]
}
