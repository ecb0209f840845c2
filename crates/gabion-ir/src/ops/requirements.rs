//! What type rules ask of operand dtypes, with one wording for all operators.

use gabion_tensor::{DType, TensorType};

use crate::op::TypeError;

/// The dtype that holds the values of all operands.
pub(crate) fn promote(args: &[TensorType]) -> Result<DType, TypeError> {
    let Some((first, rest)) = args.split_first() else {
        return Err(TypeError::arity("at least 1", 0));
    };
    plain(0, first)?;
    let mut dtype = first.dtype;
    for (i, arg) in rest.iter().enumerate() {
        plain(i + 1, arg)?;
        dtype = DType::promote(dtype, arg.dtype).ok_or_else(|| {
            TypeError::new(format!(
                "operand {}: no dtype holds both {dtype} and {}: cast one of them",
                i + 1,
                arg.dtype
            ))
        })?;
    }
    Ok(dtype)
}

/// Refuses block formats.
pub(crate) fn plain(index: usize, ty: &TensorType) -> Result<(), TypeError> {
    if ty.dtype.is_block() {
        return Err(TypeError::dtype(
            index,
            "a plain dtype (`dequantize` it first)",
            ty.dtype,
        ));
    }
    Ok(())
}

/// Requires a float.
pub(crate) fn float(index: usize, ty: &TensorType) -> Result<(), TypeError> {
    plain(index, ty)?;
    if !ty.dtype.is_float() {
        return Err(TypeError::dtype(index, "a float", ty.dtype));
    }
    Ok(())
}

/// Requires a float or an integer.
pub(crate) fn number(index: usize, ty: &TensorType) -> Result<(), TypeError> {
    plain(index, ty)?;
    if ty.dtype.is_bool() {
        return Err(TypeError::dtype(index, "a float or an integer", ty.dtype));
    }
    Ok(())
}

/// Requires an integer, to be used as an index.
pub(crate) fn index(index: usize, ty: &TensorType) -> Result<(), TypeError> {
    if !ty.dtype.is_int() {
        return Err(TypeError::dtype(index, "integer indices", ty.dtype));
    }
    Ok(())
}

/// Requires the scalar `i64[]`.
pub(crate) fn position(index: usize, ty: &TensorType) -> Result<(), TypeError> {
    if ty.dtype != DType::I64 || ty.shape.rank() != 0 {
        return Err(TypeError::new(format!(
            "operand {index}: expected a position i64[], found {ty}"
        )));
    }
    Ok(())
}

/// Requires at least `rank` axes.
pub(crate) fn rank_at_least(index: usize, rank: usize, ty: &TensorType) -> Result<(), TypeError> {
    if ty.shape.rank() < rank {
        return Err(TypeError::rank(index, &format!("rank {rank} or more"), ty));
    }
    Ok(())
}

/// The dtype in which a decomposition computes: f32, or f64 for f64. f16 and bf16 round once, at
/// the end.
pub(crate) fn wide(dtype: DType) -> DType {
    if dtype == DType::F64 {
        DType::F64
    } else {
        DType::F32
    }
}
