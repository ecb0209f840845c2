//! The meaning of `stacked_matmul`: its decomposition, and samples of it.

use gabion_tensor::{BinaryFn, DType, Dim, HostTensor, TensorType, UnaryFn};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use crate::builder::{Builder, TensorValue};
use crate::graph::Value;
use crate::op::{EvalCx, EvalError, HostTensors};
use crate::ops::float::Float;
use crate::ops::rope::Pairing;
use crate::ops::stack_segment::{Fused, Segment, StackNorm, StackNormKind};
use crate::ops::stacked_matmul::StackedMatmul;
use crate::ops::{Binary, Op, Unary};
use crate::sample::{Sample, Sampler};

/// The stack in smaller operators.
pub(super) fn decompose<'g>(
    op: &StackedMatmul,
    args: &[TensorValue<'g>],
) -> Option<Vec<TensorValue<'g>>> {
    let b = args.first()?.builder();
    let x = match op.norm {
        None => args[0],
        Some(StackNorm {
            kind: StackNormKind::Rms,
            eps,
        }) => args[0].rms_norm(args[1], eps.get()),
        Some(StackNorm {
            kind: StackNormKind::Layer,
            eps,
        }) => args[0].layer_norm(args[1], None, eps.get()),
        Some(StackNorm {
            kind: StackNormKind::LayerBias,
            eps,
        }) => args[0].layer_norm(args[1], Some(args[2]), eps.get()),
    };
    let parts = &args[op.first_part()..op.first_extra()];
    let weight = if parts.len() == 1 {
        parts[0]
    } else {
        b.concat(parts, 0)
    };
    let y = x.matmul_t(weight);
    let extras = &args[op.first_extra()..];
    let whole = op.segments.len() == 1;
    let results = op.segments.iter().map(|segment| {
        let [start, end] = segment.rows;
        let rows = if whole { y } else { columns(y, start, end) };
        segment
            .epilogue
            .iter()
            .fold(rows, |value, fused| apply(value, segment, fused, extras))
    });
    Some(results.collect())
}

/// Columns `start..end` of the last axis.
fn columns<'g>(value: TensorValue<'g>, start: usize, end: usize) -> TensorValue<'g> {
    value.slice_axis(-1, start as i64..end as i64, 1)
}

fn apply<'g>(
    value: TensorValue<'g>,
    segment: &Segment,
    fused: &Fused,
    extras: &[TensorValue<'g>],
) -> TensorValue<'g> {
    let b = value.builder();
    match fused {
        Fused::Bias { extra } => value + extras[*extra],
        Fused::Map { func } => b.apply1(Unary { func: *func }, &[value]),
        Fused::Binary {
            func,
            extra,
            swapped: false,
        } => b.apply1(Binary { func: *func }, &[value, extras[*extra]]),
        Fused::Binary {
            func,
            extra,
            swapped: true,
        } => b.apply1(Binary { func: *func }, &[extras[*extra], value]),
        Fused::Scalar {
            func,
            value: number,
        } => b.apply1(
            Binary { func: *func },
            &[value, b.scalar(DType::F32, number.get())],
        ),
        Fused::Glu { func } => {
            let half = segment.n_rows() / 2;
            let first = b.apply1(Unary { func: *func }, &[columns(value, 0, half)]);
            first * columns(value, half, 2 * half)
        }
        Fused::Rope { cos, sin } => {
            let head = segment.halves.unwrap_or(2);
            let shape = value.shape();
            let heads = segment.n_rows() / head;
            let lead = shape[..shape.rank() - 1].iter().cloned();
            let split = value.reshape(lead.chain([Dim::from(heads), Dim::from(head)]));
            split
                .rope(extras[*cos], extras[*sin], Pairing::Half)
                .reshape(shape)
        }
        Fused::CacheWrite { cache, position } => {
            let cache = extras[*cache];
            let rows = value.shape()[0].clone();
            let like = cache.shape();
            let shape = [rows].into_iter().chain(like.iter().skip(1).cloned());
            cache.cache_append(value.reshape(shape), extras[*position], 0)
        }
    }
}

