//! Reductions, argmax, top_k, cumsum.

use super::*;
use crate::ops::{ArgFn, ArgReduce, Cumsum, Reduce, ReduceFn, TopK};

fn reduce(func: ReduceFn, axes: &[i64], keep_dims: bool) -> Reduce {
    Reduce {
        func,
        axes: axes.to_vec(),
        keep_dims,
    }
}

#[test]
fn reductions_over_axes() {
    let x = counting(&[2, 3, 2]);
    let of = |func, axes: &[i64]| eval(reduce(func, axes, false), std::slice::from_ref(&x));
    assert!(of(ReduceFn::Sum, &[1]).bitwise_eq(&f32s(&[2, 2], &[6., 9., 24., 27.])));
    assert!(of(ReduceFn::Mean, &[0, -1]).bitwise_eq(&f32s(&[3], &[3.5, 5.5, 7.5])));
    assert!(of(ReduceFn::Max, &[0, 1, 2]).bitwise_eq(&f32s(&[], &[11.0])));
    assert!(of(ReduceFn::Min, &[2]).bitwise_eq(&f32s(&[2, 3], &[0., 2., 4., 6., 8., 10.])));
    assert!(of(ReduceFn::Prod, &[1]).bitwise_eq(&f32s(&[2, 2], &[0., 15., 480., 693.])));
    assert_eq!(
        eval(reduce(ReduceFn::Sum, &[1], true), &[x]).shape(),
        [2, 1, 2]
    );
    let b = bools(&[2, 2], &[true, false, true, true]);
    assert!(
        eval(reduce(ReduceFn::Any, &[0], false), std::slice::from_ref(&b))
            .bitwise_eq(&bools(&[2], &[true, true]))
    );
    assert!(
        eval(reduce(ReduceFn::All, &[0], false), &[b]).bitwise_eq(&bools(&[2], &[true, false]))
    );
}

#[test]
fn reductions_of_special_values() {
    let x = f32s(&[3], &[1.0, f32::NAN, 2.0]);
    for func in [ReduceFn::Max, ReduceFn::Min, ReduceFn::Sum] {
        assert!(
            eval(reduce(func, &[0], false), std::slice::from_ref(&x))
                .to_f32_vec()
                .unwrap()[0]
                .is_nan()
        );
    }
    // An f32 sum from the left would lose the 1.
    let y = eval(
        reduce(ReduceFn::Sum, &[0], false),
        &[f32s(&[3], &[1e8, 1.0, -1e8])],
    );
    assert_eq!(y.to_f32_vec().unwrap(), [1.0]);
    let y = eval(
        reduce(ReduceFn::Sum, &[0], false),
        &[tensor(&[2], &[100i8, 100])],
    );
    assert!(y.bitwise_eq(&tensor(&[], &[-56i8])));
    let none = counting(&[0, 2]);
    assert_eq!(
        eval(
            reduce(ReduceFn::Sum, &[0], false),
            std::slice::from_ref(&none)
        )
        .to_f32_vec()
        .unwrap(),
        [0.0; 2]
    );
    assert_eq!(
        eval(
            reduce(ReduceFn::Prod, &[0], false),
            std::slice::from_ref(&none)
        )
        .to_f32_vec()
        .unwrap(),
        [1.0; 2]
    );
    let error = try_eval(reduce(ReduceFn::Max, &[0], false), &[none]).unwrap_err();
    assert_eq!(error.to_string(), "the reduce_max of no elements");
}

#[test]
fn reductions_refuse() {
    assert_eq!(
        refused(reduce(ReduceFn::Any, &[0], false), &["f32[2]"]),
        "operand 0: expected bool, found f32"
    );
    assert_eq!(
        refused(reduce(ReduceFn::Mean, &[0], false), &["i32[2]"]),
        "operand 0: expected a float, found i32"
    );
    assert_eq!(
        refused(reduce(ReduceFn::Sum, &[0, -1], false), &["f32[2]"]),
        "axes: axis 0 is named twice"
    );
    assert_eq!(
        refused(reduce(ReduceFn::Sum, &[], false), &["f32[2]"]),
        "axes: expected at least 1, found none"
    );
    assert_eq!(
        refused(reduce(ReduceFn::Sum, &[1], false), &["f32[2]"]),
        "axis 1 is outside rank 1"
    );
}

