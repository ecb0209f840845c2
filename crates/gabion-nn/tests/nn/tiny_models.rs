//! The tiny models of transformers, through the reference evaluator: first logits and greedy ids.

use std::path::{Path, PathBuf};

use crate::support::{Tensors, checkpoint, fixtures, folders, json, run};
use gabion_ir::Graph;
use gabion_nn::{CausalLm, CausalLmConfig};
use gabion_tensor::{DType, HostTensor};
use serde_json::Value;

fn model(folder: &Path, weights: &Tensors) -> CausalLm {
    let config =
        CausalLmConfig::from_json(&json(&folder.join("config.json")), "config.json").unwrap();
    CausalLm::new(config, &|name| weights.get(name).map(HostTensor::dtype)).unwrap()
}

fn empty_caches(config: &CausalLmConfig, capacity: usize) -> Tensors {
    let zeros =
        || HostTensor::zeros(DType::F32, &[capacity, config.kv_heads, config.head_dim]).unwrap();
    (0..config.n_layers)
        .flat_map(|i| {
            [
                (format!("k_cache.{i}"), zeros()),
                (format!("v_cache.{i}"), zeros()),
            ]
        })
        .collect()
}

/// Runs `ids` at `position`; the logits, and the caches as the next step's inputs.
fn step(
    graph: &Graph,
    weights: &Tensors,
    ids: &[i64],
    position: i64,
    caches: Tensors,
) -> (Vec<f32>, Tensors) {
    let ids: Vec<i32> = ids.iter().map(|&i| i as i32).collect();
    let mut inputs = caches;
    inputs.insert(
        "ids".to_owned(),
        HostTensor::from_slice(&[ids.len()], &ids).unwrap(),
    );
    inputs.insert("position".to_owned(), HostTensor::scalar(position));
    let mut outputs = run(graph, inputs, weights);
    let logits = outputs.remove("logits").unwrap();
    assert_eq!(logits.shape()[0], 1);
    let caches = outputs
        .into_iter()
        .map(|(name, t)| (name.trim_end_matches(".out").to_owned(), t))
        .collect();
    (logits.to_f32_vec().unwrap(), caches)
}

fn largest(logits: &[f32]) -> i64 {
    let mut best = 0;
    for (i, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = i;
        }
    }
    best as i64
}

fn integers(value: &Value) -> Vec<i64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_i64().unwrap())
        .collect()
}

/// The next token's logits after each of `greedy`, step by step over one cache. Where the rotary
/// frequencies change, the whole sequence runs again.
fn check_case(
    model: &CausalLm,
    graph: &Graph,
    weights: &Tensors,
    case: &Value,
    what: &str,
) -> usize {
    let prompt = integers(&case["prompt_ids"]);
    let greedy = integers(&case["greedy_ids"]);
    let capacity = prompt.len() + greedy.len();
    let fresh = || empty_caches(model.config(), capacity);
    let (mut logits, mut caches) = step(graph, weights, &prompt, 0, fresh());
    let top = integers(&case["first_top8_ids"]);
    for (id, expected) in top
        .iter()
        .zip(case["first_top8_logits"].as_array().unwrap())
    {
        let (found, expected) = (f64::from(logits[*id as usize]), expected.as_f64().unwrap());
        assert!(
            (found - expected).abs() <= 1e-4,
            "{what}: logit of {id} is {found}, expected {expected}"
        );
    }
    let until = case["first_step_with_margin_below_0.01"]
        .as_u64()
        .map_or(greedy.len(), |n| n as usize);
    let mut sequence = prompt;
    for (n, expected) in greedy.iter().enumerate().take(until) {
        let found = largest(&logits);
        assert_eq!(found, *expected, "{what}: step {n} after {sequence:?}");
        sequence.push(found);
        let position = sequence.len() - 1;
        (logits, caches) = if model.config().rope_switch() == Some(position) {
            step(graph, weights, &sequence, 0, fresh())
        } else {
            step(graph, weights, &[found], position as i64, caches)
        };
    }
    until
}

fn all_models() -> Vec<PathBuf> {
    let mut all = folders("tiny_models");
    all.extend(folders("tiny_models_more"));
    assert!(all.len() >= 9, "the fixtures are there: {all:?}");
    all
}

#[test]
fn logits_and_greedy_ids_agree_with_transformers() {
    let mut checked = 0;
    for folder in all_models() {
        let weights = checkpoint(&folder);
        let model = model(&folder, &weights);
        let graph = model.build_graph().unwrap();
        // See the fixtures' README: the plain file of this model has rounded frequencies.
        let own = folder.join("expected_f32_frequencies.json");
        let expected = json(&if own.exists() {
            own
        } else {
            folder.join("expected.json")
        });
        for case in expected["cases"].as_array().unwrap() {
            checked += check_case(
                &model,
                &graph,
                &weights,
                case,
                &folder.display().to_string(),
            );
        }
    }
    assert!(checked > 300, "only {checked} steps were checked");
}

