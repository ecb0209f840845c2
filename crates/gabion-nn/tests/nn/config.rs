//! `config.json` of decoders and encoders: what is read, what is refused, in which words.

use gabion_nn::{BertConfig, CausalLmConfig, Family, RopeScaling};
use gabion_tensor::DType;
use serde_json::{Value, json};

use crate::support::{fixtures, json as read_json};

fn llama() -> Value {
    json!({
        "model_type": "llama", "vocab_size": 320, "hidden_size": 64, "intermediate_size": 96,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "max_position_embeddings": 128, "rope_theta": 10000.0,
    })
}

/// The Llama of above with fields replaced; `Value::Null` stays as null.
fn with(fields: Value) -> Value {
    let mut value = llama();
    for (field, new) in fields.as_object().unwrap() {
        value[field] = new.clone();
    }
    value
}

fn without(field: &str) -> Value {
    let mut value = llama();
    value.as_object_mut().unwrap().remove(field);
    value
}

fn read(value: &Value) -> CausalLmConfig {
    CausalLmConfig::from_json(value, "config.json").unwrap()
}

/// The problems, one a line, without the heading.
fn refused(value: &Value) -> Vec<String> {
    let errors = CausalLmConfig::from_json(value, "m/config.json")
        .unwrap_err()
        .to_string();
    let mut lines = errors.lines();
    let heading = lines.next().unwrap();
    assert!(heading.starts_with("m/config.json: "), "{heading}");
    lines.map(|l| l.trim().to_owned()).collect()
}

#[test]
fn defaults_are_those_of_the_family() {
    let config = read(&llama());
    assert_eq!(
        (config.family, config.head_dim, config.rms_norm_eps),
        (Family::Llama, 16, 1e-6)
    );
    assert_eq!(
        (config.qkv_bias, config.output_bias, config.mlp_bias),
        (false, false, false)
    );
    assert!(!config.stacked && !config.tie_word_embeddings);
    assert_eq!(config.dtype, DType::F32);
    assert_eq!(config.activation.name, "silu");

    let phi = read(&with(json!({"model_type": "phi3"})));
    assert_eq!((phi.stacked, phi.rms_norm_eps), (true, 1e-5));
    let qwen = read(&with(json!({"model_type": "qwen2"})));
    assert_eq!((qwen.qkv_bias, qwen.output_bias), (true, false));
    let biased = read(&with(
        json!({"attention_bias": true, "mlp_bias": true, "torch_dtype": "bfloat16"}),
    ));
    assert_eq!(
        (biased.qkv_bias, biased.output_bias, biased.mlp_bias),
        (true, true, true)
    );
    assert_eq!(biased.dtype, DType::BF16);
    assert_eq!(read(&without("num_key_value_heads")).kv_heads, 4);
    assert_eq!(
        read(&with(json!({"eos_token_id": [2, 7], "head_dim": 32}))).eos_token_ids,
        [2, 7]
    );
}

#[test]
fn everything_that_is_missing_is_listed() {
    assert_eq!(
        refused(&json!({"model_type": "mistral", "hidden_size": 64, "sliding_window": null})),
        [
            "`num_attention_heads` is missing: expected a positive integer",
            "`num_key_value_heads` is missing: expected a positive integer",
            "`num_hidden_layers` is missing: expected a positive integer",
            "`max_position_embeddings` is missing: expected a positive integer",
            "`vocab_size` is missing: expected a positive integer",
            "`intermediate_size` is missing: expected a positive integer",
        ]
    );
    assert_eq!(
        refused(&json!({})),
        ["`model_type` is missing: expected a model type such as \"llama\""]
    );
    assert_eq!(
        refused(&json!("llama")),
        ["expected a JSON object, found \"llama\""]
    );
    assert_eq!(
        refused(&with(json!({"model_type": "gpt2"}))),
        [
            "`model_type` = \"gpt2\" is not supported: the decoders built here are llama, mistral, qwen2, phi3"
        ]
    );
}

