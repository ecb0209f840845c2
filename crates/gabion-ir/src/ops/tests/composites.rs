//! softmax, norms, rope, attention on small numbers worked out apart.

use super::*;
use crate::ops::rope::Pairing;
use crate::ops::{Attention, LayerNorm, LogSoftmax, RmsNorm, Rope, Softmax};

fn assert_near(found: &HostTensor, expected: &[f64]) {
    let found = found.to_f64_vec().unwrap();
    assert_eq!(found.len(), expected.len());
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!(
            (a - b).abs() <= 2e-7 * b.abs().max(1.0),
            "element {i}: expected {b}, found {a}"
        );
    }
}

#[test]
fn softmax_values() {
    let x = || f32s(&[1, 3], &[1., 2., 3.]);
    assert_near(
        &eval(Softmax { axis: -1 }, &[x()]),
        &[0.09003057317038046, 0.24472847105479764, 0.6652409557748218],
    );
    assert_near(
        &eval(LogSoftmax { axis: 1 }, &[x()]),
        &[-2.40760596444438, -1.40760596444438, -0.40760596444438],
    );
    assert_near(&eval(Softmax { axis: 0 }, &[x()]), &[1., 1., 1.]);
    let masked = eval(
        Softmax { axis: 0 },
        &[f32s(&[2], &[f32::NEG_INFINITY, 1e30])],
    );
    assert_near(&masked, &[0., 1.]);
    let nothing = eval(Softmax { axis: 0 }, &[f32s(&[2], &[f32::NEG_INFINITY; 2])]);
    assert!(nothing.to_f32_vec().unwrap().iter().all(|v| v.is_nan()));
    assert_eq!(
        refused(Softmax { axis: 0 }, &["i32[2]"]),
        "operand 0: expected a float, found i32"
    );
    assert_eq!(
        refused(LogSoftmax { axis: 3 }, &["f32[2]"]),
        "axis 3 is outside rank 1"
    );
}

#[test]
fn norm_values() {
    let (x, w) = (
        f32s(&[1, 4], &[1., 2., 3., 4.]),
        f32s(&[4], &[1., 0.5, 2., -1.]),
    );
    let rms = eval(RmsNorm { eps: 0.5.into() }, &[x.clone(), w.clone()]);
    assert_near(
        &rms,
        &[
            0.35355339059327373,
            0.35355339059327373,
            2.1213203435596424,
            -f64::sqrt(2.0),
        ],
    );
    let layer = eval(
        LayerNorm { eps: 0.5.into() },
        &[x, w, f32s(&[4], &[0., 1., 0., 1.])],
    );
    assert_near(
        &layer,
        &[
            -1.1338934190276817,
            0.8110177634953863,
            0.7559289460184544,
            -0.1338934190276817,
        ],
    );
    let op = RmsNorm { eps: 1e-5.into() };
    let message = refused(op.clone(), &["f32[2, 4]", "f32[3]"]);
    assert!(
        message
            .starts_with("operand 1, axis 0: the size of the last axis of operand 0: needs 3 == 4"),
        "{message}"
    );
    assert_eq!(
        infer_text(op, &["bf16[t, 4]", "f32[4]"]).unwrap(),
        ["f32[t, 4]"]
    );
    assert!(refused(RmsNorm { eps: (-1.0).into() }, &["f32[4]", "f32[4]"]).contains("eps"));
    assert_eq!(
        refused(LayerNorm { eps: 0.5.into() }, &["f32[4]"]),
        "expected 2 or 3 operands, found 1"
    );
}

#[test]
fn rope_rotates_pairs() {
    // One token, one head of 5 numbers, of which 4 turn: by a quarter and by nothing.
    let x = || f32s(&[1, 1, 5], &[1., 2., 3., 4., 5.]);
    let (cos, sin) = (f32s(&[1, 2], &[0., 1.]), f32s(&[1, 2], &[1., 0.]));
    let half = eval(
        Rope {
            pairing: Pairing::Half,
        },
        &[x(), cos.clone(), sin.clone()],
    );
    assert_near(&half, &[-3., 2., 1., 4., 5.]);
    let interleaved = eval(
        Rope {
            pairing: Pairing::Interleaved,
        },
        &[x(), cos, sin],
    );
    assert_near(&interleaved, &[-2., 1., 3., 4., 5.]);
    let op = Rope {
        pairing: Pairing::Half,
    };
    let message = refused(op.clone(), &["f32[t, 2, 6]", "f32[t, 4]", "f32[t, 4]"]);
    assert!(message.contains("needs 8 <= 6"), "{message}");
    assert_eq!(
        infer_text(op.clone(), &["bf16[b, t, 2, 8]", "f32[t, 4]", "f32[t, 4]"]).unwrap(),
        ["bf16[b, t, 2, 8]"]
    );
    assert_eq!(
        guards(op.clone(), &["f32[t, 2, 8]", "f32[s, 4]", "f32[s, 4]"]).len(),
        1
    );
    assert!(refused(op, &["f32[2, 8]", "f32[2, 4]", "f32[2, 4]"]).contains("rank 3 or more"));
    assert_eq!(
        serde_json::to_string(&Pairing::Interleaved).unwrap(),
        "\"interleaved\""
    );
}

fn qkv() -> [HostTensor; 3] {
    [
        f32s(&[2, 2, 1], &[1., 2., 0.5, -1.]),
        f32s(&[3, 1, 1], &[1., 0., 2.]),
        f32s(&[3, 1, 2], &[1., 0., 0., 1., 2., 2.]),
    ]
}

