//! What the two file formats call their element types: one table each, with sizes. Decoding lives in `gabion-tensor`; a type
//! without a `DType` can be listed and measured, and is an error only when its values are asked for.

use std::fmt;

use gabion_tensor::{DType, Format};

/// An element type as a file spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoredType {
    /// A dtype of the safetensors format.
    Safetensors(SafetensorsType),
    /// A tensor type of GGUF.
    Ggml(GgmlType),
}

impl StoredType {
    /// The dtype that the values have here, or `None` for a type that cannot be decoded yet.
    pub fn dtype(self) -> Option<DType> {
        match self {
            StoredType::Safetensors(it) => it.dtype(),
            StoredType::Ggml(it) => it.dtype(),
        }
    }

    /// The file format's own word, such as `F8_E4M3` or `Q4_K`.
    pub fn name(self) -> &'static str {
        match self {
            StoredType::Safetensors(it) => it.name(),
            StoredType::Ggml(it) => it.name(),
        }
    }

    /// The words of all types of the same file format that can be decoded, for messages.
    pub fn supported(self) -> String {
        let names: Vec<&str> = match self {
            StoredType::Safetensors(_) => SAFETENSORS_TYPES
                .iter()
                .filter(|row| row.dtype.is_some())
                .map(|row| row.name)
                .collect(),
            StoredType::Ggml(_) => GGML_TYPES
                .iter()
                .filter(|row| GgmlType(row.id).dtype().is_some())
                .map(|row| row.name)
                .collect(),
        };
        names.join(", ")
    }
}

impl fmt::Display for StoredType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A dtype of the safetensors format: an index into its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SafetensorsType(u8);

struct SafetensorsRow {
    name: &'static str,
    /// Bits of one element: the sub-byte types make bytes unusable as the unit.
    bits: u64,
    dtype: Option<DType>,
}

const fn row(name: &'static str, bits: u64, dtype: Option<DType>) -> SafetensorsRow {
    SafetensorsRow { name, bits, dtype }
}

/// Every dtype of the format as of safetensors 0.8.
const SAFETENSORS_TYPES: &[SafetensorsRow] = &[
    row("BOOL", 8, Some(DType::Bool)),
    row("F4", 4, None),
    row("F6_E2M3", 6, None),
    row("F6_E3M2", 6, None),
    row("U8", 8, Some(DType::U8)),
    row("I8", 8, Some(DType::I8)),
    row("F8_E5M2", 8, None),
    row("F8_E4M3", 8, None),
    row("F8_E8M0", 8, None),
    row("F8_E4M3FNUZ", 8, None),
    row("F8_E5M2FNUZ", 8, None),
    row("I16", 16, Some(DType::I16)),
    row("U16", 16, Some(DType::U16)),
    row("F16", 16, Some(DType::F16)),
    row("BF16", 16, Some(DType::BF16)),
    row("I32", 32, Some(DType::I32)),
    row("U32", 32, Some(DType::U32)),
    row("F32", 32, Some(DType::F32)),
    row("C64", 64, None),
    row("F64", 64, Some(DType::F64)),
    row("I64", 64, Some(DType::I64)),
    row("U64", 64, Some(DType::U64)),
];

impl SafetensorsType {
    /// `F32`.
    pub const F32: SafetensorsType = SafetensorsType(17);

    /// The type with this word, if the format defines it.
    pub fn by_name(name: &str) -> Option<Self> {
        let at = SAFETENSORS_TYPES.iter().position(|row| row.name == name)?;
        u8::try_from(at).ok().map(SafetensorsType)
    }

    /// The type that stores `dtype`, or `None` for block formats, which safetensors does not have.
    pub fn of(dtype: DType) -> Option<Self> {
        let at = SAFETENSORS_TYPES
            .iter()
            .position(|row| row.dtype == Some(dtype))?;
        u8::try_from(at).ok().map(SafetensorsType)
    }

    /// Every word of the format, for messages.
    pub fn names() -> String {
        let names: Vec<&str> = SAFETENSORS_TYPES.iter().map(|row| row.name).collect();
        names.join(", ")
    }