#[test]
fn frequencies_rounded_to_bf16_explain_the_other_file() {
    let folder = fixtures("tiny_models/mistral_bf16");
    let weights = checkpoint(&folder);
    let model = model(&folder, &weights);
    let mut frequencies = model.frequencies().clone();
    for f in &mut frequencies.inv_freq {
        *f = half::bf16::from_f32(*f).to_f32();
    }
    let model = model.with_frequencies(frequencies);
    let graph = model.build_graph().unwrap();
    for case in json(&folder.join("expected.json"))["cases"]
        .as_array()
        .unwrap()
    {
        check_case(&model, &graph, &weights, case, "rounded");
    }
}

/// Where q and k rows of each head are stored as neighbours, the other pairing gives the same.
#[test]
fn interleaved_rows_with_interleaved_pairing_are_the_same_model() {
    let folder = fixtures("tiny_models/llama_gqa");
    let mut weights = checkpoint(&folder);
    let model = model(&folder, &weights);
    let ids = [7, 300, 11, 42, 255];
    let plain = step(
        &model.build_graph().unwrap(),
        &weights,
        &ids,
        0,
        empty_caches(model.config(), 5),
    )
    .0;
    let d = model.config().head_dim;
    for (name, tensor) in &mut weights {
        if name.ends_with("q_proj.weight") || name.ends_with("k_proj.weight") {
            let (rows, k) = (tensor.shape()[0], tensor.shape()[1]);
            let values = tensor.to_f32_vec().unwrap();
            let from = |row: usize| row / d * d + (row % d) / 2 + (row % 2) * (d / 2);
            let moved: Vec<f32> = (0..rows)
                .flat_map(|r| values[from(r) * k..(from(r) + 1) * k].to_vec())
                .collect();
            *tensor = HostTensor::from_slice(&[rows, k], &moved).unwrap();
        }
    }
    let model = model.with_pairing(gabion_nn::Pairing::Interleaved);
    let moved = step(
        &model.build_graph().unwrap(),
        &weights,
        &ids,
        0,
        empty_caches(model.config(), 5),
    )
    .0;
    let off = plain
        .iter()
        .zip(&moved)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max);
    assert!(off <= 1e-5, "off by {off}");
}

#[test]
fn what_no_layer_reads_is_refused_by_tensor() {
    let folder = fixtures("tiny_models/llama_gqa");
    let config =
        CausalLmConfig::from_json(&json(&folder.join("config.json")), "config.json").unwrap();
    let stored = |name: &str| match name {
        "model.norm.weight" => Some("q8_0".parse().unwrap()),
        "model.layers.1.self_attn.k_proj.weight" => Some(DType::I8),
        _ => None,
    };
    assert_eq!(
        CausalLm::new(config, &stored).unwrap_err().to_string(),
        "llama: 2 problems
  tensor `model.layers.1.self_attn.k_proj.weight` [32, 64] is stored as i8: expected f32, f16, bf16, f64, q4_0, q4_1, q5_0, q5_1, q8_0
  tensor `model.norm.weight` [64] is stored as q8_0: expected f32, f16, bf16, f64"
    );
}

#[test]
fn block_formats_are_decoded_where_they_are_used() {
    let folder = fixtures("tiny_models/llama_gqa");
    let mut weights = checkpoint(&folder);
    let block: DType = "q8_0".parse().unwrap();
    for tensor in weights.values_mut().filter(|t| t.rank() == 2) {
        *tensor = tensor.cast(block).unwrap();
    }
    let quantised = model(&folder, &weights);
    let decoded: Tensors = weights
        .iter()
        .map(|(name, t)| (name.clone(), t.cast(DType::F32).unwrap()))
        .collect();
    let plain = model(&folder, &decoded);
    let ids = [7, 300, 11];
    let a = step(
        &quantised.build_graph().unwrap(),
        &weights,
        &ids,
        0,
        empty_caches(plain.config(), 3),
    )
    .0;
    let b = step(
        &plain.build_graph().unwrap(),
        &decoded,
        &ids,
        0,
        empty_caches(plain.config(), 3),
    )
    .0;
    assert_eq!(a, b);
}

#[test]
fn a_layer_alone_is_the_layer_of_the_model() {
    let folder = fixtures("tiny_models/qwen2");
    let weights = checkpoint(&folder);
    let model = model(&folder, &weights);
    let layer = model.layer_graph(1).unwrap();
    let whole = model.build_graph().unwrap();
    let names = |graph: &Graph| -> Vec<String> {
        graph
            .weights()
            .into_iter()
            .map(|(n, ..)| n.to_string())
            .collect()
    };
    let of_layer: Vec<String> = names(&whole)
        .into_iter()
        .filter(|n| n.starts_with("model.layers.1."))
        .collect();
    assert_eq!(names(&layer), of_layer);
    assert_eq!(
        layer.outputs().iter().map(|o| &*o.name).collect::<Vec<_>>(),
        ["y", "k_cache.1.out", "v_cache.1.out"]
    );
    let scopes: Vec<_> = layer
        .node_ids()
        .filter_map(|id| layer.node(id).scope.clone())
        .collect();
    assert!(
        scopes
            .iter()
            .any(|s| &**s == "model.layers.1.self_attn.qkv_proj.q_proj"),
        "{scopes:?}"
    );
    assert!(
        scopes.iter().any(|s| &**s == "model.rotary_emb"),
        "{scopes:?}"
    );
    let errors = model.layer_graph(2).unwrap_err().to_string();
    assert!(
        errors.contains("layer 2 is outside the model's 2 layers"),
        "{errors}"
    );
}

