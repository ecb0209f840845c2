//! From an element of a stored tensor to the element that a recipe makes of it, and back; what stored
//! bytes say; words for what a plan does.

use gabion_checkpoint::TensorInfo;
use gabion_ir::{Graph, Op};
use gabion_lower::recipe::PartRecipe;
use gabion_plan::{
    Arrangement, Epilogue, Part, PartSource, SegmentOutput, Transform, WeightSegment,
};
use gabion_tensor::{BlockFormat, DType, f16};

use super::story::{BlockStory, ByteRole};

/// Elements of a row: everything but the first axis.
pub(super) fn columns(info: &TensorInfo) -> usize {
    let columns: usize = info.shape.iter().skip(1).product();
    columns.max(1)
}

/// The place in the graph's order of rows of element `flat` of the file.
pub(super) fn to_graph(info: &TensorInfo, flat: usize) -> usize {
    let Some(map) = info.row_map else {
        return flat;
    };
    let columns = columns(info);
    let rows = info.shape.first().copied().unwrap_or(1);
    let (row, column) = (flat / columns, flat % columns);
    let at = map.source_rows(rows).position(|stored| stored == row);
    at.unwrap_or(row) * columns + column
}

/// The shapes before each transform, and the last.
fn shapes(part: &Part) -> Option<Vec<Vec<usize>>> {
    let mut shapes = vec![part.stored.shape.as_fixed()?.to_vec()];
    for transform in &part.recipe {
        let mut shape = shapes.last()?.clone();
        match transform {
            Transform::Cast { .. } | Transform::Clamp { .. } => {}
            Transform::Transpose if shape.len() == 2 => shape.reverse(),
            Transform::Transpose => return None,
            Transform::Reshape { shape: to } => shape.clone_from(to),
        }
        shapes.push(shape);
    }
    Some(shapes)
}

/// The stored element (in the graph's order of rows) that element `[row, column]` after the recipe is.
pub(super) fn before_recipe(part: &Part, row: usize, column: usize) -> Option<usize> {
    let shapes = shapes(part)?;
    let last: usize = shapes.last()?.iter().skip(1).product();
    let mut flat = row * last + column;
    for (transform, shape) in part.recipe.iter().zip(&shapes).rev() {
        if let (Transform::Transpose, [rows, columns]) = (transform, shape.as_slice()) {
            flat = flat % rows * columns + flat / rows;
        }
    }
    Some(flat)
}

/// Where a stored element is after the recipe: row and column.
pub(super) fn after_recipe(part: &Part, flat: usize) -> Option<(usize, usize)> {
    let shapes = shapes(part)?;
    let mut flat = flat;
    for (transform, shape) in part.recipe.iter().zip(&shapes) {
        if let (Transform::Transpose, [rows, columns]) = (transform, shape.as_slice()) {
            flat = flat % columns * rows + flat / columns;
        }
    }
    let columns: usize = shapes.last()?.iter().skip(1).product();
    let columns = columns.max(1);
    Some((flat / columns, flat % columns))
}

/// A recipe of the graph in the words of a plan; none for what a plan has no word for, and for a
/// constant.
pub(super) fn part(graph: &Graph, recipe: &PartRecipe) -> Option<Part> {
    let Op::Weight(weight) = graph.op(recipe.source.node) else {
        return None;
    };
    let mut transforms = Vec::new();
    for op in &recipe.ops {
        transforms.push(match op {
            Op::Cast(cast) => Transform::Cast { dtype: cast.dtype },
            Op::Dequantize(decode) => Transform::Cast {
                dtype: decode.dtype,
            },
            Op::Clamp(clamp) => Transform::Clamp {
                min: clamp.min.map(|m| m.get()),
                max: clamp.max.map(|m| m.get()),
            },
            Op::Transpose(t) if matches!(t.perm.as_slice(), [1 | -1, 0 | -2]) => {
                Transform::Transpose
            }
            Op::Reshape(reshape) => {
                let sizes = reshape.shape.iter();
                let sizes = sizes.map(|d| d.as_fixed().and_then(|n| usize::try_from(n).ok()));
                Transform::Reshape {
                    shape: sizes.collect::<Option<_>>()?,
                }
            }
            _ => return None,
        });
    }
    let start = recipe.rows.map_or(0, |rows| rows.0);
    Some(Part {
        source: PartSource::Checkpoint(weight.name.to_string()),
        stored: graph.value_type(recipe.source).clone(),
        recipe: transforms,
        rows: start..start + recipe.n_rows,
    })
}