    fn row(self) -> &'static SafetensorsRow {
        &SAFETENSORS_TYPES[usize::from(self.0)]
    }

    /// The format's word.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// Bits of one element.
    pub fn bits(self) -> u64 {
        self.row().bits
    }

    /// The dtype here, if it can be decoded.
    pub fn dtype(self) -> Option<DType> {
        self.row().dtype
    }

    /// Bytes of a tensor of this shape: `None` if that overflows or is not a whole number of bytes.
    pub fn bytes_for(self, shape: &[usize]) -> Option<u64> {
        let mut bits = self.bits();
        for &dim in shape {
            bits = bits.checked_mul(u64::try_from(dim).ok()?)?;
        }
        bits.is_multiple_of(8).then_some(bits / 8)
    }
}

/// A tensor type of GGUF, by its number in the file. Every number of the table is known by name; the others are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GgmlType(u32);

struct GgmlRow {
    id: u32,
    name: &'static str,
    block_elems: u64,
    block_bytes: u64,
}

const fn ggml(id: u32, name: &'static str, block_elems: u64, block_bytes: u64) -> GgmlRow {
    GgmlRow {
        id,
        name,
        block_elems,
        block_bytes,
    }
}

/// Every tensor type of ggml: number, name, elements and bytes of a block. The numbers 4, 5, 31 to 33 and 36 to 38 were
/// withdrawn from the format.
const GGML_TYPES: &[GgmlRow] = &[
    ggml(0, "F32", 1, 4),
    ggml(1, "F16", 1, 2),
    ggml(2, "Q4_0", 32, 18),
    ggml(3, "Q4_1", 32, 20),
    ggml(6, "Q5_0", 32, 22),
    ggml(7, "Q5_1", 32, 24),
    ggml(8, "Q8_0", 32, 34),
    ggml(9, "Q8_1", 32, 40),
    ggml(10, "Q2_K", 256, 84),
    ggml(11, "Q3_K", 256, 110),
    ggml(12, "Q4_K", 256, 144),
    ggml(13, "Q5_K", 256, 176),
    ggml(14, "Q6_K", 256, 210),
    ggml(15, "Q8_K", 256, 292),
    ggml(16, "IQ2_XXS", 256, 66),
    ggml(17, "IQ2_XS", 256, 74),
    ggml(18, "IQ3_XXS", 256, 98),
    ggml(19, "IQ1_S", 256, 50),
    ggml(20, "IQ4_NL", 32, 18),
    ggml(21, "IQ3_S", 256, 110),
    ggml(22, "IQ2_S", 256, 82),
    ggml(23, "IQ4_XS", 256, 136),
    ggml(24, "I8", 1, 1),
    ggml(25, "I16", 1, 2),
    ggml(26, "I32", 1, 4),
    ggml(27, "I64", 1, 8),
    ggml(28, "F64", 1, 8),
    ggml(29, "IQ1_M", 256, 56),
    ggml(30, "BF16", 1, 2),
    ggml(34, "TQ1_0", 256, 54),
    ggml(35, "TQ2_0", 256, 66),
    ggml(39, "MXFP4", 32, 17),
    ggml(40, "NVFP4", 64, 36),
    ggml(41, "Q1_0", 128, 18),
];

impl GgmlType {
    /// `F32`.
    pub const F32: GgmlType = GgmlType(0);

    /// The type with this number, if ggml defines it.
    pub fn by_id(id: u32) -> Option<Self> {
        GGML_TYPES
            .iter()
            .any(|row| row.id == id)
            .then_some(GgmlType(id))
    }

    /// The type with this name, in ggml's spelling (`Q4_K`).
    pub fn by_name(name: &str) -> Option<Self> {
        let row = GGML_TYPES.iter().find(|row| row.name == name)?;
        Some(GgmlType(row.id))
    }

