//! Weights: parts, recipes and segments.

use gabion_tensor::{DType, Shape, TensorType};

use super::{Check, PlanItem};
use crate::weight::{Arrangement, Layout, Part, PartSource, PlanWeight, Transform, WeightSegment};

impl Check<'_> {
    pub(super) fn weights(&mut self) {
        for (i, weight) in self.plan.weights.iter().enumerate() {
            let item = PlanItem::Weight(i);
            let Some(shape) = weight.ty.shape.as_fixed() else {
                self.error(
                    item,
                    format!("expected a type of fixed sizes, found {}", weight.ty),
                );
                continue;
            };
            self.check_type(item, &weight.ty);
            let rows = shape.first().copied().unwrap_or(1);
            self.parts(item, weight, rows);
            self.segments(item, weight, rows);
        }
    }

    fn parts(&mut self, item: PlanItem, weight: &PlanWeight, rows: usize) {
        let mut total = Some(0usize);
        for (i, part) in weight.parts.iter().enumerate() {
            let name = match &part.source {
                PartSource::Checkpoint(name) => format!("part {i}, {name:?}"),
                PartSource::Constant(_) => format!("part {i}, a constant"),
            };
            if let Err(problem) = part_fits(part, &weight.ty) {
                self.error(item, format!("{name}: {problem}"));
            }
            total = total.and_then(|n| n.checked_add(part.rows.len()));
        }
        if total != Some(rows) {
            let total = total.map_or("more than can be counted".to_owned(), |n| n.to_string());
            self.error(
                item,
                format!("expected {rows} rows, found {total} in its parts"),
            );
        }
    }

    fn segments(&mut self, item: PlanItem, weight: &PlanWeight, rows: usize) {
        if weight.layout == Layout::Dense {
            if !weight.segments.is_empty() {
                self.error(
                    item,
                    format!(
                        "a dense weight has no segments, found {}",
                        weight.segments.len()
                    ),
                );
            }
            return;
        }
        if weight.ty.dtype != DType::F32 || weight.ty.rank() != 2 {
            self.error(
                item,
                format!("expected f32[rows, K] for tiles, found {}", weight.ty),
            );
        }
        let mut next = 0;
        for WeightSegment { rows, arrangement } in &weight.segments {
            if rows.start != next || rows.end <= rows.start {
                self.error(
                    item,
                    format!("segment {rows:?}: expected rows from {next}, at least one"),
                );
                return;
            }
            next = rows.end;
            if let Arrangement::Halves { block } = *arrangement
                && (block == 0 || block % 2 != 0 || rows.len() % block != 0)
            {
                let n = rows.len();
                self.error(
                    item,
                    format!(
                        "segment {rows:?}: halves of {block} rows have to be even and divide {n}"
                    ),
                );
            }
        }
        if next != rows {
            self.error(
                item,
                format!("expected segments for {rows} rows, found {next}"),
            );
        }
    }
}

/// Checks that a part's recipe gives rows of the weight.
fn part_fits(part: &Part, weight: &TensorType) -> Result<(), String> {
    let stored = &part.stored;
    if stored.shape.as_fixed().is_none() {
        return Err(format!(
            "expected a stored type of fixed sizes, found {stored}"
        ));
    }
    stored.check().map_err(|e| e.to_string())?;
    if let PartSource::Constant(data) = &part.source
        && TensorType::of(&data.0) != *stored
    {
        return Err(format!(
            "expected {stored}, found data of {}",
            TensorType::of(&data.0)
        ));
    }
    let mut ty = stored.clone();
    for transform in &part.recipe {
        ty = transformed(transform, &ty)?;
    }
    let same_rows =
        ty.rank() == weight.rank() && ty.shape.iter().skip(1).eq(weight.shape.iter().skip(1));
    if ty.dtype != weight.dtype || !same_rows {
        return Err(format!(
            "the recipe gives {ty}, whose rows are not those of {weight}"
        ));
    }
    let rows = ty
        .shape
        .as_fixed()
        .map_or(0, |shape| shape.first().copied().unwrap_or(1));
    if part.rows.start > part.rows.end || part.rows.end > rows {
        return Err(format!("rows {:?} of {ty}", part.rows));
    }
    Ok(())
}

fn transformed(transform: &Transform, ty: &TensorType) -> Result<TensorType, String> {
    match transform {
        Transform::Cast { dtype } => {
            let floats = |block: DType, other: DType| !block.is_block() || other.is_float();
            if !(floats(ty.dtype, *dtype) && floats(*dtype, ty.dtype)) {
                return Err(format!("{ty} cannot be cast to {dtype}; go through f32"));
            }
            let cast = TensorType::new(*dtype, &ty.shape);
            cast.check().map_err(|e| e.to_string())?;
            Ok(cast)
        }
        Transform::Clamp { min, max } => {
            if ty.dtype.is_block() || ty.dtype.is_bool() {
                return Err(format!("{ty} cannot be clamped; cast it first"));
            }
            if let (Some(min), Some(max)) = (min, max)
                && (min.is_nan() || max.is_nan() || min > max)
            {
                return Err(format!("clamp from {min} to {max}"));
            }
            Ok(ty.clone())
        }
        Transform::Transpose => match &ty.shape[..] {
            [rows, columns] if !ty.dtype.is_block() => {
                Ok(TensorType::new(ty.dtype, [columns.clone(), rows.clone()]))
            }
            _ => Err(format!(
                "only matrices of a plain dtype are transposed, found {ty}"
            )),
        },
        Transform::Reshape { shape } => {
            let reshaped = TensorType::new(ty.dtype, Shape::fixed(shape));
            if reshaped.shape.numel() != ty.shape.numel() {
                return Err(format!("{ty} has not as many elements as {reshaped}"));
            }
            reshaped.check().map_err(|e| e.to_string())?;
            Ok(reshaped)
        }
    }
}
