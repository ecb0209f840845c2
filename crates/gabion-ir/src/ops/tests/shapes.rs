//! reshape, transpose, broadcast, split, concat and what is built of them.

use super::*;
use crate::ops::{Broadcast, Concat, Reshape, Split, Transpose};

fn dims(text: &[&str]) -> Vec<Dim> {
    text.iter().map(|d| d.parse().unwrap()).collect()
}

fn reshape(shape: &[&str]) -> Reshape {
    Reshape { shape: dims(shape) }
}

#[test]
fn reshape_proves_or_guards_counts() {
    let to = |shape: &[&str], from: &str| infer_text(reshape(shape), &[from]);
    assert_eq!(
        to(&["tokens", "9", "64"], "f32[tokens, 576]").unwrap(),
        ["f32[tokens, 9, 64]"]
    );
    assert_eq!(
        guards(reshape(&["tokens", "9", "64"]), &["f32[tokens, 576]"]),
        Vec::<String>::new()
    );
    assert_eq!(guards(reshape(&["8", "n"]), &["f32[m]"]).len(), 1);
    let message = to(&["4", "2"], "f32[3, 3]").unwrap_err();
    assert!(
        message.starts_with("reshape of [3, 3] to [4, 2]: element counts are equal: needs 9 == 8"),
        "{message}"
    );
    assert_eq!(
        to(&["-4"], "f32[4]").unwrap_err(),
        "axis 0: a size is at least 0, found -4"
    );
    assert!(
        to(&["64", "32"], "q8_0[32, 64]")
            .unwrap_err()
            .contains("keeps its last size")
    );
    assert_eq!(
        to(&["4", "8", "64"], "q8_0[32, 64]").unwrap(),
        ["q8_0[4, 8, 64]"]
    );
}

#[test]
fn wildcards_are_resolved() {
    let shape = |ty: &str, shape: &[Dim]| {
        let b = Builder::new("wildcard");
        b.input("x", ty.parse().unwrap())
            .reshape(shape.iter().cloned())
            .shape()
            .to_string()
    };
    assert_eq!(
        shape("f32[tokens, 576]", &dims(&["tokens", "-1", "64"])),
        "[tokens, 9, 64]"
    );
    assert_eq!(shape("f32[a, b, 4]", &dims(&["-1", "2"])), "[2*a*b, 2]");
    let message = diagnosed(&["f32[4]"], |_, x| x[0].reshape([-1, -1]));
    assert!(message.contains("at most one -1"), "{message}");
    let message = diagnosed(&["f32[0]"], |_, x| x[0].reshape([-1, 0]));
    assert!(message.contains("-1 beside a size of 0"), "{message}");
}

#[test]
fn transpose_moves_axes() {
    let y = eval(
        Transpose {
            perm: vec![2, 0, 1],
        },
        &[counting(&[2, 3, 4])],
    );
    assert_eq!(y.shape(), [4, 2, 3]);
    assert_eq!(
        y.to_f32_vec().unwrap()[..7],
        [0., 4., 8., 12., 16., 20., 1.]
    );
    assert_eq!(
        refused(Transpose { perm: vec![0, 0] }, &["f32[2, 3]"]),
        "perm: expected each of the axes 0..2 once, found [0, 0]"
    );
    assert!(
        refused(Transpose { perm: vec![1, 0] }, &["q8_0[2, 32]"]).contains("moving the last axis")
    );
    let blocks = counting(&[2, 2, 32]).cast("q8_0".parse().unwrap()).unwrap();
    let y = eval(
        Transpose {
            perm: vec![1, 0, 2],
        },
        std::slice::from_ref(&blocks),
    );
    let plain = eval(
        Transpose {
            perm: vec![1, 0, 2],
        },
        &[blocks.cast(DType::F32).unwrap()],
    );
    assert!(y.cast(DType::F32).unwrap().bitwise_eq(&plain));
}

#[test]
fn broadcast_repeats() {
    let y = eval(
        Broadcast {
            shape: dims(&["2", "2", "3"]),
        },
        &[f32s(&[2, 1], &[1., 2.])],
    );
    assert_eq!(
        y.to_f32_vec().unwrap(),
        [1., 1., 1., 2., 2., 2., 1., 1., 1., 2., 2., 2.]
    );
    let message = refused(
        Broadcast {
            shape: dims(&["4"]),
        },
        &["f32[2, 4]"],
    );
    assert_eq!(message, "operand 0: [2, 4] has more axes than [4]");
    assert!(
        refused(
            Broadcast {
                shape: dims(&["4"])
            },
            &["f32[3]"]
        )
        .contains("needs 3 == 4")
    );
    assert_eq!(
        guards(
            Broadcast {
                shape: dims(&["n"])
            },
            &["f32[m]"]
        )
        .len(),
        1
    );
}

