//! Matrix products: stacks of every format to the last bit, epilogues fused and not, norms before,
//! and what loading says about weights that do not fit.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::plans::*;
use gabion_cpu::isa::Isa;
use gabion_plan::*;
use gabion_tensor::*;

type Weights = BTreeMap<String, HostTensor>;

fn part(
    name: &str,
    stored: &HostTensor,
    recipe: Vec<Transform>,
    rows: std::ops::Range<usize>,
) -> Part {
    Part {
        source: PartSource::Checkpoint(name.into()),
        stored: TensorType::of(stored),
        recipe,
        rows,
    }
}

fn to_f32() -> Vec<Transform> {
    vec![Transform::Cast { dtype: DType::F32 }]
}

fn tiles(parts: Vec<Part>, k: usize, segments: &[(usize, Arrangement)]) -> PlanWeight {
    let mut start = 0;
    let segments = segments.iter().map(|&(rows, arrangement)| {
        start += rows;
        WeightSegment {
            rows: start - rows..start,
            arrangement,
        }
    });
    let segments: Vec<_> = segments.collect();
    PlanWeight {
        name: "stack".into(),
        ty: TensorType::new(DType::F32, [start, k]),
        parts,
        layout: Layout::Tiles,
        segments,
    }
}

fn plain_outputs(count: usize) -> Vec<SegmentOutput> {
    (0..count)
        .map(|write| SegmentOutput {
            epilogue: vec![],
            write,
        })
        .collect()
}

/// One chain of multiply-adds in order, as every kernel has it.
fn chain(x: &[f32], w: &[f32]) -> f32 {
    let fused = Isa::detect().unwrap() != Isa::Portable || cfg!(target_feature = "fma");
    x.iter().zip(w).fold(0.0, |sum, (&x, &w)| {
        if fused {
            x.mul_add(w, sum)
        } else {
            sum + x * w
        }
    })
}

