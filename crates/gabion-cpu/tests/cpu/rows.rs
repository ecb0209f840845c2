//! Reductions, running sums, softmax, norms and rotations against plain loops in f64.

use crate::plans::*;
use gabion_plan::*;
use gabion_tensor::*;

/// Elements of `x` grouped by the index without `axes`, in row-major order of the rest.
fn groups(x: &HostTensor, axes: &[usize]) -> Vec<Vec<f64>> {
    let values = x.to_f64_vec().unwrap();
    let kept: Vec<usize> = x
        .shape()
        .iter()
        .enumerate()
        .map(|(a, &n)| if axes.contains(&a) { 1 } else { n })
        .collect();
    let strides = row_major(&kept);
    let mut groups = vec![vec![]; kept.iter().product()];
    for (value, index) in values.iter().zip(indices(x.shape())) {
        let at: i64 = (0..kept.len())
            .filter(|a| !axes.contains(a))
            .map(|a| index[a] as i64 * strides[a])
            .sum();
        groups[at as usize].push(*value);
    }
    groups
}

fn reduced_shape(shape: &[usize], axes: &[usize]) -> Vec<usize> {
    shape
        .iter()
        .enumerate()
        .map(|(a, &n)| if axes.contains(&a) { 1 } else { n })
        .collect()
}

fn tolerance(dtype: DType) -> f64 {
    match dtype {
        DType::F16 => 2e-3,
        DType::BF16 => 1.6e-2,
        DType::F32 => 3e-6,
        DType::F64 => 1e-13,
        _ => 0.0,
    }
}

#[test]
fn reductions_agree_with_plain_loops_on_every_dtype_and_axis() {
    let mut numbers = Numbers::new(1);
    let shape = [3, 37, 33];
    for dtype in DType::PLAIN {
        let x = numbers.tensor(dtype, &shape);
        for axes in [vec![0], vec![1], vec![2], vec![0, 2], vec![0, 1, 2]] {
            let groups = groups(&x, &axes);
            let mut funcs = vec![ReduceFn::Max, ReduceFn::Min];
            if dtype.is_bool() {
                funcs = vec![ReduceFn::Any, ReduceFn::All];
            } else {
                funcs.push(ReduceFn::Sum);
            }
            if dtype.is_float() {
                funcs.push(ReduceFn::Mean);
            }
            for func in funcs {
                let expected: Vec<f64> = groups
                    .iter()
                    .map(|g| match func {
                        ReduceFn::Sum => {
                            let sum: f64 = g.iter().sum();
                            if dtype.is_int() {
                                HostTensor::scalar(sum as i64)
                                    .cast(dtype)
                                    .unwrap()
                                    .to_f64_vec()
                                    .unwrap()[0]
                            } else {
                                sum
                            }
                        }
                        ReduceFn::Mean => g.iter().sum::<f64>() / g.len() as f64,
                        ReduceFn::Max => g.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                        ReduceFn::Min => g.iter().copied().fold(f64::INFINITY, f64::min),
                        ReduceFn::Any => f64::from(u8::from(g.iter().any(|&x| x != 0.0))),
                        ReduceFn::All => f64::from(u8::from(g.iter().all(|&x| x != 0.0))),
                        ReduceFn::Prod => unreachable!(),
                    })
                    .collect();
                let largest = expected.iter().fold(1.0f64, |a, b| a.max(b.abs()));
                for order in ORDERS {
                    let operand = Operand {
                        tensor: x.clone(),
                        order,
                    };
                    let kernel = Kernel::Reduce {
                        func,
                        axes: axes.clone(),
                    };
                    let found = run_kernel(
                        kernel,
                        &[operand],
                        &[(dtype, reduced_shape(&shape, &axes))],
                        Order::Plain,
                    )
                    .unwrap();
                    let what = format!("{func:?} of {dtype} over {axes:?}, {order:?}");
                    assert_close(&found[0], &expected, tolerance(dtype) * largest, &what);
                }
            }
        }
    }
}

