//! The tiny models of transformers, through the reference evaluator: first logits and greedy ids.

use std::path::Path;

use crate::support::{Tensors, checkpoint, folders, json, run};
use gabion_ir::Graph;
use gabion_nn::{CausalLm, CausalLmConfig};
use gabion_tensor::{DType, HostTensor};
use serde_json::Value;

pub(crate) fn model(folder: &Path, weights: &Tensors) -> CausalLm {
    let config =
        CausalLmConfig::from_json(&json(&folder.join("config.json")), "config.json").unwrap();
    CausalLm::new(config, &|name| weights.get(name).map(HostTensor::dtype)).unwrap()
}

pub(crate) fn empty_caches(config: &CausalLmConfig, capacity: usize) -> Tensors {
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
pub(crate) fn step(
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

pub(crate) fn integers(value: &Value) -> Vec<i64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_i64().unwrap())
        .collect()
}

#[test]
fn logits_and_greedy_ids_agree_with_transformers() {
    let mut checked = 0;
    for folder in folders("tiny_models") {
        let weights = checkpoint(&folder);
        let model = model(&folder, &weights);
        let graph = model.build_graph().unwrap();
        for case in json(&folder.join("expected.json"))["cases"]
            .as_array()
            .unwrap()
        {
            let prompt = integers(&case["prompt_ids"]);
            let greedy = integers(&case["greedy_ids"]);
            let caches = empty_caches(model.config(), prompt.len() + greedy.len());
            let (mut logits, mut caches) = step(&graph, &weights, &prompt, 0, caches);
            let top = integers(&case["first_top8_ids"]);
            for (id, expected) in top
                .iter()
                .zip(case["first_top8_logits"].as_array().unwrap())
            {
                let (found, expected) =
                    (f64::from(logits[*id as usize]), expected.as_f64().unwrap());
                let off = (found - expected).abs();
                assert!(
                    off <= 1e-3,
                    "{}: logit of {id} is {found}, expected {expected}",
                    folder.display()
                );
            }
            let until = case["first_step_with_margin_below_0.01"]
                .as_u64()
                .map_or(greedy.len(), |n| n as usize);
            for (n, expected) in greedy.iter().enumerate().take(until) {
                let found = largest(&logits);
                assert_eq!(
                    found,
                    *expected,
                    "{}: step {n} of {prompt:?}",
                    folder.display()
                );
                let position = (prompt.len() + n) as i64;
                (logits, caches) = step(&graph, &weights, &[found], position, caches);
                checked += 1;
            }
        }
    }
    assert!(checked > 100, "only {checked} steps were checked");
}

#[test]
fn a_cached_step_gives_what_the_whole_sequence_gives() {
    for folder in folders("tiny_models") {
        let weights = checkpoint(&folder);
        let model = model(&folder, &weights);
        let graph = model.build_graph().unwrap();
        let ids = [7, 300, 11, 42, 255];
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
    for folder in folders("tiny_models") {
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