fn attention(causal: bool, mask: bool, position: bool) -> Attention {
    Attention {
        scale: 0.5.into(),
        causal,
        mask,
        position,
    }
}

const CAUSAL: [f64; 8] = [
    0.6224593312018546,
    0.37754066879814546,
    0.7310585786300049,
    0.2689414213699951,
    1.1649537390192322,
    1.092733115809861,
    0.6798433321701935,
    0.8791278375073492,
];

#[test]
fn attention_values() {
    let [q, k, v] = qkv();
    assert_near(&eval(attention(true, false, false), &qkv()), &CAUSAL);
    let at = |p: i64| HostTensor::scalar(p);
    let args = |p: i64| [q.clone(), k.clone(), v.clone(), at(p)];
    let from_start = eval(attention(true, false, true), &args(0));
    let tail = [
        0.5621765008857981,
        0.4378234991142019,
        0.37754066879814546,
        0.6224593312018546,
    ];
    assert_near(&from_start, &[&[1., 0., 1., 0.], &tail[..]].concat());
    assert_near(&eval(attention(true, false, true), &args(1)), &CAUSAL);
    assert_near(
        &eval(attention(false, false, true), &args(0)),
        &[&CAUSAL[..4], &tail[..]].concat(),
    );
    let mask = bools(&[2, 3], &[true, true, false, true, true, true]);
    let masked = eval(
        attention(false, true, false),
        &[q.clone(), k.clone(), v.clone(), mask],
    );
    assert_near(&masked, &CAUSAL);
    let added = f32s(&[1, 2, 3], &[0., 0., f32::NEG_INFINITY, 0., 0., 0.]);
    assert_near(
        &eval(
            attention(false, true, false),
            &[q.clone(), k.clone(), v.clone(), added],
        ),
        &CAUSAL,
    );
    // A row that may attend to nothing gives zeros; the other row is as before.
    let mask = bools(&[2, 1], &[false, true]);
    let masked = eval(attention(false, true, false), &[q, k, v, mask])
        .to_f64_vec()
        .unwrap();
    assert_eq!(masked[..4], [0.0; 4]);
    assert!((masked[4] - CAUSAL[4]).abs() < 1e-6);
}

#[test]
fn more_queries_than_keys_leave_rows_empty() {
    let [q, k, v] = qkv();
    let (k, v) = (k.rows(0..1).unwrap(), v.rows(0..1).unwrap());
    let y = eval(
        attention(true, false, false),
        &[q.clone(), k.clone(), v.clone()],
    );
    assert_near(&y, &[0., 0., 0., 0., 1., 0., 1., 0.]);
    let found = run(&[q, k, v], |_, x| {
        x[0].attention(x[1], x[2], 0.5, true, None, None)
    });
    assert!(found.bitwise_eq(&y));
}

#[test]
fn unfilled_slots_do_not_matter() {
    let [q, k, v] = qkv();
    let mut garbage = k.to_f32_vec().unwrap();
    garbage[2] = f32::NAN;
    let args = [q, f32s(&[3, 1, 1], &garbage), v, HostTensor::scalar(0i64)];
    let y = eval(attention(true, false, true), &args)
        .to_f32_vec()
        .unwrap();
    assert!(y.iter().all(|v| v.is_finite()));
}

#[test]
fn attention_refuses() {
    let of = |op: Attention, args: &[&str]| refused(op, args);
    let op = attention(false, false, false);
    assert_eq!(
        of(op.clone(), &["f32[2, 2, 1]", "f32[3, 1, 1]"]),
        "expected 3 operands, found 2"
    );
    let message = of(
        op.clone(),
        &["f32[2, 5, 1]", "f32[3, 2, 1]", "f32[3, 2, 1]"],
    );
    assert!(
        message.starts_with("the 5 heads of q are a multiple of the 2 of k"),
        "{message}"
    );
    let message = of(
        op.clone(),
        &["f32[2, 2, 4]", "f32[3, 2, 8]", "f32[3, 2, 8]"],
    );
    assert!(
        message.contains("the head_dim of q: needs 8 == 4"),
        "{message}"
    );
    let message = of(
        op.clone(),
        &["f32[2, 2, 4]", "f32[3, 2, 4]", "f32[4, 2, 4]"],
    );
    assert!(
        message.contains("operand 2, axis 0: the size of k"),
        "{message}"
    );
    let tail = ["f32[2, 2, 4]", "f32[3, 2, 4]", "f32[3, 2, 4]"];
    let with = |extra: &'static str| [tail[0], tail[1], tail[2], extra];
    assert!(
        of(attention(false, true, false), &with("i32[2, 3]")).contains("a mask of bools or floats")
    );
    assert!(of(attention(false, true, false), &with("bool[2, 4]")).contains("operand 3, axis 1"));
    assert!(
        of(attention(false, false, true), &with("i32[]"))
            .contains("expected a position i64[], found i32[]")
    );
    let types = ["f16[b, t, 9, 64]", "f16[b, s, 3, 64]", "f16[b, s, 3, 64]"];
    assert_eq!(
        infer_text(op.clone(), &types).unwrap(),
        ["f16[b, t, 9, 64]"]
    );
    assert_eq!(guards(op, &types), Vec::<String>::new());
}
