//! A model that becomes a GGUF file and is read from it computes the same numbers, or the file is refused with the
//! field that it could not carry. What is compared is what `gabion-nn` reads of either side.

use std::fs;
use std::io::Write;
use std::path::Path;

use gabion_checkpoint::{
    ConvertOptions, ModelFiles, SafetensorsType, TensorDecl, convert, write_safetensors,
};
use gabion_nn::{CausalLm, CausalLmConfig};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::models::{causal_lm, decoder, f32s};

/// A folder with that config and tensors of zeros.
fn write_model(folder: &Path, config: &Value) {
    let weights = causal_lm(config, f32s)
        .expected_weights()
        .expect("the model's graph is well formed");
    let tensors: Vec<_> = weights
        .iter()
        .map(|weight| TensorDecl {
            name: weight.name.clone(),
            stored: SafetensorsType::F32,
            shape: weight.shape.clone(),
        })
        .collect();
    let file = folder.join("model.safetensors");
    write_safetensors(&file, &Default::default(), &tensors, |index, sink| {
        let numel: usize = tensors[index].shape.iter().product();
        sink.write_all(&vec![0; numel * 4]).expect("bytes");
        Ok(())
    })
    .unwrap_or_else(|e| panic!("{e}"));
    fs::write(folder.join("config.json"), config.to_string()).expect("a config");
}

/// The config that comes back from the file, or why it was refused.
fn through_gguf(config: &Value) -> Result<CausalLmConfig, String> {
    let folder = tempfile::tempdir().expect("a folder");
    write_model(folder.path(), config);
    let model = ModelFiles::open(folder.path()).map_err(|e| e.to_string())?;
    let file = folder.path().join("x.gguf");
    let written = convert(&model, &file, &ConvertOptions::default());
    if let Err(error) = written {
        assert!(!file.exists(), "a refused file is not there");
        let error = error.to_string();
        let config = folder.path().join("config.json").display().to_string();
        return match error.strip_prefix(&config) {
            Some(rest) => Err(rest.to_owned()),
            None => panic!("the error does not name {config}: {error}"),
        };
    }
    let read = ModelFiles::open(&file).unwrap_or_else(|e| panic!("{e}"));
    let config = CausalLmConfig::from_gguf(read.config(), "x.gguf");
    Ok(config.unwrap_or_else(|e| panic!("{e}")))
}

/// GGUF keeps f32, and Llama 3's ramp subtracts f32 numbers that are near each other: what was rounded on the way may
/// differ by some of its steps.
fn about(a: f32, b: f32) -> bool {
    (a - b).abs() <= 64.0 * f32::EPSILON * a.abs().max(b.abs())
}

/// That both configs mean the same numbers.
fn same(before: &CausalLmConfig, after: &CausalLmConfig) -> Result<(), String> {
    // Two names of one function.
    let activation = |c: &CausalLmConfig| c.activation.name.replace("swish", "silu");
    let sizes = |c: &CausalLmConfig| {
        let heads = [c.heads, c.kv_heads, c.head_dim];
        let widths = [c.vocab_size, c.hidden_size, c.intermediate_size];
        let biases = [c.qkv_bias, c.output_bias, c.mlp_bias, c.tie_word_embeddings];
        (heads, widths, c.n_layers, c.context_length, biases)
    };
    if sizes(before) != sizes(after) || activation(before) != activation(after) {
        return Err(format!("{before:?} became {after:?}"));
    }
    if !about(before.rms_norm_eps as f32, after.rms_norm_eps as f32) {
        return Err(format!(
            "{} became {}",
            before.rms_norm_eps, after.rms_norm_eps
        ));
    }
    let (a, b) = (before.rope.frequencies(), after.rope.frequencies());
    let equal = a.inv_freq.len() == b.inv_freq.len()
        && about(a.attention_factor, b.attention_factor)
        && a.inv_freq
            .iter()
            .zip(&b.inv_freq)
            .all(|(a, b)| about(*a, *b));
    // Beyond the length at which a second list begins, it has to be the same list.
    let long = |f: &gabion_nn::Frequencies| f.long.as_ref().is_none_or(|(_, l)| *l == f.inv_freq);
    match equal && long(&a) == long(&b) {
        true => Ok(()),
        false => Err(format!(
            "{:?} became {:?}: {a:?}, {b:?}",
            before.rope, after.rope
        )),
    }
}

fn carried(config: &Value) -> Result<(), String> {
    let before = CausalLmConfig::from_json(config, "config.json").map_err(|e| e.to_string())?;
    let after = through_gguf(config)?;
    same(&before, &after).map_err(|e| format!("{e}\nof {config}"))
}

