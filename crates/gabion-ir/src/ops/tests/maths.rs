//! Elementwise maths, comparisons, where, clamp, cast, matmul.

use gabion_tensor::{BinaryFn, CompareFn, UnaryFn};

use super::*;
use crate::ops::{Binary, Cast, Clamp, Compare, Matmul, Unary, Where};

fn add() -> Binary {
    Binary {
        func: BinaryFn::Add,
    }
}

#[test]
fn unary_functions_keep_special_values() {
    let x = f32s(&[4], &[-1.5, 0.0, f32::NAN, f32::INFINITY]);
    let of = |func| {
        eval(Unary { func }, std::slice::from_ref(&x))
            .to_f32_vec()
            .unwrap()
    };
    assert_eq!(of(UnaryFn::Relu)[..2], [0.0, 0.0]);
    assert!(of(UnaryFn::Relu)[2].is_nan());
    assert_eq!(of(UnaryFn::Exp)[1..2], [1.0]);
    assert_eq!(of(UnaryFn::Neg)[3], f32::NEG_INFINITY);
    assert!(
        eval(
            Unary {
                func: UnaryFn::IsNan
            },
            &[x]
        )
        .bitwise_eq(&bools(&[4], &[false, false, true, false]))
    );
    let negated = eval(Unary { func: UnaryFn::Neg }, &[tensor(&[2], &[-128i8, 5])]);
    assert!(negated.bitwise_eq(&tensor(&[2], &[-128i8, -5])));
    assert_eq!(
        refused(Unary { func: UnaryFn::Exp }, &["i32[2]"]),
        "`exp` is not defined on i32: `cast` the operand"
    );
    assert!(refused(Unary { func: UnaryFn::Exp }, &["q4_0[32]"]).contains("dequantize"));
}

#[test]
fn f16_rounds_once() {
    // In f16, 2048 + 1 is 2048; in f32 the sum is exact and rounding it is a tie to even.
    let half = |v: f32| f32s(&[1], &[v]).cast(DType::F16).unwrap();
    let sum = eval(add(), &[half(2049.0), half(2.0)]);
    assert_eq!(sum.to_f32_vec().unwrap(), [2050.0]);
    let gelu = eval(
        Unary {
            func: UnaryFn::GeluErf,
        },
        &[half(1.0)],
    );
    // 0.8413447 lies between the neighbours 0.84131 and 0.8418.
    assert_eq!(gelu.to_f32_vec().unwrap(), [0.841_308_6]);
}

#[test]
fn operands_broadcast_and_promote() {
    let sum = eval(
        add(),
        &[tensor(&[2, 1], &[1i8, 2]), tensor(&[3], &[10i16, 20, 300])],
    );
    assert!(sum.bitwise_eq(&tensor(&[2, 3], &[11i16, 21, 301, 12, 22, 302])));
    assert_eq!(
        infer_text(add(), &["f32[t, 1, 8]", "bf16[h, 1]"]).unwrap(),
        ["f32[t, h, 8]"]
    );
    assert_eq!(
        infer_text(add(), &["f32[n]", "f32[8]"]).unwrap(),
        ["f32[8]"]
    );
    assert_eq!(guards(add(), &["f32[n]", "f32[8]"]), ["n == 8"]);
    assert_eq!(guards(add(), &["f32[n]", "f32[m]"]).len(), 1);
    assert_eq!(
        guards(add(), &["f32[n, 4]", "f32[1, 1]"]),
        Vec::<String>::new()
    );
    let message = refused(add(), &["f32[2, 3]", "f32[4]"]);
    assert!(message.starts_with("axis -1 of operand"), "{message}");
    assert!(message.contains('3') && message.contains('4'), "{message}");
    assert_eq!(
        refused(add(), &["bf16[2]", "f16[2]"]),
        "operand 1: no dtype holds both bf16 and f16: cast one of them"
    );
    assert_eq!(refused(add(), &["f32[2]"]), "expected 2 operands, found 1");
}

