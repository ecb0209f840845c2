//! `StackedLinear`: names in both modes, tracing, ranks, clips, dtypes, and bad arguments.

use std::sync::Arc;

use gabion_ir::{Builder, Graph, Op, TensorValue};
use gabion_nn::{
    Linear, PerProjection, Projection, Scope, StackProblem, StackedLinear, StackedLinearConfig,
};
use gabion_tensor::{DType, HostTensor};
use serde_json::json;

use crate::support::{Tensors, distance, noise, run};

fn qkv() -> StackedLinearConfig {
    StackedLinearConfig::new(32, [("q_proj", 8), ("k_proj", 4), ("v_proj", 4)])
}

fn weights_of(graph: &Graph) -> Vec<String> {
    graph
        .weights()
        .into_iter()
        .map(|(name, ty, _)| format!("{name}: {ty}"))
        .collect()
}

fn count(graph: &Graph, word: &str) -> usize {
    graph
        .node_ids()
        .filter(|id| graph.op(*id).name() == word)
        .count()
}

fn build(stack: &StackedLinear, x: &str) -> Graph {
    let b = Builder::new("stack");
    let x = b.input("x", x.parse().unwrap());
    b.output(
        "y",
        stack.forward(&Scope::at(&b, "model.layers.0.self_attn"), x),
    );
    b.finish().unwrap()
}

#[test]
fn unfused_names_leave_the_attribute_out_and_nodes_remember_it() {
    let mut config = qkv();
    config.has_bias = PerProjection::All(true);
    let graph = build(&StackedLinear::new(config).unwrap(), "f32[tokens, 32]");
    assert_eq!(
        weights_of(&graph),
        [
            "model.layers.0.self_attn.q_proj.weight: f32[8, 32]",
            "model.layers.0.self_attn.k_proj.weight: f32[4, 32]",
            "model.layers.0.self_attn.v_proj.weight: f32[4, 32]",
            "model.layers.0.self_attn.q_proj.bias: f32[8]",
            "model.layers.0.self_attn.k_proj.bias: f32[4]",
            "model.layers.0.self_attn.v_proj.bias: f32[4]",
        ]
    );
    let scopes: Vec<_> = graph
        .node_ids()
        .filter_map(|id| graph.node(id).scope.clone())
        .collect();
    assert_eq!(&*scopes[0], "model.layers.0.self_attn.qkv_proj.q_proj");
    assert!(
        scopes
            .iter()
            .any(|s| &**s == "model.layers.0.self_attn.qkv_proj")
    );
    assert!(
        scopes
            .iter()
            .all(|s| s.starts_with("model.layers.0.self_attn.qkv_proj"))
    );
}

#[test]
fn stacked_names_keep_the_attribute_and_there_is_no_concat() {
    let mut config = qkv();
    config.stacked = true;
    config.has_bias = PerProjection::All(true);
    let graph = build(&StackedLinear::new(config).unwrap(), "f32[tokens, 32]");
    assert_eq!(
        weights_of(&graph),
        [
            "model.layers.0.self_attn.qkv_proj.weight: f32[16, 32]",
            "model.layers.0.self_attn.qkv_proj.bias: f32[16]",
        ]
    );
    assert_eq!(count(&graph, "concat"), 0);
    assert_eq!(count(&graph, "matmul"), 1);
}

#[test]
fn the_stacked_tensors_are_concats_even_of_one() {
    let config = StackedLinearConfig::new(8, [("proj", 4)]);
    let graph = build(&StackedLinear::new(config).unwrap(), "f32[2, 8]");
    assert_eq!(count(&graph, "concat"), 1);
}

#[test]
fn a_layer_is_traced_into_two_graphs_and_twice_into_one() {
    let stack = StackedLinear::new(qkv()).unwrap();
    let (first, second) = (
        build(&stack, "f32[tokens, 32]"),
        build(&stack, "f32[tokens, 32]"),
    );
    assert_eq!(first.to_text(), second.to_text());

    let b = Builder::new("twice");
    let x = b.input("x", "f32[tokens, 32]".parse().unwrap());
    let scope = Scope::root(&b);
    b.output("y", stack.forward(&scope, x));
    b.output("z", stack.forward(&scope, x + 1.0));
    let graph = b.finish().unwrap();
    assert_eq!(graph.weights().len(), 3, "each tensor is one node");
    assert_eq!(count(&graph, "matmul"), 2);
}

