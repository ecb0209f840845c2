//! Number formats: how numbers are stored, and their scalar codecs. One file per format; a new one is a file and a line in the list.

mod bf16;
mod blocks32;
mod f16;
mod f32;
#[cfg(test)]
mod golden;

use std::fmt;
use std::str::FromStr;

use crate::dtype::DType;
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

    /// Writes numbers as GGML's reference quantisers do, bit for bit on finite values whose scale fits f16.
    ///
    /// What has no such answer is clipped: a block format takes NaN as zero and infinities as the largest finite value, and a scale or
    /// minimum beyond f16's range as its largest finite value, so that nothing decodes to NaN.
    ///
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

/// A name that no block format has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown block format `{name}`; known: {}", BlockFormat::ALL.map(BlockFormat::name).join(", "))]
pub struct UnknownBlockFormat {
    /// The name.
    pub name: String,
}

impl FromStr for BlockFormat {
    type Err = UnknownBlockFormat;

    fn from_str(name: &str) -> Result<Self, UnknownBlockFormat> {
        Self::ALL
            .into_iter()
            .find(|f| f.name() == name)
            .ok_or_else(|| UnknownBlockFormat {
                name: name.to_string(),
            })
    }
}

serde_as_text!(BlockFormat, "the name of a block format");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_found_by_name_and_gguf_type() {
        for format in Format::all() {
            assert_eq!(Format::by_name(format.name), Some(*format));
            assert_eq!(
                format.gguf_type.and_then(Format::by_gguf_type),
                Some(*format)
            );
            assert_eq!(format.dtype.format(), Some(*format));
            assert_eq!(format.dtype.name(), format.name);
            assert_eq!(format.dtype.block_elems(), format.block_elems);
            assert_eq!(format.dtype.block_bytes(), format.block_bytes);
        }
        assert_eq!(Format::by_name("q9_9"), None);
        assert_eq!(Format::by_gguf_type(4), None);
        assert_eq!(DType::I32.format(), None);
        assert_eq!("q5_1".parse(), Ok(BlockFormat::Q5_1));
        let error = "f32".parse::<BlockFormat>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown block format `f32`; known: q4_0, q4_1, q5_0, q5_1, q8_0"
        );
    }

    #[test]
    fn lengths_are_checked() {
        let q4_0 = BlockFormat::Q4_0.format();
        let mut out = [0.0; 64];
        assert!(q4_0.decode(&[0; 36], &mut out).is_ok());
        for (bytes, values) in [(36, 32), (35, 64), (18, 18), (0, 32)] {
            let error = q4_0
                .decode(&vec![0; bytes], &mut out[..values])
                .unwrap_err();
            assert_eq!((error.bytes, error.values), (bytes, values));
        }
        let error = q4_0.encode(&out[..31], &mut [0; 18]).unwrap_err();
        assert_eq!((error.bytes, error.values), (18, 31));
        assert!(q4_0.encode(&[], &mut []).is_ok());
    }

    #[test]
    fn every_half_is_decoded_exactly() {
        let bytes: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
        let mut f16s = vec![0.0; 1 << 16];
        Format::by_name("f16")
            .unwrap()
            .decode(&bytes, &mut f16s)
            .unwrap();
        for (bits, &found) in (0..=u16::MAX).zip(&f16s) {
            let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
            let (exponent, fraction) = (i32::from(bits >> 10 & 31), f32::from(bits & 1023));
            match (exponent, fraction) {
                (31, 0.0) => assert_eq!(found, sign * f32::INFINITY),
                (31, _) => assert!(found.is_nan()),
                (0, _) => assert_eq!(
                    found.to_bits(),
                    (sign * fraction * 2f32.powi(-24)).to_bits()
                ),
                _ => assert_eq!(found, sign * (1024.0 + fraction) * 2f32.powi(exponent - 25)),
            }
        }
        let mut bf16s = vec![0.0; 1 << 16];
        Format::by_name("bf16")
            .unwrap()
            .decode(&bytes, &mut bf16s)
            .unwrap();
        for (bits, &found) in (0..=u16::MAX).zip(&bf16s) {
            assert_eq!(found.to_bits(), u32::from(bits) << 16);
        }
    }

    #[test]
    fn plain_floats_survive_encoding() {
        let bytes: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
        for name in ["f16", "bf16"] {
            let format = Format::by_name(name).unwrap();
            let (mut values, mut back) = (vec![0.0; 1 << 16], vec![0; 1 << 17]);
            format.decode(&bytes, &mut values).unwrap();
            format.encode(&values, &mut back).unwrap();
            for (bits, (x, stored)) in (0..=u16::MAX).zip(values.iter().zip(back.as_chunks().0)) {
                let stored = u16::from_le_bytes(*stored);
                // A signalling NaN comes back quiet.
                let quiet = if name == "f16" { 0x200 } else { 0x40 };
                let same = stored == bits || x.is_nan() && stored == bits | quiet;
                assert!(same, "{name} {bits:#x} {stored:#x}");
            }
        }
    }

    #[test]
    fn block_formats_never_decode_to_nan() {
        let awkward = [
            f32::NAN,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::MAX,
            f32::MIN,
            1e-45,
            -1e-45,
            1e-8,
            0.0,
            -0.0,
            70000.0,
            1e9,
        ];
        for format in BlockFormat::ALL.map(BlockFormat::format) {
            for (i, &a) in awkward.iter().enumerate() {
                for &b in &awkward[i..] {
                    let values: Vec<f32> =
                        (0..32).map(|j| if j % 3 == 0 { a } else { b }).collect();
                    let (mut bytes, mut back) = (vec![0; format.block_bytes], vec![0.0f32; 32]);
                    format.encode(&values, &mut bytes).unwrap();
                    format.decode(&bytes, &mut back).unwrap();
                    assert!(
                        back.iter().all(|x| x.is_finite()),
                        "{format:?} of {a} and {b}: {back:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn values_beyond_the_scale_are_clipped_to_it() {
        let mut values = [0.0f32; 32];
        values[3] = f32::INFINITY;
        values[4] = f32::NEG_INFINITY;
        let (mut bytes, mut back) = ([0; 34], [0.0; 32]);
        let q8_0 = BlockFormat::Q8_0.format();
        q8_0.encode(&values, &mut bytes).unwrap();
        q8_0.decode(&bytes, &mut back).unwrap();
        assert_eq!(
            back[..5],
            [0.0, 0.0, 0.0, 127.0 * 65504.0, -127.0 * 65504.0]
        );
    }

    #[test]
    fn halves_are_rounded_as_each_format_does() {
        let mut values = [0.0f32; 32];
        values[..6].copy_from_slice(&[127.0, 0.5, 1.5, -0.5, -2.5, 0.499_999_97]);
        let mut bytes = [0; 34];
        BlockFormat::Q8_0
            .format()
            .encode(&values, &mut bytes)
            .unwrap();
        assert_eq!(
            bytes[2..8].iter().map(|&q| q as i8).collect::<Vec<_>>(),
            [127, 1, 2, -1, -3, 0]
        );

        values[..6].copy_from_slice(&[-8.0, 0.5, 1.5, -0.5, -2.5, 7.5]);
        let mut bytes = [0; 18];
        BlockFormat::Q4_0
            .format()
            .encode(&values, &mut bytes)
            .unwrap();
        assert_eq!(
            bytes[2..8]
                .iter()
                .map(|&q| i32::from(q & 15) - 8)
                .collect::<Vec<_>>(),
            [-8, 1, 2, 0, -2, 7]
        );
    }

    #[test]
    fn errors_are_within_half_a_step() {
        let values: Vec<f32> = (0..32)
            .map(|i| ((i * 37) % 32) as f32 / 7.0 - 2.0)
            .collect();
        // The largest magnitude is 17/7, the extent 31/7; a little more than half a step, since the scale is rounded too.
        for (name, step) in [
            ("q4_0", 17.0 / 7.0 / 8.0),
            ("q4_1", 31.0 / 7.0 / 15.0),
            ("q5_0", 17.0 / 7.0 / 16.0),
            ("q5_1", 31.0 / 7.0 / 31.0),
            ("q8_0", 17.0 / 7.0 / 127.0),
        ] {
            let format = Format::by_name(name).unwrap();
            let (mut bytes, mut back) = (vec![0; format.block_bytes], vec![0.0f32; 32]);
            format.encode(&values, &mut bytes).unwrap();
            format.decode(&bytes, &mut back).unwrap();
            for (x, y) in values.iter().zip(&back) {
                assert!((x - y).abs() <= 0.51 * step, "{name}: {x} became {y}");
            }
        }
    }
}