/// The stored elements that row `row` after the recipe has, in order.
pub(super) fn row_elements(part: &Part, row: usize) -> Option<Vec<usize>> {
    let shapes = shapes(part)?;
    let columns: usize = shapes.last()?.iter().skip(1).product();
    let elements = (0..columns).map(|column| before_recipe(part, row, column));
    elements.collect()
}

/// Two recipes make the same of a stored number, wherever they put it. Casts to f32 change none.
pub(super) fn same_values(a: &Part, b: &Part) -> bool {
    let changes = |part: &Part| -> Vec<Transform> {
        let kept = part.recipe.iter().filter(|transform| match transform {
            Transform::Cast { dtype } => *dtype != DType::F32,
            Transform::Clamp { .. } => true,
            Transform::Transpose | Transform::Reshape { .. } => false,
        });
        kept.cloned().collect()
    };
    changes(a) == changes(b)
}

/// A stored value after the recipe's limits. Conversions to narrower dtypes are made too.
pub(super) fn apply(part: &Part, value: f32) -> f32 {
    part.recipe
        .iter()
        .fold(value, |value, transform| match transform {
            Transform::Clamp { min, max } => {
                let value = match min {
                    Some(min) if value < *min as f32 => *min as f32,
                    _ => value,
                };
                match max {
                    Some(max) if value > *max as f32 => *max as f32,
                    _ => value,
                }
            }
            Transform::Cast { dtype: DType::F16 } => f16::from_f32(value).to_f32(),
            Transform::Cast { dtype: DType::BF16 } => gabion_tensor::bf16::from_f32(value).to_f32(),
            Transform::Cast { .. } | Transform::Transpose | Transform::Reshape { .. } => value,
        })
}

/// The part of a byte in its block, and the block's elements that it bears on.
pub(super) struct Role {
    pub(super) role: ByteRole,
    pub(super) elements: Vec<usize>,
}

/// What byte `at` of a stored block says.
pub(super) fn role(dtype: DType, at: usize) -> Role {
    let whole = |role| Role {
        role,
        elements: (0..dtype.block_elems()).collect(),
    };
    let DType::Block(format) = dtype else {
        return whole(ByteRole::Value);
    };
    let (min, fifth) = fields(format);
    let fifth_at = if min { 4 } else { 2 };
    let codes_at = fifth_at + if fifth { 4 } else { 0 };
    if at < 2 {
        whole(ByteRole::Scale)
    } else if at < fifth_at {
        whole(ByteRole::Min)
    } else if at < codes_at {
        let first = 8 * (at - fifth_at);
        Role {
            role: ByteRole::FifthBits,
            elements: (first..first + 8).collect(),
        }
    } else {
        let code = at - codes_at;
        let elements = match format {
            BlockFormat::Q8_0 => vec![code],
            BlockFormat::Q4_0 | BlockFormat::Q4_1 | BlockFormat::Q5_0 | BlockFormat::Q5_1 => {
                vec![code, code + 16]
            }
        };
        Role {
            role: ByteRole::Codes,
            elements,
        }
    }
}

/// Whether a block has a minimum, and fifth bits.
fn fields(format: BlockFormat) -> (bool, bool) {
    match format {
        BlockFormat::Q4_0 | BlockFormat::Q8_0 => (false, false),
        BlockFormat::Q4_1 => (true, false),
        BlockFormat::Q5_0 => (false, true),
        BlockFormat::Q5_1 => (true, true),
    }
}

