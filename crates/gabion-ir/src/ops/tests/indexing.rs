//! slice, gather, scatter, one_hot, pad, range against numbers from numpy.

use std::iter::once;

use super::*;
use crate::ops::{
    AxisSlice, Gather, GatherElements, Index, OneHot, Pad, Range, Scatter, ScatterReduce, Slice,
    Span,
};

fn part(axis: i64, start: Option<i64>, stop: Option<i64>, step: i64) -> AxisSlice {
    AxisSlice {
        axis,
        start: start.map(Dim::fixed),
        stop: stop.map(Dim::fixed),
        step,
    }
}

#[test]
fn slice_is_numpys() {
    let x = counting(&[2, 3, 4]);
    let slice = |axes: Vec<AxisSlice>| eval(Slice { axes }, std::slice::from_ref(&x));
    let flipped = slice(vec![part(1, None, None, -1), part(2, Some(1), Some(3), 1)]);
    let expected = [9., 10., 5., 6., 1., 2., 21., 22., 17., 18., 13., 14.];
    assert!(flipped.bitwise_eq(&f32s(&[2, 3, 2], &expected)));
    let stepped = slice(vec![
        part(0, Some(1), None, 1),
        part(1, Some(-1), Some(-4), -2),
        part(-1, Some(3), None, -3),
    ]);
    assert!(stepped.bitwise_eq(&f32s(&[1, 2, 2], &[23., 20., 15., 12.])));
    assert_eq!(slice(vec![part(1, Some(5), None, 1)]).shape(), [2, 0, 4]);
}

/// Lengths from symbolic types and places from evaluation, over all bounds around small axes. The
/// number is numpy's: it folds the length and the elements of each `arange(n)[start:stop:step]`.
#[test]
fn slices_of_symbolic_axes_are_exact() {
    let bounds: Vec<Option<i64>> = once(None).chain((-9..=9).map(Some)).collect();
    let ty: TensorType = "f32[n]".parse().unwrap();
    let mut hash = 0u128;
    for n in 0..8usize {
        let mut bindings = Bindings::new();
        bindings.bind("n", n as i64).unwrap();
        let x = counting(&[n]);
        for &start in &bounds {
            for &stop in &bounds {
                for step in [-3, -2, -1, 1, 2, 3] {
                    let op: Op = Slice {
                        axes: vec![part(0, start, stop, step)],
                    }
                    .into();
                    let results = infer(op.clone(), std::slice::from_ref(&ty)).unwrap();
                    let y = op
                        .eval(std::slice::from_ref(&x), &EvalCx::new(&bindings, &results))
                        .unwrap();
                    let values = y[0].to_i64_vec().unwrap();
                    for v in once(values.len() as i64).chain(values) {
                        hash = (hash * 31 + v as u128 + 1) % ((1 << 61) - 1);
                    }
                }
            }
        }
    }
    assert_eq!(hash, NUMPY_SLICES);
}

#[test]
fn symbolic_slices_read_well() {
    let of = |start: Option<i64>, stop: Option<i64>, step: i64| {
        infer_text(
            Slice {
                axes: vec![part(0, start, stop, step)],
            },
            &["f32[n]"],
        )
        .unwrap()
        .remove(0)
    };
    assert_eq!(of(None, None, -1), "f32[n]");
    assert_eq!(of(None, Some(2), 1), "f32[min(2, n)]");
    assert_eq!(of(Some(-1), None, 1), "f32[min(1, n)]");
    assert_eq!(of(None, Some(-1), 1), "f32[max(0, n - 1)]");
    assert_eq!(of(Some(2), None, 1), "f32[max(0, n - 2)]");
    assert_eq!(of(None, None, 2), "f32[ceil_div(n, 2)]");
}

#[test]
fn symbolic_bounds_are_clamped() {
    let n = || Dim::symbol("n").unwrap();
    let m = || Dim::symbol("m").unwrap();
    let op = |start: Dim, stop: Dim| -> Op {
        Slice {
            axes: vec![AxisSlice {
                axis: 0,
                start: Some(start),
                stop: Some(stop),
                step: 1,
            }],
        }
        .into()
    };
    for size in 0..6 {
        for other in 0..8 {
            let mut bindings = Bindings::new();
            bindings.bind("n", size).unwrap();
            bindings.bind("m", other).unwrap();
            for (op, start, stop) in [
                (op(m(), n()), other, size),
                (op(&n() - 2, m()), size - 2, other),
                (op(m(), m() + 2), other, other + 2),
            ] {
                let results = infer(op.clone(), &["f32[n]".parse().unwrap()]).unwrap();
                let x = counting(&[size as usize]);
                let y = op.eval(&[x], &EvalCx::new(&bindings, &results)).unwrap();
                let (start, stop) = (start.clamp(0, size), stop.clamp(0, size));
                assert_eq!(
                    y[0].to_i64_vec().unwrap(),
                    (start..stop).collect::<Vec<_>>(),
                    "{op:?} {size} {other}"
                );
            }
        }
    }
}