/// The defaults of transformers 5's classes, where a default is no guess; null is none of them.
#[test]
fn an_absent_epsilon_is_the_familys_and_null_is_none() {
    for (model_type, eps) in [
        ("llama", 1e-6),
        ("mistral", 1e-6),
        ("qwen2", 1e-6),
        ("phi3", 1e-5),
    ] {
        let mut value = with(json!({"model_type": model_type}));
        assert_eq!(read(&value).rms_norm_eps, eps, "{model_type}");
        value["rms_norm_eps"] = json!(1e-3);
        assert_eq!(read(&value).rms_norm_eps, 1e-3);
        value["rms_norm_eps"] = Value::Null;
        let found = "`rms_norm_eps`: expected a positive number, found null";
        assert_eq!(refused(&value), [found], "{model_type}");
    }
}

/// What could not be read is not counted with: one problem, and none that follows from a stand-in.
#[test]
fn a_missing_size_contradicts_nothing() {
    let missing = "`num_attention_heads` is missing: expected a positive integer";
    assert_eq!(refused(&without("num_attention_heads")), [missing]);
    assert_eq!(
        refused(&with(json!({"num_attention_heads": 0}))),
        ["`num_attention_heads`: expected a positive integer, found 0"]
    );
    assert_eq!(
        refused(&with(json!({"num_key_value_heads": 0}))),
        ["`num_key_value_heads`: expected a positive integer, found 0"]
    );
    assert_eq!(
        refused(&with(
            json!({"vocab_size": 4_294_967_295u64, "num_attention_heads": 1u64 << 40})
        )),
        [
            "`num_attention_heads`: expected a positive integer up to 2147483648, found 1099511627776",
            "`vocab_size`: expected a positive integer up to 2147483648, found 4294967295",
        ]
    );
    let mut value = with(json!({"layer_types": ["full_attention", "full_attention"]}));
    value.as_object_mut().unwrap().remove("num_hidden_layers");
    let missing = "`num_hidden_layers` is missing: expected a positive integer";
    assert_eq!(refused(&value), [missing]);
    let factors = json!([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]);
    let rope = json!({"rope_type": "longrope", "short_factor": factors, "long_factor": factors});
    let mut value = with(json!({"rope_parameters": rope, "sliding_window": 64}));
    value
        .as_object_mut()
        .unwrap()
        .remove("max_position_embeddings");
    let missing = "`max_position_embeddings` is missing: expected a positive integer";
    assert_eq!(refused(&value), [missing]);
    let bert = json!({"model_type": "bert", "vocab_size": 100, "hidden_size": 12, "num_hidden_layers": 1,
        "num_attention_heads": 0, "intermediate_size": 24, "max_position_embeddings": 32, "layer_norm_eps": null});
    assert_eq!(
        BertConfig::from_json(&bert, "c").unwrap_err().to_string(),
        "c: 2 problems\n  `num_attention_heads`: expected a positive integer, found 0\n  \
         `layer_norm_eps`: expected a positive number, found null"
    );
}

/// JSON has no NaN: what stands for one is a word.
#[test]
fn an_epsilon_that_is_none_is_refused() {
    for (value, shown) in [
        (json!(0), "0"),
        (json!(0.0), "0.0"),
        (json!(-1e-6), "-1e-6"),
        (json!("NaN"), "\"NaN\""),
        (json!("1e-6"), "\"1e-6\""),
        (json!([1e-6]), "[1e-6]"),
        (json!(true), "true"),
    ] {
        let config = with(json!({"rms_norm_eps": value}));
        let expected = format!("`rms_norm_eps`: expected a positive number, found {shown}");
        assert_eq!(refused(&config), [expected]);
    }
}

