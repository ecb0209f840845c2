//! Rust types of plain dtypes' elements.

use bytemuck::{Pod, Zeroable};
use half::{bf16, f16};

use crate::dtype::DType;

/// A Rust type whose values are the elements of a plain dtype, bit for bit.
pub trait Element: Pod + PartialEq + std::fmt::Debug + Send + Sync {
    /// The dtype.
    const DTYPE: DType;
}

/// A truth value as stored: one byte, 0 or 1. Tensors of other bytes are refused when they are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
#[repr(transparent)]
pub struct Bool(pub u8);

impl Bool {
    /// 0.
    pub const FALSE: Bool = Bool(0);
    /// 1.
    pub const TRUE: Bool = Bool(1);
}

impl From<bool> for Bool {
    fn from(value: bool) -> Self {
        Bool(u8::from(value))
    }
}

impl From<Bool> for bool {
    fn from(value: Bool) -> Self {
        value.0 != 0
    }
}

macro_rules! elements {
    ($($type:ty => $dtype:ident),* $(,)?) => {
        $(impl Element for $type {
            const DTYPE: DType = DType::$dtype;
        })*
    };
}

elements! {
    Bool => Bool, i8 => I8, i16 => I16, i32 => I32, i64 => I64, u8 => U8, u16 => U16, u32 => U32, u64 => U64,
    f16 => F16, bf16 => BF16, f32 => F32, f64 => F64,
}

/// Runs `$body` with `$T` as the Rust type of plain dtype `$dtype`; `$other` for block formats.
macro_rules! with_element {
    ($dtype:expr, $T:ident => $body:expr, block $format:ident => $other:expr) => {
        match $dtype {
            $crate::DType::Bool => {
                type $T = $crate::Bool;
                $body
            }
            $crate::DType::I8 => {
                type $T = i8;
                $body
            }
            $crate::DType::I16 => {
                type $T = i16;
                $body
            }
            $crate::DType::I32 => {
                type $T = i32;
                $body
            }
            $crate::DType::I64 => {
                type $T = i64;
                $body
            }
            $crate::DType::U8 => {
                type $T = u8;
                $body
            }
            $crate::DType::U16 => {
                type $T = u16;
                $body
            }
            $crate::DType::U32 => {
                type $T = u32;
                $body
            }
            $crate::DType::U64 => {
                type $T = u64;
                $body
            }
            $crate::DType::F16 => {
                type $T = half::f16;
                $body
            }
            $crate::DType::BF16 => {
                type $T = half::bf16;
                $body
            }
            $crate::DType::F32 => {
                type $T = f32;
                $body
            }
            $crate::DType::F64 => {
                type $T = f64;
                $body
            }
            $crate::DType::Block($format) => $other,
        }
    };
}
pub(crate) use with_element;
