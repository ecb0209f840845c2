//! Number formats: how numbers are stored, and their scalar codecs. One file per format; a new one is a file and a line in the list.

mod bf16;
mod blocks32;
mod f16;
mod f32;

use std::fmt;
use std::str::FromStr;

use crate::dtype::{DType, UnknownDType};
use crate::serde_text::serde_as_text;

/// How the numbers of a dtype are stored, and how to read and write them.
///
/// ```
/// use gabion_tensor::Format;
/// let q8_0 = Format::by_name("q8_0").unwrap();
/// let values: Vec<f32> = (0..32).map(|i| i as f32).collect();
/// let mut bytes = vec![0; q8_0.block_bytes];
/// q8_0.encode(&values, &mut bytes).unwrap();
/// let mut back = vec![0.0; 32];
/// q8_0.decode(&bytes, &mut back).unwrap();
/// assert!((back[31] - 31.0).abs() < 0.01);
/// ```
#[derive(Clone, Copy)]
pub struct Format {
    /// The name, equal to the dtype's.
    pub name: &'static str,
    /// The dtype that is stored so.
    pub dtype: DType,
    /// Elements of one block; 1 for plain floats.
    pub block_elems: usize,
    /// Bytes of one block.
    pub block_bytes: usize,
    /// The tensor type number in GGUF files.
    pub gguf_type: Option<u32>,
    /// Decodes whole blocks, one or more. Lengths must match; [`Format::decode`] checks them.
    pub decode_block: fn(&[u8], &mut [f32]),
    /// Encodes whole blocks, one or more. Lengths must match; [`Format::encode`] checks them.
    pub encode_block: fn(&[f32], &mut [u8]),
}

impl fmt::Debug for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Format({})", self.name)
    }
}

impl PartialEq for Format {
    fn eq(&self, other: &Self) -> bool {
        self.dtype == other.dtype
    }
}

impl Eq for Format {}

/// Bytes and values whose counts do not fit each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{format}: {values} values in {bytes} bytes, expected whole blocks of {block_elems} values in {block_bytes} bytes each"
)]
pub struct FormatError {
    /// Name of the format.
    pub format: &'static str,
    /// Number of values given.
    pub values: usize,
    /// Number of bytes given.
    pub bytes: usize,
    /// Values in a block.
    pub block_elems: usize,
    /// Bytes of a block.
    pub block_bytes: usize,
}

impl Format {
    /// Reads numbers: `out[i]` is the exact value of the stored number, in f32 (for `q4_1` and `q5_1`, rounded once).
    ///
    /// # Errors
    /// If `bytes` is not the whole blocks of `out.len()` values.
    pub fn decode(&self, bytes: &[u8], out: &mut [f32]) -> Result<(), FormatError> {
        self.check(out.len(), bytes.len())?;
        (self.decode_block)(bytes, out);
        Ok(())
    }

    /// Writes numbers as GGML's reference quantisers do, bit for bit on finite values.
    ///
    /// # Errors
    /// If `out` is not the whole blocks of `values.len()` values.
    pub fn encode(&self, values: &[f32], out: &mut [u8]) -> Result<(), FormatError> {
        self.check(values.len(), out.len())?;
        (self.encode_block)(values, out);
        Ok(())
    }

    fn check(&self, values: usize, bytes: usize) -> Result<(), FormatError> {
        let whole =
            values.is_multiple_of(self.block_elems) && bytes.is_multiple_of(self.block_bytes);
        if whole && values / self.block_elems == bytes / self.block_bytes {
            return Ok(());
        }
        Err(FormatError {
            format: self.name,
            values,
            bytes,
            block_elems: self.block_elems,
            block_bytes: self.block_bytes,
        })
    }

    /// All formats: plain floats, then block formats.
    pub fn all() -> &'static [&'static Format] {
        ALL
    }

    /// The format of this name.
    pub fn by_name(name: &str) -> Option<&'static Format> {
        ALL.iter().copied().find(|f| f.name == name)
    }

    /// The format with this tensor type number in GGUF files.
    pub fn by_gguf_type(gguf_type: u32) -> Option<&'static Format> {
        ALL.iter().copied().find(|f| f.gguf_type == Some(gguf_type))
    }
}

pub(crate) fn of_dtype(dtype: DType) -> Option<&'static Format> {
    ALL.iter().copied().find(|f| f.dtype == dtype)
}

/// The list of block formats: variant, file under `format/`, one line of documentation.
macro_rules! block_formats {
    ($($variant:ident in $module:ident: $doc:literal;)*) => {
        $(mod $module;)*

        /// A format that stores numbers in blocks along the last axis.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum BlockFormat {
            $(#[doc = $doc] $variant,)*
        }

        impl BlockFormat {
            /// All block formats, in declaration order.
            pub const ALL: [BlockFormat; [$(BlockFormat::$variant),*].len()] = [$(BlockFormat::$variant),*];

            /// Storage and codec.
            pub const fn format(self) -> &'static Format {
                match self {
                    $(BlockFormat::$variant => &$module::FORMAT,)*
                }
            }
        }

        const ALL: &[&Format] = &[&f32::FORMAT, &f16::FORMAT, &bf16::FORMAT, $(&$module::FORMAT,)*];
    };
}

block_formats! {
    Q4_0 in q4_0: "32 values in 18 bytes: f16 scale, 4-bit codes around 8. `w = d*(q - 8)`.";
    Q4_1 in q4_1: "32 values in 20 bytes: f16 scale, f16 minimum, 4-bit codes. `w = d*q + m`.";
    Q5_0 in q5_0: "32 values in 22 bytes: f16 scale, fifth bits, 4-bit codes around 16. `w = d*(q - 16)`.";
    Q5_1 in q5_1: "32 values in 24 bytes: f16 scale, f16 minimum, fifth bits, 4-bit codes. `w = d*q + m`.";
    Q8_0 in q8_0: "32 values in 34 bytes: f16 scale, signed bytes. `w = d*q`.";
}

impl BlockFormat {
    /// The name in the text form.
    pub const fn name(self) -> &'static str {
        self.format().name
    }

    /// Elements of one block.
    pub const fn block_elems(self) -> usize {
        self.format().block_elems
    }

    /// Bytes of one block.
    pub const fn block_bytes(self) -> usize {
        self.format().block_bytes
    }
}

impl From<BlockFormat> for DType {
    fn from(format: BlockFormat) -> Self {
        DType::Block(format)
    }
}

impl fmt::Display for BlockFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for BlockFormat {
    type Err = UnknownDType;

    fn from_str(name: &str) -> Result<Self, UnknownDType> {
        Self::ALL
            .into_iter()
            .find(|f| f.name() == name)
            .ok_or_else(|| UnknownDType {
                name: name.to_string(),
            })
    }
}

serde_as_text!(BlockFormat, "the name of a block format");
