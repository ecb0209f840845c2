//! Operators and numbers beside values.

use super::*;

#[test]
fn operators_read_like_the_maths() {
    let y = run(&[f32s(&[2], &[1., 2.]), f32s(&[2], &[3., 5.])], |_, x| {
        let (a, b) = (x[0], x[1]);
        2.0 * a + b / a - (1 - b) % 2.0 + -a.maximum(1.5)
    });
    // 2 + 3 - 0 - 1.5 and 4 + 2.5 - 0 - 2.
    assert_eq!(y.to_f32_vec().unwrap(), [3.5, 4.5]);
    let y = run(&[i64s(&[3], &[1, 2, 3])], |_, x| x[0] * 2 - 1);
    assert!(y.bitwise_eq(&i64s(&[3], &[1, 3, 5])));
    let y = run(&[i64s(&[3], &[1, 2, 3])], |_, x| {
        (x[0].gt(1) & !x[0].eq(3)) | x[0].lt(0)
    });
    assert!(y.bitwise_eq(&bools(&[3], &[false, true, false])));
    let y = run(&[f32s(&[3], &[-1., 0., 1.])], |_, x| {
        x[0].lt(0.0).where_(0.5, x[0])
    });
    assert_eq!(y.to_f32_vec().unwrap(), [0.5, 0., 1.]);
    let y = run(&[f32s(&[3], &[-9., 0., 9.])], |_, x| {
        x[0].clamp(-1.0, None).silu().exp().round()
    });
    assert_eq!(y.to_f32_vec().unwrap(), [1., 1., 8094.]);
}

#[test]
fn numbers_take_the_values_dtype() {
    let b = Builder::new("weak");
    let x = b.input("x", "bf16[4]".parse().unwrap());
    assert_eq!((x * 0.1 + 3).dtype(), DType::BF16);
    let message = diagnosed(&["i32[2]"], |_, x| x[0] + 0.5);
    assert!(
        message.contains("the float 0.5 beside i32 values"),
        "{message}"
    );
    let message = diagnosed(&["i8[2]"], |_, x| x[0] + 300);
    assert!(message.contains("i8 values cannot hold 300"), "{message}");
    let message = diagnosed(&["u32[2]"], |_, x| x[0] + -1);
    assert!(message.contains("u32 values cannot hold -1"), "{message}");
    let message = diagnosed(&["f16[2]"], |_, x| x[0] + 2049);
    assert!(message.contains("f16 values cannot hold 2049"), "{message}");
    let message = diagnosed(&["f16[2]"], |_, x| x[0] + 1e6);
    assert!(message.contains("1000000 overflows f16"), "{message}");
    let message = diagnosed(&["bool[2]"], |_, x| x[0].where_(1.0, 2.0));
    assert!(message.contains("two numbers have no dtype"), "{message}");
}

#[test]
fn wrong_calls_carry_the_callers_line() {
    let mut line = 0;
    let message = diagnosed(&["f32[2]", "f32[3]"], |_, x| {
        line = line!() + 1;
        let sum = x[0] + x[1];
        sum * x[0].exp()
    });
    assert!(message.contains("1 error"), "{message}");
    assert!(
        message.contains(&format!("sugar.rs:{line}: add: ")),
        "{message}"
    );
    assert!(message.contains("(operands: f32[2], f32[3])"), "{message}");
    let message = diagnosed(&["f32[2]"], |_, x| {
        line = line!() + 1;
        let tiled = x[0].tile([2, 2]);
        2 * x[0].rms_norm(tiled, 1e-5)
    });
    assert!(
        message.contains(&format!("sugar.rs:{line}: tile: ")),
        "{message}"
    );
}