#[test]
fn split_cuts() {
    let op = Split {
        axis: -1,
        sizes: dims(&["1", "0", "2"]),
    };
    let pieces = try_eval(op, &[counting(&[2, 3])]).unwrap();
    assert_eq!(pieces[0].to_f32_vec().unwrap(), [0., 3.]);
    assert_eq!(pieces[1].shape(), [2, 0]);
    assert_eq!(pieces[2].to_f32_vec().unwrap(), [1., 2., 4., 5.]);
    let sizes = |sizes: &[&str]| Split {
        axis: 0,
        sizes: dims(sizes),
    };
    assert_eq!(
        infer_text(sizes(&["a", "2"]), &["f32[a + 2, 3]"]).unwrap(),
        ["f32[a, 3]", "f32[2, 3]"]
    );
    assert_eq!(
        guards(sizes(&["a", "2"]), &["f32[a + 2, 3]"]),
        Vec::<String>::new()
    );
    assert_eq!(guards(sizes(&["a", "2"]), &["f32[b]"]).len(), 1);
    assert!(refused(sizes(&["1", "1"]), &["f32[3]"]).contains("the sizes sum to it: needs 2 == 3"));
    assert!(refused(sizes(&["-1", "4"]), &["f32[3]"]).contains("sizes[0] is at least 0"));
    assert!(refused(sizes(&[]), &["f32[3]"]).contains("at least 1"));
    let rows = counting(&[3, 32]).cast("q8_0".parse().unwrap()).unwrap();
    let pieces = try_eval(sizes(&["1", "2"]), std::slice::from_ref(&rows)).unwrap();
    assert!(pieces[1].bitwise_eq(&rows.rows(1..3).unwrap()));
}

#[test]
fn concat_joins_what_split_cuts() {
    let x = counting(&[2, 5, 3]);
    let pieces = try_eval(
        Split {
            axis: 1,
            sizes: dims(&["2", "3"]),
        },
        std::slice::from_ref(&x),
    )
    .unwrap();
    assert!(eval(Concat { axis: -2 }, &pieces).bitwise_eq(&x));
    assert!(refused(Concat { axis: 0 }, &["f32[2, 3]", "f32[2, 4]"]).contains("operand 1, axis 1"));
}

#[test]
fn shapes_built_of_others() {
    let m = || f32s(&[2, 2], &[1., 2., 3., 4.]);
    let tiled = run(&[m()], |_, x| x[0].tile([2, 2]));
    assert_eq!(
        tiled.to_f32_vec().unwrap(),
        [
            1., 2., 1., 2., 3., 4., 3., 4., 1., 2., 1., 2., 3., 4., 3., 4.
        ]
    );
    let repeated = run(&[m()], |_, x| x[0].repeat_interleave(2, 1));
    assert!(repeated.bitwise_eq(&f32s(&[2, 4], &[1., 1., 2., 2., 3., 3., 4., 4.])));
    let stacked = run(&[m(), m()], |b, x| b.stack(&[x[0], x[1]], -1));
    assert!(stacked.bitwise_eq(&f32s(&[2, 2, 2], &[1., 1., 2., 2., 3., 3., 4., 4.])));
    assert_eq!(
        run(&[counting(&[2, 3, 4])], |_, x| x[0].flatten(0, 1)).shape(),
        [6, 4]
    );
    assert_eq!(
        run(&[counting(&[2, 1, 4])], |_, x| x[0]
            .squeeze(1)
            .unsqueeze(-1))
        .shape(),
        [2, 4, 1]
    );
    assert_eq!(
        run(&[counting(&[2, 1])], |_, x| x[0].expand([5, -1, 3])).shape(),
        [5, 2, 3]
    );
    assert_eq!(run(&[counting(&[2, 3])], |_, x| x[0].t()).shape(), [3, 2]);
    assert_eq!(
        run(&[counting(&[6])], |_, x| x[0].chunk(3, 0)[2])
            .to_f32_vec()
            .unwrap(),
        [4., 5.]
    );
    let message = diagnosed(&["f32[2, 3]"], |_, x| x[0].squeeze(1));
    assert!(
        message.contains("axis 1 of [2, 3] has size 3, expected 1"),
        "{message}"
    );
    let message = diagnosed(&["f32[7]"], |_, x| x[0].chunk(3, 0)[0]);
    assert!(
        message.contains("the sizes sum to it: needs 6 == 7"),
        "{message}"
    );
    let message = diagnosed(&["f32[7]"], |_, x| {
        let [a, b] = x[0].split_n([3, 3], 0);
        a + b
    });
    assert!(
        message.contains("1 error") && message.contains("needs 6 == 7"),
        "{message}"
    );
}
