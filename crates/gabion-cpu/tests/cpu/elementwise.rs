//! Maps, copies, conversions, fills and ranges over all dtypes and layouts.

use crate::plans::*;
use gabion_plan::*;
use gabion_tensor::*;

fn instr(op: MapOp, args: &[u16], dtype: DType) -> MapInstr {
    MapInstr {
        op,
        args: args.to_vec(),
        dtype,
    }
}

fn program(reads: usize, instrs: Vec<MapInstr>, results: &[u16]) -> Kernel {
    Kernel::Map(MapProgram {
        reads,
        instrs,
        results: results.to_vec(),
    })
}

/// A scalar function on every element, by the tables of `gabion-tensor`, in the dtype's way.
fn by_table(
    dtype: DType,
    xs: &[&HostTensor],
    f32_fn: impl Fn(&[f32]) -> f32,
    f64_fn: impl Fn(&[f64]) -> f64,
    i64_fn: impl Fn(&[i64]) -> i64,
) -> HostTensor {
    let shape = xs[0].shape();
    let n = xs[0].numel();
    if dtype == DType::F64 {
        let columns: Vec<Vec<f64>> = xs.iter().map(|x| x.to_f64_vec().unwrap()).collect();
        let values = (0..n)
            .map(|i| f64_fn(&columns.iter().map(|c| c[i]).collect::<Vec<_>>()))
            .collect();
        return HostTensor::from_vec(shape, values).unwrap();
    }
    if dtype.is_float() {
        let columns: Vec<Vec<f32>> = xs.iter().map(|x| x.to_f32_vec().unwrap()).collect();
        let values = (0..n)
            .map(|i| f32_fn(&columns.iter().map(|c| c[i]).collect::<Vec<_>>()))
            .collect();
        return HostTensor::from_vec::<f32>(shape, values)
            .unwrap()
            .cast(dtype)
            .unwrap();
    }
    let columns: Vec<Vec<i64>> = xs.iter().map(|x| x.to_i64_vec().unwrap()).collect();
    let values = (0..n)
        .map(|i| i64_fn(&columns.iter().map(|c| c[i]).collect::<Vec<_>>()))
        .collect();
    HostTensor::from_vec::<i64>(shape, values)
        .unwrap()
        .cast(dtype)
        .unwrap()
}

const SHAPE: [usize; 3] = [3, 5, 7];

#[test]
fn binary_functions_agree_with_the_tables_on_every_dtype() {
    let mut numbers = Numbers::new(1);
    for &func in BinaryFn::ALL {
        for dtype in DType::PLAIN
            .into_iter()
            .filter(|&d| func.accepts(d) && !d.is_bool())
        {
            let a = numbers.tensor(dtype, &SHAPE);
            let mut b = numbers.tensor(dtype, &SHAPE);
            if dtype.is_int() {
                // No zero divisors, no negative exponents.
                let positive: Vec<i64> = b
                    .to_i64_vec()
                    .unwrap()
                    .iter()
                    .map(|x| x.abs() % 7 + 1)
                    .collect();
                b = HostTensor::from_vec(&SHAPE, positive)
                    .unwrap()
                    .cast(dtype)
                    .unwrap();
            }
            let expected = by_table(
                dtype,
                &[&a, &b],
                |x| func.eval_f32(x[0], x[1]).unwrap(),
                |x| func.eval_f64(x[0], x[1]).unwrap(),
                |x| func.eval_i64(x[0], x[1]).unwrap(),
            );
            for order in ORDERS {
                let operands = [
                    Operand {
                        tensor: a.clone(),
                        order,
                    },
                    plain(b.clone()),
                ];
                let kernel = program(2, vec![instr(MapOp::Binary(func), &[0, 1], dtype)], &[2]);
                let found =
                    run_kernel(kernel, &operands, &[(dtype, SHAPE.to_vec())], order).unwrap();
                assert_same(
                    &found[0],
                    &expected,
                    &format!("{func} of {dtype}, {order:?}"),
                );
            }
        }
    }
}

