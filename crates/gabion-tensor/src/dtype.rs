//! The element types of tensors: plain numbers and block formats. How a format's numbers are coded lives in `format`.

use std::fmt;
use std::str::FromStr;

use crate::format::{self, BlockFormat, Format};
use crate::serde_text::serde_as_text;

/// What one element of a tensor is.
///
/// The text form is the name: `bool`, `i8` .. `i64`, `u8` .. `u64`, `f16`, `bf16`, `f32`, `f64`, or a block format such as `q4_0`.
///
/// ```
/// use gabion_tensor::{BlockFormat, DType};
/// assert_eq!("bf16".parse::<DType>().unwrap(), DType::BF16);
/// assert_eq!(DType::Block(BlockFormat::Q8_0).to_string(), "q8_0");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DType {
    /// Truth value, one byte, 0 or 1.
    Bool,
    /// Signed 8-bit integer.
    I8,
    /// Signed 16-bit integer.
    I16,
    /// Signed 32-bit integer.
    I32,
    /// Signed 64-bit integer.
    I64,
    /// Unsigned 8-bit integer.
    U8,
    /// Unsigned 16-bit integer.
    U16,
    /// Unsigned 32-bit integer.
    U32,
    /// Unsigned 64-bit integer.
    U64,
    /// IEEE 754 binary16: 1 sign, 5 exponent, 10 fraction bits.
    F16,
    /// The high half of a binary32: 1 sign, 8 exponent, 7 fraction bits.
    BF16,
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary64.
    F64,
    /// Numbers stored in blocks along the last axis, with scales inside each block.
    Block(BlockFormat),
}

/// Kind of a plain dtype, in promotion order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Category {
    Bool,
    Unsigned,
    Signed,
    Float,
}

impl DType {
    /// All plain dtypes (everything but block formats), in declaration order.
    pub const PLAIN: [DType; 13] = [
        DType::Bool,
        DType::I8,
        DType::I16,
        DType::I32,
        DType::I64,
        DType::U8,
        DType::U16,
        DType::U32,
        DType::U64,
        DType::F16,
        DType::BF16,
        DType::F32,
        DType::F64,
    ];