#[test]
fn products_wrap_or_round_and_empty_reductions_have_their_units() {
    for (dtype, expected) in [
        (DType::F32, 120.0),
        (DType::I8, 120.0),
        (DType::U64, 120.0),
        (DType::F16, 120.0),
    ] {
        let x = HostTensor::from_slice(&[5], &[1.0f32, 2.0, 3.0, 4.0, 5.0])
            .unwrap()
            .cast(dtype)
            .unwrap();
        let kernel = Kernel::Reduce {
            func: ReduceFn::Prod,
            axes: vec![0],
        };
        let found = run_kernel(kernel, &[plain(x)], &[(dtype, vec![1])], Order::Plain).unwrap();
        assert_close(&found[0], &[expected], 0.0, "prod");
    }
    let empty = HostTensor::zeros(DType::F32, &[2, 0]).unwrap();
    let run = |func, x: &HostTensor| {
        let kernel = Kernel::Reduce {
            func,
            axes: vec![1],
        };
        run_kernel(
            kernel,
            &[plain(x.clone())],
            &[(x.dtype(), vec![2, 1])],
            Order::Plain,
        )
    };
    assert_close(
        &run(ReduceFn::Sum, &empty).unwrap()[0],
        &[0.0; 2],
        0.0,
        "empty sum",
    );
    assert_close(
        &run(ReduceFn::Prod, &empty).unwrap()[0],
        &[1.0; 2],
        0.0,
        "empty prod",
    );
    assert_close(
        &run(ReduceFn::Mean, &empty).unwrap()[0],
        &[f64::NAN; 2],
        0.0,
        "empty mean",
    );
    let error = run(ReduceFn::Max, &empty).unwrap_err().to_string();
    assert!(error.contains("of no elements"), "{error}");
    let truths = HostTensor::zeros(DType::Bool, &[2, 0]).unwrap();
    assert_eq!(run(ReduceFn::All, &truths).unwrap()[0].bytes(), [1, 1]);
    assert_eq!(run(ReduceFn::Any, &truths).unwrap()[0].bytes(), [0, 0]);
}

#[test]
fn long_sums_are_accurate_and_the_same_for_any_number_of_threads() {
    let mut numbers = Numbers::new(2);
    let x = numbers.f32s(&[1, 300_001]);
    let exact: f64 = x.to_f64_vec().unwrap().iter().sum();
    for order in [Order::Plain, Order::Reversed, Order::Gaps] {
        let kernel = Kernel::Reduce {
            func: ReduceFn::Sum,
            axes: vec![1],
        };
        let operand = Operand {
            tensor: x.clone(),
            order,
        };
        let found = run_kernel(
            kernel,
            &[operand],
            &[(DType::F32, vec![1, 1])],
            Order::Plain,
        )
        .unwrap();
        assert_close(&found[0], &[exact], 1e-4, "long sum");
    }
    // Tall: neighbouring columns, many rows.
    let ones = HostTensor::full(&[20_000, 20], 0.1f32).unwrap();
    let kernel = Kernel::Reduce {
        func: ReduceFn::Sum,
        axes: vec![0],
    };
    let found = run_kernel(
        kernel,
        &[plain(ones)],
        &[(DType::F32, vec![1, 20])],
        Order::Plain,
    )
    .unwrap();
    assert_close(
        &found[0],
        &[20_000.0 * f64::from(0.1f32); 20],
        3e-6,
        "tall sum",
    );
}

#[test]
fn extremes_find_nan_first_and_the_first_of_equals() {
    let nan = f32::NAN;
    let rows = [
        ([1.0, 5.0, 5.0, 2.0], 1, 0),
        ([3.0, nan, 9.0, nan], 1, 1),
        ([-0.0, 0.0, -1.0, -1.0], 0, 2),
        ([f32::INFINITY, f32::NEG_INFINITY, 0.0, f32::INFINITY], 0, 1),
    ];
    let values: Vec<f32> = rows.iter().flat_map(|r| r.0).collect();
    let x = HostTensor::from_vec(&[4, 4], values).unwrap();
    for dtype in [DType::F32, DType::F64, DType::BF16] {
        for order in ORDERS {
            for largest in [true, false] {
                let operand = Operand {
                    tensor: x.cast(dtype).unwrap(),
                    order,
                };
                let found = run_kernel(
                    Kernel::ArgReduce { largest, axis: 1 },
                    &[operand],
                    &[(DType::I64, vec![4, 1])],
                    Order::Plain,
                );
                let expected: Vec<i64> = rows
                    .iter()
                    .map(|r| if largest { r.1 } else { r.2 })
                    .collect();
                assert_eq!(
                    found.unwrap()[0].to_vec::<i64>().unwrap(),
                    expected,
                    "{dtype} {order:?} {largest}"
                );
            }
        }
    }
    let long = Numbers::new(3).f32s(&[2, 49_152]);
    let found = run_kernel(
        Kernel::ArgReduce {
            largest: true,
            axis: 1,
        },
        &[plain(long.clone())],
        &[(DType::I64, vec![2, 1])],
        Order::Plain,
    )
    .unwrap();
    for (row, &at) in long
        .to_vec::<f32>()
        .unwrap()
        .chunks(49_152)
        .zip(&found[0].to_vec::<i64>().unwrap())
    {
        assert!(row.iter().all(|&x| x <= row[at as usize]));
        assert!(row[..at as usize].iter().all(|&x| x < row[at as usize]));
    }
}