#[test]
fn bools_have_their_logic() {
    let a = HostTensor::from_slice(&[4], &[Bool(0), Bool(0), Bool(1), Bool(1)]).unwrap();
    let b = HostTensor::from_slice(&[4], &[Bool(0), Bool(1), Bool(0), Bool(1)]).unwrap();
    let run = |op: MapOp, args: &[u16]| {
        let kernel = program(2, vec![instr(op, args, DType::Bool)], &[2]);
        let found = run_kernel(
            kernel,
            &[plain(a.clone()), plain(b.clone())],
            &[(DType::Bool, vec![4])],
            Order::Plain,
        );
        found.unwrap()[0].bytes().to_vec()
    };
    assert_eq!(run(MapOp::Binary(BinaryFn::And), &[0, 1]), [0, 0, 0, 1]);
    assert_eq!(run(MapOp::Binary(BinaryFn::Or), &[0, 1]), [0, 1, 1, 1]);
    assert_eq!(run(MapOp::Binary(BinaryFn::Xor), &[0, 1]), [0, 1, 1, 0]);
    assert_eq!(run(MapOp::Unary(UnaryFn::Not), &[0]), [1, 1, 0, 0]);
    assert_eq!(run(MapOp::Compare(CompareFn::Ne), &[0, 1]), [0, 1, 1, 0]);
}

#[test]
fn unary_functions_agree_with_the_tables_on_every_dtype() {
    let mut numbers = Numbers::new(2);
    for &func in UnaryFn::ALL {
        for dtype in DType::PLAIN
            .into_iter()
            .filter(|&d| func.accepts(d) && !d.is_bool())
        {
            let mut x = numbers.tensor(dtype, &SHAPE);
            if dtype.is_float() {
                let mut values = x.to_f32_vec().unwrap();
                values[..5].copy_from_slice(&[
                    f32::NAN,
                    f32::INFINITY,
                    f32::NEG_INFINITY,
                    0.0,
                    -0.0,
                ]);
                x = HostTensor::from_vec(&SHAPE, values)
                    .unwrap()
                    .cast(dtype)
                    .unwrap();
            }
            let result = func.result_dtype(dtype);
            let expected = by_table(
                dtype,
                &[&x],
                |x| func.eval_f32(x[0]).unwrap(),
                |x| func.eval_f64(x[0]).unwrap(),
                |x| {
                    if dtype.is_signed_int() {
                        func.eval_i64(x[0])
                    } else {
                        func.eval_u64(x[0] as u64).map(|x| x as i64)
                    }
                    .unwrap()
                },
            );
            let operands = [Operand {
                tensor: x,
                order: Order::Transposed,
            }];
            let kernel = program(1, vec![instr(MapOp::Unary(func), &[0], result)], &[1]);
            let found =
                run_kernel(kernel, &operands, &[(result, SHAPE.to_vec())], Order::Plain).unwrap();
            // Vector forms are within a few units in the last place of f32.
            let tolerance = match dtype {
                DType::F16 => 1e-3,
                DType::BF16 => 8e-3,
                DType::F32 => 2e-6,
                _ => 0.0,
            };
            assert_close(
                &found[0],
                &expected.to_f64_vec().unwrap(),
                tolerance,
                &format!("{func} of {dtype}"),
            );
        }
    }
}

#[test]
fn casts_between_all_dtypes_are_those_of_host_tensors() {
    let mut numbers = Numbers::new(3);
    for from in DType::PLAIN {
        for to in DType::PLAIN {
            let mut x = numbers.tensor(from, &[130]);
            if from.is_float() {
                let mut values = x.to_f64_vec().unwrap();
                values[..8].copy_from_slice(&[
                    f64::NAN,
                    f64::INFINITY,
                    -1e30,
                    300.7,
                    -300.7,
                    65504.0,
                    1e-8,
                    65520.1,
                ]);
                x = HostTensor::from_vec(&[130], values)
                    .unwrap()
                    .cast(from)
                    .unwrap();
            } else if from.size_bytes() == Some(8) {
                let mut values = x.to_i64_vec().unwrap();
                values[..5].copy_from_slice(&[
                    i64::MAX,
                    (1 << 40) + 1,
                    16_777_217,
                    33_554_431,
                    2049,
                ]);
                x = HostTensor::from_vec(&[130], values)
                    .unwrap()
                    .cast(from)
                    .unwrap();
            }
            let expected = x.cast(to).unwrap();
            let kernel = program(1, vec![instr(MapOp::Cast, &[0], to)], &[1]);
            let found = run_kernel(
                kernel,
                &[plain(x.clone())],
                &[(to, vec![130])],
                Order::Plain,
            )
            .unwrap();
            assert_same(&found[0], &expected, &format!("map cast {from} to {to}"));
            let found = run_kernel(
                Kernel::Convert,
                &[plain(x)],
                &[(to, vec![130])],
                Order::Gaps,
            )
            .unwrap();
            assert_same(&found[0], &expected, &format!("convert {from} to {to}"));
        }
    }
}

