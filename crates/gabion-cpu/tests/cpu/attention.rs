//! Attention against plain loops in f64, and the promise that a query's bits depend on itself and
//! on the keys that it sees.

use crate::plans::*;
use gabion_cpu::isa::Isa;
use gabion_plan::*;
use gabion_tensor::*;

struct Case {
    batch: usize,
    queries: usize,
    keys: usize,
    heads: usize,
    kv_heads: usize,
    dim: usize,
    value_dim: usize,
    spec: Attention,
    position: i64,
}

fn spec(causal: bool, mask: bool, position: bool) -> Attention {
    Attention {
        scale: 0.3,
        causal,
        mask,
        position,
    }
}

/// The meaning, element by element.
fn expected(
    case: &Case,
    q: &HostTensor,
    k: &HostTensor,
    v: &HostTensor,
    mask: Option<&HostTensor>,
) -> Vec<f64> {
    let [q, k, v] = [q, k, v].map(|t| t.to_f64_vec().unwrap());
    let bools = mask.is_some_and(|m| m.dtype().is_bool());
    let mask = mask.map(|m| m.to_f64_vec().unwrap());
    let (group, mut out) = (case.heads / case.kv_heads, vec![]);
    for b in 0..case.batch {
        for i in 0..case.queries {
            for h in 0..case.heads {
                let mut scores = vec![];
                for j in 0..case.keys {
                    let mut seen = true;
                    let last = if case.spec.position {
                        case.position + i as i64
                    } else {
                        (case.keys as i64) - case.queries as i64 + i as i64
                    };
                    if case.spec.position {
                        seen &= (j as i64) < case.position + case.queries as i64;
                    }
                    if case.spec.causal {
                        seen &= j as i64 <= last;
                    }
                    let mut added = 0.0;
                    if let Some(mask) = &mask {
                        let m = mask[((b * case.heads + h) * case.queries + i) * case.keys + j];
                        if bools {
                            seen &= m != 0.0;
                        } else {
                            added = m;
                        }
                    }
                    let at_q = ((b * case.queries + i) * case.heads + h) * case.dim;
                    let at_k = ((b * case.keys + j) * case.kv_heads + h / group) * case.dim;
                    let dot: f64 = (0..case.dim).map(|d| q[at_q + d] * k[at_k + d]).sum();
                    scores.push(if seen {
                        dot * f64::from(case.spec.scale) + added
                    } else {
                        f64::NEG_INFINITY
                    });
                }
                let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let weights: Vec<f64> = scores
                    .iter()
                    .map(|s| {
                        if max == f64::NEG_INFINITY {
                            0.0
                        } else {
                            (s - max).exp()
                        }
                    })
                    .collect();
                let sum: f64 = weights.iter().sum();
                for d in 0..case.value_dim {
                    let total: f64 = (0..case.keys)
                        .filter(|&j| weights[j] != 0.0)
                        .map(|j| {
                            weights[j]
                                * v[((b * case.keys + j) * case.kv_heads + h / group)
                                    * case.value_dim
                                    + d]
                        })
                        .sum();
                    out.push(if sum == 0.0 { 0.0 } else { total / sum });
                }
            }
        }
    }
    out
}

