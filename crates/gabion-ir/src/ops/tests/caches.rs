//! cache_append, quantize, dequantize.

use gabion_tensor::BlockFormat;

use super::*;
use crate::ops::{CacheAppend, Dequantize, Quantize};

#[test]
fn cache_append_writes_slots() {
    let cache = f32s(&[2, 3, 1], &[0.0; 6]);
    let new = f32s(&[2, 2, 1], &[1., 2., 3., 4.]);
    let op = CacheAppend { axis: -2 };
    let at = |p: i64| HostTensor::scalar(p);
    let y = eval(op.clone(), &[cache.clone(), new.clone(), at(1)]);
    assert!(y.bitwise_eq(&f32s(&[2, 3, 1], &[0., 1., 2., 0., 3., 4.])));
    for p in [2, -1, i64::MAX] {
        let error = try_eval(op.clone(), &[cache.clone(), new.clone(), at(p)])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(&format!("writes slots {p}..")) && error.contains("a cache of 3"),
            "{error}"
        );
    }
    let message = refused(op.clone(), &["f16[3, 1]", "f32[2, 1]", "i64[]"]);
    assert_eq!(
        message,
        "operand 1: expected f16 as the cache (`cast` it), found f32"
    );
    assert!(
        refused(op.clone(), &["f32[3, 1]", "f32[4, 1]", "i64[]"]).contains("at most the capacity")
    );
    assert!(
        refused(op.clone(), &["f32[3, 1]", "f32[2, 2]", "i64[]"]).contains("operand 1, axis 1")
    );
    assert!(
        refused(op.clone(), &["f32[3, 1]", "f32[2, 1]", "i64[1]"])
            .contains("operand 2: expected a position i64[]")
    );
    assert_eq!(
        guards(op, &["f32[64, 1]", "f32[t, 1]", "i64[]"]),
        ["t <= 64"]
    );
}

#[test]
fn quantize_and_back() {
    for format in BlockFormat::ALL {
        let dtype = DType::Block(format);
        let n = dtype.block_elems();
        let x = f32s(
            &[2, n],
            &(0..2 * n).map(|i| i as f32 / 8.0 - 3.0).collect::<Vec<_>>(),
        );
        let codes = eval(Quantize { dtype }, std::slice::from_ref(&x));
        assert_eq!((codes.dtype(), codes.shape()), (dtype, &[2, n][..]));
        let back = eval(
            Dequantize { dtype: DType::F32 },
            std::slice::from_ref(&codes),
        );
        let largest = x
            .to_f32_vec()
            .unwrap()
            .iter()
            .fold(0.0f32, |m, v| m.max(v.abs()));
        for (a, b) in back
            .to_f32_vec()
            .unwrap()
            .iter()
            .zip(x.to_f32_vec().unwrap())
        {
            assert!((a - b).abs() <= largest / 7.0, "{format:?}: {b} became {a}");
        }
        let half = eval(Dequantize { dtype: DType::F16 }, &[codes]);
        assert!(half.bitwise_eq(&back.cast(DType::F16).unwrap()));
    }
}

#[test]
fn block_formats_refuse() {
    let dtype: DType = "q4_0".parse().unwrap();
    let message = refused(Quantize { dtype }, &["f32[2, 33]"]);
    assert!(
        message.starts_with("operand 0: blocks of 32 elements fill the last axis of f32[2, 33]"),
        "{message}"
    );
    assert_eq!(guards(Quantize { dtype }, &["f32[2, n]"]), ["n % 32 == 0"]);
    assert!(
        refused(Quantize { dtype: DType::F16 }, &["f32[32]"])
            .contains("expected a block format, found f16")
    );
    assert_eq!(
        refused(Quantize { dtype }, &["f64[32]"]),
        "operand 0: expected f32, f16 or bf16, found f64"
    );
    assert_eq!(
        refused(Dequantize { dtype: DType::F32 }, &["f32[32]"]),
        "operand 0: expected a block format, found f32"
    );
    assert!(refused(Dequantize { dtype: DType::F64 }, &["q8_0[32]"]).contains("found f64"));
}