    /// The type that stores `dtype`, if GGUF has one.
    pub fn of(dtype: DType) -> Option<Self> {
        GGML_TYPES
            .iter()
            .map(|row| GgmlType(row.id))
            .find(|it| it.dtype() == Some(dtype))
    }

    fn row(self) -> &'static GgmlRow {
        // `self.0` is one of the table's ids: the constructors check it.
        GGML_TYPES
            .iter()
            .find(|row| row.id == self.0)
            .unwrap_or(&GGML_TYPES[0])
    }

    /// The number in the file.
    pub fn id(self) -> u32 {
        self.0
    }

    /// ggml's name.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// Elements of a block: 1 for plain types.
    pub fn block_elems(self) -> u64 {
        self.row().block_elems
    }

    /// Bytes of a block.
    pub fn block_bytes(self) -> u64 {
        self.row().block_bytes
    }

    /// The dtype here, if it can be decoded: a plain type, or a block format that `gabion-tensor` has a file for.
    pub fn dtype(self) -> Option<DType> {
        match self.name() {
            "F32" => Some(DType::F32),
            "F16" => Some(DType::F16),
            "BF16" => Some(DType::BF16),
            "F64" => Some(DType::F64),
            "I8" => Some(DType::I8),
            "I16" => Some(DType::I16),
            "I32" => Some(DType::I32),
            "I64" => Some(DType::I64),
            _ => Format::by_gguf_type(self.0).map(|format| format.dtype),
        }
    }

    /// Bytes of a tensor of this row-major shape: `None` if that overflows or if a row is not a whole number of blocks.
    pub fn bytes_for(self, shape: &[usize]) -> Option<u64> {
        let (block, bytes) = (self.block_elems(), self.block_bytes());
        let (&row, outer) = match shape.split_last() {
            Some(it) => it,
            None => return (block == 1).then_some(bytes),
        };
        let row = u64::try_from(row).ok()?;
        if !row.is_multiple_of(block) {
            return None;
        }
        let mut total = (row / block).checked_mul(bytes)?;
        for &dim in outer {
            total = total.checked_mul(u64::try_from(dim).ok()?)?;
        }
        Some(total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_sub_byte_types_are_whole_bytes_or_nothing() {
        let f4 = SafetensorsType::by_name("F4").unwrap();
        assert_eq!(f4.bytes_for(&[3, 2]), Some(3));
        assert_eq!(f4.bytes_for(&[3]), None);
        let f6 = SafetensorsType::by_name("F6_E2M3").unwrap();
        assert_eq!(f6.bytes_for(&[4]), Some(3));
        assert_eq!(f6.bytes_for(&[usize::MAX, 2]), None);
    }

    #[test]
    fn every_block_format_of_the_tensor_crate_agrees_with_the_file_format() {
        let mut seen = 0;
        for format in Format::all() {
            let Some(id) = format.gguf_type else { continue };
            let stored = GgmlType::by_id(id).unwrap();
            assert_eq!(
                stored.block_elems(),
                format.block_elems as u64,
                "{}",
                format.name
            );
            assert_eq!(
                stored.block_bytes(),
                format.block_bytes as u64,
                "{}",
                format.name
            );
            assert_eq!(stored.name().to_lowercase(), format.name);
            assert_eq!(GgmlType::of(format.dtype), Some(stored));
            seen += 1;
        }
        assert!(seen >= 5);
    }

    #[test]
    fn the_named_constants_are_what_they_say() {
        assert_eq!(SafetensorsType::F32.name(), "F32");
        assert_eq!(GgmlType::F32.name(), "F32");
    }

    #[test]
    fn partial_blocks_and_overflow_have_no_size() {
        let q4 = GgmlType::by_name("Q4_0").unwrap();
        assert_eq!(q4.bytes_for(&[2, 64]), Some(72));
        assert_eq!(q4.bytes_for(&[2, 33]), None);
        assert_eq!(q4.bytes_for(&[usize::MAX, usize::MAX / 2 + 1, 32]), None);
        assert_eq!(GgmlType::by_id(4), None);
        assert_eq!(GgmlType::by_id(u32::MAX), None);
    }
}