#[test]
fn values_of_the_wrong_kind_are_shown() {
    assert_eq!(
        refused(&with(
            json!({"hidden_size": "64", "num_hidden_layers": 0, "rms_norm_eps": -1, "mlp_bias": 1,
            "vocab_size": 1e30, "eos_token_id": "x", "torch_dtype": "int8", "hidden_act": "snake"})
        )),
        [
            "`hidden_size`: expected a positive integer, found \"64\"",
            "`num_hidden_layers`: expected a positive integer, found 0",
            "`vocab_size`: expected a positive integer up to 2147483648, found 1e+30",
            "`hidden_act` = \"snake\" is not supported: known are gelu, gelu_accurate, gelu_fast, gelu_new, gelu_python, gelu_python_tanh, gelu_pytorch_tanh, linear, quick_gelu, relu, relu2, sigmoid, silu, swish, tanh",
            "`rms_norm_eps`: expected a positive number, found -1",
            "`mlp_bias`: expected true or false, found 1",
            "`torch_dtype` = \"int8\" is not supported: tensors are stored as float32, float16, bfloat16 or float64",
            "`eos_token_id`: expected a token id or a list of token ids, found \"x\"",
        ]
    );
}

#[test]
fn contradictions_name_both_sides() {
    assert_eq!(
        refused(&with(
            json!({"num_attention_heads": 5, "num_key_value_heads": 2})
        )),
        [
            "`num_attention_heads` and `num_key_value_heads` contradict: 5 heads cannot share 2 key/value heads: the first must be a multiple",
            "`hidden_size` and `num_attention_heads` contradict: 64 is no multiple of 5 heads, and there is no `head_dim`",
        ]
    );
    assert_eq!(
        refused(&with(json!({"head_dim": 15}))),
        [
            "`head_dim` = 15 is not supported: all values of a head rotate; they rotate in pairs, so it must be even and not 0"
        ]
    );
    assert_eq!(
        refused(&with(
            json!({"rope_parameters": {"rope_type": "default", "rope_theta": 500000.0}})
        )),
        [
            "`rope_theta` and `rope_parameters.rope_theta` contradict: the first is 10000, the second 500000; remove the one that is not meant"
        ]
    );
    assert_eq!(
        refused(&with(
            json!({"rope_parameters": {"rope_type": "linear", "factor": 2.0}, "rope_scaling": {"type": "linear", "factor": 4}})
        )),
        [
            "`rope_parameters.factor` and `rope_scaling.factor` contradict: the first is 2.0, the second 4; remove one of the two forms"
        ]
    );
    assert_eq!(
        refused(&with(json!({"dtype": "float32", "torch_dtype": "float16"}))),
        ["`dtype` and `torch_dtype` contradict: the first is float32, the second float16"]
    );
    assert_eq!(
        refused(&with(json!({"layer_types": ["full_attention"]}))),
        ["`layer_types` and `num_hidden_layers` contradict: 1 layer types for 2 layers"]
    );
    assert_eq!(
        refused(&with(
            json!({"layer_types": ["sliding_attention", "full_attention"], "sliding_window": null})
        )),
        [
            "`layer_types` and `sliding_window` contradict: layers are sliding_attention, and no window is in use"
        ]
    );
    assert_eq!(
        refused(&with(
            json!({"hidden_act": null, "tie_word_embeddings": null})
        )),
        [
            "`hidden_act`: expected the name of an activation, found null",
            "`tie_word_embeddings`: expected a boolean, found null"
        ]
    );
    let huge = with(json!({"vocab_size": 1u64 << 31, "hidden_size": 1u64 << 31, "head_dim": 16}));
    assert_eq!(
        refused(&huge),
        ["`vocab_size` and `hidden_size` contradict: their product overflows the size of a tensor"]
    );
}

#[test]
fn sizes_that_would_never_end_are_refused() {
    let found = refused(&with(
        json!({"num_hidden_layers": 2_000_000_000, "head_dim": 2_000_000_000}),
    ));
    assert_eq!(
        found,
        [
            "`head_dim` and `hidden_size` and `num_attention_heads` contradict: a head of 2000000000 values; heads have at most 65536",
            "`num_hidden_layers`: expected a positive integer up to 4096, found 2000000000",
        ]
    );
}