#[test]
fn integers_wrap_and_refuse_zero_divisors() {
    let sum = eval(add(), &[tensor(&[1], &[250u8]), tensor(&[1], &[10u8])]);
    assert!(sum.bitwise_eq(&tensor(&[1], &[4u8])));
    let max = eval(add(), &[tensor(&[1], &[u64::MAX]), tensor(&[1], &[2u64])]);
    assert!(max.bitwise_eq(&tensor(&[1], &[1u64])));
    let floor = Binary {
        func: BinaryFn::FloorDiv,
    };
    let down = eval(floor.clone(), &[i64s(&[2], &[-7, 7]), i64s(&[2], &[2, -2])]);
    assert!(down.bitwise_eq(&i64s(&[2], &[-4, -4])));
    let error = try_eval(floor, &[i64s(&[1], &[1]), i64s(&[1], &[0])]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`floor_div` of integers: division by zero"
    );
}

#[test]
fn comparisons_give_bools() {
    let (a, b) = (f32s(&[3], &[1., 2., f32::NAN]), f32s(&[], &[2.0]));
    let of = |func| eval(Compare { func }, &[a.clone(), b.clone()]);
    assert!(of(CompareFn::Lt).bitwise_eq(&bools(&[3], &[true, false, false])));
    assert!(of(CompareFn::Ge).bitwise_eq(&bools(&[3], &[false, true, false])));
    assert!(of(CompareFn::Ne).bitwise_eq(&bools(&[3], &[true, false, true])));
    // The largest u64 is above the largest i64.
    let big = eval(
        Compare {
            func: CompareFn::Gt,
        },
        &[tensor(&[1], &[u64::MAX]), tensor(&[1], &[1u64])],
    );
    assert!(big.bitwise_eq(&bools(&[1], &[true])));
}

#[test]
fn where_picks_by_element() {
    let condition = bools(&[2, 1], &[true, false]);
    let (a, b) = (f32s(&[2], &[1., f32::NAN]), tensor(&[], &[7i8]));
    let y = eval(Where {}, &[condition, a, b]).to_f32_vec().unwrap();
    assert_eq!((y[0], y[2], y[3]), (1.0, 7.0, 7.0));
    assert!(y[1].is_nan());
    assert_eq!(
        refused(Where {}, &["i32[2]", "f32[2]", "f32[2]"]),
        "operand 0: expected a bool condition, found i32"
    );
}

#[test]
fn clamp_limits() {
    let op = |min: Option<f64>, max: Option<f64>| Clamp {
        min: min.map(Into::into),
        max: max.map(Into::into),
    };
    let x = f32s(&[4], &[-5.0, 0.25, 9.0, f32::NAN]);
    let y = eval(op(Some(-1.0), Some(2.0)), std::slice::from_ref(&x))
        .to_f32_vec()
        .unwrap();
    assert_eq!(y[..3], [-1.0, 0.25, 2.0]);
    assert!(y[3].is_nan());
    assert_eq!(
        eval(op(Some(3.0), Some(2.0)), &[x]).to_f32_vec().unwrap()[..3],
        [2.0, 2.0, 2.0]
    );
    let codes = eval(op(None, Some(3.0)), &[tensor(&[2], &[200u8, 1])]);
    assert!(codes.bitwise_eq(&tensor(&[2], &[3u8, 1])));
    assert_eq!(
        refused(op(Some(0.5), None), &["i8[1]"]),
        "min: i8 cannot hold 0.5"
    );
    assert_eq!(
        refused(op(None, Some(f64::NAN)), &["f32[1]"]),
        "max: expected a number, found nan"
    );
    assert!(refused(op(None, None), &["f32[1]"]).contains("neither"));
}

