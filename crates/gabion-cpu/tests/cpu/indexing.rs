//! Gathers, scatters and cache writes, and what they say about indices that are out of range.

use crate::plans::*;
use gabion_plan::*;
use gabion_tensor::*;

fn flat(index: &[usize], shape: &[usize]) -> usize {
    index
        .iter()
        .zip(row_major(shape))
        .map(|(&i, s)| i * s as usize)
        .sum()
}

/// Elements of `x` at row-major places.
fn pick(x: &HostTensor, shape: &[usize], places: &[usize]) -> HostTensor {
    let size = x.dtype().block_bytes();
    let bytes: Vec<u8> = places
        .iter()
        .flat_map(|&p| x.bytes()[p * size..(p + 1) * size].to_vec())
        .collect();
    HostTensor::new(x.dtype(), shape, bytes).unwrap()
}

#[test]
fn gathers_take_slices_of_every_dtype_axis_and_layout() {
    let mut numbers = Numbers::new(1);
    for dtype in DType::PLAIN {
        let x = numbers.tensor(dtype, &[4, 6, 5]);
        for axis in 0..3 {
            for at_dtype in [DType::I64, DType::I32, DType::U8] {
                let at = numbers.ints(&[2, 3], x.shape()[axis]);
                let mut shape = x.shape()[..axis].to_vec();
                shape.extend([2, 3]);
                shape.extend(&x.shape()[axis + 1..]);
                let places: Vec<usize> = indices(&shape)
                    .iter()
                    .map(|index| {
                        let chosen = at.to_vec::<i64>().unwrap()
                            [flat(&index[axis..axis + 2], &[2, 3])]
                            as usize;
                        let mut from = index[..axis].to_vec();
                        from.push(chosen);
                        from.extend(&index[axis + 2..]);
                        flat(&from, x.shape())
                    })
                    .collect();
                let expected = pick(&x, &shape, &places);
                for order in ORDERS {
                    let operands = [
                        Operand {
                            tensor: x.clone(),
                            order,
                        },
                        Operand {
                            tensor: at.cast(at_dtype).unwrap(),
                            order,
                        },
                    ];
                    let found = run_kernel(
                        Kernel::Gather { axis },
                        &operands,
                        &[(dtype, shape.clone())],
                        order,
                    )
                    .unwrap();
                    assert_same(
                        &found[0],
                        &expected,
                        &format!("{dtype} along {axis}, {order:?}"),
                    );
                }
            }
        }
    }
}

#[test]
fn gathers_of_block_formats_move_codes() {
    let mut numbers = Numbers::new(2);
    for format in BlockFormat::ALL {
        let x = numbers.f32s(&[7, 64]).cast(format.into()).unwrap();
        let at = HostTensor::from_slice(&[3], &[6i64, 0, 6]).unwrap();
        let found = run_kernel(
            Kernel::Gather { axis: 0 },
            &[plain(x.clone()), plain(at)],
            &[(format.into(), vec![3, 64])],
            Order::Plain,
        )
        .unwrap();
        let rows: Vec<u8> = [6, 0, 6]
            .iter()
            .flat_map(|&r| x.rows(r..r + 1).unwrap().bytes().to_vec())
            .collect();
        assert_eq!(found[0].bytes(), rows);
    }
}