#[test]
fn quantised_folders_are_refused() {
    let found = refused(&with(
        json!({"quantization_config": {"quant_method": "gptq", "bits": 4}}),
    ));
    assert_eq!(
        found,
        [
            "`quantization_config` = \"gptq\" is not supported: use an unquantised folder, or a GGUF file with q4_0, q4_1, q5_0, q5_1 or q8_0"
        ]
    );
}

#[test]
fn windows_are_refused_where_they_would_bite() {
    let unsupported = "`sliding_window` = 64 is not supported: attention to the last 64 of 128 positions is not built; \
                       set it to null only if the model was trained without";
    let family = |model_type: &str, fields: Value| {
        let mut value = with(fields);
        value["model_type"] = model_type.into();
        value
    };
    for model_type in ["llama", "mistral", "phi3"] {
        assert_eq!(
            refused(&family(model_type, json!({"sliding_window": 64}))),
            [unsupported]
        );
        read(&family(model_type, json!({"sliding_window": null})));
        read(&family(model_type, json!({"sliding_window": 128})));
        read(&family(model_type, json!({})));
    }
    // Mistral's own default, where the context is longer.
    let long = family("mistral", json!({"max_position_embeddings": 32768}));
    assert_eq!(
        refused(&long),
        [
            "`sliding_window` is missing: expected null for attention to all 32768 positions; absent it means a window of 4096, which is not built"
        ]
    );
    read(&family("qwen2", json!({"sliding_window": 64})));
    read(&family(
        "qwen2",
        json!({"sliding_window": 64, "use_sliding_window": false}),
    ));
    read(&family(
        "qwen2",
        json!({"sliding_window": 64, "use_sliding_window": true, "max_window_layers": 2}),
    ));
    read(&family(
        "qwen2",
        json!({"sliding_window": 64, "use_sliding_window": true, "max_window_layers": 0,
        "layer_types": ["full_attention", "full_attention"]}),
    ));
    for fields in [
        json!({"sliding_window": 64, "use_sliding_window": true, "max_window_layers": 1}),
        json!({"sliding_window": 64, "use_sliding_window": true, "layer_types": ["full_attention", "sliding_attention"]}),
    ] {
        assert_eq!(refused(&family("qwen2", fields)), [unsupported]);
    }
}