fn projections() -> Tensors {
    let names = [("q_proj", 8, 1), ("k_proj", 4, 2), ("v_proj", 4, 3)];
    names
        .into_iter()
        .map(|(name, rows, seed)| (format!("{name}.weight"), noise(&[rows, 32], seed)))
        .collect()
}

fn stacked_of(weights: &Tensors) -> Vec<f32> {
    ["q_proj", "k_proj", "v_proj"]
        .iter()
        .flat_map(|n| weights[&format!("{n}.weight")].to_f32_vec().unwrap())
        .collect()
}

/// `x W^T` in f64, for any number of leading dims.
fn product(x: &HostTensor, weight: &[f32], rows: usize) -> HostTensor {
    let k = weight.len() / rows;
    let values = x.to_f32_vec().unwrap();
    let dot = |a: &[f32], b: &[f32]| {
        a.iter()
            .zip(b)
            .map(|(a, b)| f64::from(*a) * f64::from(*b))
            .sum::<f64>() as f32
    };
    let y: Vec<f32> = values
        .chunks(k)
        .flat_map(|x| weight.chunks(k).map(move |w| dot(x, w)))
        .collect();
    let mut shape = x.shape().to_vec();
    *shape.last_mut().unwrap() = rows;
    HostTensor::from_slice(&shape, &y).unwrap()
}

fn evaluate(stack: &StackedLinear, x: &HostTensor, weights: &Tensors) -> Tensors {
    let b = Builder::new("stack");
    let ty = format!("f32{:?}", x.shape()).parse().unwrap();
    let input = b.input("x", ty);
    let scope = Scope::root(&b);
    b.output("y", stack.forward(&scope, input));
    for (i, part) in stack.forward_split(&scope, input).into_iter().enumerate() {
        b.output(&format!("part{i}"), part);
    }
    let graph = b.finish().unwrap();
    run(&graph, [("x".to_owned(), x.clone())], weights)
}

#[test]
fn any_rank_from_one_to_four() {
    let stack = StackedLinear::new(qkv()).unwrap();
    let weights = projections();
    for shape in [&[32][..], &[3, 32], &[2, 3, 32], &[2, 1, 3, 32]] {
        let x = noise(shape, 9);
        let found = evaluate(&stack, &x, &weights);
        assert!(distance(&found["y"], &product(&x, &stacked_of(&weights), 16)) < 1e-6);
        let sizes: Vec<usize> = (0..3)
            .map(|i| *found[&format!("part{i}")].shape().last().unwrap())
            .collect();
        assert_eq!(sizes, [8, 4, 4]);
        let v = product(&x, &weights["v_proj.weight"].to_f32_vec().unwrap(), 4);
        assert!(distance(&found["part2"], &v) < 1e-6);
    }
}

fn clipped(values: &[f32], clip: f32) -> Vec<f32> {
    values.iter().map(|w| w.clamp(-clip, clip)).collect()
}

#[test]
fn one_clip_for_all_in_either_mode_and_zero_is_none() {
    let parts = projections();
    let whole = stacked_of(&parts);
    let fused = Tensors::from([(
        "qkv_proj.weight".to_owned(),
        HostTensor::from_slice(&[16, 32], &whole).unwrap(),
    )]);
    let x = noise(&[2, 32], 5);
    for stacked in [false, true] {
        let weights = if stacked { &fused } else { &parts };
        let layer = |clip: PerProjection<Option<f64>>| {
            let mut config = qkv();
            config.stacked = stacked;
            config.clip_weight = clip;
            StackedLinear::new(config).unwrap()
        };
        let found = evaluate(&layer(PerProjection::All(Some(0.25))), &x, weights);
        let expected = product(&x, &clipped(&whole, 0.25), 16);
        assert!(distance(&found["y"], &expected) < 1e-6, "stacked {stacked}");
        assert!(distance(&product(&x, &whole, 16), &expected) > 1e-3);

        let plain = build(&layer(PerProjection::All(None)), "f32[tokens, 32]").to_text();
        let none = [
            PerProjection::All(Some(0.0)),
            PerProjection::All(Some(-0.0)),
            PerProjection::Each(vec![Some(0.0), None, Some(0.0)]),
        ];
        for clip in none {
            let text = build(&layer(clip.clone()), "f32[tokens, 32]").to_text();
            assert_eq!(text, plain, "{clip:?}, stacked {stacked}");
        }
    }
    let alone = Linear::new("o_proj", 8, 4).clipped(Some(0.0));
    let b = Builder::new("alone");
    let x = b.input("x", "f32[8]".parse().unwrap());
    b.output("y", alone.forward(&Scope::root(&b), x));
    assert_eq!(count(&b.finish().unwrap(), "clamp"), 0);
}

