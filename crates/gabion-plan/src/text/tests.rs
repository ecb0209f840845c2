//! The laws of the text form on plans made by hand, on random plans and on damaged text.

use gabion_tensor::{
    BinaryFn, Constraint, DType, Dim, Guard, HostTensor, MapInstr, MapOp, MapProgram, Relations,
    Shape, TensorType, UnaryFn,
};
use proptest::prelude::*;

use crate::kernel::{
    Attention, BatchMatmul, Epilogue, Kernel, Matmul, NormKind, NormSpec, Pairing, ReduceFn,
    ScatterReduce, SegmentOutput,
};
use crate::plan::{Buffer, BufferId, Lifetime, Place, Plan, PlanInput, PlanOutput, Step};
use crate::sample::attention_plan_text;
use crate::view::{Source, View};
use crate::weight::{
    Arrangement, ConstantData, Layout, Part, PartSource, PlanWeight, Transform, WeightId,
    WeightSegment,
};

#[track_caller]
fn round_trip(plan: &Plan) -> String {
    let text = plan.to_text();
    let again = match Plan::parse(&text) {
        Ok(again) => again,
        Err(errors) => panic!("{errors}\n{text}"),
    };
    assert_eq!(again, *plan, "\n{text}");
    assert_eq!(again.to_text(), text);
    text
}

#[test]
fn a_plan_prints_as_it_is_written() {
    let text = attention_plan_text();
    let plan = Plan::parse(&text).unwrap_or_else(|e| panic!("{e}"));
    let found = round_trip(&plan);
    for (line, (found, expected)) in found.lines().zip(text.lines()).enumerate() {
        assert_eq!(found, expected, "line {}", line + 1);
    }
    assert_eq!(found, text);
    assert_eq!(plan.to_string().parse::<Plan>().unwrap(), plan);
}

