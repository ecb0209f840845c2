//! Plan weights from recipes: tiled for stacks and for tables whose rows are looked up in a stored
//! format, dense for the rest. Equal recipes are one weight.

use gabion_ir::ops::{Segment, StackedMatmul};
use gabion_ir::{Graph, Op, Value};
use gabion_plan::{
    Arrangement, Layout, Part, PartSource, PlanWeight, Transform, WeightId, WeightSegment,
};
use gabion_tensor::{DType, TensorType};

use super::{SelectError, Selector};
use crate::class::{LoadTime, load_time};
use crate::recipe::{PartRecipe, parts_of};

/// A tiled weight and the recipe that identifies it.
pub(super) struct TileKey {
    pub(super) parts: Vec<PartRecipe>,
    pub(super) segments: Vec<WeightSegment>,
    pub(super) id: WeightId,
}

/// One part of a plan weight, if the plan has a transform for every operator.
fn part(graph: &Graph, recipe: &PartRecipe) -> Option<Part> {
    let node = graph.node(recipe.source.node);
    let source = if let Op::Weight(weight) = &node.op {
        PartSource::Checkpoint(weight.name.to_string())
    } else if let Op::Constant(constant) = &node.op {
        PartSource::Constant(gabion_plan::weight::ConstantData(constant.value().clone()))
    } else {
        return None;
    };
    let mut transforms = Vec::new();
    for op in &recipe.ops {
        transforms.push(match load_time(op)? {
            LoadTime::Cast(cast) => Transform::Cast { dtype: cast.dtype },
            LoadTime::Dequantize(decode) => Transform::Cast {
                dtype: decode.dtype,
            },
            LoadTime::Clamp(clamp) => Transform::Clamp {
                min: clamp.min.map(|m| m.get()),
                max: clamp.max.map(|m| m.get()),
            },
            LoadTime::Transpose(t) => match t.perm.as_slice() {
                [1 | -1, 0 | -2] => Transform::Transpose,
                _ => return None,
            },
            LoadTime::Reshape(reshape) => {
                let sizes: Option<Vec<usize>> = reshape
                    .shape
                    .iter()
                    .map(|d| d.as_fixed().and_then(|n| usize::try_from(n).ok()))
                    .collect();
                Transform::Reshape { shape: sizes? }
            }
            LoadTime::Stored | LoadTime::Concat(_) | LoadTime::Slice(_) => return None,
        });
    }
    let start = recipe.rows.map_or(0, |r| r.0);
    let rows = start..start + recipe.n_rows;
    Some(Part {
        source,
        stored: node.results[0].clone(),
        recipe: transforms,
        rows,
    })
}

/// True if the plan can load every part.
pub(crate) fn is_plannable(graph: &Graph, parts: &[PartRecipe]) -> bool {
    parts.iter().all(|p| part(graph, p).is_some())
}

/// `model.layers.0.self_attn.q_proj_k_proj_v_proj` for the three checkpoint names of a stack.
fn stack_name(parts: &[Part]) -> String {
    let names: Vec<&str> = parts
        .iter()
        .map(|p| match &p.source {
            PartSource::Checkpoint(name) => name.as_str(),
            PartSource::Constant(_) => "constant",
        })
        .collect();
    let first: Vec<&str> = names[0].split('.').collect();
    if names.iter().all(|n| *n == names[0]) {
        return names[0].to_owned();
    }
    let same = |n: &&str, at: usize| n.split('.').nth(at) == first.get(at).copied();
    let shared = (0..first.len())
        .take_while(|&at| names.iter().all(|n| same(n, at)))
        .count();
    let own: Vec<&str> = names
        .iter()
        .map(|n| n.split('.').nth(shared).unwrap_or(n))
        .collect();
    let mut name = first[..shared].join(".");
    if !name.is_empty() {
        name.push('.');
    }
    name + &own.join("_")
}