/// `stacked_weight` of the three projections stored as `dtypes`, or of one tensor of all rows.
fn stacked_weight(
    stacked: bool,
    dtypes: [&str; 3],
    clip: PerProjection<Option<f64>>,
) -> [HostTensor; 2] {
    let mut config = qkv();
    config.stacked = stacked;
    config.clip_weight = clip;
    let names: Vec<_> = config.names.iter().map(|n| format!("{n}.weight")).collect();
    let dtypes = dtypes.map(|d| d.parse::<DType>().unwrap());
    let mut weights = projections();
    for (name, dtype) in names.iter().zip(dtypes) {
        *weights.get_mut(name).unwrap() = weights[name].cast(dtype).unwrap();
    }
    config.dtype = PerProjection::Each(dtypes.to_vec());
    let values: Vec<f32> = names
        .iter()
        .flat_map(|n| weights[n].to_f32_vec().unwrap())
        .collect();
    let whole = HostTensor::from_slice(&[16, 32], &values).unwrap();
    if stacked {
        weights = [("qkv_proj.weight".to_owned(), whole.cast(dtypes[0]).unwrap())].into();
    }
    let b = Builder::new("weight");
    let stack = StackedLinear::new(config).unwrap();
    b.output("w", stack.stacked_weight(&Scope::root(&b)));
    [run(&b.finish().unwrap(), [], &weights)["w"].clone(), whole]
}

/// Stored halves are clamped as halves, by a bound that is a half; blocks by what they mean.
#[test]
fn a_clip_is_rounded_to_the_dtype_that_is_stored() {
    let bound = |dtype: &str| -> f32 {
        let clip = HostTensor::scalar(0.1f64);
        match dtype {
            "q8_0" => 0.1,
            plain => clip
                .cast(plain.parse().unwrap())
                .unwrap()
                .to_f32_vec()
                .unwrap()[0],
        }
    };
    assert!(bound("f16") != 0.1 && bound("bf16") != 0.1 && bound("f16") != bound("bf16"));
    for dtype in ["f32", "f16", "bf16", "f64", "q8_0"] {
        for (stacked, clip) in [
            (false, PerProjection::All(Some(0.1))),
            (true, PerProjection::All(Some(0.1))),
            (true, PerProjection::Each(vec![Some(0.1), None, Some(0.1)])),
        ] {
            let free = matches!(clip, PerProjection::Each(_));
            let [found, whole] = stacked_weight(stacked, [dtype; 3], clip);
            let mut expected = whole.to_f32_vec().unwrap();
            for (i, w) in expected.iter_mut().enumerate() {
                if !(free && (8..12).contains(&(i / 32))) {
                    *w = w.clamp(-bound(dtype), bound(dtype));
                }
            }
            assert_eq!(
                found.to_vec::<f32>().unwrap(),
                expected,
                "{dtype}, stacked {stacked}"
            );
            assert_ne!(expected, whole.to_f32_vec().unwrap());
        }
    }
    let [found, _] = stacked_weight(
        false,
        ["f16", "bf16", "q8_0"],
        PerProjection::All(Some(0.1)),
    );
    let largest = |rows: std::ops::Range<usize>| {
        let found = found.rows(rows).unwrap().to_f32_vec().unwrap();
        found.into_iter().fold(0.0f32, |a, w| a.max(w.abs()))
    };
    assert_eq!(
        [largest(0..8), largest(8..12), largest(12..16)],
        [bound("f16"), bound("bf16"), 0.1]
    );
}

#[test]
fn a_clip_for_each_projection_in_either_mode() {
    let parts = projections();
    let whole = stacked_of(&parts);
    let fused = Tensors::from([(
        "qkv_proj.weight".to_owned(),
        HostTensor::from_slice(&[16, 32], &whole).unwrap(),
    )]);
    let x = noise(&[2, 32], 5);
    let mut weight = clipped(&whole[..8 * 32], 0.5);
    weight.extend(&whole[8 * 32..12 * 32]);
    weight.extend(clipped(&whole[12 * 32..], 0.1));
    for stacked in [false, true] {
        let mut config = qkv();
        config.stacked = stacked;
        config.clip_weight = PerProjection::Each(vec![Some(0.5), None, Some(0.1)]);
        let found = evaluate(
            &StackedLinear::new(config).unwrap(),
            &x,
            if stacked { &fused } else { &parts },
        );
        assert!(
            distance(&found["y"], &product(&x, &weight, 16)) < 1e-6,
            "stacked {stacked}"
        );
    }
}