#[test]
fn comments_and_white_space_are_free() {
    let spread = "// a plan\nplan @p target cpu { // begins\n input %x : f32[ n,\t2*(n//2) ] step 0\n  \"s\" :\n copy\n reads %x [n , 2*(n//2)]\n\
        writes %y[n, 2*(n//2)] arena %y: f32[2*n*(n//2)] at [0] live 0..1 return out = %y[n, 2*(n//2)] }  // ends";
    let plan = Plan::parse(spread).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(
        plan.to_text(),
        "\
plan @p target cpu {
  input %x: f32[n, 2*(n//2)]
  arena %y: f32[2*n*(n//2)] at [0] live 0..1
  step 0 \"s\": copy
    reads %x[n, 2*(n//2)]
    writes %y[n, 2*(n//2)]
  return out = %y[n, 2*(n//2)]
}
"
    );
}

/// Every error of a text, as `line:column expected | found`. The cases below give the beginning, up to
/// where another crate's words follow.
fn errors(text: &str) -> Vec<String> {
    let found = Plan::parse(text).unwrap_err();
    found
        .items()
        .iter()
        .map(|e| format!("{}:{} {} | {}", e.line, e.column, e.expected, e.found))
        .collect()
}

#[test]
fn errors_say_where_what_was_expected_and_what_was_found() {
    let cases = [
        ("input %x f32[2]", "2:10 `:` | `f32`"),
        (
            "input %x: f33[2]",
            "2:11 a dtype | unknown dtype `f33`; known: bool, i8, i16, i32, i64, u8, u16, u32, u64, f16, bf16, f32, f64, q4_0, q4_1, q5_0, q5_1, q8_0",
        ),
        (
            "input %x: f32[2",
            "2:16 `]` on the same line | the end of the line",
        ),
        (
            "input %x: f32[2, n +]",
            "2:18 a size such as `4*tokens + 1` | `n +`: in `n +` at byte 3: expected ",
        ),
        (
            "inputs %x: f32[2]",
            "2:1 a statement (`input`, `require`, `guard`, `weight`, `arena`, `const`, `buffer`, `step`, `return`) or `}` | `inputs`",
        ),
        (
            "require n % 2 = 0",
            "2:9 a constraint such as `tokens % 16 == 0` | `n % 2 = 0`: in `n % 2 = 0` at byte 6: expected `==`, `!=`, `<=`, `<`, `>=` or `>`",
        ),
        (
            "require 1 == 2",
            "2:9 a relation that the others allow | `1 == 2` never holds",
        ),
        (
            "guard n == 2 why",
            "2:7 a constraint such as `tokens % 16 == 0` | `n == 2 why`: in `n == 2 why` at byte 7: expected ",
        ),
        (
            "weight @w: f32[2, 2] rows",
            "2:22 a layout | `rows`: unknown variant `rows`, expected `tiles` or `dense`",
        ),
        (
            "weight @w: f32[2, 2] tiles {\n rows 0.2 of \"w\": f32[2, 2]\n}",
            "3:8 `..` | `.2`",
        ),
        (
            "weight @w: f32[2, 2] tiles {\n rows 0..2 of \"w\": f32[2, 2] then squash\n}",
            "3:35 a transform | `squash`: unknown variant `squash`, expected one of `cast`, `clamp`, `transpose`, `reshape`",
        ),
        (
            "arena %a: f32[2, 3] at [0] live 0..1",
            "2:14 one size in brackets | `[`",
        ),
        (
            "arena %a: f32[2] at [0] live 0..",
            "3:1 the end of the range | `}`",
        ),
        ("const %c = f32[3] [1, 2]", "2:24 12 bytes of data | 8"),
        ("const %c = u8[2] [1, 300]", "2:22 a number of u8 | `300`"),
        (
            "const %c = f32[1] [infinity]",
            "2:20 a number of f32 | `infinity`",
        ),
        (
            "const %c = bool[2] hex [0002]",
            "2:12 data for bool[2] | bool ",
        ),
        (
            "const %c = f32[1] hex [0000004]",
            "2:24 pairs of hexadecimal digits, or `]` | `0000004`",
        ),
        (
            "const %c = f32[100000000] fill 1",
            "2:32 at most 268435456 bytes to fill (this type has 400000000) | `1`",
        ),
        (
            "buffer %b: f32[2] of input x",
            "2:28 the number of an input | `x`",
        ),
        ("step 1: copy", "2:6 step number 0 | `1`"),
        (
            "step: fly",
            "2:7 a kernel with its attributes | `fly`: unknown variant `fly`, expected one of `matmul`, `batch_matmul`, `map`, `reduce`, `arg_reduce`, `top_k`, `cum_sum`, `softmax`, `norm`, `rope`, `attention`, `gather`, `gather_elements`, `scatter`, `cache_append`, `copy`, `convert`, `range`, `fill`",
        ),
        (
            "step: softmax {axis = 1}",
            "2:7 a kernel with its attributes | `softmax`: missing field `log`",
        ),
        (
            "step: softmax {axis = 1, log = false, lag = 1}",
            "2:7 a kernel with its attributes | `softmax`: unknown field `lag`, expected `axis` or `log`",
        ),
        (
            "step: softmax {axis = 1, axis = 2}",
            "2:26 each attribute once | a second `axis`",
        ),
        (
            "step: softmax {axis = one}",
            "2:23 a value: a number, a string, `true`, `false`, `null`, `[..]` or `{..}` | `one`",
        ),
        (
            "step: copy reads %x[2]",
            "2:19 a declared buffer | `%x`, which no line declares",
        ),
        (
            "step: matmul @w {outputs = []}",
            "2:15 a declared weight | `@w`, which no line declares",
        ),
        (
            "arena %a: f32[2] at [0] live 0..1\narena %a: f32[2] at [0] live 0..1\nreturn y = %a[2]",
            "4:13 one of `%a#0`, `%a#1` | `%a`",
        ),
        (
            "arena %a#1: f32[2] at [0] live 0..1",
            "2:10 `0`, its place in the list | `1`",
        ),
        (
            "return y = %#7[2]",
            "2:13 the output's type, since what it looks into does not exist | none",
        ),
        (
            "input \"a\\x\": f32[2] in %b",
            "2:7 a string with the escapes of JSON | `\"a\\x\"`",
        ),
    ];
    let in_plan = |lines| errors(&format!("plan @p target cpu {{\n{lines}\n}}\n"));
    let wrong: Vec<_> = cases
        .iter()
        .map(|(lines, expected)| (lines, in_plan(lines), expected))
        .filter(|(_, found, expected)| found.len() != 1 || !found[0].starts_with(**expected))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(errors(""), ["1:1 `plan` | the end of the text"]);
    assert_eq!(
        errors("plan @p target cpu {\n"),
        [
            "2:1 a statement (`input`, `require`, `guard`, `weight`, `arena`, `const`, `buffer`, `step`, `return`) or `}` | the end of the text"
        ]
    );
    assert_eq!(
        errors("plan @p target cpu {\n}\nplan"),
        ["3:1 the end of the text | `plan`"]
    );
}

#[test]
fn errors_are_collected_and_drawn() {
    let text = "plan @p target cpu {\n  input %x f32[2]\n  input %y: f32[2]\n  step 0: copy {\n  const %c = f32[1] [x]\n}\n";
    assert_eq!(
        Plan::parse(text).unwrap_err().to_string(),
        "\
line 2, column 12: expected `:`, found `f32`
  |   input %x f32[2]
  |            ^
line 5, column 9: expected `=`, found `%`
  |   const %c = f32[1] [x]
  |         ^
line 5, column 22: expected a number of f32, found `x`
  |   const %c = f32[1] [x]
  |                      ^"
    );
    let many = format!("plan @p target cpu {{\n{}}}\n", "input x\n".repeat(30));
    let errors = Plan::parse(&many).unwrap_err();
    assert_eq!(errors.items().len(), 20);
    assert!(
        errors
            .to_string()
            .ends_with("only the first 20 errors are shown")
    );
}

#[test]
fn names_that_need_it_are_quoted_and_numbered() {
    let mut plan = empty();
    plan.name = "a b\n\"".to_owned();
    plan.target = String::new();
    for name in ["x", "x", "", "donate", "0", "-", "x.y-z", "é", "input"] {
        plan.buffers.push(Buffer {
            name: name.to_owned(),
            dtype: DType::F32,
            elements: Dim::fixed(1),
            place: Place::Arena {
                offset: Dim::fixed(0),
                live: Lifetime { first: 0, last: 0 },
            },
        });
    }
    for id in 0..12 {
        let view = View::contiguous(Source::Buffer(BufferId(id)), Shape::default());
        plan.outputs.push(PlanOutput {
            name: format!("{id} out"),
            ty: TensorType::scalar(DType::F32),
            view,
        });
    }
    let text = round_trip(&plan);
    assert!(
        text.contains("arena %x#1: f32[1]")
            && text.contains("= %x#1[]\n")
            && text.contains("= %#11[]\n"),
        "{text}"
    );
}

fn empty() -> Plan {
    Plan {
        name: "p".to_owned(),
        target: "cpu".to_owned(),
        inputs: Vec::new(),
        outputs: Vec::new(),
        relations: Relations::new(),
        guards: Vec::new(),
        weights: Vec::new(),
        buffers: Vec::new(),
        steps: Vec::new(),
    }
}

#[test]
fn constants_keep_their_bits() {
    let floats = [
        0.0f32,
        -0.0,
        0.1,
        1e-45,
        f32::MAX,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        16777216.0,
    ];
    let mut tensors = vec![
        HostTensor::from_slice(&[9], &floats).unwrap(),
        HostTensor::from_slice(&[2], &[f32::from_bits(0x7fc0_0001), 1.0]).unwrap(),
        HostTensor::from_slice(&[2], &[f32::from_bits(0xffc0_0000), 1.0]).unwrap(),
        HostTensor::full(&[3, 100], 7i64).unwrap(),
        HostTensor::full(&[2], f32::from_bits(0x7f80_0001)).unwrap(),
        HostTensor::from_vec(&[100], (0..100u16).collect()).unwrap(),
        HostTensor::from_slice(&[3], &[i64::MIN, -1, i64::MAX]).unwrap(),
        HostTensor::from_slice(&[2], &[u64::MAX, 0]).unwrap(),
        HostTensor::from_slice(&[2], &[5e-324, f64::MIN]).unwrap(),
        HostTensor::from_slice(&[3], &[1.0f32, 0.0, 1.0])
            .unwrap()
            .cast(DType::Bool)
            .unwrap(),
        HostTensor::zeros(DType::F32, &[0, 4]).unwrap(),
        HostTensor::scalar(3u8),
    ];
    for dtype in DType::all().filter(|d| d.is_float() || d.is_block()) {
        let values: Vec<f32> = (0..64).map(|i| (i as f32 - 31.0) * 0.173).collect();
        tensors.push(
            HostTensor::from_vec(&[2, 32], values)
                .unwrap()
                .cast(dtype)
                .unwrap(),
        );
    }
    // Every bit pattern of the two small floats.
    let all: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
    for dtype in [DType::F16, DType::BF16] {
        for chunk in all.chunks(128) {
            tensors.push(HostTensor::new(dtype, &[64], chunk).unwrap());
        }
    }
    let mut plan = empty();
    for tensor in tensors {
        let (dtype, elements) = (tensor.dtype(), Dim::from(tensor.numel()));
        plan.buffers.push(Buffer {
            name: "c".to_owned(),
            dtype,
            elements,
            place: Place::constant(tensor),
        });
    }
    let text = round_trip(&plan);
    assert!(
        text.contains("f32[9] [0.0, -0.0, 0.1, 1e-45, 3.4028235e38, inf, -inf, nan, 16777216.0]"),
        "{text}"
    );
    assert!(
        text.contains("i64[3, 100] fill 7\n")
            && text.contains("u8[] [3]\n")
            && text.contains("bool[3] [true, false, true]\n")
    );
    assert!(text.contains("f32[2] hex [\n    0100c07f0000803f\n  ]\n"));
}

#[test]
fn numbers_that_json_lacks_survive() {
    let mut plan = empty();
    let step = |kernel| Step {
        kernel,
        reads: Vec::new(),
        writes: Vec::new(),
        scope: String::new(),
    };
    for value in [f64::INFINITY, f64::NEG_INFINITY, 1e300, -0.0, 5e-324] {
        plan.steps.push(step(Kernel::Fill { value }));
        plan.steps.push(step(Kernel::Norm(NormSpec {
            kind: NormKind::Layer,
            eps: value,
        })));
        let attention = Attention {
            scale: value as f32,
            causal: true,
            mask: false,
            position: false,
        };
        plan.steps.push(step(Kernel::Attention(attention)));
    }
    plan.steps.push(step(Kernel::Attention(Attention {
        scale: 0.1,
        causal: true,
        mask: false,
        position: false,
    })));
    let text = round_trip(&plan);
    assert!(
        text.contains("fill {value = \"-inf\"}") && text.contains("attention {scale = 0.1, "),
        "{text}"
    );
}

fn dim() -> impl Strategy<Value = Dim> {
    let leaf = prop_oneof![
        (0i64..100).prop_map(Dim::fixed),
        "[a-c]|live|strides".prop_map(|s| Dim::symbol(&s).unwrap())
    ];
    leaf.prop_recursive(2, 6, 2, |inner| {
        (inner.clone(), inner, 0..6).prop_map(|(a, b, op)| match op {
            0 => a + b,
            1 => a - b,
            2 => a * b,
            3 => a.floor_div(&Dim::fixed(4)).unwrap(),
            4 => a.min(&b),
            _ => a.rem(&Dim::fixed(3)).unwrap(),
        })
    })
}

fn shape() -> impl Strategy<Value = Shape> {
    proptest::collection::vec(dim(), 0..4).prop_map(Shape::from)
}

fn dtype() -> impl Strategy<Value = DType> {
    proptest::sample::select(DType::all().collect::<Vec<_>>())
}

fn ty() -> impl Strategy<Value = TensorType> {
    (dtype(), shape()).prop_map(|(dtype, shape)| TensorType::new(dtype, shape))
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-c]", "[a-z0-9_.-]{1,6}", any::<String>()]
}

fn view() -> impl Strategy<Value = View> {
    let source = prop_oneof![
        (0u32..5).prop_map(|id| Source::Buffer(BufferId(id))),
        (0u32..3).prop_map(|id| Source::Weight(WeightId(id)))
    ];
    let offset = prop_oneof![Just(Dim::fixed(0)), dim()];
    let strides = proptest::option::of(proptest::collection::vec(dim(), 0..4));
    (source, shape(), offset, strides).prop_map(|(source, shape, offset, strides)| {
        let mut view = View::contiguous(source, shape);
        view.offset = offset;
        view.strides = strides.map_or(view.strides, Into::into);
        view
    })
}

fn literal() -> impl Strategy<Value = HostTensor> {
    let dtype = proptest::sample::select(DType::all().filter(|d| !d.is_bool()).collect::<Vec<_>>());
    (dtype, proptest::collection::vec(any::<u8>(), 320)).prop_map(|(dtype, bytes)| {
        let (elems, size) = (dtype.block_elems(), dtype.block_bytes());
        let n = bytes.len() / size;
        HostTensor::new(dtype, &[n * elems], &bytes[..n * size]).unwrap()
    })
}

fn kernel() -> impl Strategy<Value = Kernel> {
    let spec = NormSpec {
        kind: NormKind::LayerBias,
        eps: 1e-5,
    };
    let n = 0usize..4;
    let epilogue = prop_oneof![
        n.clone().prop_map(|read| Epilogue::Bias { read }),
        Just(Epilogue::Map {
            func: UnaryFn::Silu
        }),
        (n.clone(), any::<bool>()).prop_map(|(read, swapped)| Epilogue::Binary {
            func: BinaryFn::Add,
            read,
            swapped
        }),
        (-9.0f32..9.0).prop_map(|value| Epilogue::Scalar {
            func: BinaryFn::Mul,
            value
        }),
        Just(Epilogue::Glu {
            func: UnaryFn::GeluErf
        }),
        (n.clone(), n.clone()).prop_map(|(cos, sin)| Epilogue::Rope { cos, sin }),
        n.clone()
            .prop_map(|position| Epilogue::CacheWrite { position }),
    ];
    let outputs = (proptest::collection::vec(epilogue, 0..3), n.clone());
    let outputs = proptest::collection::vec(
        outputs.prop_map(|(epilogue, write)| SegmentOutput { epilogue, write }),
        0..4,
    );
    let program = MapProgram {
        reads: 1,
        instrs: vec![
            MapInstr {
                op: MapOp::Unary(UnaryFn::Exp),
                args: vec![0],
                dtype: DType::F32,
            },
            MapInstr {
                op: MapOp::Const(f64::NAN),
                args: vec![],
                dtype: DType::F32,
            },
            MapInstr {
                op: MapOp::Select,
                args: vec![0, 1, 1],
                dtype: DType::F32,
            },
        ],
        results: vec![2],
    };
    prop_oneof![
        4 => (0u32..4, proptest::option::of(Just(spec)), outputs)
            .prop_map(|(id, prologue, outputs)| Kernel::Matmul(Matmul { weight: WeightId(id), prologue, outputs })),
        1 => Just(Kernel::BatchMatmul(BatchMatmul {})),
        1 => Just(Kernel::Map(program)),
        1 => proptest::collection::vec(n.clone(), 0..3).prop_map(|axes| Kernel::Reduce { func: ReduceFn::Mean, axes }),
        1 => (any::<bool>(), n.clone()).prop_map(|(largest, axis)| Kernel::ArgReduce { largest, axis }),
        1 => n.clone().prop_map(|axis| Kernel::TopK { axis }),
        1 => (any::<bool>(), n.clone()).prop_map(|(b, axis)| Kernel::CumSum { axis, exclusive: b, reverse: !b }),
        1 => (any::<bool>(), n.clone()).prop_map(|(log, axis)| Kernel::Softmax { axis, log }),
        1 => Just(Kernel::Norm(spec)),
        1 => Just(Kernel::Rope { pairing: Pairing::Interleaved }),
        1 => n.clone().prop_map(|axis| Kernel::Gather { axis }),
        1 => n.clone().prop_map(|axis| Kernel::GatherElements { axis }),
        1 => n.clone().prop_map(|axis| Kernel::Scatter { axis, reduce: ScatterReduce::Add }),
        1 => n.prop_map(|axis| Kernel::CacheAppend { axis }),
        1 => Just(Kernel::Copy),
        1 => Just(Kernel::Convert),
        1 => (dim(), dim()).prop_map(|(start, step)| Kernel::Range { start, step }),
    ]
}

fn weight() -> impl Strategy<Value = PlanWeight> {
    let transform = prop_oneof![
        dtype().prop_map(|dtype| Transform::Cast { dtype }),
        (
            proptest::option::of(-9.0..9.0f64),
            proptest::option::of(Just(f64::INFINITY))
        )
            .prop_map(|(min, max)| Transform::Clamp { min, max }),
        Just(Transform::Transpose),
        proptest::collection::vec(0usize..9, 0..3).prop_map(|shape| Transform::Reshape { shape }),
    ];
    let source = prop_oneof![
        any::<String>().prop_map(PartSource::Checkpoint),
        literal().prop_map(|t| PartSource::Constant(ConstantData(t)))
    ];
    let part = (
        source,
        ty(),
        proptest::collection::vec(transform, 0..3),
        0usize..9,
        0usize..9,
    )
        .prop_map(|(source, stored, recipe, start, end)| Part {
            source,
            stored,
            recipe,
            rows: start..end,
        });
    let arrangement = prop_oneof![
        Just(Arrangement::Plain),
        (0usize..9).prop_map(|block| Arrangement::Halves { block })
    ];
    let segment = (0usize..9, arrangement).prop_map(|(end, arrangement)| WeightSegment {
        rows: 3..end,
        arrangement,
    });
    let lists = (
        proptest::collection::vec(part, 0..3),
        proptest::collection::vec(segment, 0..3),
    );
    (name(), ty(), any::<bool>(), lists).prop_map(|(name, ty, tiles, (parts, segments))| {
        PlanWeight {
            name,
            ty,
            parts,
            layout: if tiles { Layout::Tiles } else { Layout::Dense },
            segments,
        }
    })
}

/// Inputs, each with its buffer or apart from it, and other buffers between them.
fn buffers() -> impl Strategy<Value = (Vec<PlanInput>, Vec<Buffer>)> {
    let place = prop_oneof![
        (dim(), 0usize..9, 0usize..9).prop_map(|(offset, first, last)| Place::Arena {
            offset,
            live: Lifetime { first, last }
        }),
        literal().prop_map(Place::constant),
        (0usize..4).prop_map(Place::Input),
    ];
    let free = proptest::collection::vec((name(), dtype(), dim(), place), 0..4);
    let inputs = proptest::collection::vec((name(), ty(), any::<bool>(), 0u32..6, 0usize..6), 0..4);
    (free, inputs).prop_map(|(free, inputs)| {
        let mut buffers: Vec<Buffer> = Vec::new();
        for (name, dtype, elements, place) in free {
            let (dtype, elements) = match &place {
                // The usual constant, and now and then one that contradicts its buffer.
                Place::Constant(data) if name.len() != 1 => {
                    (data.0.dtype(), Dim::from(data.0.numel()))
                }
                _ => (dtype, elements),
            };
            buffers.push(Buffer {
                name,
                dtype,
                elements,
                place,
            });
        }
        let mut all = Vec::new();
        for (index, (name, ty, donated, id, at)) in inputs.into_iter().enumerate() {
            let together = at <= buffers.len();
            if together {
                let place = Place::Input(index);
                buffers.insert(
                    at,
                    Buffer {
                        name: name.clone(),
                        dtype: ty.dtype,
                        elements: ty.shape.numel(),
                        place,
                    },
                );
            }
            all.push(PlanInput {
                name,
                ty,
                buffer: BufferId(if together { at as u32 } else { id }),
                donated,
            });
        }
        (all, buffers)
    })
}

fn plan() -> impl Strategy<Value = Plan> {
    let relations = prop_oneof![
        Just(None),
        Just(Some("a % 4 == 0")),
        Just(Some("b <= a*c + 4"))
    ];
    let guards = proptest::collection::vec((dim(), dim(), any::<String>()), 0..3);
    let views = || proptest::collection::vec(view(), 0..5);
    let steps = proptest::collection::vec((kernel(), views(), views(), name()), 0..5);
    let outputs = proptest::collection::vec((name(), ty(), view(), any::<bool>()), 0..3);
    let parts = (
        buffers(),
        proptest::collection::vec(weight(), 0..3),
        steps,
        outputs,
    );
    (name(), name(), relations, guards, parts).prop_map(
        |(name, target, relation, guards, ((inputs, buffers), weights, steps, outputs))| {
            let mut plan = Plan {
                name,
                target,
                inputs,
                buffers,
                weights,
                ..empty()
            };
            if let Some(text) = relation {
                plan.relations.declare(text.parse().unwrap()).unwrap();
            }
            let guard = |(a, b, why): (Dim, Dim, String)| Guard {
                constraint: Constraint::eq(a, b),
                why,
            };
            plan.guards = guards.into_iter().map(guard).collect();
            let step = |(kernel, reads, writes, scope)| Step {
                kernel,
                reads,
                writes,
                scope,
            };
            plan.steps = steps.into_iter().map(step).collect();
            for (name, ty, view, same) in outputs {
                let ty = super::print::implied_type(&plan, &view)
                    .filter(|_| same)
                    .unwrap_or(ty);
                plan.outputs.push(PlanOutput { name, ty, view });
            }
            plan
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn every_plan_is_read_back(plan in plan()) {
        round_trip(&plan);
    }

    #[test]
    fn damaged_text_never_panics(plan in plan(), cuts in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), "[\\PC\n]{0,3}"), 1..4)) {
        let mut text = plan.to_text();
        for (start, len, insert) in cuts {
            let chars: Vec<(usize, char)> = text.char_indices().collect();
            let (start, c) = *start.get(&chars);
            let end = text.ceil_char_boundary((start + len.index(4) * c.len_utf8()).min(text.len()));
            text.replace_range(start..end, &insert);
        }
        if let Ok(plan) = Plan::parse(&text) {
            let canonical = plan.to_text();
            prop_assert_eq!(Plan::parse(&canonical).map(|p| p.to_text()), Ok(canonical));
        }
    }
}