#[test]
fn top_k_is_sorted_with_ties_by_index() {
    let x = HostTensor::from_slice(
        &[2, 6],
        &[
            3.0f32,
            1.0,
            3.0,
            f32::NAN,
            -2.0,
            7.0,
            0.0,
            0.0,
            0.0,
            0.0,
            0.0,
            0.0,
        ],
    )
    .unwrap();
    for dtype in [DType::F32, DType::F16] {
        for order in ORDERS {
            let operand = Operand {
                tensor: x.cast(dtype).unwrap(),
                order,
            };
            let results = [(dtype, vec![2, 4]), (DType::I64, vec![2, 4])];
            let found = run_kernel(Kernel::TopK { axis: 1 }, &[operand], &results, order).unwrap();
            assert_close(
                &found[0],
                &[f64::NAN, 7.0, 3.0, 3.0, 0.0, 0.0, 0.0, 0.0],
                0.0,
                "values",
            );
            assert_eq!(found[1].to_vec::<i64>().unwrap(), [3, 5, 0, 2, 0, 1, 2, 3]);
        }
    }
    let ints = HostTensor::from_slice(&[3, 1], &[5u8, 200, 100]).unwrap();
    let results = [(DType::U8, vec![3, 1]), (DType::I64, vec![3, 1])];
    let found = run_kernel(
        Kernel::TopK { axis: 0 },
        &[plain(ints)],
        &results,
        Order::Plain,
    )
    .unwrap();
    assert_eq!(found[0].to_vec::<u8>().unwrap(), [200, 100, 5]);
    assert_eq!(found[1].to_vec::<i64>().unwrap(), [1, 2, 0]);
}

#[test]
fn running_sums_go_both_ways_in_every_dtype() {
    let mut numbers = Numbers::new(4);
    for dtype in DType::PLAIN.into_iter().filter(|d| !d.is_bool()) {
        let x = numbers.tensor(dtype, &[2, 1500, 2]);
        let groups = groups(&x, &[1]);
        for (exclusive, reverse) in [(false, false), (true, false), (false, true), (true, true)] {
            let mut expected = vec![0.0; 6000];
            for (g, group) in groups.iter().enumerate() {
                let mut sum = 0.0;
                for i in 0..1500 {
                    let i = if reverse { 1499 - i } else { i };
                    let before = sum;
                    sum += group[i];
                    expected[(g / 2 * 1500 + i) * 2 + g % 2] = if exclusive { before } else { sum };
                }
            }
            if dtype.is_int() {
                let whole =
                    HostTensor::from_vec(&[6000], expected.iter().map(|&x| x as i64).collect())
                        .unwrap();
                expected = whole.cast(dtype).unwrap().to_f64_vec().unwrap();
            }
            for order in [Order::Plain, Order::Transposed, Order::Gaps] {
                let operand = Operand {
                    tensor: x.clone(),
                    order,
                };
                let kernel = Kernel::CumSum {
                    axis: 1,
                    exclusive,
                    reverse,
                };
                let found =
                    run_kernel(kernel, &[operand], &[(dtype, vec![2, 1500, 2])], order).unwrap();
                assert_close(
                    &found[0],
                    &expected,
                    tolerance(dtype),
                    &format!("cumsum of {dtype}"),
                );
            }
        }
    }
}

#[test]
fn softmax_and_its_logarithm_on_every_float_and_axis() {
    let mut numbers = Numbers::new(5);
    for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16] {
        let x = numbers.tensor(dtype, &[5, 19, 3]);
        for axis in 0..3 {
            for log in [false, true] {
                let mut expected = vec![0.0; x.numel()];
                let groups = groups(&x, &[axis]);
                let kept = reduced_shape(x.shape(), &[axis]);
                let strides = row_major(&kept);
                for (out, index) in expected.iter_mut().zip(indices(x.shape())) {
                    let at: i64 = (0..3)
                        .filter(|&a| a != axis)
                        .map(|a| index[a] as i64 * strides[a])
                        .sum();
                    let group = &groups[at as usize];
                    let max = group.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    let sum: f64 = group.iter().map(|x| (x - max).exp()).sum();
                    let value = group[index[axis]] - max;
                    *out = if log {
                        value - sum.ln()
                    } else {
                        value.exp() / sum
                    };
                }
                for order in ORDERS {
                    let operand = Operand {
                        tensor: x.clone(),
                        order,
                    };
                    let found = run_kernel(
                        Kernel::Softmax { axis, log },
                        &[operand],
                        &[(dtype, vec![5, 19, 3])],
                        order,
                    )
                    .unwrap();
                    assert_close(
                        &found[0],
                        &expected,
                        tolerance(dtype),
                        &format!("softmax of {dtype} over {axis}"),
                    );
                }
            }
        }
    }
}