#[test]
fn programs_use_registers_constants_and_broadcasts_over_many_tiles() {
    let mut numbers = Numbers::new(4);
    let shape = [3, 1111];
    for dtype in [DType::F32, DType::F64, DType::BF16, DType::I32] {
        let x = numbers.tensor(dtype, &shape);
        let row = numbers.tensor(dtype, &[1, 1111]);
        let row = HostTensor::new(dtype, &shape, row.bytes().repeat(3)).unwrap();
        let two = if dtype.is_int() { 2.0 } else { 0.5 };
        // c = 2; t = x * c; u = t + row; m = u < x; y = m ? u : x; z = y - row
        let instrs = vec![
            instr(MapOp::Const(two), &[], dtype),
            instr(MapOp::Binary(BinaryFn::Mul), &[0, 2], dtype),
            instr(MapOp::Binary(BinaryFn::Add), &[3, 1], dtype),
            instr(MapOp::Compare(CompareFn::Lt), &[4, 0], DType::Bool),
            instr(MapOp::Select, &[5, 4, 0], dtype),
            instr(MapOp::Binary(BinaryFn::Sub), &[6, 1], dtype),
        ];
        let round = |x: f64| {
            HostTensor::scalar(x)
                .cast(dtype)
                .unwrap()
                .to_f64_vec()
                .unwrap()[0]
        };
        let (xs, rows) = (x.to_f64_vec().unwrap(), row.to_f64_vec().unwrap());
        let (mut y, mut z) = (vec![], vec![]);
        for (&x, &r) in xs.iter().zip(&rows) {
            let u = round(round(x * two) + r);
            let chosen = if u < x { u } else { x };
            y.push(chosen);
            z.push(round(chosen - r));
        }
        let operands = [
            plain(x),
            Operand {
                tensor: row,
                order: Order::Broadcast,
            },
        ];
        let results = [
            (dtype, shape.to_vec()),
            (dtype, shape.to_vec()),
            (DType::Bool, shape.to_vec()),
        ];
        let found = run_kernel(
            program(2, instrs, &[6, 7, 5]),
            &operands,
            &results,
            Order::Plain,
        )
        .unwrap();
        assert_close(&found[0], &y, 0.0, &format!("select in {dtype}"));
        assert_close(&found[1], &z, 0.0, &format!("last in {dtype}"));
    }
}

#[test]
fn a_program_may_write_over_what_it_reads() {
    let mut planner = Planner::new();
    let x = planner.input("x", "f32[5000]", false);
    let y = planner.result(DType::F32, &[5000]);
    planner.step(Kernel::Copy, vec![x], vec![y.clone()]);
    // y = y * y + y, in place.
    let instrs = vec![
        instr(MapOp::Binary(BinaryFn::Mul), &[0, 0], DType::F32),
        instr(MapOp::Binary(BinaryFn::Add), &[1, 0], DType::F32),
    ];
    planner.step(program(1, instrs, &[2]), vec![y.clone()], vec![y.clone()]);
    planner.output("y", &y);
    let x = Numbers::new(5).f32s(&[5000]);
    let expected: Vec<f32> = x.to_f32_vec().unwrap().iter().map(|&x| x * x + x).collect();
    for threads in THREADS {
        let mut session = planner.session(threads, None, &Default::default());
        let found = session.run(&[("x", &x)]).unwrap();
        assert_eq!(found[0].1.to_f32_vec().unwrap(), expected);
    }
}