fn check(case: &Case, dtype: DType, mask_dtype: Option<DType>, order: Order, seed: u64) {
    let mut numbers = Numbers::new(seed);
    let q = numbers.tensor(dtype, &[case.batch, case.queries, case.heads, case.dim]);
    let k = numbers.tensor(dtype, &[case.batch, case.keys, case.kv_heads, case.dim]);
    let v = numbers.tensor(
        dtype,
        &[case.batch, case.keys, case.kv_heads, case.value_dim],
    );
    let mut operands: Vec<Operand> = [&q, &k, &v]
        .map(|t| Operand {
            tensor: t.clone(),
            order,
        })
        .to_vec();
    let mask =
        mask_dtype.map(|d| numbers.tensor(d, &[case.batch, case.heads, case.queries, case.keys]));
    operands.extend(mask.iter().map(|m| Operand {
        tensor: m.clone(),
        order,
    }));
    if case.spec.position {
        operands.push(plain(HostTensor::scalar(case.position)));
    }
    let shape = vec![case.batch, case.queries, case.heads, case.value_dim];
    let found = run_kernel(
        Kernel::Attention(case.spec.clone()),
        &operands,
        &[(dtype, shape)],
        order,
    )
    .unwrap();
    let tolerance = match dtype {
        DType::F64 => 1e-12,
        // Scores reach 40, so their last places are worth that much.
        DType::F32 => 1e-4,
        DType::F16 => 4e-3,
        _ => 3e-2,
    };
    let what = format!(
        "{dtype} {:?} queries {} keys {} {mask_dtype:?} {order:?}",
        case.spec, case.queries, case.keys
    );
    assert_close(
        &found[0],
        &expected(case, &q, &k, &v, mask.as_ref()),
        tolerance,
        &what,
    );
}

#[test]
fn every_kind_of_attention_agrees_with_plain_loops() {
    let mut seed = 0;
    for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16] {
        for causal in [false, true] {
            for (mask, position) in [
                (None, None),
                (Some(DType::Bool), None),
                (Some(dtype), Some(2)),
                (None, Some(0)),
                (Some(DType::Bool), Some(5)),
            ] {
                for (queries, keys) in [(1, 40), (7, 40), (33, 70)] {
                    for order in ORDERS {
                        let case = Case {
                            batch: 2,
                            queries,
                            keys,
                            heads: 6,
                            kv_heads: 2,
                            dim: 9,
                            value_dim: 11,
                            spec: spec(causal, mask.is_some(), position.is_some()),
                            position: position.unwrap_or(0),
                        };
                        seed += 1;
                        check(&case, dtype, mask, order, seed);
                    }
                }
            }
        }
    }
}

#[test]
fn larger_shapes_and_fewer_keys_than_queries() {
    for (queries, keys, heads, kv_heads, dim, causal) in [
        (128, 128, 12, 12, 32, false),
        (200, 300, 9, 3, 64, true),
        (20, 8, 2, 1, 16, true),
        (1, 1000, 9, 3, 64, true),
    ] {
        let case = Case {
            batch: 1,
            queries,
            keys,
            heads,
            kv_heads,
            dim,
            value_dim: dim,
            spec: spec(causal, false, false),
            position: 0,
        };
        check(&case, DType::F32, None, Order::Plain, 99);
    }
}

/// Runs f32 attention and gives the bits of each query's row.
fn rows(
    q: &HostTensor,
    k: &HostTensor,
    v: &HostTensor,
    position: i64,
    isa: Option<Isa>,
) -> Vec<Vec<u32>> {
    let mut planner = Planner::new();
    let [q_, k_, v_] = [("q", q), ("k", k), ("v", v)]
        .map(|(name, t)| planner.input(name, &TensorType::of(t).to_string(), false));
    let p = planner.input("p", "i64[]", false);
    let y = planner.result(DType::F32, q.shape());
    planner.step(
        Kernel::Attention(spec(true, false, true)),
        vec![q_, k_, v_, p],
        vec![y.clone()],
    );
    planner.output("y", &y);
    let mut all: Option<Vec<Vec<u32>>> = None;
    for threads in THREADS {
        let mut session = planner.session(threads, isa, &Default::default());
        let given = [
            ("q", q),
            ("k", k),
            ("v", v),
            ("p", &HostTensor::scalar(position)),
        ];
        let found = session
            .run(&given)
            .unwrap()
            .remove(0)
            .1
            .to_vec::<f32>()
            .unwrap();
        let rows: Vec<Vec<u32>> = found
            .chunks(q.shape()[1] * q.shape()[2])
            .map(|r| r.iter().map(|x| x.to_bits()).collect())
            .collect();
        assert!(
            all.as_ref().is_none_or(|all| *all == rows),
            "{threads} threads"
        );
        all = Some(rows);
    }
    all.unwrap()
}