/// The block that has element `flat` of a tensor.
pub(super) fn block(
    dtype: DType,
    encoded: &[u8],
    flat: usize,
    columns: usize,
    start: usize,
) -> Option<BlockStory> {
    let DType::Block(format) = dtype else {
        return None;
    };
    let half = |at: usize| -> Option<f32> {
        let bytes = encoded.get(at..at + 2)?;
        Some(f16::from_le_bytes([bytes[0], bytes[1]]).to_f32())
    };
    let first = flat / dtype.block_elems() * dtype.block_elems() % columns;
    Some(BlockStory {
        bytes: start..start + encoded.len(),
        columns: first..first + dtype.block_elems(),
        scale: half(0)?,
        min: if fields(format).0 { half(2) } else { None },
    })
}

/// Element `at` of an encoded block as f32; none for dtypes that are no floats.
pub(super) fn decode(dtype: DType, encoded: &[u8], at: usize) -> Option<f32> {
    let mut values = vec![0.0; dtype.block_elems()];
    dtype.format()?.decode(encoded, &mut values).ok()?;
    values.get(at).copied()
}

/// The row that is computed together with `row`.
pub(super) fn partner(segment: &WeightSegment, row: usize) -> Option<usize> {
    let Arrangement::Halves { block } = segment.arrangement else {
        return None;
    };
    let within = (row - segment.rows.start) % block;
    Some(if within < block / 2 {
        row + block / 2
    } else {
        row - block / 2
    })
}

/// The column of a segment's result that a weight's row makes.
pub(super) fn result_column(output: &SegmentOutput, segment: &WeightSegment, row: usize) -> usize {
    let column = row - segment.rows.start;
    let gated = |e: &Epilogue| matches!(e, Epilogue::Glu { .. });
    match segment.arrangement {
        Arrangement::Halves { block } if output.epilogue.iter().any(gated) => {
            column / block * (block / 2) + column % block % (block / 2)
        }
        Arrangement::Plain | Arrangement::Halves { .. } => column,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gabion_plan::PartSource;

    fn part(stored: &str, recipe: Vec<Transform>) -> Part {
        let stored: gabion_tensor::TensorType = stored.parse().unwrap();
        let rows = 0..stored.shape[0].as_fixed().unwrap() as usize;
        Part {
            source: PartSource::Checkpoint("w".to_owned()),
            stored,
            recipe,
            rows,
        }
    }

    #[test]
    fn recipes_are_walked_both_ways() {
        let reshape = |shape: &[usize]| Transform::Reshape {
            shape: shape.to_vec(),
        };
        for recipe in [
            vec![],
            vec![Transform::Transpose],
            vec![reshape(&[4, 6]), Transform::Transpose, reshape(&[12, 2])],
            vec![Transform::Transpose, Transform::Transpose],
        ] {
            let part = part("f32[3, 8]", recipe);
            for flat in 0..24 {
                let (row, column) = after_recipe(&part, flat).unwrap();
                assert_eq!(before_recipe(&part, row, column), Some(flat));
            }
        }
        let transposed = part("f32[3, 8]", vec![Transform::Transpose]);
        assert_eq!(after_recipe(&transposed, 8 + 5), Some((5, 1)));
    }

    #[test]
    fn every_byte_of_a_block_has_a_role() {
        for format in BlockFormat::ALL {
            let dtype = DType::Block(format);
            let mut seen = vec![0; 32];
            for at in 0..dtype.block_bytes() {
                let role = role(dtype, at);
                if role.role == ByteRole::Codes {
                    role.elements.iter().for_each(|&k| seen[k] += 1);
                }
            }
            assert_eq!(seen, vec![1; 32], "{dtype}");
        }
    }
}