#[test]
fn cast_rounds_and_saturates() {
    let x = f32s(&[4], &[300.7, -1.5, f32::NAN, 1e9]);
    let y = eval(Cast { dtype: DType::U8 }, std::slice::from_ref(&x));
    assert!(y.bitwise_eq(&tensor(&[4], &[255u8, 0, 0, 255])));
    let y = eval(
        Cast { dtype: DType::Bool },
        &[f32s(&[3], &[0.0, -0.0, 0.5])],
    );
    assert!(y.bitwise_eq(&bools(&[3], &[false, false, true])));
    assert!(refused(Cast { dtype: DType::F32 }, &["q8_0[32]"]).contains("dequantize"));
    assert!(
        refused(
            Cast {
                dtype: "q8_0".parse().unwrap()
            },
            &["f32[32]"]
        )
        .contains("`quantize`")
    );
}

#[test]
fn matmul_of_vectors_and_batches() {
    let m = Matmul::default();
    let ints = |shape: &[usize]| counting(shape).cast(DType::I64).unwrap();
    let y = eval(m.clone(), &[ints(&[2, 1, 3]), ints(&[3, 2])]);
    assert!(y.bitwise_eq(&i64s(&[2, 1, 2], &[10, 13, 28, 40])));
    let y = eval(m.clone(), &[ints(&[2, 3]), i64s(&[3], &[1, 2, 3])]);
    assert!(y.bitwise_eq(&i64s(&[2], &[8, 26])));
    let y = eval(m.clone(), &[i64s(&[2], &[1, 2]), ints(&[2, 3])]);
    assert!(y.bitwise_eq(&i64s(&[3], &[6, 9, 12])));
    let y = eval(m.clone(), &[i64s(&[3], &[1, 2, 3]), i64s(&[3], &[4, 5, 6])]);
    assert!(y.bitwise_eq(&i64s(&[], &[32])));
    let y = eval(m.clone(), &[tensor(&[1], &[200u8]), tensor(&[1], &[2u8])]);
    assert!(y.bitwise_eq(&tensor(&[], &[144u8])));
    let both = Matmul {
        transpose_a: true,
        transpose_b: true,
    };
    // [[0, 2, 4], [1, 3, 5]] times [[0, 3], [1, 4], [2, 5]].
    let y = eval(both, &[ints(&[3, 2]), ints(&[2, 3])]);
    assert!(y.bitwise_eq(&i64s(&[2, 2], &[10, 28, 13, 40])));
    assert_eq!(
        eval(m, &[counting(&[2, 0]), counting(&[0, 3])])
            .to_f32_vec()
            .unwrap(),
        [0.0; 6]
    );
}

#[test]
fn matmul_sums_exactly() {
    // In f32, 1e8 + 1 - 1e8 is 0.
    let y = eval(
        Matmul::default(),
        &[f32s(&[3], &[1e8, 1.0, -1e8]), f32s(&[3], &[1.0; 3])],
    );
    assert_eq!(y.to_f32_vec().unwrap(), [1.0]);
}

#[test]
fn matmul_types() {
    let t = Matmul {
        transpose_a: false,
        transpose_b: true,
    };
    assert_eq!(
        infer_text(t.clone(), &["f32[b, tokens, 576]", "bf16[960, 576]"]).unwrap(),
        ["f32[b, tokens, 960]"]
    );
    assert_eq!(guards(t.clone(), &["f32[4, n]", "f32[3, 8]"]), ["n == 8"]);
    let message = refused(t.clone(), &["f32[4, 7]", "f32[3, 8]"]);
    assert!(
        message.starts_with("the summed axes of operands 0 and 1 are equal: needs 7 == 8"),
        "{message}"
    );
    assert!(
        refused(t.clone(), &["f32[4, 32]", "q8_0[3, 32]"])
            .contains("operand 1: expected a plain dtype (`dequantize`")
    );
    assert!(refused(t, &["f32[4]", "f32[4]"]).contains("rank 2 or more"));
    assert!(
        refused(Matmul::default(), &["f32[]", "f32[4]"])
            .contains("operand 0: expected rank 1 or more")
    );
    assert!(refused(Matmul::default(), &["bool[4]", "bool[4]"]).contains("a float or an integer"));
}