#[test]
fn slice_refuses() {
    let slice = |axes: Vec<AxisSlice>| refused(Slice { axes }, &["f32[2, 3]"]);
    assert_eq!(
        slice(vec![part(2, None, None, 1)]),
        "axis 2 is outside rank 2"
    );
    assert_eq!(
        slice(vec![part(0, None, None, 0)]),
        "axis 0: expected a step other than 0, found 0"
    );
    assert_eq!(
        slice(vec![part(1, None, None, 1), part(-1, None, None, 1)]),
        "axis 1 is cut twice"
    );
    let blocks = Slice {
        axes: vec![part(-1, Some(0), Some(32), 1)],
    };
    assert_eq!(
        refused(blocks, &["q8_0[2, 64]"]),
        "operand 0: expected a plain dtype when cutting the last axis, found q8_0"
    );
}

#[test]
fn indexing_drops_adds_and_keeps_axes() {
    let x = counting(&[2, 3, 4]);
    let y = run(std::slice::from_ref(&x), |_, x| {
        x[0].slice(&[(-1).into(), Index::Rest, (-3..100).into()])
    });
    assert_eq!(y.shape(), [3, 3]);
    let y = run(std::slice::from_ref(&x), |_, x| {
        x[0].slice(&[
            Index::At(1),
            Index::New,
            (..).into(),
            Span::from(-3..100).step_by(2).into(),
        ])
    });
    assert!(y.bitwise_eq(&f32s(&[1, 3, 2], &[13., 15., 17., 19., 21., 23.])));
    let y = run(std::slice::from_ref(&x), |_, x| {
        x[0].select(1, -2).slice_axis(-1, .., -1)
    });
    assert!(y.bitwise_eq(&f32s(&[2, 4], &[7., 6., 5., 4., 19., 18., 17., 16.])));
    let message = diagnosed(&["f32[2, 3]"], |_, x| x[0].select(1, 3));
    assert!(
        message.contains("index 3 is outside axis 1 of [2, 3]"),
        "{message}"
    );
    assert!(message.contains("indexing.rs:"), "{message}");
    let message = diagnosed(&["f32[2, 3]"], |_, x| {
        x[0].slice(&[0.into(), 0.into(), 0.into()])
    });
    assert!(message.contains("3 places"), "{message}");
}

#[test]
fn gather_is_take() {
    let x = counting(&[2, 3, 4]);
    let at = i64s(&[2, 2], &[2, 0, 1, 1]);
    let y = eval(Gather { axis: 1 }, &[x.clone(), at]);
    assert_eq!(y.shape(), [2, 2, 2, 4]);
    let first: Vec<f32> = y.to_f32_vec().unwrap().into_iter().step_by(4).collect();
    assert_eq!(first, [8., 0., 4., 4., 20., 12., 16., 16.]);
    let y = eval(Gather { axis: -1 }, &[x.clone(), tensor(&[2], &[3u8, 0])]);
    assert_eq!(
        y.to_f32_vec().unwrap(),
        [3., 0., 7., 4., 11., 8., 15., 12., 19., 16., 23., 20.]
    );
    let error = try_eval(Gather { axis: 1 }, &[x.clone(), i64s(&[1], &[-1])]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "gather, operand 1: index -1 is outside 0..3"
    );
    let error = try_eval(Gather { axis: 1 }, &[x, tensor(&[1], &[u64::MAX])]).unwrap_err();
    assert!(matches!(error, EvalError::Index { size: 3, .. }));
    assert_eq!(
        refused(Gather { axis: 0 }, &["f32[2]", "f32[1]"]),
        "operand 1: expected integer indices, found f32"
    );
    assert!(refused(Gather { axis: 1 }, &["q4_0[2, 32]", "i64[1]"]).contains("plain dtype"));
    assert_eq!(
        infer_text(Gather { axis: 0 }, &["q4_0[v, 32]", "i64[b, t]"]).unwrap(),
        ["q4_0[b, t, 32]"]
    );
}

#[test]
fn embedding_of_blocks_is_dequantised() {
    let table = f32s(
        &[3, 32],
        &(0..96).map(|i| i as f32 - 48.0).collect::<Vec<_>>(),
    );
    let table = table.cast("q8_0".parse().unwrap()).unwrap();
    let expected = table.rows(2..3).unwrap().cast(DType::F32).unwrap();
    let found = run(&[table, i64s(&[1], &[2])], |_, x| x[0].embedding(x[1]));
    assert!(found.bitwise_eq(&expected));
}

#[test]
fn single_elements_are_onnxs() {
    let a = f32s(&[2, 3], &[3., 1., 2., 9., 7., 8.]);
    let y = eval(
        GatherElements { axis: 1 },
        &[a, i64s(&[2, 2], &[0, 2, 1, 1])],
    );
    assert!(y.bitwise_eq(&f32s(&[2, 2], &[3., 2., 7., 7.])));
    // The first example of ONNX's ScatterElements.
    let at = i64s(&[2, 3], &[1, 0, 2, 0, 2, 1]);
    let updates = f32s(&[2, 3], &[1.0, 1.1, 1.2, 2.0, 2.1, 2.2]);
    let op = Scatter {
        axis: 0,
        reduce: ScatterReduce::None,
    };
    let y = eval(op, &[f32s(&[3, 3], &[0.0; 9]), at, updates]);
    assert!(y.bitwise_eq(&f32s(
        &[3, 3],
        &[2.0, 1.1, 0.0, 1.0, 0.0, 2.2, 0.0, 2.1, 1.2]
    )));
}

