//! Evaluating the recipe of a weight's part while loading: stored codes in, values out.
//!
//! Packing into tiles is in `load`; a recipe that a tile format makes unnecessary never gets here.

use std::sync::Arc;

use gabion_plan::{LoadError, Part, PartSource, Transform, WeightSource};
use gabion_tensor::{DType, HostTensor, Shape, TensorType};

/// A stored tensor that has the type that the plan expects, and its order of rows.
pub(crate) struct Stored {
    pub(crate) tensor: HostTensor,
    pub(crate) row_map: Option<Arc<[u32]>>,
}

/// What errors call a part.
pub(crate) fn name(part: &Part) -> &str {
    match &part.source {
        PartSource::Checkpoint(name) => name,
        PartSource::Constant(_) => "(constant)",
    }
}

/// Fetches a part's tensor and checks it.
///
/// # Errors
/// It is missing, has another type than the plan says, or an order that is none of its rows.
pub(crate) fn fetch(part: &Part, source: &dyn WeightSource) -> Result<Stored, LoadError> {
    let stored = match &part.source {
        PartSource::Checkpoint(name) => source.weight(name)?,
        PartSource::Constant(data) => gabion_plan::StoredWeight {
            tensor: data.0.clone(),
            row_map: None,
        },
    };
    let found = TensorType::new(stored.tensor.dtype(), Shape::fixed(stored.tensor.shape()));
    let mismatch = |found: String| LoadError::Mismatch {
        name: name(part).to_owned(),
        expected: part.stored.to_string(),
        found,
    };
    if found != part.stored {
        return Err(mismatch(found.to_string()));
    }
    let rows = stored.tensor.shape().first().copied().unwrap_or(1);
    if let Some(map) = &stored.row_map
        && (map.len() != rows || map.iter().any(|&row| row as usize >= rows))
    {
        return Err(mismatch(format!(
            "{found} with an order of {} rows",
            map.len()
        )));
    }
    Ok(Stored {
        tensor: stored.tensor,
        row_map: stored.row_map,
    })
}

/// Tells the source that a part's pages are no longer needed.
pub(crate) fn release(part: &Part, source: &dyn WeightSource) {
    if let PartSource::Checkpoint(name) = &part.source {
        source.release(name);
    }
}

/// The rows of a part after its recipe, as a row-major tensor.
///
/// # Errors
/// A recipe that does not fit the tensor, or rows that are not there.
pub(crate) fn evaluate(part: &Part, stored: &Stored) -> Result<HostTensor, LoadError> {
    let mut tensor = stored.tensor.clone();
    if let Some(map) = &stored.row_map {
        tensor = reorder(&tensor, map)?;
    }
    for transform in &part.recipe {
        tensor = apply(part, tensor, transform)?;
    }
    if tensor.rank() == 0 {
        return Ok(tensor);
    }
    Ok(tensor.rows(part.rows.clone())?)
}

fn unsupported(part: &Part, problem: impl std::fmt::Display) -> LoadError {
    LoadError::Unsupported {
        executor: "cpu".to_owned(),
        problem: format!("weight `{}`: {problem}", name(part)),
    }
}

fn apply(part: &Part, tensor: HostTensor, transform: &Transform) -> Result<HostTensor, LoadError> {
    match transform {
        Transform::Cast { dtype } => Ok(tensor.cast(*dtype)?),
        Transform::Reshape { shape } => Ok(tensor.reshape(shape)?),
        Transform::Clamp { min, max } => clamp(part, &tensor, *min, *max),
        Transform::Transpose => transpose(part, &tensor),
    }
}

/// Rows of a tensor in another order.
fn reorder(tensor: &HostTensor, map: &[u32]) -> Result<HostTensor, LoadError> {
    let row = tensor.bytes().len() / map.len().max(1);
    let mut bytes = Vec::with_capacity(tensor.bytes().len());
    for &from in map {
        bytes.extend_from_slice(&tensor.bytes()[from as usize * row..][..row]);
    }
    Ok(HostTensor::new(tensor.dtype(), tensor.shape(), bytes)?)
}

/// Limits in the dtype at hand: the limits are rounded to it; NaN stays.
fn clamp(
    part: &Part,
    tensor: &HostTensor,
    min: Option<f64>,
    max: Option<f64>,
) -> Result<HostTensor, LoadError> {
    let dtype = tensor.dtype();
    if dtype.is_block() || dtype.is_bool() {
        return Err(unsupported(
            part,
            format_args!("{dtype} has no limits; cast it first"),
        ));
    }
    if dtype.is_float() {
        let limit = |x: Option<f64>| -> Result<Option<f64>, LoadError> {
            let Some(x) = x else { return Ok(None) };
            Ok(Some(HostTensor::scalar(x).cast(dtype)?.to_f64_vec()?[0]))
        };
        let (min, max) = (limit(min)?, limit(max)?);
        if dtype == DType::F64 {
            let mut values = tensor.to_vec::<f64>()?;
            values.iter_mut().for_each(|x| *x = limited(*x, min, max));
            return Ok(HostTensor::from_vec(tensor.shape(), values)?);
        }
        let mut values = tensor.to_f32_vec()?;
        let (min, max) = (min.map(|x| x as f32), max.map(|x| x as f32));
        values.iter_mut().for_each(|x| *x = limited(*x, min, max));
        return Ok(HostTensor::from_vec(tensor.shape(), values)?.cast(dtype)?);
    }
    if dtype.is_unsigned_int() {
        let mut values = tensor.cast(DType::U64)?.to_vec::<u64>()?;
        let (min, max) = (min.map(|x| x as u64), max.map(|x| x as u64));
        values.iter_mut().for_each(|x| *x = limited(*x, min, max));
        return Ok(HostTensor::from_vec(tensor.shape(), values)?.cast(dtype)?);
    }
    let mut values = tensor.cast(DType::I64)?.to_vec::<i64>()?;
    let (min, max) = (min.map(|x| x as i64), max.map(|x| x as i64));
    values.iter_mut().for_each(|x| *x = limited(*x, min, max));
    Ok(HostTensor::from_vec(tensor.shape(), values)?.cast(dtype)?)
}