fn product(x: &HostTensor, w: &HostTensor) -> Vec<f32> {
    let k = *x.shape().last().unwrap();
    let (x, w) = (x.to_f32_vec().unwrap(), w.to_f32_vec().unwrap());
    x.chunks(k)
        .flat_map(|x| w.chunks(k).map(|w| chain(x, w)).collect::<Vec<_>>())
        .collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

/// Runs a plan with every number of threads; all give the same bits.
fn run(planner: &Planner, weights: &Weights, inputs: &[(&str, &HostTensor)]) -> Vec<HostTensor> {
    let mut first: Option<Vec<HostTensor>> = None;
    for threads in THREADS {
        let mut session = planner.session(threads, None, weights);
        let found: Vec<HostTensor> = session
            .run(inputs)
            .unwrap()
            .into_iter()
            .map(|(_, t)| t)
            .collect();
        if let Some(first) = &first {
            assert!(
                first.iter().zip(&found).all(|(a, b)| a.bitwise_eq(b)),
                "{threads} threads give other bits"
            );
        }
        first = Some(found);
    }
    first.unwrap()
}

fn formats() -> Vec<DType> {
    let blocks = BlockFormat::ALL.into_iter().map(DType::Block);
    [DType::F32, DType::F16, DType::BF16]
        .into_iter()
        .chain(blocks)
        .collect()
}

#[test]
fn stacks_of_every_format_are_exact_chains_for_any_number_of_rows() {
    let mut numbers = Numbers::new(1);
    let k = 96;
    for format in formats() {
        let q = numbers.f32s(&[45, k]).cast(format).unwrap();
        let v = numbers.f32s(&[40, k]).cast(format).unwrap();
        // All rows of one, some of the other: unused rows are left out.
        let parts = vec![
            part("q", &q, to_f32(), 0..45),
            part("v", &v, to_f32(), 3..30),
        ];
        let weight = tiles(
            parts,
            k,
            &[(45, Arrangement::Plain), (27, Arrangement::Plain)],
        );
        let weights = Weights::from([("q".into(), q.clone()), ("v".into(), v.clone())]);
        for m in [1, 2, 7, 33] {
            let mut planner = Planner::new();
            let id = planner.weight(weight.clone());
            let x = planner.input("x", &format!("f32[{m}, {k}]"), false);
            let (y, z) = (
                planner.result(DType::F32, &[m, 45]),
                planner.result(DType::F32, &[m, 27]),
            );
            planner.output("y", &y);
            planner.output("z", &z);
            let spec = Matmul {
                weight: id,
                prologue: None,
                outputs: plain_outputs(2),
            };
            planner.step(Kernel::Matmul(spec), vec![x], vec![y, z]);
            let x = numbers.f32s(&[m, k]);
            let found = run(&planner, &weights, &[("x", &x)]);
            let what = format!("{format}, {m} rows");
            assert_eq!(
                bits(&found[0].to_f32_vec().unwrap()),
                bits(&product(&x, &q)),
                "{what}"
            );
            assert_eq!(
                bits(&found[1].to_f32_vec().unwrap()),
                bits(&product(&x, &v.rows(3..30).unwrap())),
                "{what}"
            );
        }
    }
}

/// A source that reorders rows and keeps a record.
struct Ordered {
    weights: Weights,
    map: Arc<[u32]>,
    log: Mutex<Vec<String>>,
}

impl WeightSource for Ordered {
    fn weight(&self, name: &str) -> Result<StoredWeight, LoadError> {
        self.log.lock().unwrap().push(format!("get {name}"));
        let mut stored = self.weights.weight(name)?;
        stored.row_map = Some(self.map.clone());
        Ok(stored)
    }

    fn release(&self, name: &str) {
        self.log.lock().unwrap().push(format!("release {name}"));
    }
}

#[test]
fn parts_of_different_formats_recipes_and_row_orders_make_one_stack() {
    let mut numbers = Numbers::new(2);
    let k = 32;
    let map: Arc<[u32]> = (0..32).map(|i| (i * 7 + 3) % 32).collect();
    let reorder = |t: &HostTensor| {
        let rows: Vec<u8> = map
            .iter()
            .flat_map(|&r| t.rows(r as usize..r as usize + 1).unwrap().bytes().to_vec())
            .collect();
        HostTensor::new(t.dtype(), t.shape(), rows).unwrap()
    };
    let a = numbers.f32s(&[32, k]).cast(DType::BF16).unwrap();
    let b = numbers
        .f32s(&[32, k])
        .cast(BlockFormat::Q4_1.into())
        .unwrap();
    let c = numbers.f32s(&[32, k]).cast(DType::F64).unwrap();
    let d = numbers.f32s(&[32, k]);
    let clamp = Transform::Clamp {
        min: Some(-0.25),
        max: Some(0.5),
    };
    let mut with_clamp = to_f32();
    with_clamp.push(clamp);
    let parts = vec![
        part("a", &a, to_f32(), 0..32),
        part("b", &b, with_clamp, 5..32),
        part("c", &c, to_f32(), 0..10),
        part("d", &d, vec![Transform::Transpose], 2..32),
    ];
    let rows = 32 + 27 + 10 + 30;
    let weights = Weights::from([
        ("a".into(), a.clone()),
        ("b".into(), b.clone()),
        ("c".into(), c.clone()),
        ("d".into(), d.clone()),
    ]);
    let expected_rows: Vec<f32> = {
        let mut all = reorder(&a).to_f32_vec().unwrap();
        let limited = reorder(&b).rows(5..32).unwrap().to_f32_vec().unwrap();
        all.extend(limited.iter().map(|x| x.clamp(-0.25, 0.5)));
        all.extend(reorder(&c).rows(0..10).unwrap().to_f32_vec().unwrap());
        let d = reorder(&d).to_f32_vec().unwrap();
        all.extend((2..32).flat_map(|j| (0..32).map(|i| d[i * 32 + j]).collect::<Vec<_>>()));
        all
    };
    let w = HostTensor::from_vec(&[rows, k], expected_rows).unwrap();
    // One segment over all, or pairs across formats.
    for arrangement in [Arrangement::Plain, Arrangement::Halves { block: 2 }] {
        let total = if arrangement == Arrangement::Plain {
            rows
        } else {
            rows - 1
        };
        let mut parts = parts.clone();
        parts[3].rows.end -= rows - total;
        let mut planner = Planner::new();
        let id = planner.weight(tiles(parts, k, &[(total, arrangement)]));
        let x = planner.input("x", &format!("f32[5, {k}]"), false);
        let ids = planner.input("ids", &format!("i64[{total}]"), false);
        let y = planner.result(DType::F32, &[5, total]);
        planner.output("y", &y);
        let spec = Matmul {
            weight: id,
            prologue: None,
            outputs: plain_outputs(1),
        };
        planner.step(Kernel::Matmul(spec), vec![x], vec![y]);
        // The same weight, row by row.
        let table = View::contiguous(Source::Weight(id), Shape::fixed(&[total, k]));
        let e = planner.result(DType::F32, &[total, k]);
        planner.output("e", &e);
        planner.step(Kernel::Gather { axis: 0 }, vec![table, ids], vec![e]);
        let source = Ordered {
            weights: weights.clone(),
            map: map.clone(),
            log: Mutex::default(),
        };
        let x = numbers.f32s(&[5, k]);
        let ids = HostTensor::from_vec(&[total], (0..total as i64).collect()).unwrap();
        let w = w.rows(0..total).unwrap();
        for threads in THREADS {
            source.log.lock().unwrap().clear();
            let loaded = executor(threads, None)
                .load_cpu(Arc::new(planner.plan.clone()), &source)
                .unwrap();
            let log = source.log.lock().unwrap().clone();
            for name in ["a", "b", "c", "d"] {
                assert_eq!(
                    log.iter().filter(|l| **l == format!("get {name}")).count(),
                    1
                );
                assert!(log.contains(&format!("release {name}")));
            }
            let mut session = loaded.cpu_session(&Bindings::new()).unwrap();
            let found = session.run(&[("x", &x), ("ids", &ids)]).unwrap();
            assert_eq!(
                bits(&found[0].1.to_f32_vec().unwrap()),
                bits(&product(&x, &w)),
                "{arrangement:?}"
            );
            assert_same(&found[1].1, &w, "rows");
        }
    }
}

/// What comes after a product, as an epilogue and as maps.
fn epilogue_case(
    m: usize,
    rows: usize,
    arrangement: Arrangement,
    epilogue: Vec<Epilogue>,
    width: usize,
    tolerance: f64,
    expected: impl Fn(&[Vec<f32>], usize, usize) -> f64,
) {
    let mut numbers = Numbers::new((m * 1000 + rows) as u64);
    let k = 64;
    let w = numbers
        .f32s(&[rows, k])
        .cast(BlockFormat::Q8_0.into())
        .unwrap();
    let x = numbers.f32s(&[m, k]);
    let (bias, other) = (numbers.f32s(&[rows]), numbers.f32s(&[m, width]));
    let (cos, sin) = (numbers.f32s(&[m, 4]), numbers.f32s(&[m, 4]));
    let sums = product(&x, &w);
    let given: Vec<Vec<f32>> = [&bias, &other, &cos, &sin]
        .map(|t| t.to_f32_vec().unwrap())
        .to_vec();
    let mut operands = vec![sums];
    operands.extend(given);
    let wanted: Vec<f64> = (0..m * width)
        .map(|i| expected(&operands, i / width, i % width))
        .collect();
    for (dtype, gaps) in [
        (DType::F32, false),
        (DType::F32, true),
        (DType::BF16, false),
    ] {
        let mut planner = Planner::new();
        let id = planner.weight(tiles(
            vec![part("w", &w, to_f32(), 0..rows)],
            k,
            &[(rows, arrangement)],
        ));
        let reads = [
            ("x", &x),
            ("bias", &bias),
            ("other", &other),
            ("cos", &cos),
            ("sin", &sin),
        ];
        let views =
            reads.map(|(name, t)| planner.input(name, &TensorType::of(t).to_string(), false));
        let mut y = planner.result(dtype, &[m, width]);
        if gaps {
            // Rows apart, the last axis dense.
            let buffer = planner.buffer(dtype, m * (width + 5) + 7);
            y = View {
                source: Source::Buffer(buffer),
                offset: Dim::from(7),
                shape: Shape::fixed(&[m, width]),
                strides: [Dim::from(width + 5), Dim::from(1)].into_iter().collect(),
            };
        }
        planner.output("y", &y);
        let spec = Matmul {
            weight: id,
            prologue: None,
            outputs: vec![SegmentOutput {
                epilogue: epilogue.clone(),
                write: 0,
            }],
        };
        planner.step(Kernel::Matmul(spec), views.to_vec(), vec![y]);
        let found = run(&planner, &Weights::from([("w".into(), w.clone())]), &reads);
        let tolerance = if dtype == DType::BF16 {
            8e-3
        } else {
            tolerance
        };
        assert_close(
            &found[0],
            &wanted,
            tolerance,
            &format!("{epilogue:?}, {m} rows of {rows}, {dtype}"),
        );
    }
}

#[test]
fn epilogues_of_every_kind_fused_or_row_by_row() {
    let f = |x: f32| f64::from(x);
    for m in [1, 3, 40] {
        for rows in [32, 50] {
            let at = move |o: &[Vec<f32>], i: usize, j: usize| o[0][i * rows + j];
            let plain = Arrangement::Plain;
            epilogue_case(
                m,
                rows,
                plain,
                vec![Epilogue::Bias { read: 1 }],
                rows,
                0.0,
                move |o, i, j| f(at(o, i, j) + o[1][j]),
            );
            let silu = UnaryFn::Silu;
            let all = vec![
                Epilogue::Scalar {
                    func: BinaryFn::Mul,
                    value: 0.75,
                },
                Epilogue::Bias { read: 1 },
                Epilogue::Map { func: silu },
                Epilogue::Binary {
                    func: BinaryFn::Add,
                    read: 2,
                    swapped: true,
                },
            ];
            epilogue_case(m, rows, plain, all, rows, 3e-6, move |o, i, j| {
                f(silu.eval_f32(at(o, i, j) * 0.75 + o[1][j]).unwrap() + o[2][i * rows + j])
            });
            // No form of the kernel: row by row.
            let swapped = |swapped| {
                vec![Epilogue::Binary {
                    func: BinaryFn::Sub,
                    read: 2,
                    swapped,
                }]
            };
            epilogue_case(m, rows, plain, swapped(false), rows, 0.0, move |o, i, j| {
                f(at(o, i, j) - o[2][i * rows + j])
            });
            epilogue_case(m, rows, plain, swapped(true), rows, 0.0, move |o, i, j| {
                f(o[2][i * rows + j] - at(o, i, j))
            });
            let late = vec![
                Epilogue::Map { func: UnaryFn::Abs },
                Epilogue::Bias { read: 1 },
                Epilogue::Scalar {
                    func: BinaryFn::Max,
                    value: 1.0,
                },
            ];
            epilogue_case(m, rows, plain, late, rows, 0.0, move |o, i, j| {
                f((at(o, i, j).abs() + o[1][j]).max(1.0))
            });
            // Gated: one block over the whole segment, and after an operation of its own.
            let half = rows / 2;
            let halves = Arrangement::Halves { block: rows };
            for func in [UnaryFn::Silu, UnaryFn::GeluErf, UnaryFn::Relu, UnaryFn::Neg] {
                let glu = vec![Epilogue::Bias { read: 1 }, Epilogue::Glu { func }];
                epilogue_case(m, rows, halves, glu, half, 3e-6, move |o, i, j| {
                    f(func.eval_f32(at(o, i, j) + o[1][j]).unwrap()
                        * (at(o, i, half + j) + o[1][half + j]))
                });
            }
            let glu = vec![
                Epilogue::Scalar {
                    func: BinaryFn::Add,
                    value: 0.5,
                },
                Epilogue::Glu { func: silu },
                Epilogue::Binary {
                    func: BinaryFn::Mul,
                    read: 2,
                    swapped: false,
                },
            ];
            epilogue_case(m, rows, halves, glu, half, 3e-6, move |o, i, j| {
                f(silu.eval_f32(at(o, i, j) + 0.5).unwrap()
                    * (at(o, i, half + j) + 0.5)
                    * o[2][i * half + j])
            });
        }
        // Rotations: heads of 8, pairs 4 apart.
        for heads in [4, 6] {
            let rows = heads * 8;
            let rope = Epilogue::Rope { cos: 3, sin: 4 };
            let turned = move |o: &[Vec<f32>], i: usize, j: usize| {
                let (head, e) = (j / 8 * 8, j % 8);
                let at = |e: usize| o[0][i * rows + head + e] + o[1][head + e];
                let (c, s) = (o[3][i * 4 + e % 4], o[4][i * 4 + e % 4]);
                if e < 4 {
                    f(at(e) * c - at(e + 4) * s)
                } else {
                    f(at(e) * c + at(e - 4) * s)
                }
            };
            let halves = Arrangement::Halves { block: 8 };
            epilogue_case(
                m,
                rows,
                halves,
                vec![Epilogue::Bias { read: 1 }, rope.clone()],
                rows,
                0.0,
                turned,
            );
            let twice = vec![
                Epilogue::Bias { read: 1 },
                rope,
                Epilogue::Map { func: UnaryFn::Neg },
            ];
            epilogue_case(m, rows, halves, twice, rows, 0.0, move |o, i, j| {
                -turned(o, i, j)
            });
        }
    }
}

#[test]
fn a_norm_before_the_product_has_the_bits_of_a_norm_of_its_own() {
    let mut numbers = Numbers::new(5);
    let k = 576;
    let w = numbers.f32s(&[40, k]).cast(DType::F16).unwrap();
    let weights = Weights::from([("w".into(), w.clone())]);
    for m in [1, 2, 50] {
        for kind in [NormKind::Rms, NormKind::LayerBias] {
            for transposed in [false, true] {
                let norm = NormSpec { kind, eps: 1e-5 };
                let mut planner = Planner::new();
                let id = planner.weight(tiles(
                    vec![part("w", &w, to_f32(), 0..40)],
                    k,
                    &[(40, Arrangement::Plain)],
                ));
                let mut x = planner.input(
                    "x",
                    &if transposed {
                        format!("f32[{k}, {m}]")
                    } else {
                        format!("f32[{m}, {k}]")
                    },
                    false,
                );
                if transposed {
                    x.shape.0.reverse();
                    x.strides.reverse();
                }
                let (g, b) = (
                    planner.input("g", &format!("f32[{k}]"), false),
                    planner.input("b", &format!("f32[{k}]"), false),
                );
                let n = planner.result(DType::F32, &[m, k]);
                let (y, z) = (
                    planner.result(DType::F32, &[m, 40]),
                    planner.result(DType::F32, &[m, 40]),
                );
                let reads = vec![x, g, b];
                let matmul = |prologue| {
                    Kernel::Matmul(Matmul {
                        weight: id,
                        prologue,
                        outputs: plain_outputs(1),
                    })
                };
                planner.step(matmul(Some(norm)), reads.clone(), vec![y.clone()]);
                planner.step(Kernel::Norm(norm), reads, vec![n.clone()]);
                planner.step(matmul(None), vec![n], vec![z.clone()]);
                planner.output("y", &y);
                planner.output("z", &z);
                let x = numbers.f32s(&if transposed { [k, m] } else { [m, k] });
                let (g, b) = (numbers.f32s(&[k]), numbers.f32s(&[k]));
                let found = run(&planner, &weights, &[("x", &x), ("g", &g), ("b", &b)]);
                assert!(found[0].bitwise_eq(&found[1]), "{m} rows, {kind:?}");
                assert!(found[0].to_f32_vec().unwrap().iter().any(|&x| x != 0.0));
            }
        }
    }
}

#[test]
fn loading_says_what_is_wrong_with_a_weight() {
    let mut numbers = Numbers::new(6);
    let w = numbers.f32s(&[8, 32]);
    let base = tiles(
        vec![part("model.w", &w, vec![], 0..8)],
        32,
        &[(8, Arrangement::Plain)],
    );
    let load = |weight: PlanWeight, stored: &HostTensor| {
        let mut planner = Planner::new();
        planner.weight(weight);
        let weights = Weights::from([("model.w".into(), stored.clone())]);
        let result = executor(1, None).load_cpu(Arc::new(planner.plan), &weights);
        result.err().map_or(String::new(), |e| e.to_string())
    };
    assert_eq!(load(base.clone(), &w), "");
    let has =
        |text: String, parts: &[&str]| assert!(parts.iter().all(|p| text.contains(p)), "{text}");
    has(
        load(base.clone(), &numbers.f32s(&[8, 33])),
        &["`model.w`", "f32[8, 32]", "f32[8, 33]"],
    );
    has(
        load(base.clone(), &w.cast(DType::F16).unwrap()),
        &["`model.w`", "f32[8, 32]", "f16[8, 32]"],
    );
    let mut missing = base.clone();
    missing.parts[0].source = PartSource::Checkpoint("model.v".into());
    has(load(missing, &w), &["`model.v` is not in the checkpoint"]);
    let mut rows = base.clone();
    rows.parts[0].rows = 1..9;
    has(load(rows, &w), &["`model.w`", "rows 1..9", "8 rows"]);
    let mut few = base.clone();
    few.parts[0].rows = 0..7;
    has(load(few, &w), &["`stack`", "7 rows"]);
    let mut odd = base.clone();
    odd.segments[0].arrangement = Arrangement::Halves { block: 3 };
    has(load(odd, &w), &["`stack`", "blocks of 3"]);
    let mut ints = base.clone();
    let i = w.cast(DType::I32).unwrap();
    ints.parts[0].stored = TensorType::of(&i);
    has(load(ints.clone(), &i), &["`model.w`", "i32[8, 32]"]);
    ints.parts[0].recipe = to_f32();
    assert_eq!(load(ints, &i), "");
    let mut dense = base.clone();
    dense.layout = Layout::Dense;
    dense.segments.clear();
    assert_eq!(load(dense.clone(), &w), "");
    dense.ty = TensorType::new(DType::F32, [9, 32]);
    has(load(dense.clone(), &w), &["`stack`", "f32[9, 32]"]);
    dense.ty = TensorType::new(DType::BF16, [8, 32]);
    has(load(dense, &w), &["`model.w`", "bf16"]);
}

#[test]
fn dense_weights_of_several_parts_are_read_by_any_step() {
    let mut numbers = Numbers::new(7);
    let (a, b) = (
        numbers.f32s(&[3, 5]),
        numbers.f32s(&[2, 5]).cast(DType::F16).unwrap(),
    );
    let mut planner = Planner::new();
    let id = planner.weight(PlanWeight {
        name: "table".into(),
        ty: TensorType::new(DType::F32, [4, 5]),
        parts: vec![part("a", &a, vec![], 1..3), part("b", &b, to_f32(), 0..2)],
        layout: Layout::Dense,
        segments: vec![],
    });
    let w = View::contiguous(Source::Weight(id), Shape::fixed(&[4, 5]));
    let y = planner.result(DType::F32, &[4, 5]);
    planner.step(Kernel::Copy, vec![w.clone()], vec![y.clone()]);
    planner.output("y", &y);
    planner.output("w", &w);
    let weights = Weights::from([("a".into(), a.clone()), ("b".into(), b.clone())]);
    let found = run(&planner, &weights, &[]);
    let mut expected = a.rows(1..3).unwrap().to_f32_vec().unwrap();
    expected.extend(b.to_f32_vec().unwrap());
    assert_eq!(found[0].to_f32_vec().unwrap(), expected);
    assert_eq!(found[1].to_f32_vec().unwrap(), expected);
}

#[test]
fn batched_products_of_every_dtype_size_and_layout() {
    let mut numbers = Numbers::new(8);
    for (batch, m, n, k) in [
        (2, 1, 1, 1),
        (1, 7, 33, 40),
        (3, 50, 130, 9),
        (2, 5, 6, 600),
        (1, 2, 3, 0),
    ] {
        for dtype in [
            DType::F32,
            DType::F64,
            DType::F16,
            DType::BF16,
            DType::I32,
            DType::U8,
            DType::I64,
        ] {
            let (a, b) = (
                numbers.tensor(dtype, &[batch, m, k]),
                numbers.tensor(dtype, &[batch, k, n]),
            );
            let (av, bv) = (a.to_f64_vec().unwrap(), b.to_f64_vec().unwrap());
            let mut expected = vec![];
            for t in 0..batch {
                for i in 0..m {
                    for j in 0..n {
                        expected.push(
                            (0..k)
                                .map(|l| av[(t * m + i) * k + l] * bv[(t * k + l) * n + j])
                                .sum::<f64>(),
                        );
                    }
                }
            }
            if dtype.is_int() {
                let whole = HostTensor::from_vec(
                    &[expected.len()],
                    expected.iter().map(|&x| x as i64).collect(),
                )
                .unwrap();
                expected = whole.cast(dtype).unwrap().to_f64_vec().unwrap();
            }
            let tolerance = match dtype {
                DType::F16 => 2e-3,
                DType::BF16 => 1e-2,
                DType::F32 => 1e-4,
                DType::F64 => 1e-12,
                _ => 0.0,
            };
            for order in ORDERS {
                let operands = [&a, &b].map(|t| Operand {
                    tensor: t.clone(),
                    order,
                });
                let found = run_kernel(
                    Kernel::BatchMatmul(BatchMatmul {}),
                    &operands,
                    &[(dtype, vec![batch, m, n])],
                    order,
                )
                .unwrap();
                assert_close(
                    &found[0],
                    &expected,
                    tolerance,
                    &format!("{dtype} {batch} {m} {n} {k} {order:?}"),
                );
            }
        }
    }
    // In f32 to the last bit, for any neighbours.
    let (a, b) = (numbers.f32s(&[1, 60, 300]), numbers.f32s(&[1, 300, 70]));
    let run = |a: &HostTensor| {
        let m = a.shape()[1];
        run_kernel(
            Kernel::BatchMatmul(BatchMatmul {}),
            &[plain(a.clone()), plain(b.clone())],
            &[(DType::F32, vec![1, m, 70])],
            Order::Plain,
        )
    };
    let all = run(&a).unwrap()[0].to_f32_vec().unwrap();
    let (av, bv) = (a.to_f32_vec().unwrap(), b.to_f32_vec().unwrap());
    for (i, j) in [(0, 0), (59, 69), (31, 64), (48, 5)] {
        let column: Vec<f32> = (0..300).map(|l| bv[l * 70 + j]).collect();
        assert_eq!(
            all[i * 70 + j].to_bits(),
            chain(&av[i * 300..(i + 1) * 300], &column).to_bits()
        );
    }
    let one = HostTensor::from_slice(&[1, 1, 300], &av[31 * 300..32 * 300]).unwrap();
    assert_eq!(
        run(&one).unwrap()[0].to_f32_vec().unwrap(),
        all[31 * 70..32 * 70]
    );
}