#[test]
fn old_and_new_rotary_fields_say_the_same() {
    let old = read(&with(
        json!({"rope_scaling": {"type": "linear", "factor": 4.0}, "partial_rotary_factor": 1.0}),
    ));
    let mut new = without("rope_theta");
    new["rope_parameters"] = json!({"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0, "partial_rotary_factor": 1.0});
    assert_eq!(old.rope, read(&new).rope);
    assert_eq!(
        (old.rope.rotary_dim, old.rope.scaling.clone()),
        (16, RopeScaling::Linear { factor: 4.0 })
    );
    new["rope_scaling"] = json!({"type": "linear", "factor": 4});
    assert_eq!(old.rope, read(&new).rope);
    assert_eq!(read(&without("rope_theta")).rope.theta, 10_000.0);
}

/// transformers 5: the default rule of Llama, Mistral and Qwen2 does not read the factor, their other
/// rules fail on it; Phi-3 reads it. GGUF's readers read it everywhere.
#[test]
fn part_of_a_head_rotates_where_transformers_rotates_part() {
    let default = json!({"rope_type": "default", "partial_rotary_factor": 0.5});
    let forms = [
        json!({"partial_rotary_factor": 0.5}),
        json!({"rope_parameters": default}),
        json!({"rope_scaling": {"type": "default"}, "partial_rotary_factor": 0.5}),
    ];
    let of = |model_type: &str, form: &Value| {
        let mut value = with(form.clone());
        value["model_type"] = model_type.into();
        value
    };
    for form in &forms {
        for model_type in ["llama", "mistral", "qwen2"] {
            let value = of(model_type, form);
            assert_eq!(read(&value).rope.rotary_dim, 16, "{model_type} {form}");
            let gguf = CausalLmConfig::from_gguf(&value, "m.gguf").unwrap();
            assert_eq!(gguf.rope.rotary_dim, 8, "{model_type} {form}");
        }
        assert_eq!(read(&of("phi3", form)).rope.rotary_dim, 8, "{form}");
    }
    for (scaling, word) in [
        (json!({"rope_type": "linear", "factor": 4.0}), "linear"),
        (json!({"rope_type": "dynamic", "factor": 4.0}), "dynamic"),
        (json!({"type": "yarn", "factor": 4.0}), "yarn"),
        (
            json!({"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}),
            "llama3",
        ),
    ] {
        for model_type in ["llama", "mistral", "qwen2"] {
            let form = json!({"rope_scaling": scaling, "partial_rotary_factor": 0.5});
            assert_eq!(
                refused(&of(model_type, &form)),
                [format!(
                    "`partial_rotary_factor` and `rope_type` contradict: {model_type} rotates whole heads, and `{word}` with the factor 0.5 makes frequencies for 8 of 16 values; remove the factor if whole heads are meant"
                )]
            );
            let whole = json!({"rope_scaling": scaling, "partial_rotary_factor": 1.0});
            assert_eq!(read(&of(model_type, &whole)).rope.rotary_dim, 16);
        }
    }
    // Towards zero, as Python's `int` does: 4.8 values are 4.
    let phi = |factor: f64| of("phi3", &json!({"partial_rotary_factor": factor}));
    assert_eq!(read(&phi(0.3)).rope.rotary_dim, 4);
    assert_eq!(
        refused(&phi(0.35)),
        [
            "`partial_rotary_factor` and `head_dim` contradict: head_dim 16 x 0.35 rotates 5 values of each head; they rotate in pairs, so it must be even and not 0"
        ]
    );
    assert_eq!(
        refused(&phi(1.5)),
        [
            "`partial_rotary_factor` and `head_dim` contradict: the factor is 1.5; at most the whole head of 16 can be rotated"
        ]
    );
    // A ratio of integers that is no exact number: 58 of 98.
    let mut ratio = with(json!({"head_dim": 98, "partial_rotary_factor": 58.0 / 98.0}));
    let gguf = |value: &Value| CausalLmConfig::from_gguf(value, "m.gguf").unwrap();
    assert_eq!(gguf(&ratio).rope.rotary_dim, 58);
    for rotary in (2..=98u8).step_by(2) {
        ratio["partial_rotary_factor"] = (f64::from(rotary) / 98.0).into();
        assert_eq!(gguf(&ratio).rope.rotary_dim, usize::from(rotary));
    }
}

#[test]
fn rotary_rules_ask_for_their_numbers() {
    let rope = |parameters: Value| refused(&with(json!({"rope_parameters": parameters})));
    assert_eq!(
        rope(json!({"rope_type": "llama3", "low_freq_factor": 4.0})),
        [
            "`rope_parameters.factor` is missing: expected a positive number",
            "`rope_parameters.high_freq_factor` is missing: expected a positive number",
        ]
    );
    assert_eq!(
        rope(
            json!({"rope_type": "llama3", "factor": 8, "low_freq_factor": 4.0, "high_freq_factor": 4.0})
        ),
        [
            "`rope_parameters.low_freq_factor` and `rope_parameters.high_freq_factor` contradict: low is 4, high is 4: high must be above low"
        ]
    );
    assert_eq!(
        rope(
            json!({"rope_type": "longrope", "short_factor": [1.0, 1.0], "long_factor": [1, 2, 3, 4, 5, 6, 7, "8"]})
        ),
        [
            "`rope_parameters.long_factor`: expected a list of positive numbers, found [1,2,3,4,5,6,7,\"8\"]",
            "`rope_parameters.short_factor` contradict: 2 factors for 8 frequencies: one for each pair that rotates",
        ]
    );
    assert_eq!(
        rope(json!({"rope_type": "mrope"})),
        [
            "`rope_parameters.rope_type` = \"mrope\" is not supported: supported are default, linear, dynamic, llama3, yarn or longrope"
        ]
    );
    assert_eq!(
        rope(json!([])),
        ["`rope_parameters`: expected an object, found []"]
    );
}

#[test]
fn frequencies_are_those_of_transformers() {
    let cases = read_json(&fixtures("rope_frequencies.json"));
    let cases = cases["cases"].as_array().unwrap();
    assert!(cases.len() >= 12);
    for case in cases {
        let mut value = without("rope_theta");
        for field in ["head_dim", "max_position_embeddings", "rope_parameters"] {
            value[field] = case[field].clone();
        }
        // Every rule with every factor: transformers' functions know no family.
        let config = CausalLmConfig::from_gguf(&value, "config.json").unwrap();
        let frequencies = config.rope.frequencies();
        let beyond = case["sequence"].as_u64();
        let found = match (&frequencies.long, beyond) {
            (Some((original, long)), Some(n)) if n > *original as u64 => long,
            _ => &frequencies.inv_freq,
        };
        let expected = case["inv_freq"].as_array().unwrap();
        assert_eq!(found.len(), expected.len(), "{}", case["name"]);
        for (found, expected) in found.iter().zip(expected) {
            let expected = expected.as_f64().unwrap();
            assert!(
                (f64::from(*found) / expected - 1.0).abs() < 4e-7,
                "{}: {found} is not {expected}",
                case["name"]
            );
        }
        let factor = case["attention_factor"].as_f64().unwrap();
        assert!(
            (f64::from(frequencies.attention_factor) - factor).abs() < 1e-6,
            "{}",
            case["name"]
        );
    }
}

#[test]
fn phi3_calls_its_rule_by_older_names() {
    let factors = json!([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]);
    for word in ["su", "yarn", "longrope"] {
        let scaling = json!({"type": word, "short_factor": factors, "long_factor": factors});
        let value = with(
            json!({"model_type": "phi3", "rope_scaling": scaling, "original_max_position_embeddings": 64}),
        );
        let config = read(&value);
        assert!(
            matches!(
                config.rope.scaling,
                RopeScaling::LongRope { original: 64, .. }
            ),
            "{word}"
        );
        assert_eq!(config.rope_switch(), Some(64));
    }
}

#[test]
fn encoders_are_read_and_refused() {
    let good = json!({"model_type": "bert", "vocab_size": 100, "hidden_size": 12, "num_hidden_layers": 1,
        "num_attention_heads": 3, "intermediate_size": 24, "max_position_embeddings": 32});
    let config = BertConfig::from_json(&good, "config.json").unwrap();
    assert_eq!(
        (
            config.head_dim(),
            config.layer_norm_eps,
            config.activation.name
        ),
        (4, 1e-12, "gelu")
    );
    assert_eq!(config.type_vocab_size, 2);

    let bad = json!({"model_type": "roberta", "hidden_size": 10, "num_attention_heads": 3, "is_decoder": true,
        "position_embedding_type": "relative_key"});
    assert_eq!(
        BertConfig::from_json(&bad, "config.json")
            .unwrap_err()
            .to_string(),
        "config.json: 8 problems
  `model_type` = \"roberta\" is not supported: the encoder built here is bert
  `is_decoder` = true is not supported: the encoder attends to the whole text, and to nothing else
  `position_embedding_type` = \"relative_key\" is not supported: positions are absolute here
  `hidden_size` and `num_attention_heads` contradict: 10 is no multiple of 3 heads
  `vocab_size` is missing: expected a positive integer
  `num_hidden_layers` is missing: expected a positive integer
  `intermediate_size` is missing: expected a positive integer
  `max_position_embeddings` is missing: expected a positive integer"
    );
}