/// `max(x, min)`, then `min(.., max)`; NaN stays.
pub(crate) fn limited<V: PartialOrd + Copy>(x: V, min: Option<V>, max: Option<V>) -> V {
    let x = match min {
        Some(min) if x < min => min,
        _ => x,
    };
    match max {
        Some(max) if x > max => max,
        _ => x,
    }
}

fn transpose(part: &Part, tensor: &HostTensor) -> Result<HostTensor, LoadError> {
    let (&[rows, columns], Some(size)) = (tensor.shape(), tensor.dtype().size_bytes()) else {
        let ty = TensorType::new(tensor.dtype(), Shape::fixed(tensor.shape()));
        return Err(unsupported(
            part,
            format_args!("{ty} cannot be transposed: a matrix of plain numbers is expected"),
        ));
    };
    let from = tensor.bytes();
    let mut to = vec![0; from.len()];
    // In squares, so that both sides stay in the first cache.
    const SQUARE: usize = 32;
    for row in (0..rows).step_by(SQUARE) {
        for column in (0..columns).step_by(SQUARE) {
            for r in row..(row + SQUARE).min(rows) {
                for c in column..(column + SQUARE).min(columns) {
                    let (read, write) = ((r * columns + c) * size, (c * rows + r) * size);
                    to[write..write + size].copy_from_slice(&from[read..read + size]);
                }
            }
        }
    }
    Ok(HostTensor::new(tensor.dtype(), &[columns, rows], to)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gabion_tensor::f16;

    fn part(stored: &HostTensor, recipe: Vec<Transform>, rows: std::ops::Range<usize>) -> Part {
        Part {
            source: PartSource::Checkpoint("w".into()),
            stored: TensorType::of(stored),
            recipe,
            rows,
        }
    }

    fn run(
        tensor: &HostTensor,
        row_map: Option<&[u32]>,
        recipe: Vec<Transform>,
        rows: std::ops::Range<usize>,
    ) -> Result<HostTensor, LoadError> {
        let stored = Stored {
            tensor: tensor.clone(),
            row_map: row_map.map(Arc::from),
        };
        evaluate(&part(tensor, recipe, rows), &stored)
    }

    #[test]
    fn recipes_are_applied_in_order_after_the_order_of_rows() {
        let w = HostTensor::from_slice(&[3, 2], &[1.0f32, -2.0, 3.0, f32::NAN, 5.0, -6.0]).unwrap();
        let clamp = Transform::Clamp {
            min: Some(-2.5),
            max: Some(3.5),
        };
        let y = run(
            &w,
            Some(&[2, 0, 1]),
            vec![clamp, Transform::Transpose],
            1..2,
        )
        .unwrap();
        assert_eq!(y.shape(), [1, 3]);
        let y = y.to_vec::<f32>().unwrap();
        assert_eq!(y[..2], [-2.5, -2.0]);
        assert!(y[2].is_nan());
        let y = run(&w, None, vec![Transform::Reshape { shape: vec![6] }], 4..6).unwrap();
        assert_eq!(y.to_vec::<f32>().unwrap(), [5.0, -6.0]);
    }

    #[test]
    fn limits_are_rounded_to_the_dtype_and_integers_stay_integers() {
        let clamp = vec![Transform::Clamp {
            min: None,
            max: Some(0.1),
        }];
        let w = HostTensor::from_slice(&[1], &[f16::from_f32(0.5)]).unwrap();
        assert_eq!(
            run(&w, None, clamp, 0..1).unwrap().to_vec::<f16>().unwrap(),
            [f16::from_f32(0.1)]
        );
        let clamp = vec![Transform::Clamp {
            min: Some(-3.0),
            max: Some(4.0),
        }];
        let w = HostTensor::from_slice(&[4], &[-128i8, -3, 4, 5]).unwrap();
        assert_eq!(
            run(&w, None, clamp.clone(), 0..4)
                .unwrap()
                .to_vec::<i8>()
                .unwrap(),
            [-3, -3, 4, 4]
        );
        let w = HostTensor::from_slice(&[2], &[200u8, 2]).unwrap();
        assert_eq!(
            run(&w, None, clamp, 0..2).unwrap().to_vec::<u8>().unwrap(),
            [4, 2]
        );
    }

    #[test]
    fn what_does_not_fit_is_told_with_its_name() {
        let w = HostTensor::from_slice(&[2], &[1.0f32, 2.0]).unwrap();
        let error = run(&w, None, vec![Transform::Transpose], 0..2).unwrap_err();
        assert!(error.to_string().contains("`w`") && error.to_string().contains("f32[2]"));
        let source = std::collections::BTreeMap::from([("w".to_owned(), w.clone())]);
        let mut wrong = part(&w, vec![], 0..2);
        wrong.stored = TensorType::new(DType::F32, [3]);
        let error = fetch(&wrong, &source).err().unwrap().to_string();
        assert!(
            error.contains("f32[3]") && error.contains("f32[2]"),
            "{error}"
        );
        wrong.source = PartSource::Checkpoint("v".into());
        assert!(matches!(fetch(&wrong, &source), Err(LoadError::Missing { name }) if name == "v"));
    }
}
