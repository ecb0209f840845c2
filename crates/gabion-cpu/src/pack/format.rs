//! The stored formats that kernels read, and how many bytes their tiles take.
//!
//! | format | bytes of a tile, in order |
//! |---|---|
//! | `f32` | `[k][32]` values |
//! | `f16` | `[k][32]` values |
//! | `bf16` | `[k / 2][32]` pairs of values of consecutive k, low half first; an odd k is padded |
//! | `q8_0` | per block of 32 k: `[32]` scales f16, `[32 k][32]` codes i8 |
//! | `q4_0` | per block: `[32]` scales f16, `[4][32]` words of eight codes of consecutive k, low bits first |
//! | `q4_1` | per block: `[32]` scales, `[32]` minima f16, words as `q4_0` |
//! | `q5_0` | per block: `[32]` scales, `[32]` words of 32 fifth bits, words as `q4_0` |
//! | `q5_1` | per block: scales, minima, fifth bits, words |
//!
//! The fifth bit of value k of a block is bit `8 (k % 8 / 2) + 2 (k / 8) + k % 2` of its word.
//!
//! So a tile takes the bytes that its 32 rows take in a file.

/// Columns (rows of the stored matrix) in a tile.
pub const TILE: usize = 32;

/// A format that weights are kept in and decoded from in registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "named after the stored formats")]
pub enum WeightFormat {
    F32,
    F16,
    Bf16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
}

impl WeightFormat {
    /// All of them.
    pub const ALL: [WeightFormat; 8] = [
        WeightFormat::F32,
        WeightFormat::F16,
        WeightFormat::Bf16,
        WeightFormat::Q4_0,
        WeightFormat::Q4_1,
        WeightFormat::Q5_0,
        WeightFormat::Q5_1,
        WeightFormat::Q8_0,
    ];

    /// The name in texts and files.
    pub const fn name(self) -> &'static str {
        match self {
            WeightFormat::F32 => "f32",
            WeightFormat::F16 => "f16",
            WeightFormat::Bf16 => "bf16",
            WeightFormat::Q4_0 => "q4_0",
            WeightFormat::Q4_1 => "q4_1",
            WeightFormat::Q5_0 => "q5_0",
            WeightFormat::Q5_1 => "q5_1",
            WeightFormat::Q8_0 => "q8_0",
        }
    }

    /// Values in a stored block.
    pub const fn block_elems(self) -> usize {
        match self {
            WeightFormat::F32 | WeightFormat::F16 | WeightFormat::Bf16 => 1,
            WeightFormat::Q4_0
            | WeightFormat::Q4_1
            | WeightFormat::Q5_0
            | WeightFormat::Q5_1
            | WeightFormat::Q8_0 => 32,
        }
    }

    /// Bytes of a stored block.
    pub const fn block_bytes(self) -> usize {
        match self {
            WeightFormat::F32 => 4,
            WeightFormat::F16 | WeightFormat::Bf16 => 2,
            WeightFormat::Q4_0 => 18,
            WeightFormat::Q4_1 => 20,
            WeightFormat::Q5_0 => 22,
            WeightFormat::Q5_1 => 24,
            WeightFormat::Q8_0 => 34,
        }
    }

    /// Bytes of a stored row of `k` values; `None` if `k` is no whole number of blocks.
    pub const fn row_bytes(self, k: usize) -> Option<usize> {
        if k.is_multiple_of(self.block_elems()) {
            (k / self.block_elems()).checked_mul(self.block_bytes())
        } else {
            None
        }
    }

    /// Bytes of a packed tile over `k` values; `None` if `k` is no whole number of blocks.
    pub const fn tile_bytes(self, k: usize) -> Option<usize> {
        let k = match self {
            WeightFormat::Bf16 => k.next_multiple_of(2),
            WeightFormat::F32
            | WeightFormat::F16
            | WeightFormat::Q4_0
            | WeightFormat::Q4_1
            | WeightFormat::Q5_0
            | WeightFormat::Q5_1
            | WeightFormat::Q8_0 => k,
        };
        match self.row_bytes(k) {
            Some(bytes) => bytes.checked_mul(TILE),
            None => None,
        }
    }
}

impl std::fmt::Display for WeightFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