#[test]
fn single_elements_are_gathered_and_scattered() {
    let mut numbers = Numbers::new(3);
    for dtype in DType::PLAIN {
        let x = numbers.tensor(dtype, &[3, 4, 5]);
        for axis in 0..3 {
            let mut shape = [2, 3, 4];
            shape[axis] = 6;
            let at = numbers.ints(&shape, x.shape()[axis]);
            let ats = at.to_vec::<i64>().unwrap();
            let places: Vec<usize> = indices(&shape)
                .iter()
                .zip(&ats)
                .map(|(index, &chosen)| {
                    let mut from = index.clone();
                    from[axis] = chosen as usize;
                    flat(&from, x.shape())
                })
                .collect();
            let updates = numbers.tensor(dtype, &shape);
            for order in ORDERS {
                let [x_, at_, updates_] = [&x, &at, &updates].map(|t| Operand {
                    tensor: t.clone(),
                    order,
                });
                let gathered = run_kernel(
                    Kernel::GatherElements { axis },
                    &[x_.clone(), at_.clone()],
                    &[(dtype, shape.to_vec())],
                    order,
                )
                .unwrap();
                assert_same(
                    &gathered[0],
                    &pick(&x, &shape, &places),
                    &format!("gather elements of {dtype}"),
                );
                let mut reduces = vec![ScatterReduce::None, ScatterReduce::Max, ScatterReduce::Min];
                if !dtype.is_bool() {
                    reduces.extend([ScatterReduce::Add, ScatterReduce::Mul]);
                }
                for reduce in reduces {
                    let expected = scattered(&x, &places, &updates, reduce);
                    let operands = [x_.clone(), at_.clone(), updates_.clone()];
                    let found = run_kernel(
                        Kernel::Scatter { axis, reduce },
                        &operands,
                        &[(dtype, vec![3, 4, 5])],
                        order,
                    )
                    .unwrap();
                    assert_same(
                        &found[0],
                        &expected,
                        &format!("scatter {reduce:?} of {dtype} along {axis}"),
                    );
                }
            }
        }
    }
}

/// Updates in row-major order, every result rounded to the dtype.
fn scattered(
    x: &HostTensor,
    places: &[usize],
    updates: &HostTensor,
    reduce: ScatterReduce,
) -> HostTensor {
    let dtype = x.dtype();
    let fit = |x: f64| {
        let one = if dtype.is_int() {
            HostTensor::scalar(x as i64)
        } else {
            HostTensor::scalar(x)
        };
        one.cast(dtype).unwrap().to_f64_vec().unwrap()[0]
    };
    let mut values = x.to_f64_vec().unwrap();
    for (&place, &update) in places.iter().zip(&updates.to_f64_vec().unwrap()) {
        let old = values[place];
        // Sums and products of f32 and narrower in f64 are exact enough to round as in f32 here.
        values[place] = match reduce {
            ScatterReduce::None => update,
            ScatterReduce::Add if dtype.is_float() && dtype != DType::F64 => {
                fit(f64::from(old as f32 + update as f32))
            }
            ScatterReduce::Mul if dtype.is_float() && dtype != DType::F64 => {
                fit(f64::from(old as f32 * update as f32))
            }
            ScatterReduce::Add => fit(old + update),
            ScatterReduce::Mul => wrapping_product(dtype, old, update, fit),
            ScatterReduce::Max => old.max(update),
            ScatterReduce::Min => old.min(update),
        };
    }
    if dtype.is_int() || dtype.is_bool() {
        let whole: Vec<i64> = values.iter().map(|&x| x as i64).collect();
        return HostTensor::from_vec(x.shape(), whole)
            .unwrap()
            .cast(dtype)
            .unwrap();
    }
    HostTensor::from_vec(x.shape(), values)
        .unwrap()
        .cast(dtype)
        .unwrap()
}

fn wrapping_product(dtype: DType, a: f64, b: f64, fit: impl Fn(f64) -> f64) -> f64 {
    if dtype.is_float() {
        return fit(a * b);
    }
    let product = (a as i64).wrapping_mul(b as i64);
    HostTensor::scalar(product)
        .cast(dtype)
        .unwrap()
        .to_i64_vec()
        .unwrap()[0] as f64
}