    /// The name in the text form.
    pub const fn name(self) -> &'static str {
        match self {
            DType::Bool => "bool",
            DType::I8 => "i8",
            DType::I16 => "i16",
            DType::I32 => "i32",
            DType::I64 => "i64",
            DType::U8 => "u8",
            DType::U16 => "u16",
            DType::U32 => "u32",
            DType::U64 => "u64",
            DType::F16 => "f16",
            DType::BF16 => "bf16",
            DType::F32 => "f32",
            DType::F64 => "f64",
            DType::Block(format) => format.name(),
        }
    }

    /// Plain dtypes, then block formats.
    pub fn all() -> impl Iterator<Item = DType> {
        Self::PLAIN
            .into_iter()
            .chain(BlockFormat::ALL.into_iter().map(DType::Block))
    }

    /// `f16`, `bf16`, `f32` or `f64`. Block formats are not float: they are storage.
    pub const fn is_float(self) -> bool {
        matches!(self, DType::F16 | DType::BF16 | DType::F32 | DType::F64)
    }

    /// Signed or unsigned integer.
    pub const fn is_int(self) -> bool {
        self.is_signed_int() || self.is_unsigned_int()
    }

    /// `i8` .. `i64`.
    pub const fn is_signed_int(self) -> bool {
        matches!(self, DType::I8 | DType::I16 | DType::I32 | DType::I64)
    }

    /// `u8` .. `u64`.
    pub const fn is_unsigned_int(self) -> bool {
        matches!(self, DType::U8 | DType::U16 | DType::U32 | DType::U64)
    }

    /// `bool`.
    pub const fn is_bool(self) -> bool {
        matches!(self, DType::Bool)
    }

    /// A block format.
    pub const fn is_block(self) -> bool {
        matches!(self, DType::Block(_))
    }

    /// Bytes of one element; `None` for block formats, whose elements share bytes.
    pub const fn size_bytes(self) -> Option<usize> {
        match self {
            DType::Bool | DType::I8 | DType::U8 => Some(1),
            DType::I16 | DType::U16 | DType::F16 | DType::BF16 => Some(2),
            DType::I32 | DType::U32 | DType::F32 => Some(4),
            DType::I64 | DType::U64 | DType::F64 => Some(8),
            DType::Block(_) => None,
        }
    }

    /// Elements of one block: 1 for plain dtypes.
    pub const fn block_elems(self) -> usize {
        match self {
            DType::Block(format) => format.block_elems(),
            DType::Bool
            | DType::I8
            | DType::I16
            | DType::I32
            | DType::I64
            | DType::U8
            | DType::U16
            | DType::U32
            | DType::U64
            | DType::F16
            | DType::BF16
            | DType::F32
            | DType::F64 => 1,
        }
    }

    /// Bytes of one block: the size of an element for plain dtypes.
    pub const fn block_bytes(self) -> usize {
        match (self, self.size_bytes()) {
            (DType::Block(format), _) => format.block_bytes(),
            (_, Some(bytes)) => bytes,
            (_, None) => 0,
        }
    }

    /// Bytes of a whole tensor of this dtype.
    ///
    /// `None` if the count overflows, or if blocks do not fill the last axis exactly.
    pub fn bytes_for(self, shape: &[usize]) -> Option<usize> {
        let blocks_of = |axis: usize, size: usize| {
            let block = if axis + 1 == shape.len() {
                self.block_elems()
            } else {
                1
            };
            size.is_multiple_of(block).then_some(size / block)
        };
        if shape.is_empty() && self.is_block() {
            return None;
        }
        let mut total = self.block_bytes();
        let mut empty = false;
        for (axis, &size) in shape.iter().enumerate() {
            let blocks = blocks_of(axis, size)?;
            empty |= blocks == 0;
            total = total.checked_mul(blocks.max(1))?;
        }
        Some(if empty { 0 } else { total })
    }

    /// How the numbers are coded: `f32`, `f16`, `bf16` and the block formats have a [`Format`].
    pub fn format(self) -> Option<&'static Format> {
        format::of_dtype(self)
    }

    /// The dtype that holds both operands of an arithmetic operator; `None` where a cast has to be written.
    ///
    /// The higher of the two by category (bool, unsigned, signed, float), then by width, provided that it holds every value of the
    /// other: `i8` with `f16` is `f16`; `i32` with `f16`, `bf16` with `f16`, `i8` with `u8` and all block formats have none.
    pub fn promote(a: DType, b: DType) -> Option<DType> {
        if a.is_block() || b.is_block() {
            return None;
        }
        if a == b {
            return Some(a);
        }
        let rank = |d: DType| (d.category(), d.size_bytes());
        let (low, high) = if rank(a) <= rank(b) { (a, b) } else { (b, a) };
        high.holds(low).then_some(high)
    }

    const fn category(self) -> Category {
        if self.is_bool() {
            Category::Bool
        } else if self.is_unsigned_int() {
            Category::Unsigned
        } else if self.is_signed_int() {
            Category::Signed
        } else {
            Category::Float
        }
    }

    /// Bits of the widest run of integers that the dtype represents exactly, without the sign.
    const fn exact_bits(self) -> u32 {
        match self {
            DType::Bool => 1,
            DType::I8 => 7,
            DType::U8 | DType::BF16 => 8,
            DType::F16 => 11,
            DType::I16 => 15,
            DType::U16 => 16,
            DType::F32 => 24,
            DType::I32 => 31,
            DType::U32 => 32,
            DType::F64 => 53,
            DType::I64 => 63,
            DType::U64 => 64,
            DType::Block(_) => 0,
        }
    }

    /// Whether every value of plain `other`, of the same or a lower category, is a value of plain `self`.
    fn holds(self, other: DType) -> bool {
        match (self, other) {
            (DType::F16, DType::BF16) | (DType::BF16, DType::F16) => false,
            _ => self.exact_bits() >= other.exact_bits(),
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that is no dtype.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown dtype `{name}`; known: {}", known_names())]
pub struct UnknownDType {
    /// The name as given.
    pub name: String,
}

fn known_names() -> String {
    DType::all().map(DType::name).collect::<Vec<_>>().join(", ")
}

impl FromStr for DType {
    type Err = UnknownDType;

    fn from_str(name: &str) -> Result<Self, UnknownDType> {
        DType::all()
            .find(|d| d.name() == name)
            .ok_or_else(|| UnknownDType {
                name: name.to_string(),
            })
    }
}

serde_as_text!(DType, "the name of a dtype");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for dtype in DType::all() {
            assert_eq!(dtype.name().parse(), Ok(dtype));
            let json = serde_json::to_string(&dtype).unwrap();
            assert_eq!(json, format!("\"{dtype}\""));
            assert_eq!(serde_json::from_str::<DType>(&json).unwrap(), dtype);
        }
        let error = "float32".parse::<DType>().unwrap_err().to_string();
        assert!(
            error.starts_with("unknown dtype `float32`; known: bool, i8,")
                && error.ends_with("q8_0"),
            "{error}"
        );
    }

    #[test]
    fn kinds_do_not_overlap() {
        for dtype in DType::all() {
            let kinds = [
                dtype.is_bool(),
                dtype.is_signed_int(),
                dtype.is_unsigned_int(),
                dtype.is_float(),
                dtype.is_block(),
            ];
            assert_eq!(kinds.iter().filter(|&&kind| kind).count(), 1, "{dtype}");
            assert_eq!(
                dtype.is_int(),
                dtype.is_signed_int() || dtype.is_unsigned_int()
            );
            assert_eq!(dtype.size_bytes().is_none(), dtype.is_block());
        }
    }

    #[test]
    fn promotion_keeps_every_value() {
        use DType::{BF16, Bool, F16, F32, F64, I8, I16, I32, I64, U8, U16, U32};
        let cases = [
            (I8, F16, Some(F16)),
            (U8, I16, Some(I16)),
            (Bool, I8, Some(I8)),
            (Bool, BF16, Some(BF16)),
            (F16, F32, Some(F32)),
            (BF16, F32, Some(F32)),
            (U8, BF16, Some(BF16)),
            (I16, F32, Some(F32)),
            (I32, F64, Some(F64)),
            (U32, I64, Some(I64)),
            (U8, U16, Some(U16)),
            (F16, BF16, None),
            (I32, F16, None),
            (I16, F16, None),
            (I16, BF16, None),
            (I32, F32, None),
            (I64, F32, None),
            (I64, F64, None),
            (I8, U8, None),
            (U32, I32, None),
            (F32, DType::Block(BlockFormat::Q8_0), None),
        ];
        for (a, b, expected) in cases {
            assert_eq!(DType::promote(a, b), expected, "{a} {b}");
            assert_eq!(DType::promote(b, a), expected, "{b} {a}");
        }
        for dtype in DType::PLAIN {
            assert_eq!(DType::promote(dtype, dtype), Some(dtype));
        }
    }

    #[test]
    fn sizes_count_blocks_and_refuse_overflow() {
        let q8_0 = DType::Block(BlockFormat::Q8_0);
        assert_eq!(DType::F32.bytes_for(&[]), Some(4));
        assert_eq!(DType::BF16.bytes_for(&[3, 5]), Some(30));
        assert_eq!(DType::F64.bytes_for(&[0, 5]), Some(0));
        assert_eq!(q8_0.bytes_for(&[3, 64]), Some(3 * 2 * 34));
        assert_eq!(q8_0.bytes_for(&[3, 0]), Some(0));
        assert_eq!(q8_0.bytes_for(&[64, 3]), None);
        assert_eq!(q8_0.bytes_for(&[]), None);
        assert_eq!(DType::U8.bytes_for(&[usize::MAX, 2]), None);
        assert_eq!(DType::U16.bytes_for(&[usize::MAX / 2 + 1]), None);
        assert_eq!(DType::U8.bytes_for(&[usize::MAX, 2, 0]), None);
    }
}
