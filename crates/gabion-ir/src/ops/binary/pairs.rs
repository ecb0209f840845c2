//! Pairs of operands: read in one dtype, walked over the broadcast shape, and sampled.

use gabion_tensor::{DType, HostTensor, ScalarError};

use crate::op::EvalError;
use crate::ops::broadcasting::broadcast_positions;
use crate::ops::lanes::Lanes;
use crate::sample::Sampler;

/// Two shapes that broadcast, and two dtypes that promote to one that `accepts`.
pub(super) fn pair(s: &mut Sampler, accepts: impl Fn(DType) -> bool) -> (HostTensor, HostTensor) {
    let fits = |a: DType, b: DType| DType::promote(a, b).is_some_and(&accepts);
    let a_dtype = s.choose(
        &DType::PLAIN
            .into_iter()
            .filter(|&d| fits(d, d))
            .collect::<Vec<_>>(),
    );
    let b_dtype = s.choose(
        &DType::PLAIN
            .into_iter()
            .filter(|&d| fits(a_dtype, d))
            .collect::<Vec<_>>(),
    );
    let rank = s.size(0, 4);
    let shape = s.shape(rank, 7);
    let mut operand = |dtype: DType| {
        let mut own = if s.one_in(3) {
            shape[s.size(0, rank)..].to_vec()
        } else {
            shape.clone()
        };
        for size in &mut own {
            if s.one_in(4) {
                *size = 1;
            }
        }
        s.tensor_with_specials(dtype, &own)
    };
    let (a, b) = (operand(a_dtype), operand(b_dtype));
    if s.one_in(2) { (a, b) } else { (b, a) }
}

/// Both operands in the promoted dtype, element by element of the result's shape.
pub(super) struct Paired {
    pub(super) a: Lanes,
    pub(super) b: Lanes,
    pub(super) at: Vec<(usize, usize)>,
}

pub(super) fn paired(args: &[HostTensor], shape: &[usize]) -> Result<Paired, EvalError> {
    let (a, b) = (&args[0], &args[1]);
    let dtype = DType::promote(a.dtype(), b.dtype()).ok_or_else(|| {
        EvalError::Value(format!(
            "no dtype holds both {} and {}",
            a.dtype(),
            b.dtype()
        ))
    })?;
    let (at_a, at_b) = (
        broadcast_positions(a.shape(), shape)?,
        broadcast_positions(b.shape(), shape)?,
    );
    let at = at_a.into_iter().zip(at_b).collect();
    Ok(Paired {
        a: Lanes::read(a, dtype)?,
        b: Lanes::read(b, dtype)?,
        at,
    })
}

/// Applies `f` at every element of the result.
pub(super) fn zip<T: Copy, R>(
    a: &[T],
    b: &[T],
    at: &[(usize, usize)],
    f: impl Fn(T, T) -> R,
) -> Vec<R> {
    at.iter().map(|&(i, j)| f(a[i], b[j])).collect()
}

/// As [`zip`], of functions that may fail.
pub(super) fn try_zip<T: Copy>(
    a: &[T],
    b: &[T],
    at: &[(usize, usize)],
    f: impl Fn(T, T) -> Result<T, ScalarError>,
) -> Result<Vec<T>, ScalarError> {
    at.iter().map(|&(i, j)| f(a[i], b[j])).collect()
}

/// Cannot be: both operands were read in one dtype.
pub(super) fn two_kinds() -> EvalError {
    EvalError::Value("the operands were read as two kinds of numbers".to_owned())
}