#[test]
fn a_query_has_the_same_bits_alone_and_among_others_and_whatever_lies_behind_its_keys() {
    let mut numbers = Numbers::new(11);
    let (queries, keys) = (77, 300);
    let q = numbers.f32s(&[queries, 9, 64]);
    let (k, v) = (numbers.f32s(&[keys, 3, 64]), numbers.f32s(&[keys, 3, 64]));
    let position = 150;
    let together = rows(&q, &k, &v, position, None);
    for i in [0, 1, 5, 6, 31, 32, 76] {
        let one = q.rows(i..i + 1).unwrap();
        // What a decode step sees: garbage, even infinities, in later places of the cache.
        let (mut dirty_k, mut dirty_v) = (k.clone(), v.clone());
        let seen = (position as usize + i + 1) * 3 * 64;
        dirty_k.as_mut_slice::<f32>().unwrap()[seen..].fill(f32::NAN);
        dirty_v.as_mut_slice::<f32>().unwrap()[seen..].fill(f32::INFINITY);
        let alone = rows(&one, &dirty_k, &dirty_v, position + i as i64, None);
        assert_eq!(alone[0], together[i], "query {i}");
    }
    if Isa::Avx512.is_available() {
        assert_eq!(
            rows(&q, &k, &v, position, Some(Isa::Avx2)),
            rows(&q, &k, &v, position, Some(Isa::Avx512))
        );
    }
    rows(&q, &k, &v, position, Some(Isa::Portable));
}

#[test]
fn nan_and_infinity_reach_the_queries_that_see_them() {
    let mut numbers = Numbers::new(12);
    let (q, mut k, v) = (
        numbers.f32s(&[4, 1, 8]),
        numbers.f32s(&[4, 1, 8]),
        numbers.f32s(&[4, 1, 8]),
    );
    k.as_mut_slice::<f32>().unwrap()[2 * 8] = f32::NAN;
    let bits = rows(&q, &k, &v, 0, None);
    let nan = |row: &[u32]| row.iter().all(|&b| f32::from_bits(b).is_nan());
    assert!(!nan(&bits[0]) && !nan(&bits[1]) && nan(&bits[2]) && nan(&bits[3]));
}

#[test]
fn a_query_that_sees_nothing_gives_zeros_and_a_position_past_the_cache_is_an_error() {
    let mut numbers = Numbers::new(13);
    let (q, k) = (numbers.f32s(&[3, 2, 4]), numbers.f32s(&[5, 2, 4]));
    let none = HostTensor::zeros(DType::Bool, &[2, 3, 5]).unwrap();
    let kernel = Kernel::Attention(spec(false, true, false));
    let found = run_kernel(
        kernel,
        &[
            plain(q.clone()),
            plain(k.clone()),
            plain(k.clone()),
            plain(none),
        ],
        &[(DType::F32, vec![3, 2, 4])],
        Order::Plain,
    )
    .unwrap();
    assert_eq!(found[0].to_vec::<f32>().unwrap(), [0.0; 24]);
    for bad in [3i64, -1] {
        let operands = [
            plain(q.clone()),
            plain(k.clone()),
            plain(k.clone()),
            plain(HostTensor::scalar(bad)),
        ];
        let kernel = Kernel::Attention(spec(true, false, true));
        let error = run_kernel(
            kernel,
            &operands,
            &[(DType::F32, vec![3, 2, 4])],
            Order::Plain,
        )
        .unwrap_err();
        assert!(
            matches!(error, RunError::Index { index, .. } if index == bad),
            "{error}"
        );
        assert!(error.to_string().contains("a cache of 5"), "{error}");
    }
}
