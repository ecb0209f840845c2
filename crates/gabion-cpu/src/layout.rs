//! Where an element of a plan's weight lies among the bytes that kernels read: what the packer does,
//! as an answer instead of a deed. No weight is read for it.

use std::sync::Arc;

use gabion_plan::{Layout, LoadError, PlanWeight};
use gabion_tensor::{DType, Format, bf16, f16};

use crate::pack::{ValuePlace, WeightFormat, place_of};
use crate::tiled::Arranged;

/// The order in which a checkpoint tensor's rows are read (row `i` of the graph's weight is row
/// `order[i]` of the stored tensor); `None`: as they lie.
pub type RowOrder<'a> = &'a dyn Fn(&str) -> Option<Arc<[u32]>>;

/// How a plan's weight lies in memory once loaded.
pub struct PackedLayout {
    rows: usize,
    columns: usize,
    kind: Kind,
}

enum Kind {
    Tiles(Arranged),
    Dense(DType),
}

/// Where one element lies. Bytes are counted from the weight's first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackedElement {
    /// The format that it is kept in.
    pub format: DType,
    /// Its tile of 32 rows and its lane there; `None` in a dense weight.
    pub tile: Option<(usize, usize)>,
    /// The byte in which its code (or value) begins.
    pub byte: usize,
    /// The lowest bit of the code in that byte.
    pub bit: u8,
    /// How many bits its code has, without a fifth one that is kept apart.
    pub bits: u8,
    /// The byte and bit of the fifth bit.
    pub fifth: Option<(usize, u8)>,
    /// The first byte of the scale (f16) of its block.
    pub scale: Option<usize>,
    /// The first byte of the minimum (f16) of its block.
    pub min: Option<usize>,
}

impl PackedLayout {
    /// The layout of a weight.
    ///
    /// # Errors
    /// A weight that this executor cannot pack.
    pub fn of(weight: &PlanWeight, order: RowOrder<'_>) -> Result<Self, LoadError> {
        let kind = match weight.layout {
            Layout::Tiles => Kind::Tiles(Arranged::of(weight, order)?),
            Layout::Dense => Kind::Dense(weight.ty.dtype),
        };
        Ok(Self {
            rows: weight.rows(),
            columns: weight.row_elements(),
            kind,
        })
    }

    /// How many bytes the weight takes.
    pub fn bytes(&self) -> usize {
        match &self.kind {
            Kind::Tiles(arranged) => arranged.size().0,
            Kind::Dense(dtype) => {
                let blocks = (self.rows * self.columns).div_ceil(dtype.block_elems());
                blocks * dtype.block_bytes()
            }
        }
    }

    /// How many tiles it has; 0 if it is dense.
    pub fn tiles(&self) -> usize {
        match &self.kind {
            Kind::Tiles(arranged) => arranged.size().1,
            Kind::Dense(_) => 0,
        }
    }

    /// Where element `column` of row `row` lies; `None` if there is none.
    pub fn locate(&self, row: usize, column: usize) -> Option<PackedElement> {
        if row >= self.rows || column >= self.columns {
            return None;
        }
        match &self.kind {
            Kind::Tiles(arranged) => {
                let (format, tile, lane, start) = arranged.find(row)?;
                let at = place_of(format, lane, column);
                Some(element(format, tile, lane, start, at))
            }
            Kind::Dense(dtype) => {
                let index = row * self.columns + column;
                let elems = dtype.block_elems();
                Some(PackedElement {
                    format: *dtype,
                    tile: None,
                    byte: index / elems * dtype.block_bytes(),
                    bit: 0,
                    // A block is told as a whole.
                    bits: (dtype.block_bytes() * 8).min(255) as u8,
                    fifth: None,
                    scale: None,
                    min: None,
                })
            }
        }
    }
}

fn element(
    format: WeightFormat,
    tile: usize,
    lane: usize,
    start: usize,
    at: ValuePlace,
) -> PackedElement {
    PackedElement {
        format: dtype_of(format),
        tile: Some((tile, lane)),
        byte: start + at.byte,
        bit: at.bit,
        bits: at.bits,
        fifth: at.fifth.map(|(byte, bit)| (start + byte, bit)),
        scale: at.scale.map(|byte| start + byte),
        min: at.min.map(|byte| start + byte),
    }
}

fn dtype_of(format: WeightFormat) -> DType {
    // Formats are named alike in both crates; the tests go through all of them.
    let dtype = Format::by_name(format.name()).map(|it| it.dtype);
    dtype.unwrap_or(DType::F32)
}

impl PackedElement {
    /// The value, from the weight's packed bytes ([`crate::CpuLoaded::packed_bytes`]); `None` if
    /// they are too few, or in a dense weight whose dtype is no float of up to 32 bits.
    pub fn decode(&self, packed: &[u8]) -> Option<f32> {
        let two = |at: usize| -> Option<u16> {
            let bytes = packed.get(at..at + 2)?;
            Some(u16::from_le_bytes([bytes[0], bytes[1]]))
        };
        match self.format {
            DType::F32 => {
                let bytes = packed.get(self.byte..self.byte + 4)?;
                return Some(f32::from_le_bytes(bytes.try_into().ok()?));
            }
            DType::F16 => return Some(f16::from_bits(two(self.byte)?).to_f32()),
            DType::BF16 => return Some(bf16::from_bits(two(self.byte)?).to_f32()),
            _ => {}
        }
        let scale = f16::from_bits(two(self.scale?)?).to_f32();
        let byte = *packed.get(self.byte)?;
        if self.bits == 8 {
            return Some(scale * f32::from(byte as i8));
        }
        let mut code = byte >> self.bit & 15;
        if let Some((at, bit)) = self.fifth {
            code |= (*packed.get(at)? >> bit & 1) << 4;
        }
        match self.min {
            Some(min) => Some(scale * f32::from(code) + f16::from_bits(two(min)?).to_f32()),
            None => {
                let middle = if self.fifth.is_some() { 16.0 } else { 8.0 };
                Some(scale * (f32::from(code) - middle))
            }
        }
    }
}