#[test]
fn every_scaling_that_gguf_knows_is_carried() {
    let yarn = json!({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16});
    let with = |changes: Value| {
        let mut section = yarn.clone();
        let fields = section.as_object_mut().expect("an object");
        fields.extend(changes.as_object().expect("an object").clone());
        json!({ "rope_scaling": section })
    };
    for changes in [
        json!({}),
        json!({"rope_theta": 500_000.0}),
        json!({"rope_theta": null, "rope_parameters": {"rope_type": "default", "rope_theta": 1234.5}}),
        json!({"rope_scaling": {"type": "linear", "factor": 2.5}}),
        json!({"rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}}),
        json!({"rope_scaling": {"rope_type": "llama3", "factor": 3.7, "low_freq_factor": 1.5,
            "high_freq_factor": 3.0, "original_max_position_embeddings": 32}}),
        with(json!({})),
        with(json!({"factor": 1.3})),
        with(json!({"attention_factor": 1.25})),
        with(json!({"attention_factor": 0.7, "factor": 3.3})),
        with(json!({"beta_fast": 16.0, "beta_slow": 2.0})),
        with(json!({"mscale": 0.707, "mscale_all_dim": 1.1})),
        with(json!({"truncate": true})),
        json!({"hidden_act": "silu", "attention_bias": true}),
        json!({"mlp_bias": true, "num_key_value_heads": 1, "rms_norm_eps": 3e-6}),
        json!({"tie_word_embeddings": false, "head_dim": null, "num_key_value_heads": null}),
    ] {
        carried(&decoder("llama", changes)).unwrap_or_else(|e| panic!("{e}"));
    }
    for family in ["mistral", "qwen2"] {
        carried(&decoder(family, json!({"sliding_window": null})))
            .unwrap_or_else(|e| panic!("{e}"));
    }
}

#[test]
fn what_gguf_cannot_say_is_refused_by_its_name() {
    let yarn = |field: &str, value: Value| {
        json!({"rope_scaling": {"rope_type": "yarn", "factor": 4.0,
            "original_max_position_embeddings": 16, field: value}})
    };
    let cases = [
        (
            "llama",
            json!({"hidden_act": "gelu"}),
            "`hidden_act` is `gelu`",
        ),
        (
            "llama",
            json!({"hidden_act": "relu"}),
            "`hidden_act` is `relu`",
        ),
        (
            "llama",
            yarn("truncate", json!(false)),
            "`rope_scaling.truncate` is false",
        ),
        (
            "llama",
            yarn("wavelength", json!(1.0)),
            "`rope_scaling.wavelength` has no place",
        ),
        (
            "llama",
            json!({"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}),
            "`rope_scaling.rope_type` is `dynamic`",
        ),
        (
            "qwen2",
            json!({"use_sliding_window": true, "sliding_window": 16, "max_window_layers": 0}),
            "`sliding_window` is 16 of 64 positions",
        ),
    ];
    for (family, changes, expected) in cases {
        let config = decoder(family, changes);
        // What `gabion-nn` does not build has no tensors either: the plain model's are as good.
        let folder = tempfile::tempdir().expect("a folder");
        write_model(folder.path(), &decoder(family, json!({})));
        fs::write(folder.path().join("config.json"), config.to_string()).expect("a config");
        let model = ModelFiles::open(folder.path()).unwrap_or_else(|e| panic!("{e}"));
        let file = folder.path().join("x.gguf");
        let refused = convert(&model, &file, &ConvertOptions::default());
        let error = refused.map(|_| ()).expect_err("it is refused").to_string();
        assert!(
            error.contains(expected),
            "expected `{expected}` in: {error}"
        );
        assert!(
            error.contains("convert to a folder"),
            "the way out: {error}"
        );
        assert!(!file.exists());
    }
}

/// Any rotary section: some are understood, some are not, none may change on the way.
fn section() -> impl Strategy<Value = Map<String, Value>> {
    let kind = prop::sample::select(vec![
        "default", "linear", "yarn", "llama3", "longrope", "dynamic",
    ]);
    let number = || prop::option::weighted(0.4, 0.3f64..9.0);
    let size = prop::option::weighted(0.7, 4u32..256);
    let truncate = prop::option::weighted(0.2, any::<bool>());
    let numbers = prop::collection::vec(number(), 8);
    let divisors = prop::option::of(prop::collection::vec(1f64..40.0, 16));
    (kind, numbers, size, truncate, divisors).prop_map(
        |(kind, numbers, size, truncate, divisors)| {
            let mut section = Map::from_iter([("rope_type".to_owned(), json!(kind))]);
            let names = [
                "factor",
                "attention_factor",
                "mscale",
                "mscale_all_dim",
                "beta_slow",
                "low_freq_factor",
                "high_freq_factor",
                "rope_theta",
            ];
            for (name, number) in names.into_iter().zip(numbers) {
                if let Some(number) = number {
                    let scale = if name == "rope_theta" { 5000.0 } else { 1.0 };
                    section.insert(name.to_owned(), json!(number * scale));
                }
            }
            for (name, value) in [
                ("original_max_position_embeddings", size.map(|it| json!(it))),
                ("truncate", truncate.map(|it| json!(it))),
                ("short_factor", divisors.clone().map(|it| json!(it))),
                ("long_factor", divisors.map(|it| json!(it))),
            ] {
                if let Some(value) = value {
                    section.insert(name.to_owned(), value);
                }
            }
            section
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// Whatever can be built and is written means the same when it is read.
    #[test]
    fn what_is_written_means_the_same(
        section in section(),
        act in prop::sample::select(vec!["silu", "swish", "gelu"]),
        epsilon in 1e-9f64..1e-2,
    ) {
        let changes = json!({"rope_theta": null, "rope_parameters": section, "hidden_act": act,
            "rms_norm_eps": epsilon});
        let config = decoder("llama", changes);
        if let Ok(before) = CausalLmConfig::from_json(&config, "config.json") {
            let model = CausalLm::new(before.clone(), &f32s);
            prop_assume!(model.is_ok());
            if let Ok(after) = through_gguf(&config) {
                same(&before, &after).map_err(TestCaseError::fail)?;
            }
        }
    }
}