#[test]
fn norms_of_every_kind_dtype_and_layout() {
    let mut numbers = Numbers::new(6);
    for n in [1, 15, 64, 577] {
        for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16] {
            let shape = [2, 3, n];
            let (x, w, b) = (
                numbers.tensor(dtype, &shape),
                numbers.tensor(dtype, &[n]),
                numbers.f32s(&[n]),
            );
            let (xs, ws, bs) = (
                x.to_f64_vec().unwrap(),
                w.to_f64_vec().unwrap(),
                b.to_f64_vec().unwrap(),
            );
            for kind in [NormKind::Rms, NormKind::Layer, NormKind::LayerBias] {
                let mut expected = vec![];
                for row in xs.chunks(n) {
                    let mean = if kind == NormKind::Rms {
                        0.0
                    } else {
                        row.iter().sum::<f64>() / n as f64
                    };
                    let var = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n as f64;
                    for (i, x) in row.iter().enumerate() {
                        let bias = if kind == NormKind::LayerBias {
                            bs[i]
                        } else {
                            0.0
                        };
                        expected.push((x - mean) / (var + 1e-5).sqrt() * ws[i] + bias);
                    }
                }
                for order in ORDERS {
                    let mut operands = vec![
                        Operand {
                            tensor: x.clone(),
                            order,
                        },
                        Operand {
                            tensor: w.clone(),
                            order,
                        },
                    ];
                    if kind == NormKind::LayerBias {
                        operands.push(plain(b.clone()));
                    }
                    let kernel = Kernel::Norm(NormSpec { kind, eps: 1e-5 });
                    let found =
                        run_kernel(kernel, &operands, &[(dtype, shape.to_vec())], order).unwrap();
                    assert_close(
                        &found[0],
                        &expected,
                        2.0 * tolerance(dtype),
                        &format!("{kind:?} of {dtype}, {n}"),
                    );
                }
            }
        }
    }
}

#[test]
fn a_norm_gives_a_row_the_same_bits_whatever_rows_are_beside_it() {
    let mut numbers = Numbers::new(7);
    let (x, w) = (numbers.f32s(&[50, 576]), numbers.f32s(&[576]));
    let run = |x: HostTensor| {
        let shape = x.shape().to_vec();
        let kernel = Kernel::Norm(NormSpec {
            kind: NormKind::Rms,
            eps: 1e-6,
        });
        run_kernel(
            kernel,
            &[plain(x), plain(w.clone())],
            &[(DType::F32, shape)],
            Order::Plain,
        )
        .unwrap()
        .remove(0)
    };
    let all = run(x.clone());
    for row in [0, 17, 49] {
        assert!(run(x.rows(row..row + 1).unwrap()).bitwise_eq(&all.rows(row..row + 1).unwrap()));
    }
}

#[test]
fn rotations_of_both_pairings_pass_the_rest_through() {
    let mut numbers = Numbers::new(8);
    for (heads, dim, angles) in [(3, 64, 32), (2, 10, 3), (1, 8, 4), (2, 6, 0)] {
        for dtype in [DType::F32, DType::F64, DType::BF16] {
            let shape = [2, 5, heads, dim];
            let x = numbers.tensor(dtype, &shape);
            let (cos, sin) = (
                numbers.tensor(dtype, &[2, 5, angles]),
                numbers.tensor(dtype, &[2, 5, angles]),
            );
            for pairing in [Pairing::Half, Pairing::Interleaved] {
                let (xs, cs, ss) = (
                    x.to_f64_vec().unwrap(),
                    cos.to_f64_vec().unwrap(),
                    sin.to_f64_vec().unwrap(),
                );
                let mut expected = xs.clone();
                for row in 0..2 * 5 * heads {
                    for i in 0..angles {
                        let (a, b) = match pairing {
                            Pairing::Half => (row * dim + i, row * dim + i + angles),
                            Pairing::Interleaved => (row * dim + 2 * i, row * dim + 2 * i + 1),
                        };
                        let (c, s) = (cs[row / heads * angles + i], ss[row / heads * angles + i]);
                        expected[a] = xs[a] * c - xs[b] * s;
                        expected[b] = xs[b] * c + xs[a] * s;
                    }
                }
                for order in ORDERS {
                    let operands = [&x, &cos, &sin].map(|t| Operand {
                        tensor: t.clone(),
                        order,
                    });
                    let found = run_kernel(
                        Kernel::Rope { pairing },
                        &operands,
                        &[(dtype, shape.to_vec())],
                        order,
                    )
                    .unwrap();
                    assert_close(
                        &found[0],
                        &expected,
                        4.0 * tolerance(dtype),
                        &format!("{pairing:?} of {dtype}"),
                    );
                }
            }
        }
    }
}