#[test]
fn graphs_survive_their_text() {
    for folder in all_models() {
        let weights = checkpoint(&folder);
        let graph = model(&folder, &weights).build_graph().unwrap();
        let text = graph.to_text();
        assert_eq!(Graph::parse(&text).unwrap().to_text(), text);
    }
}

#[test]
fn a_cached_step_gives_what_the_whole_sequence_gives() {
    for folder in all_models() {
        let weights = checkpoint(&folder);
        let model = model(&folder, &weights);
        let graph = model.build_graph().unwrap();
        let ids = [7, 150, 11, 42, 155];
        let whole = step(&graph, &weights, &ids, 0, empty_caches(model.config(), 9)).0;
        let (_, caches) = step(
            &graph,
            &weights,
            &ids[..3],
            0,
            empty_caches(model.config(), 9),
        );
        let parts = step(&graph, &weights, &ids[3..], 3, caches).0;
        let off = whole
            .iter()
            .zip(&parts)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max);
        assert!(off <= 1e-4, "{}: off by {off}", folder.display());
    }
}

#[test]
fn the_graph_reads_exactly_the_checkpoint() {
    for folder in all_models() {
        let weights = checkpoint(&folder);
        let expected = model(&folder, &weights).expected_weights().unwrap();
        let mut names: Vec<&str> = expected.iter().map(|w| w.name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            weights.keys().map(String::as_str).collect::<Vec<_>>(),
            "{}",
            folder.display()
        );
        for weight in &expected {
            let stored = &weights[&weight.name];
            assert_eq!(
                (weight.dtype, &weight.shape[..]),
                (stored.dtype(), stored.shape()),
                "{}",
                weight.name
            );
            assert!(weight.accepted.contains(&stored.dtype()));
        }
    }
}

#[test]
fn all_logits_end_with_the_last() {
    let folder = &folders("tiny_models")[0];
    let weights = checkpoint(folder);
    let model = model(folder, &weights);
    let options = gabion_nn::CausalLmOptions { all_logits: true };
    let mut inputs = empty_caches(model.config(), 4);
    inputs.insert(
        "ids".to_owned(),
        HostTensor::from_slice(&[3], &[5_i32, 6, 7]).unwrap(),
    );
    inputs.insert("position".to_owned(), HostTensor::scalar(0_i64));
    let all = run(
        &model.build_graph_with(options).unwrap(),
        inputs.clone(),
        &weights,
    )
    .remove("logits")
    .unwrap();
    let last = run(&model.build_graph().unwrap(), inputs, &weights)
        .remove("logits")
        .unwrap();
    assert_eq!(all.shape(), [3, model.config().vocab_size]);
    assert!(all.rows(2..3).unwrap().bitwise_eq(&last));
}

#[test]
fn a_fused_checkpoint_of_a_separate_family_is_the_same_model() {
    let folder = fixtures("tiny_models_more/llama3_biases");
    let weights = checkpoint(&folder);
    let separate = model(&folder, &weights);
    let mut fused = weights.clone();
    let mut join = |module: &str, names: &[&str], attribute: &str| {
        for kind in ["weight", "bias"] {
            let parts: Vec<HostTensor> = names
                .iter()
                .map(|n| fused.remove(&format!("{module}.{n}.{kind}")).unwrap())
                .collect();
            let values: Vec<f32> = parts.iter().flat_map(|t| t.to_f32_vec().unwrap()).collect();
            let mut shape = parts[0].shape().to_vec();
            shape[0] = parts.iter().map(|t| t.shape()[0]).sum();
            fused.insert(
                format!("{module}.{attribute}.{kind}"),
                HostTensor::from_slice(&shape, &values).unwrap(),
            );
        }
    };
    for i in 0..separate.config().n_layers {
        join(
            &format!("model.layers.{i}.self_attn"),
            &["q_proj", "k_proj", "v_proj"],
            "qkv_proj",
        );
        join(
            &format!("model.layers.{i}.mlp"),
            &["gate_proj", "up_proj"],
            "gate_up_proj",
        );
    }
    let mut config = separate.config().clone();
    config.stacked = true;
    let stacked = CausalLm::new(config, &|name| fused.get(name).map(HostTensor::dtype)).unwrap();
    let ids = [7, 150, 11, 42, 155];
    let a = step(
        &separate.build_graph().unwrap(),
        &weights,
        &ids,
        0,
        empty_caches(separate.config(), 5),
    )
    .0;
    let b = step(
        &stacked.build_graph().unwrap(),
        &fused,
        &ids,
        0,
        empty_caches(separate.config(), 5),
    )
    .0;
    assert_eq!(a, b);
}