#[test]
fn integer_division_by_zero_is_an_error_that_names_the_step_and_the_session_goes_on() {
    let mut planner = Planner::new();
    let (a, b) = (
        planner.input("a", "i32[4000]", false),
        planner.input("b", "i32[4000]", false),
    );
    let y = planner.result(DType::I32, &[4000]);
    planner.step(
        program(
            2,
            vec![instr(MapOp::Binary(BinaryFn::Div), &[0, 1], DType::I32)],
            &[2],
        ),
        vec![a, b],
        vec![y.clone()],
    );
    let z = planner.result(DType::I32, &[4000]);
    planner.step(Kernel::Copy, vec![y], vec![z.clone()]);
    planner.output("z", &z);
    let a = HostTensor::full(&[4000], 7i32).unwrap();
    let twos = HostTensor::full(&[4000], 2i32).unwrap();
    let mut zeros = vec![2i32; 4000];
    zeros[3999] = 0;
    let zeros = HostTensor::from_vec(&[4000], zeros).unwrap();
    for threads in THREADS {
        let mut session = planner.session(threads, None, &Default::default());
        let error = session.run(&[("a", &a), ("b", &zeros)]).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, RunError::Value(_)), "{text}");
        assert!(
            text.contains("step 0 `map` (test.0)") && text.contains("division by zero"),
            "{text}"
        );
        assert!(
            session
                .output(0)
                .unwrap_err()
                .to_string()
                .contains("no complete run")
        );
        let found = session.run(&[("a", &a), ("b", &twos)]).unwrap();
        assert_eq!(found[0].1.to_vec::<i32>().unwrap(), [3; 4000]);
    }
}

#[test]
fn copies_keep_bits_in_every_layout() {
    let mut numbers = Numbers::new(6);
    for dtype in DType::PLAIN {
        let x = numbers.tensor(dtype, &[4, 9, 17]);
        for from in ORDERS {
            for to in ORDERS {
                let operand = Operand {
                    tensor: x.clone(),
                    order: from,
                };
                let found =
                    run_kernel(Kernel::Copy, &[operand], &[(dtype, vec![4, 9, 17])], to).unwrap();
                assert_same(&found[0], &x, &format!("{dtype} {from:?} to {to:?}"));
            }
        }
    }
    for format in BlockFormat::ALL {
        let x = numbers.f32s(&[3, 64]).cast(format.into()).unwrap();
        let found = run_kernel(
            Kernel::Copy,
            &[plain(x.clone())],
            &[(format.into(), vec![3, 64])],
            Order::Plain,
        );
        assert!(found.unwrap()[0].bitwise_eq(&x));
    }
}

#[test]
fn block_formats_are_decoded_and_encoded() {
    let mut numbers = Numbers::new(7);
    for format in BlockFormat::ALL {
        let values = numbers.f32s(&[5, 96]);
        let codes = values.cast(format.into()).unwrap();
        for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16] {
            let expected = codes.cast(dtype).unwrap();
            for order in [Order::Plain, Order::Gaps, Order::Transposed] {
                let found = run_kernel(
                    Kernel::Convert,
                    &[plain(codes.clone())],
                    &[(dtype, vec![5, 96])],
                    order,
                )
                .unwrap();
                assert_same(&found[0], &expected, &format!("{format} to {dtype}"));
            }
            let wide = values.cast(dtype).unwrap();
            let operand = Operand {
                tensor: wide.clone(),
                order: Order::Transposed,
            };
            let found = run_kernel(
                Kernel::Convert,
                &[operand],
                &[(format.into(), vec![5, 96])],
                Order::Plain,
            )
            .unwrap();
            assert!(
                found[0].bitwise_eq(&wide.cast(format.into()).unwrap()),
                "{dtype} to {format}"
            );
        }
    }
}

#[test]
fn fills_and_ranges_make_every_dtype() {
    for dtype in DType::PLAIN {
        let number = if dtype.is_float() { -1.5 } else { 1.0 };
        let found = run_kernel(
            Kernel::Fill { value: number },
            &[],
            &[(dtype, vec![3, 41])],
            Order::Gaps,
        )
        .unwrap();
        assert_close(&found[0], &[number; 123], 0.0, &format!("fill {dtype}"));
        if dtype.is_bool() {
            continue;
        }
        let (start, step) = (Dim::fixed(90), Dim::fixed(-1));
        let found = run_kernel(
            Kernel::Range { start, step },
            &[],
            &[(dtype, vec![80])],
            Order::Reversed,
        )
        .unwrap();
        let expected: Vec<f64> = (0..80).map(|i| f64::from(90 - i)).collect();
        assert_close(&found[0], &expected, 0.0, &format!("range {dtype}"));
    }
    let found = run_kernel(
        Kernel::Fill {
            value: f64::NEG_INFINITY,
        },
        &[],
        &[(DType::F16, vec![2])],
        Order::Plain,
    )
    .unwrap();
    assert_eq!(found[0].to_f32_vec().unwrap(), [f32::NEG_INFINITY; 2]);
}