#[test]
fn indices_out_of_range_are_named() {
    let x = Numbers::new(4).f32s(&[5, 2]);
    for (bad, text) in [(5i64, "5 is outside 0..5"), (-1, "-1 is outside 0..5")] {
        let at = HostTensor::from_slice(&[2], &[0, bad]).unwrap();
        let error = run_kernel(
            Kernel::Gather { axis: 0 },
            &[plain(x.clone()), plain(at)],
            &[(DType::F32, vec![2, 2])],
            Order::Plain,
        )
        .unwrap_err();
        assert!(matches!(error, RunError::Index { size: 5, .. }));
        let message = error.to_string();
        assert!(
            message.contains("step 0 `gather` (test.0), indices") && message.contains(text),
            "{message}"
        );
    }
    let at = HostTensor::from_slice(&[1, 2], &[0i64, 9]).unwrap();
    let result = [(DType::F32, vec![1, 2])];
    let error = run_kernel(
        Kernel::GatherElements { axis: 0 },
        &[plain(x.clone()), plain(at.clone())],
        &result,
        Order::Plain,
    )
    .unwrap_err();
    assert!(error.to_string().contains("gather_elements"));
    let updates = Numbers::new(5).f32s(&[1, 2]);
    let kernel = Kernel::Scatter {
        axis: 0,
        reduce: ScatterReduce::Add,
    };
    let error = run_kernel(
        kernel,
        &[plain(x), plain(at), plain(updates)],
        &[(DType::F32, vec![5, 2])],
        Order::Plain,
    )
    .unwrap_err();
    assert!(error.to_string().contains("9 is outside 0..5"));
}

#[test]
fn caches_are_written_in_place_and_keep_the_rest() {
    for dtype in [DType::F32, DType::BF16, DType::I8] {
        for axis in [0, 1] {
            let mut planner = Planner::new();
            let (cache_shape, new_shape) = if axis == 0 {
                ("[8, 2, 3]", "[tokens, 2, 3]")
            } else {
                ("[2, 8, 3]", "[2, tokens, 3]")
            };
            let cache = planner.input("cache", &format!("{dtype}{cache_shape}"), true);
            let new = planner.input("new", &format!("{dtype}{new_shape}"), false);
            let position = planner.input("position", "i64[]", false);
            planner.step(
                Kernel::CacheAppend { axis },
                vec![new, position],
                vec![cache.clone()],
            );
            planner.output("cache", &cache);
            let mut numbers = Numbers::new(6);
            for threads in THREADS {
                let mut session = planner.session(threads, None, &Default::default());
                let shape = |n: usize| {
                    if axis == 0 {
                        vec![n, 2, 3]
                    } else {
                        vec![2, n, 3]
                    }
                };
                let mut expected = HostTensor::zeros(dtype, &shape(8))
                    .unwrap()
                    .to_f64_vec()
                    .unwrap();
                for (at, n) in [(0usize, 3usize), (3, 1), (4, 4), (1, 2)] {
                    let new = numbers.tensor(dtype, &shape(n));
                    for (index, value) in indices(&shape(n)).iter().zip(new.to_f64_vec().unwrap()) {
                        let mut to = index.clone();
                        to[axis] += at;
                        expected[flat(&to, &shape(8))] = value;
                    }
                    let found = session
                        .run(&[("new", &new), ("position", &HostTensor::scalar(at as i64))])
                        .unwrap();
                    assert_close(&found[0].1, &expected, 0.0, "cache");
                }
                // No room: an error, and the cache is as before.
                let new = numbers.tensor(dtype, &shape(2));
                for bad in [7, 8, -1] {
                    let error = session
                        .run(&[("new", &new), ("position", &HostTensor::scalar(bad as i64))])
                        .unwrap_err();
                    assert!(error.to_string().contains("a cache of 8"), "{error}");
                }
                let none = HostTensor::zeros(dtype, &shape(0)).unwrap();
                let found = session
                    .run(&[("new", &none), ("position", &HostTensor::scalar(8i64))])
                    .unwrap();
                assert_close(&found[0].1, &expected, 0.0, "cache");
                // Given explicitly, the state is replaced.
                let whole = numbers.tensor(dtype, &shape(8));
                let found = session
                    .run(&[
                        ("cache", &whole),
                        ("new", &none),
                        ("position", &HostTensor::scalar(0i64)),
                    ])
                    .unwrap();
                assert!(found[0].1.bitwise_eq(&whole));
            }
        }
    }
}