/// Evaluates an operator by evaluating its decomposition.
pub(super) fn eval_by_decomposition(
    op: &Op,
    args: &[HostTensor],
) -> Result<HostTensors, EvalError> {
    let b = Builder::new("decomposition");
    let outputs = {
        let inputs: Vec<TensorValue<'_>> = args
            .iter()
            .enumerate()
            .map(|(i, t)| b.input(&format!("a{i}"), TensorType::new(t.dtype(), t.shape())))
            .collect();
        let values = op
            .decompose(&inputs)
            .ok_or_else(|| EvalError::Value(format!("{} has no decomposition", op.name())))?;
        for (i, value) in values.iter().enumerate() {
            b.output(&format!("o{i}"), *value);
        }
        values.iter().map(TensorValue::id).collect::<Vec<_>>()
    };
    let graph = b.finish().map_err(|e| EvalError::Value(e.to_string()))?;
    let mut values: FxHashMap<Value, HostTensor> = FxHashMap::default();
    for (input, tensor) in graph.inputs().iter().zip(args) {
        values.insert(Value::new(input.node, 0), tensor.clone());
    }
    let bindings = gabion_tensor::Bindings::default();
    for id in graph.canonical_order() {
        if values.contains_key(&Value::new(id, 0)) {
            continue;
        }
        let operands: SmallVec<[HostTensor; 4]> = graph
            .operands(id)
            .iter()
            .map(|v| values[v].clone())
            .collect();
        let node = graph.node(id);
        let results = node
            .op
            .eval(&operands, &EvalCx::new(&bindings, &node.results))?;
        for (i, result) in results.into_iter().enumerate() {
            values.insert(Value::new(id, i as u32), result);
        }
    }
    Ok(outputs.iter().map(|v| values[v].clone()).collect())
}

/// A stack with one to three parts, a plain, an activated and, sometimes, a rotated or gated segment.
pub(super) fn sample(s: &mut Sampler) -> Sample {
    let (m, k) = (s.size(1, 5), s.size(1, 40));
    let norm = s.one_in(3).then(|| StackNorm {
        kind: s.choose(&[
            StackNormKind::Rms,
            StackNormKind::Layer,
            StackNormKind::LayerBias,
        ]),
        eps: Float(1e-5),
    });
    let mut args = vec![s.tensor(DType::F32, &[m, k])];
    for _ in 0..norm.map_or(0, |n| n.kind.operands()) {
        args.push(s.tensor(DType::F32, &[k]));
    }
    let mut segments = Vec::new();
    let mut extras = Vec::new();
    let mut rows = 0;
    for _ in 0..s.size(1, 3) {
        let (segment, mut more) = sample_segment(s, m, rows, extras.len());
        rows = segment.rows[1];
        segments.push(segment);
        extras.append(&mut more);
    }
    // Parts need not end where segments do.
    let mut parts = 0;
    let mut left = rows;
    while left > 0 {
        let n = if parts == 2 { left } else { s.size(1, left) };
        args.push(s.tensor_in(DType::F32, &[n, k], -1.0, 1.0));
        left -= n;
        parts += 1;
    }
    args.extend(extras);
    Sample::new(
        StackedMatmul {
            parts,
            norm,
            segments,
        },
        args,
    )
}

fn sample_segment(
    s: &mut Sampler,
    m: usize,
    start: usize,
    first: usize,
) -> (Segment, Vec<HostTensor>) {
    let mut extras = Vec::new();
    let mut epilogue = Vec::new();
    let (n, halves) = match s.size(0, 3) {
        0 => {
            let half = 16 * s.size(1, 2);
            epilogue.push(Fused::Glu {
                func: UnaryFn::Silu,
            });
            (2 * half, Some(2 * half))
        }
        1 => {
            let head = 32 * s.size(1, 2);
            epilogue.push(Fused::Rope {
                cos: first,
                sin: first + 1,
            });
            extras.push(s.tensor_in(DType::F32, &[m, head / 2], -1.0, 1.0));
            extras.push(s.tensor_in(DType::F32, &[m, head / 2], -1.0, 1.0));
            (head * s.size(1, 2), Some(head))
        }
        _ => (s.size(1, 40), None),
    };
    if s.one_in(2) {
        epilogue.insert(
            0,
            Fused::Bias {
                extra: first + extras.len(),
            },
        );
        extras.push(s.tensor(DType::F32, &[n]));
    }
    if halves.is_none() && s.one_in(2) {
        epilogue.push(Fused::Map {
            func: s.choose(&[UnaryFn::Relu, UnaryFn::GeluErf, UnaryFn::Tanh]),
        });
    }
    if s.one_in(3) {
        epilogue.push(Fused::Scalar {
            func: BinaryFn::Mul,
            value: Float(0.5),
        });
    }
    let width = if epilogue.iter().any(|e| matches!(e, Fused::Glu { .. })) {
        n / 2
    } else {
        n
    };
    if s.one_in(2) {
        epilogue.push(Fused::Binary {
            func: BinaryFn::Add,
            extra: first + extras.len(),
            swapped: s.one_in(2),
        });
        extras.push(s.tensor(DType::F32, &[m, width]));
    }
    (
        Segment {
            rows: [start, start + n],
            halves,
            epilogue,
        },
        extras,
    )
}
