//! What colours say: kinds, or how much each thing costs, with a legend.

use crate::Timings;
use crate::document::{Document, GroupId, ViewBox};
use crate::place::Item;

/// What colours say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ColourBy {
    /// What each thing is.
    #[default]
    Kind,
    /// Floating-point operations.
    Flops,
    /// Bytes read and written.
    Bytes,
    /// Operations for each byte.
    Intensity,
    /// Measured time.
    Time,
}

impl ColourBy {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Kind,
        Self::Flops,
        Self::Bytes,
        Self::Intensity,
        Self::Time,
    ];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Kind => "kind",
            Self::Flops => "operations",
            Self::Bytes => "bytes",
            Self::Intensity => "intensity",
            Self::Time => "time",
        }
    }
}

/// Operations, bytes and microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Floating-point operations.
    pub flops: u64,
    /// Bytes read and written.
    pub bytes: u64,
    /// Microseconds, where they were measured.
    pub time: f64,
}

impl Cost {
    pub(crate) fn of(it: &ViewBox, timings: Option<&Timings>) -> Self {
        let time = timings.and_then(|timings| timings.of(it.key));
        Self {
            flops: it.flops,
            bytes: it.bytes,
            time: time.unwrap_or(0.0),
        }
    }

    fn add(&mut self, other: Self) {
        self.flops = self.flops.saturating_add(other.flops);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.time += other.time;
    }

    /// What a colour says of it.
    pub fn value(&self, by: ColourBy) -> f64 {
        match by {
            ColourBy::Kind => 0.0,
            ColourBy::Flops => self.flops as f64,
            ColourBy::Bytes => self.bytes as f64,
            ColourBy::Intensity => self.flops as f64 / (self.bytes.max(1)) as f64,
            ColourBy::Time => self.time,
        }
    }

    /// The same in words.
    pub fn text(&self, by: ColourBy) -> String {
        value_text(by, self.value(by))
    }
}

/// A value of a colour in words.
pub fn value_text(by: ColourBy, value: f64) -> String {
    match by {
        ColourBy::Kind => String::new(),
        ColourBy::Flops => format!("{} operations", count(value)),
        ColourBy::Bytes => bytes(value),
        ColourBy::Intensity => format!("{value:.2} operations/byte"),
        ColourBy::Time => time(value),
    }
}

/// The same where there is little room.
pub fn short_text(by: ColourBy, value: f64) -> String {
    match by {
        ColourBy::Flops => format!("{} op", count(value)),
        ColourBy::Intensity => format!("{value:.2} op/B"),
        ColourBy::Kind | ColourBy::Bytes | ColourBy::Time => value_text(by, value),
    }
}

/// `12.3 M`.
pub fn count(value: f64) -> String {
    let units = [(1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")];
    match units.iter().find(|(unit, _)| value >= *unit) {
        Some((unit, name)) => format!("{}{name}", three_digits(value / unit)),
        None => format!("{value:.0}"),
    }
}

/// `12.3 MB`; units of 1000.
pub fn bytes(value: f64) -> String {
    match value < 1e3 {
        true => format!("{value:.0} B"),
        false => format!("{}B", count(value)),
    }
}

/// `12.3 ms`.
pub fn time(micros: f64) -> String {
    match micros {
        us if us >= 1e6 => format!("{} s", three_digits(us / 1e6)),
        us if us >= 1e3 => format!("{} ms", three_digits(us / 1e3)),
        us => format!("{} µs", three_digits(us)),
    }
}

fn three_digits(value: f64) -> String {
    match value {
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

/// Costs of everything at a stage, groups with all that is in them.
#[derive(Clone, Debug, Default)]
pub struct Costs {
    groups: Vec<Cost>,
    /// The dearest box.
    most: Cost,
}

impl Costs {
    pub(crate) fn new(document: &Document, stage: usize, timings: Option<&Timings>) -> Self {
        let mut groups = vec![Cost::default(); document.tree.groups.len()];
        let mut most = Cost::default();
        let mut intensity: f64 = 0.0;
        for id in &document.stages[stage].boxes {
            let it = document.get(*id);
            let cost = Cost::of(it, timings);
            groups[it.group.0 as usize].add(cost);
            most.flops = most.flops.max(cost.flops);
            most.bytes = most.bytes.max(cost.bytes);
            most.time = most.time.max(cost.time);
            intensity = intensity.max(cost.value(ColourBy::Intensity));
        }
        for at in (1..groups.len()).rev() {
            let inner = groups[at];
            groups[document.tree.groups[at].parent.0 as usize].add(inner);
        }
        Self { groups, most }
    }

    /// Everything.
    pub fn total(&self) -> Cost {
        self.group(GroupId::ROOT)
    }

    /// A group and all that is in it.
    pub fn group(&self, id: GroupId) -> Cost {
        self.groups.get(id.0 as usize).copied().unwrap_or_default()
    }

    /// An item.
    pub fn item(&self, document: &Document, item: Item, timings: Option<&Timings>) -> Cost {
        match item {
            Item::Group(id) => self.group(id),
            Item::Box(id) => Cost::of(document.get(id), timings),
        }
    }

    /// The dearest box: costs that need not be of one and the same.
    pub fn most(&self) -> Cost {
        self.most
    }
}

/// A scale of values: what stands for the weakest and the strongest colour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// What it measures.
    pub by: ColourBy,
    /// The strongest colour.
    pub most: f64,
}

impl Scale {
    /// The place of a value from 0 to 1. Operations for each byte are spread by their logarithms, all else by square roots:
    /// few things cost nearly all, and the rest should still be told apart.
    pub fn share(&self, value: f64) -> f32 {
        if self.most <= 0.0 || value <= 0.0 {
            return 0.0;
        }
        let share = match self.by {
            ColourBy::Intensity => (1.0 + value).ln() / (1.0 + self.most).ln(),
            _ => (value / self.most).sqrt(),
        };
        share.clamp(0.0, 1.0) as f32
    }

    /// The value at a place: the other way round.
    pub fn value(&self, share: f32) -> f64 {
        let share = f64::from(share);
        match self.by {
            ColourBy::Intensity => ((1.0 + self.most).ln() * share).exp() - 1.0,
            _ => self.most * share * share,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        assert_eq!(count(999.0), "999");
        assert_eq!(count(1_234.0), "1.23 k");
        assert_eq!(bytes(12.0), "12 B");
        assert_eq!(bytes(56_600_000.0), "56.6 MB");
        assert_eq!(time(0.5), "0.50 µs");
        assert_eq!(time(123_456.0), "123 ms");
    }

    #[test]
    fn a_scale_leads_there_and_back() {
        for by in [ColourBy::Flops, ColourBy::Intensity] {
            let scale = Scale { by, most: 512.0 };
            for value in [0.0, 1.0, 17.0, 512.0] {
                let back = scale.value(scale.share(value));
                assert!((back - value).abs() < 1e-2, "{by:?} {value} {back}");
            }
        }
        let nothing = Scale {
            by: ColourBy::Time,
            most: 0.0,
        };
        assert_eq!(nothing.share(3.0), 0.0);
    }
}