#[test]
fn every_projection_may_be_stored_in_its_own_format() {
    let mut weights = projections();
    let stored = [("q_proj", "q8_0"), ("k_proj", "bf16"), ("v_proj", "q4_0")];
    let mut dtypes = Vec::new();
    for (name, dtype) in stored {
        let dtype: DType = dtype.parse().unwrap();
        let weight = weights.get_mut(&format!("{name}.weight")).unwrap();
        *weight = weight.cast(dtype).unwrap();
        dtypes.push(dtype);
    }
    let mut config = qkv();
    config.dtype = PerProjection::Each(dtypes);
    let stack = StackedLinear::new(config).unwrap();
    let x = noise(&[3, 32], 4);
    // What the codes mean, not what they came from.
    let expected = product(&x, &stacked_of(&weights), 16);
    assert!(distance(&evaluate(&stack, &x, &weights)["y"], &expected) < 1e-6);

    let graph = build(&stack, "f32[tokens, 32]");
    assert_eq!(count(&graph, "dequantize"), 2);
    assert_eq!(count(&graph, "cast"), 1);
}

#[test]
fn a_missing_bias_beside_others_counts_as_zeros() {
    let mut weights = projections();
    weights.insert("k_proj.bias".to_owned(), noise(&[4], 8));
    let mut config = qkv();
    config.has_bias = PerProjection::Each(vec![false, true, false]);
    let found = evaluate(
        &StackedLinear::new(config).unwrap(),
        &noise(&[1, 32], 4),
        &weights,
    );
    let plain = evaluate(
        &StackedLinear::new(qkv()).unwrap(),
        &noise(&[1, 32], 4),
        &weights,
    );
    let added = |part: &str| -> Vec<f32> {
        let (a, b) = (
            found[part].to_f32_vec().unwrap(),
            plain[part].to_f32_vec().unwrap(),
        );
        a.iter().zip(&b).map(|(a, b)| a - b).collect()
    };
    assert_eq!(added("part0"), [0.0; 8]);
    assert_eq!(added("part2"), [0.0; 4]);
    let bias = weights["k_proj.bias"].to_f32_vec().unwrap();
    assert!(
        added("part1")
            .iter()
            .zip(&bias)
            .all(|(a, b)| (a - b).abs() < 1e-6)
    );
}

/// A projection with an adapter of rank 1: `W + up · down`.
#[derive(Debug)]
struct Adapted(Linear);

impl Projection for Adapted {
    fn weight<'g>(&self, scope: &Scope<'g>) -> TensorValue<'g> {
        let up = scope.weight("lora_up", DType::F32, &[self.0.out_dim, 1]);
        let down = scope.weight("lora_down", DType::F32, &[1, self.0.in_dim]);
        self.0.weight(scope) + up.matmul(down)
    }

    fn bias<'g>(&self, scope: &Scope<'g>) -> Option<TensorValue<'g>> {
        self.0.bias(scope)
    }

    fn rows(&self) -> usize {
        self.0.out_dim
    }
}

#[test]
fn projections_of_any_kind_can_be_stacked() {
    let make = |linear: &Linear| -> Arc<dyn Projection> {
        if linear.name == "k_proj" {
            Arc::new(Adapted(linear.clone()))
        } else {
            Arc::new(linear.clone())
        }
    };
    let stack = StackedLinear::with_projections(qkv(), make).unwrap();
    let mut weights = projections();
    weights.insert("k_proj.lora_up".to_owned(), noise(&[4, 1], 6));
    weights.insert("k_proj.lora_down".to_owned(), noise(&[1, 32], 7));
    let x = noise(&[2, 32], 4);
    let found = evaluate(&stack, &x, &weights);
    let (up, down) = (
        weights["k_proj.lora_up"].to_f32_vec().unwrap(),
        weights["k_proj.lora_down"].to_f32_vec().unwrap(),
    );
    let mut k = weights["k_proj.weight"].to_f32_vec().unwrap();
    for (i, w) in k.iter_mut().enumerate() {
        *w += up[i / 32] * down[i % 32];
    }
    assert!(distance(&found["part1"], &product(&x, &k, 4)) < 1e-6);
}

