//! Colours, for light and for dark, as red, green and blue. Windows and exported pictures share them.

use crate::document::{Change, Kind};

/// Red, green, blue.
pub type Rgb = [u8; 3];

/// Light or dark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Theme {
    /// Dark text on light ground.
    #[default]
    Light,
    /// Light text on dark ground.
    Dark,
}

/// The colours of one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paint {
    /// Inside.
    pub fill: Rgb,
    /// Around.
    pub stroke: Rgb,
    /// Words on it.
    pub text: Rgb,
}

impl Theme {
    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Theme::Light => Theme::Dark,
            Theme::Dark => Theme::Light,
        }
    }

    fn pick<T>(self, light: T, dark: T) -> T {
        match self {
            Theme::Light => light,
            Theme::Dark => dark,
        }
    }

    /// The ground that all is drawn on.
    pub fn ground(self) -> Rgb {
        self.pick([250, 250, 248], [24, 26, 30])
    }

    /// The ground of an open group, by how deep it lies.
    pub fn group_ground(self, depth: u32) -> Rgb {
        let step = (depth % 2) as u8;
        self.pick(
            [241 - 7 * step, 242 - 6 * step, 245 - 5 * step],
            [31 + 7 * step, 34 + 7 * step, 40 + 8 * step],
        )
    }

    /// Strong words.
    pub fn text(self) -> Rgb {
        self.pick([28, 30, 36], [230, 232, 238])
    }

    /// Words of less weight.
    pub fn weak_text(self) -> Rgb {
        self.pick([98, 102, 112], [150, 156, 168])
    }

    /// Wires.
    pub fn wire(self) -> Rgb {
        self.pick([146, 152, 166], [104, 112, 128])
    }

    /// The selection, and what leads to and from it.
    pub fn accent(self) -> Rgb {
        self.pick([216, 84, 16], [255, 150, 70])
    }

    /// What was found.
    pub fn found(self) -> Rgb {
        self.pick([200, 150, 0], [240, 200, 60])
    }

    /// Faults.
    pub fn fault(self) -> Rgb {
        self.pick([200, 24, 48], [255, 92, 108])
    }

    /// A closed group.
    pub fn group(self) -> Paint {
        self.pick(
            Paint {
                fill: [255, 255, 255],
                stroke: [138, 146, 164],
                text: [28, 30, 36],
            },
            Paint {
                fill: [46, 51, 61],
                stroke: [110, 120, 140],
                text: [230, 232, 238],
            },
        )
    }

    /// A box, by what it stands for.
    pub fn kind(self, kind: Kind) -> Paint {
        let (hue, strong): (Rgb, bool) = match kind {
            Kind::Input => ([38, 140, 96], true),
            Kind::Output => ([150, 72, 176], true),
            Kind::Weight => ([184, 132, 32], false),
            Kind::Constant => ([150, 140, 110], false),
            Kind::Movement => ([128, 136, 150], false),
            Kind::Op => ([48, 108, 196], false),
            Kind::Step => ([24, 128, 152], false),
        };
        let tint = match (self, strong) {
            (Theme::Light, false) => 0.14,
            (Theme::Light, true) => 0.24,
            (Theme::Dark, false) => 0.30,
            (Theme::Dark, true) => 0.42,
        };
        let base = self.pick([255, 255, 255], [34, 37, 44]);
        Paint {
            fill: mix(base, hue, tint),
            stroke: self.pick(hue, mix(hue, [255, 255, 255], 0.25)),
            text: self.text(),
        }
    }

    /// What a stage did.
    pub fn change(self, change: Change) -> Option<Rgb> {
        match change {
            Change::Same => None,
            Change::Added => Some(self.pick([24, 148, 72], [72, 206, 124])),
            Change::Changed => Some(self.pick([176, 112, 0], [240, 180, 64])),
            Change::Removed => Some(self.pick([206, 44, 60], [255, 104, 116])),
        }
    }

    /// A colour for a share from 0 to 1, with the words on it.
    pub fn heat(self, share: f32) -> Paint {
        const LIGHT: [Rgb; 4] = [
            [247, 248, 250],
            [252, 214, 140],
            [240, 124, 64],
            [176, 24, 64],
        ];
        const DARK: [Rgb; 4] = [[44, 48, 58], [92, 64, 120], [206, 84, 88], [252, 200, 96]];
        let stops = self.pick(LIGHT, DARK);
        let at = share.clamp(0.0, 1.0) * 3.0;
        let low = (at as usize).min(2);
        let fill = mix(stops[low], stops[low + 1], at - low as f32);
        const WORDS: [Rgb; 2] = [[0, 0, 0], [255, 255, 255]];
        let [dark, bright] = WORDS;
        let text = if contrast(fill, dark) >= contrast(fill, bright) {
            dark
        } else {
            bright
        };
        let stroke = mix(fill, self.text(), 0.35);
        Paint { fill, stroke, text }
    }
}

/// A colour between two, by the share of the second.
pub fn mix(a: Rgb, b: Rgb, share: f32) -> Rgb {
    let mix = |a: u8, b: u8| (f32::from(a) + (f32::from(b) - f32::from(a)) * share).round() as u8;
    [mix(a[0], b[0]), mix(a[1], b[1]), mix(a[2], b[2])]
}

/// The relative luminance and contrast ratio of the Web Content Accessibility Guidelines 2.1.
pub fn contrast(a: Rgb, b: Rgb) -> f32 {
    let channel = |c: u8| {
        let c = f32::from(c) / 255.0;
        if c <= 0.04045 {
            c / 12.92
        } else {
            ((c + 0.055) / 1.055).powf(2.4)
        }
    };
    let luminance =
        |[r, g, b]: Rgb| 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
    let (a, b) = (luminance(a) + 0.05, luminance(b) + 0.05);
    a.max(b) / a.min(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words can be read on everything they stand on: 4.5 to 1 is what the guidelines ask for.
    #[test]
    fn words_can_be_read() {
        for theme in [Theme::Light, Theme::Dark] {
            let boxes = Kind::ALL.iter().map(|kind| theme.kind(*kind));
            let heat = (0..=20).map(|share| theme.heat(share as f32 / 20.0));
            for paint in boxes.chain(heat).chain([theme.group()]) {
                let ratio = contrast(paint.fill, paint.text);
                assert!(ratio >= 4.5, "{theme:?} {paint:?} {ratio}");
            }
            for depth in 0..3 {
                assert!(
                    contrast(theme.group_ground(depth), theme.weak_text()) >= 4.5,
                    "{theme:?} {depth}"
                );
            }
        }
    }
}