#[test]
fn scatter_joins_duplicates_in_order() {
    let (data, at) = (f32s(&[1, 4], &[1., 2., 3., 4.]), i64s(&[1, 3], &[1, 1, 0]));
    let updates = f32s(&[1, 3], &[5., 7., -2.]);
    for (reduce, expected) in [
        (ScatterReduce::None, [-2., 7., 3., 4.]),
        (ScatterReduce::Add, [-1., 14., 3., 4.]),
        (ScatterReduce::Mul, [-2., 70., 3., 4.]),
        (ScatterReduce::Max, [1., 7., 3., 4.]),
        (ScatterReduce::Min, [-2., 2., 3., 4.]),
    ] {
        let y = eval(
            Scatter { axis: 1, reduce },
            &[data.clone(), at.clone(), updates.clone()],
        );
        assert_eq!(y.to_f32_vec().unwrap(), expected, "{reduce:?}");
    }
    let op = Scatter {
        axis: 0,
        reduce: ScatterReduce::Add,
    };
    assert_eq!(
        refused(op.clone(), &["f32[3]", "i64[2]", "f16[2]"]),
        "operand 2: expected f32 as operand 0, found f16"
    );
    assert!(refused(op.clone(), &["f32[3]", "i64[2]", "f32[3]"]).contains("operand 2, axis 0"));
    assert!(refused(op, &["bool[3]", "i64[2]", "bool[2]"]).contains("found bool"));
    assert!(
        refused(GatherElements { axis: 0 }, &["f32[3, 2]", "i64[2, 3]"])
            .contains("operand 1, axis 1")
    );
}

#[test]
fn one_hot_pad_and_range() {
    let hot = eval(
        OneHot {
            depth: Dim::fixed(3),
            dtype: DType::I8,
        },
        &[i64s(&[2], &[2, 0])],
    );
    assert!(hot.bitwise_eq(&tensor(&[2, 3], &[0i8, 0, 1, 1, 0, 0])));
    let error = try_eval(
        OneHot {
            depth: Dim::fixed(3),
            dtype: DType::I8,
        },
        &[i64s(&[1], &[3])],
    )
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "one_hot, operand 0: index 3 is outside 0..3"
    );

    let dims = |v: &[i64]| v.iter().map(|&d| Dim::fixed(d)).collect::<Vec<_>>();
    let op = |low: &[i64], high: &[i64], value: f64| Pad {
        low: dims(low),
        high: dims(high),
        value: value.into(),
    };
    let y = eval(op(&[1, 0], &[0, 2], 9.0), &[i64s(&[2, 2], &[1, 2, 3, 4])]);
    assert!(y.bitwise_eq(&i64s(&[3, 4], &[9, 9, 9, 9, 1, 2, 9, 9, 3, 4, 9, 9])));
    assert!(
        refused(op(&[-1], &[0], 0.0), &["f32[3]"])
            .starts_with("low[0] is at least 0 (`slice` cuts)")
    );
    assert_eq!(
        refused(op(&[1], &[0], 0.5), &["i8[3]"]),
        "value: i8 cannot hold 0.5"
    );
    assert!(
        refused(op(&[1], &[0], 0.0), &["f32[3, 3]"])
            .contains("one size per axis of f32[3, 3], found 1")
    );

    let range = |start: i64, stop: i64, step: i64, dtype: DType| Range {
        start: Dim::fixed(start),
        stop: Dim::fixed(stop),
        step: Dim::fixed(step),
        dtype,
    };
    assert_eq!(
        eval(range(7, -2, -3, DType::I32), &[])
            .to_i64_vec()
            .unwrap(),
        [7, 4, 1]
    );
    assert_eq!(
        eval(range(0, 7, 3, DType::F16), &[]).to_f32_vec().unwrap(),
        [0., 3., 6.]
    );
    assert_eq!(eval(range(2, 2, 1, DType::U8), &[]).shape(), [0]);
    assert!(
        try_eval(range(250, 260, 1, DType::U8), &[])
            .unwrap_err()
            .to_string()
            .contains("outside u8")
    );
    assert!(
        try_eval(range(-1, 2, 1, DType::U64), &[])
            .unwrap_err()
            .to_string()
            .contains("outside u64")
    );
    assert!(refused(range(0, 4, 0, DType::I64), &[]).contains("expected a number other than 0"));
    let tokens = Dim::symbol("tokens").unwrap();
    let op = Range {
        start: Dim::ZERO,
        stop: tokens,
        step: Dim::ONE,
        dtype: DType::I64,
    };
    assert_eq!(infer_text(op, &[]).unwrap(), ["i64[tokens]"]);
}

const NUMPY_SLICES: u128 = 1747632685514053805;