#[test]
fn a_projection_with_other_rows_than_declared_is_refused() {
    let make = |linear: &Linear| -> Arc<dyn Projection> {
        let mut linear = linear.clone();
        linear.out_dim += usize::from(linear.name != "q_proj");
        Arc::new(linear)
    };
    let errors = StackedLinear::with_projections(qkv(), make).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "stack `qkv_proj`: 2 problems\n  projection \"k_proj\" has 5 rows and `out_dims` says 4\n  \
         projection \"v_proj\" has 5 rows and `out_dims` says 4"
    );
}

#[test]
fn every_problem_of_the_arguments_is_listed() {
    let config = StackedLinearConfig {
        in_dim: 0,
        out_dims: vec![4, 0, 4, 4, 4],
        names: ["q", "a.b", "", "q"].map(str::to_owned).to_vec(),
        dtype: PerProjection::Each(vec![DType::F32, DType::I8]),
        has_bias: PerProjection::Each(vec![true]),
        clip_weight: PerProjection::Each(vec![Some(-1.0), Some(f64::NAN), Some(0.0), None]),
        attribute: "self.qkv".to_owned(),
        ..qkv()
    };
    let errors = StackedLinear::new(config).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "stack `self.qkv`: 12 problems
  `attribute` is \"self.qkv\": a name is one segment, without dots
  `names[1]` is \"a.b\": a name is one segment, without dots
  `names[2]` is empty: give the attribute under which the tensors are stored
  `names[3]` is \"q\" again, as `names[0]`: every projection has its own name
  `out_dims` has 5 entries and `names` has 4: one for each projection
  `dtype` has 2 entries and `names` has 4: one for each projection
  `has_bias` has 1 entries and `names` has 4: one for each projection
  `in_dim` is 0: sizes are positive
  `out_dims[1]` is 0: sizes are positive
  `dtype[1]` is i8: weights are stored as f32, f16, bf16, f64, q4_0, q4_1, q5_0, q5_1 or q8_0
  `clip_weight[0]` is -1: a clip is positive; 0 and null are none
  `clip_weight[1]` is NaN: a clip is positive; 0 and null are none"
    );
}

/// f16 ends at 65504 and f32 at 3.4e38: a clip beyond that limits nothing.
#[test]
fn a_clip_beyond_the_dtype_is_none_and_one_that_rounds_to_zero_is_refused() {
    let graph = |dtype: &str, clip: Option<f64>| {
        let mut config = qkv();
        config.dtype = PerProjection::All(dtype.parse().unwrap());
        config.clip_weight = PerProjection::All(clip);
        let layer = StackedLinear::new(config)?;
        let b = Builder::new("clip");
        let x = b.input("x", "f32[tokens, 32]".parse().unwrap());
        b.output("y", layer.forward(&Scope::root(&b), x));
        Ok::<_, gabion_nn::StackErrors>(b.finish().unwrap().to_text())
    };
    for (dtype, beyond, tiny) in [
        ("f16", 65520.0, 1e-8),
        ("bf16", 3.5e38, 1e-46),
        ("f32", 1e300, 1e-46),
    ] {
        assert_eq!(
            graph(dtype, Some(beyond)).unwrap(),
            graph(dtype, None).unwrap()
        );
        assert!(graph(dtype, Some(65000.0)).unwrap().contains("clamp"));
        let error = graph(dtype, Some(tiny)).unwrap_err().to_string();
        let expected =
            format!("`clip_weight` is {tiny:e}, which is 0 in {dtype}: every weight would be 0");
        assert!(error.contains(&expected), "{error}");
        assert_eq!(error.matches("clip_weight").count(), 1, "{error}");
    }
    assert!(graph("f64", Some(1e300)).unwrap().contains("clamp"));
}