#[test]
fn argmax_is_numpys() {
    let t = || {
        f32s(
            &[2, 5],
            &[
                1.,
                5.,
                f32::NAN,
                5.,
                2.,
                -0.0,
                0.0,
                -1.,
                f32::NEG_INFINITY,
                0.0,
            ],
        )
    };
    let of = |func, axis| {
        eval(
            ArgReduce {
                func,
                axis,
                keep_dims: false,
            },
            &[t()],
        )
    };
    assert!(of(ArgFn::Max, 1).bitwise_eq(&i64s(&[2], &[2, 0])));
    assert!(of(ArgFn::Min, -1).bitwise_eq(&i64s(&[2], &[2, 3])));
    assert!(of(ArgFn::Max, 0).bitwise_eq(&i64s(&[5], &[0, 0, 0, 0, 0])));
    let kept = eval(
        ArgReduce {
            func: ArgFn::Max,
            axis: 0,
            keep_dims: true,
        },
        &[i64s(&[3, 1], &[4, 9, 9])],
    );
    assert!(kept.bitwise_eq(&i64s(&[1, 1], &[1])));
    let error = try_eval(
        ArgReduce {
            func: ArgFn::Max,
            axis: 0,
            keep_dims: false,
        },
        &[counting(&[0, 1])],
    );
    assert!(error.unwrap_err().to_string().contains("which is empty"));
}

#[test]
fn top_k_is_numpys_stable_sort() {
    let t = f32s(
        &[2, 5],
        &[
            1.,
            5.,
            f32::NAN,
            5.,
            2.,
            -0.0,
            0.0,
            -1.,
            f32::NEG_INFINITY,
            0.0,
        ],
    );
    let op = |k: i64, axis: i64| TopK {
        k: Dim::fixed(k),
        axis,
    };
    let results = try_eval(op(5, -1), std::slice::from_ref(&t)).unwrap();
    // numpy sorts NaN last; here it is the largest.
    assert!(results[1].bitwise_eq(&i64s(&[2, 5], &[2, 1, 3, 4, 0, 0, 1, 4, 2, 3])));
    assert_eq!(results[0].to_f32_vec().unwrap()[1..5], [5., 5., 2., 1.]);
    let results = try_eval(op(1, 0), &[t]).unwrap();
    assert!(results[1].bitwise_eq(&i64s(&[1, 5], &[0, 0, 0, 0, 0])));
    let message = refused(op(6, 1), &["f32[2, 5]"]);
    assert!(
        message.starts_with("k is at most axis 1 of operand 0: needs 6 <= 5"),
        "{message}"
    );
    assert_eq!(guards(op(6, 0), &["f32[n]"]), ["6 <= n"]);
}

#[test]
fn cumsum_runs_both_ways() {
    let c = i64s(&[2, 3], &[1, 2, 3, 4, 5, 6]);
    let of = |exclusive, reverse| {
        eval(
            Cumsum {
                axis: 1,
                exclusive,
                reverse,
            },
            std::slice::from_ref(&c),
        )
    };
    assert!(of(false, false).bitwise_eq(&i64s(&[2, 3], &[1, 3, 6, 4, 9, 15])));
    assert!(of(true, true).bitwise_eq(&i64s(&[2, 3], &[5, 3, 0, 11, 6, 0])));
    assert!(of(true, false).bitwise_eq(&i64s(&[2, 3], &[0, 1, 3, 0, 4, 9])));
    let down = eval(
        Cumsum {
            axis: 0,
            exclusive: false,
            reverse: false,
        },
        &[c],
    );
    assert!(down.bitwise_eq(&i64s(&[2, 3], &[1, 2, 3, 5, 7, 9])));
    assert!(
        refused(
            Cumsum {
                axis: 0,
                exclusive: false,
                reverse: false
            },
            &["bool[2]"]
        )
        .contains("found bool")
    );
}