impl Selector<'_> {
    /// Declares the weight of every stack, so that a table that is also a head's weight is found.
    pub(super) fn tile_weights(&mut self) -> Result<(), SelectError> {
        for id in self.graph.canonical_order() {
            if let Op::StackedMatmul(stack) = self.graph.op(id) {
                let parts = self.stack_parts(id, stack)?;
                let segments = stack.segments.iter().map(weight_segment).collect();
                let k = self
                    .graph
                    .value_type(self.graph.operands(id)[stack.first_part()])
                    .shape[1]
                    .clone();
                let rows = stack.segments.last().map_or(0, |s| s.rows[1]);
                let ty = TensorType::new(DType::F32, [gabion_tensor::Dim::from(rows), k]);
                let weight = self.tiled(parts, segments, ty)?;
                let operands = self.graph.operands(id);
                self.note_weight(weight, &operands[stack.first_part()..stack.first_extra()]);
            }
        }
        Ok(())
    }

    /// The parts of all weights of a stack, in order.
    fn stack_parts(
        &self,
        id: gabion_ir::NodeId,
        stack: &StackedMatmul,
    ) -> Result<Vec<PartRecipe>, SelectError> {
        let operands = self.graph.operands(id);
        let mut parts = Vec::new();
        for operand in stack.first_part()..stack.first_extra() {
            let found = parts_of(self.graph, operands[operand]);
            parts.extend(found.ok_or_else(|| SelectError::NoRecipe {
                op: "stacked_matmul".to_owned(),
                operand,
            })?);
        }
        Ok(parts)
    }

    /// The tiled weight of a stack.
    pub(super) fn stack_weight(
        &self,
        id: gabion_ir::NodeId,
        stack: &StackedMatmul,
    ) -> Result<WeightId, SelectError> {
        let parts = self.stack_parts(id, stack)?;
        let segments: Vec<WeightSegment> = stack.segments.iter().map(weight_segment).collect();
        self.tiles
            .iter()
            .find(|t| t.parts == parts && t.segments == segments)
            .map(|t| t.id)
            .ok_or_else(|| SelectError::NoRecipe {
                op: "stacked_matmul".to_owned(),
                operand: stack.first_part(),
            })
    }

    fn tiled(
        &mut self,
        parts: Vec<PartRecipe>,
        segments: Vec<WeightSegment>,
        ty: TensorType,
    ) -> Result<WeightId, SelectError> {
        if let Some(known) = self
            .tiles
            .iter()
            .find(|t| t.parts == parts && t.segments == segments)
        {
            return Ok(known.id);
        }
        let id = self.push_weight(&parts, Layout::Tiles, segments.clone(), ty)?;
        self.tiles.push(TileKey {
            parts,
            segments,
            id,
        });
        Ok(id)
    }

    fn push_weight(
        &mut self,
        parts: &[PartRecipe],
        layout: Layout,
        segments: Vec<WeightSegment>,
        ty: TensorType,
    ) -> Result<WeightId, SelectError> {
        let parts: Option<Vec<Part>> = parts.iter().map(|p| part(self.graph, p)).collect();
        let parts = parts.ok_or_else(|| SelectError::NoRecipe {
            op: "weight".to_owned(),
            operand: 0,
        })?;
        let base = stack_name(&parts);
        let mut name = base.clone();
        let mut n = 1;
        while self.plan.weights.iter().any(|w| w.name == name) {
            name = format!("{base}_{n}");
            n += 1;
        }
        let id = WeightId(self.plan.weights.len() as u32);
        self.plan.weights.push(PlanWeight {
            name,
            ty,
            parts,
            layout,
            segments,
        });
        Ok(id)
    }

    /// A table whose rows are looked up: the tiled weight of the same recipe, a tiled one of its own
    /// if it is stored in another format than it is read in, else a dense one.
    pub(super) fn table_weight(&mut self, value: Value) -> Result<WeightId, SelectError> {
        let weight = self.find_table_weight(value)?;
        self.note_weight(weight, &[value]);
        Ok(weight)
    }

    fn find_table_weight(&mut self, value: Value) -> Result<WeightId, SelectError> {
        let ty = self.graph.value_type(value).clone();
        let parts = parts_of(self.graph, value).ok_or_else(|| SelectError::NoRecipe {
            op: "gather".to_owned(),
            operand: 0,
        })?;
        if let Some(known) = self.tiles.iter().find(|t| t.parts == parts) {
            return Ok(known.id);
        }
        let formats = &self.target.tile_formats;
        let decoded = |p: &PartRecipe| {
            let stored = self.graph.value_type(p.source).dtype;
            stored != DType::F32 && formats.contains(&stored)
        };
        let rows: usize = parts.iter().map(|p| p.n_rows).sum();
        if ty.dtype == DType::F32 && ty.shape.rank() == 2 && rows > 0 && parts.iter().any(decoded) {
            let segments = vec![WeightSegment {
                rows: 0..rows,
                arrangement: Arrangement::Plain,
            }];
            return self.tiled(parts, segments, ty);
        }
        self.dense_weight(value)
    }

    /// A weight that steps read as plain rows.
    pub(super) fn dense_weight(&mut self, value: Value) -> Result<WeightId, SelectError> {
        if let Some((_, id)) = self.dense.iter().find(|(v, _)| *v == value) {
            return Ok(*id);
        }
        let ty = self.graph.value_type(value).clone();
        let parts = parts_of(self.graph, value).ok_or_else(|| SelectError::NoRecipe {
            op: self.graph.op(value.node).name().to_owned(),
            operand: 0,
        })?;
        let id = self.push_weight(&parts, Layout::Dense, Vec::new(), ty)?;
        self.note_weight(id, &[value]);
        self.dense.push((value, id));
        Ok(id)
    }
}

fn weight_segment(segment: &Segment) -> WeightSegment {
    let arrangement = match segment.halves {
        Some(block) => Arrangement::Halves { block },
        None => Arrangement::Plain,
    };
    WeightSegment {
        rows: segment.rows[0]..segment.rows[1],
        arrangement,
    }
}