#[test]
fn single_problems_have_their_own_words() {
    let problems = |config: StackedLinearConfig| StackedLinear::new(config).unwrap_err().problems;
    let empty = StackedLinearConfig::new::<String>(8, []);
    assert_eq!(problems(empty), [StackProblem::Empty]);

    let mut huge = qkv();
    huge.out_dims = vec![usize::MAX, 1, 1];
    assert!(matches!(
        problems(huge)[..],
        [StackProblem::Overflow { .. }]
    ));

    let mut blocks = qkv();
    blocks.in_dim = 33;
    blocks.dtype = PerProjection::All("q4_0".parse().unwrap());
    assert!(matches!(
        problems(blocks)[..],
        [StackProblem::Block {
            in_dim: 33,
            block: 32,
            ..
        }]
    ));

    let mut mixed = qkv();
    mixed.stacked = true;
    mixed.dtype = PerProjection::Each(vec![DType::F32, DType::F16, DType::F32]);
    mixed.has_bias = PerProjection::Each(vec![true, true, false]);
    let fields = [
        StackProblem::OneTensor { field: "dtype" },
        StackProblem::OneTensor { field: "has_bias" },
    ];
    assert_eq!(problems(mixed), fields);
}

#[test]
fn json_is_read_strictly() {
    let read =
        |value| StackedLinearConfig::from_json(&value, "stack.json").map_err(|e| e.to_string());
    let bad = json!({"in_dim": -3, "out_dims": [4, "x"], "stacked": "yes", "has_bias": [true, 1], "clip": 2,
        "device": "tpu", "dtype": "int7"});
    assert_eq!(
        read(bad).unwrap_err(),
        "stack.json: 8 problems
  `in_dim`: expected a positive integer, found -3
  `out_dims`: expected a list of positive integers, found [4,\"x\"]
  `names` is missing: expected a list of strings
  `dtype`: expected f32, f16, bf16, f64, q4_0, q4_1, q5_0, q5_1 or q8_0, found \"int7\"
  `device`: expected cpu, cuda or cuda:N, found \"tpu\"
  `has_bias`: expected true, false or a list of them, found [true,1]
  `stacked`: expected true or false, found \"yes\"
  `clip` is not a field here: the fields are in_dim, out_dims, names, dtype, device, stacked, has_bias, clip_weight, attribute, format, block_size"
    );
    assert_eq!(
        read(json!([1])).unwrap_err().lines().nth(1),
        Some("  expected a JSON object, found [1]")
    );

    let quantised = json!({"in_dim": 64, "out_dims": [64], "names": ["q"], "format": "nvfp4", "block_size": null});
    assert_eq!(
        read(quantised).unwrap_err(),
        "stack.json: 1 problem\n  `format` = \"nvfp4\" is not supported: stacks of this number format are not built yet; \
         supported are f32, f16, bf16, f64, q4_0, q4_1, q5_0, q5_1 or q8_0"
    );
    let block = json!({"in_dim": 64, "out_dims": [64], "names": ["q"], "format": "q8_0", "clip_weight": [null]});
    let config = read(block).unwrap();
    assert_eq!(config.dtype, PerProjection::All("q8_0".parse().unwrap()));
    assert_eq!(config.clip_weight, PerProjection::Each(vec![None]));
    let both =
        json!({"in_dim": 64, "out_dims": [64], "names": ["q"], "format": "q8_0", "dtype": "f32"});
    assert!(
        read(both)
            .unwrap_err()
            .contains("`format` and `dtype` contradict")
    );
}

#[test]
fn arguments_survive_json() {
    let mut config = qkv();
    config.dtype = PerProjection::Each(vec![DType::F32, DType::BF16, "q8_0".parse().unwrap()]);
    config.clip_weight = PerProjection::All(Some(0.5));
    config.device = "cuda:1".parse().unwrap();
    let text = serde_json::to_string(&config).unwrap();
    assert_eq!(
        serde_json::from_str::<StackedLinearConfig>(&text).unwrap(),
        config
    );
}

#[test]
fn a_linear_alone_is_named_after_its_parent() {
    let linear = Linear::new("o_proj", 8, 4)
        .with_bias(true)
        .clipped(Some(1.0));
    let b = Builder::new("linear");
    let x = b.input("x", "f32[8]".parse().unwrap());
    b.output("y", linear.forward(&Scope::at(&b, "layers.1"), x));
    let graph = b.finish().unwrap();
    assert_eq!(
        weights_of(&graph),
        [
            "layers.1.o_proj.weight: f32[4, 8]",
            "layers.1.o_proj.bias: f32[4]"
        ]
    );
    assert!(
        graph
            .node_ids()
            .any(|id| matches!(graph.op(id), Op::Clamp(_)))
    );
}
