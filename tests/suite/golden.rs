//! Numbers that other engines made, through the facade: MAX's `StackedLinear` and transformers'
//! decoders. What the plans look like is checked beside the numbers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gabion::engine::CheckpointWeights;
use gabion::{Compiled, Engine, LanguageModel, Request, Sampler, Sampling};
use gabion_checkpoint::{Checkpoint, ConvertOptions, Layout, ModelFiles, convert};
use gabion_ir::{Builder, Graph};
use gabion_nn::{Scope, StackedLinear, StackedLinearConfig};
use gabion_plan::{Kernel, Plan};
use gabion_tensor::{DType, Dim, HostTensor, Shape, TensorType};
use serde_json::Value;

use crate::models::{fixture_folders, integers, read_json};

fn engine() -> Engine {
    Engine::cpu().unwrap_or_else(|e| panic!("{e}"))
}

/// `||a - b|| / ||b||`.
fn distance(found: &HostTensor, expected: &HostTensor) -> f64 {
    assert_eq!(found.shape(), expected.shape());
    let values = |t: &HostTensor| t.to_f64_vec().expect("numbers");
    let (a, b) = (values(found), values(expected));
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
    let off = norm(&mut a.iter().zip(&b).map(|(a, b)| a - b));
    off / norm(&mut b.iter().copied()).max(f64::MIN_POSITIVE)
}

fn tensors(path: &Path) -> BTreeMap<String, HostTensor> {
    let file = Checkpoint::open(path).unwrap_or_else(|e| panic!("{e}"));
    let names: Vec<String> = file.names().map(str::to_owned).collect();
    names
        .into_iter()
        .map(|name| {
            let tensor = file.get(&name).unwrap_or_else(|e| panic!("{e}"));
            (name, tensor)
        })
        .collect()
}

/// A stack case as a graph; `leading` axes of x are symbols if asked for.
fn stack_graph(case: &Path, x: &HostTensor, symbolic: bool, parts_too: bool) -> Graph {
    let config = read_json(&case.join("config.json"));
    let config =
        StackedLinearConfig::from_json(&config, "config.json").unwrap_or_else(|e| panic!("{e}"));
    let stack = StackedLinear::new(config).unwrap_or_else(|e| panic!("{e}"));
    let b = Builder::new("stack");
    let last = x.rank() - 1;
    let shape: Shape = x
        .shape()
        .iter()
        .enumerate()
        .map(|(axis, &size)| {
            if symbolic && axis < last {
                Dim::symbol(&format!("d{axis}")).expect("a name")
            } else {
                Dim::from(size)
            }
        })
        .collect();
    let x = b.input("x", TensorType::new(x.dtype(), shape));
    let scope = Scope::root(&b);
    b.output("y", stack.forward(&scope, x));
    if parts_too {
        b.output("stacked_weight", stack.stacked_weight(&scope));
        if let Some(bias) = stack.stacked_bias(&scope) {
            b.output("stacked_bias", bias);
        }
    }
    b.finish().unwrap_or_else(|e| panic!("{e}"))
}

fn kernels(plan: &Plan) -> Vec<&'static str> {
    plan.steps.iter().map(|step| step.kernel.name()).collect()
}

#[test]
fn every_stack_of_max_is_reproduced() {
    let cases = fixture_folders("stack_f32");
    assert!(cases.len() >= 10, "the fixtures are there: {cases:?}");
    for case in cases {
        let name = case.display();
        let x = tensors(&case.join("inputs.safetensors"))["x"].clone();
        let expected = tensors(&case.join("expected.safetensors"));
        let weights = Checkpoint::open(&case.join("weights.safetensors")).expect("weights");
        let config = read_json(&case.join("config.json"));
        let n_parts = match config["stacked"].as_bool() {
            Some(true) => 1,
            _ => config["out_dims"].as_array().expect("a list").len(),
        };
        for (symbolic, parts_too) in [(false, false), (true, false), (false, true)] {
            let graph = stack_graph(&case, &x, symbolic, parts_too);
            let compiled = engine()
                .compile(&graph, &CheckpointWeights::new(&weights))
                .unwrap_or_else(|e| panic!("{name}: {e}"));
            let outputs = compiled
                .run(&[("x", &x)])
                .unwrap_or_else(|e| panic!("{name}: {e}"));
            for (output, tensor) in &outputs {
                let off = distance(tensor, &expected[output]);
                assert!(off <= 1e-5, "{name}: {output} is off by {off}");
            }
            if !parts_too {
                one_product(compiled.plan(), n_parts, &name.to_string());
            }
        }
    }
}

/// One product of a weight of so many parts, no concat, no copy.
#[track_caller]
fn one_product(plan: &Plan, n_parts: usize, name: &str) {
    let Some(Kernel::Matmul(matmul)) = plan.steps.first().map(|s| &s.kernel) else {
        panic!("{name}: no matmul\n{}", plan.to_text());
    };
    let parts = &plan.weight(matmul.weight).parts;
    // A clip of its own for each projection cuts a stored stack into as many parts.
    assert!(parts.len() >= n_parts, "{name}\n{}", plan.to_text());
    // A vector has no rows for a bias to be repeated over: the bias may be a step of its own.
    let allowed = 1 + usize::from(plan.inputs[0].ty.shape.rank() == 1);
    assert!(plan.steps.len() <= allowed, "{name}\n{}", plan.to_text());
    assert!(
        !kernels(plan).contains(&"copy"),
        "{name}\n{}",
        plan.to_text()
    );
}

/// A model of transformers with its expected values.
struct Tiny {
    folder: PathBuf,
    expected: Value,
}

impl Tiny {
    fn all() -> Vec<Self> {
        let mut folders = fixture_folders("tiny_models");
        folders.extend(fixture_folders("tiny_models_more"));
        assert!(folders.len() >= 9, "the fixtures are there: {folders:?}");
        folders
            .into_iter()
            .map(|folder| {
                // See the fixtures' README: the plain file of one model has rounded frequencies.
                let own = folder.join("expected_f32_frequencies.json");
                let expected = read_json(&if own.exists() {
                    own
                } else {
                    folder.join("expected.json")
                });
                Self { folder, expected }
            })
            .collect()
    }

    fn load(path: &Path) -> LanguageModel {
        let files = ModelFiles::open(path).unwrap_or_else(|e| panic!("{e}"));
        LanguageModel::load(&engine(), &files).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    /// Greedy ids up to the first near-tie and the first logits; how many ids were compared.
    fn check(&self, model: &LanguageModel, what: &str, tolerance: f64) -> usize {
        let mut checked = 0;
        for case in self.expected["cases"].as_array().expect("cases") {
            let greedy = integers(&case["greedy_ids"]);
            let made = generate(model, &integers(&case["prompt_ids"]), greedy.len());
            let logits = case["first_top8_logits"].as_array().expect("logits");
            check_top(
                what,
                &integers(&case["first_top8_ids"]),
                logits,
                &made.1,
                tolerance,
            );
            let until = case["first_step_with_margin_below_0.01"]
                .as_u64()
                .map_or(greedy.len(), |n| n as usize);
            assert_eq!(made.0[..until], greedy[..until], "{what}");
            checked += until;
        }
        checked
    }
}

/// Greedy ids, and the logits of the first step by id.
fn generate(model: &LanguageModel, prompt: &[u32], new: usize) -> (Vec<u32>, Vec<f32>) {
    let mut generator = model.generator(prompt.len() + new).expect("a generator");
    let first = generator.feed(prompt).expect("logits").to_vec();
    let request = Request {
        prompt,
        new,
        end: &[],
        top_logits: 8,
    };
    let mut sampler = Sampler::new(Sampling::default()).expect("greedy");
    let made = model.generate(&request, &mut sampler, &mut |_| true);
    let made = made.unwrap_or_else(|e| panic!("{e}"));
    // What the program reports are the best of these logits.
    for (id, logit) in &made.top_logits {
        assert_eq!(first[*id as usize].to_bits(), logit.to_bits());
    }
    assert_eq!(made.ids.len(), new);
    (made.ids, first)
}

#[track_caller]
pub(crate) fn check_top(
    what: &str,
    ids: &[u32],
    expected: &[Value],
    logits: &[f32],
    tolerance: f64,
) {
    assert_eq!(ids.len(), 8);
    for (id, expected) in ids.iter().zip(expected) {
        let (found, expected) = (
            f64::from(logits[*id as usize]),
            expected.as_f64().expect("a logit"),
        );
        assert!(
            (found - expected).abs() <= tolerance,
            "{what}: logit of {id} is {found}, expected {expected}"
        );
    }
}

#[test]
fn every_tiny_model_agrees_with_transformers() {
    let mut checked = 0;
    for tiny in Tiny::all() {
        let model = Tiny::load(&tiny.folder);
        checked += tiny.check(&model, &tiny.folder.display().to_string(), 1e-3);
    }
    assert!(checked > 300, "only {checked} ids were compared");
}

#[test]
fn converted_models_agree_too() {
    let work = tempfile::tempdir().expect("a folder");
    for (i, tiny) in Tiny::all().iter().enumerate() {
        let files = ModelFiles::open(&tiny.folder).unwrap_or_else(|e| panic!("{e}"));
        let original = Tiny::load(&tiny.folder);
        let prompt = integers(&tiny.expected["cases"][1]["prompt_ids"]);
        let ids = generate(&original, &prompt, 24);
        let fused = files.checkpoint().has_stacked_projections();
        for layout in [Layout::Fuse, Layout::Unfuse] {
            let out = work.path().join(format!("{i}-{layout:?}"));
            let options = ConvertOptions {
                layout,
                ..ConvertOptions::default()
            };
            let converted = convert(&files, &out, &options);
            if fused == (layout == Layout::Fuse) {
                let error = converted.expect_err("nothing to do is no conversion");
                assert!(error.to_string().contains("leave out --"), "{error}");
                continue;
            }
            if tiny.folder.ends_with("phi3_partial_longrope") {
                let error = converted.expect_err("its config has no separate counterpart");
                let why = "no model with separate projections of this kind turns part of a head";
                assert!(error.to_string().contains(why), "{error}");
                continue;
            }
            converted.unwrap_or_else(|e| panic!("{e}"));
            let model = Tiny::load(&out);
            let what = format!("{} {layout:?}", tiny.folder.display());
            tiny.check(&model, &what, 1e-3);
            let same = generate(&model, &prompt, 24);
            assert_eq!(same.0, ids.0, "{what}");
            let bits = |v: &[f32]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&same.1), bits(&ids.1), "{what}");
            let n_parts = if layout == Layout::Fuse { 1 } else { 3 };
            layers_are_stacked(model.compiled(), &what, Some(n_parts));
        }
        let out = work.path().join(format!("{i}-f32"));
        let options = ConvertOptions {
            dtype: Some(DType::F32),
            ..ConvertOptions::default()
        };
        convert(&files, &out, &options).unwrap_or_else(|e| panic!("{e}"));
        tiny.check(
            &Tiny::load(&out),
            &format!("{} f32", tiny.folder.display()),
            1e-3,
        );
    }
}

#[test]
fn every_tiny_model_has_one_product_per_stack() {
    for tiny in Tiny::all() {
        let model = Tiny::load(&tiny.folder);
        layers_are_stacked(model.compiled(), &tiny.folder.display().to_string(), None);
    }
}

/// Four products and one attention per layer; q, k, v and gate, up are stacks of their stored
/// tensors; nothing is copied or joined.
#[track_caller]
fn layers_are_stacked(compiled: &Compiled, what: &str, qkv_parts: Option<usize>) {
    let plan = compiled.plan();
    let text = plan.to_text();
    let mut layers: BTreeMap<usize, Vec<&gabion_plan::Step>> = BTreeMap::new();
    for step in &plan.steps {
        if let Some(rest) = step.scope.strip_prefix("model.layers.") {
            let index = rest.split('.').next().and_then(|n| n.parse().ok());
            layers
                .entry(index.expect("a layer"))
                .or_default()
                .push(step);
        }
    }
    assert!(!layers.is_empty(), "{what}: no scopes\n{text}");
    for (index, steps) in &layers {
        let count = |name: &str| steps.iter().filter(|s| s.kernel.name() == name).count();
        assert_eq!(count("matmul"), 4, "{what}: layer {index}\n{text}");
        assert_eq!(count("attention"), 1, "{what}: layer {index}\n{text}");
        assert_eq!(count("copy"), 0, "{what}: layer {index}\n{text}");
        assert_eq!(count("batch_matmul"), 0, "{what}: layer {index}\n{text}");
        // Heads that the lanes cannot pair: q and k turn, and k goes into its cache, in steps of
        // their own. A cut that the last layer moves up before its MLP is no step.
        let apart = count("rope") + count("cache_append") + count("map");
        assert!(steps.len() <= 5 + apart, "{what}: layer {index}\n{text}");
        assert!(
            apart <= 5,
            "{what}: layer {index} has {apart} steps of its own\n{text}"
        );
        let mut stacks: Vec<usize> = Vec::new();
        for step in steps {
            if let Kernel::Matmul(matmul) = &step.kernel {
                stacks.push(plan.weight(matmul.weight).parts.len());
            }
        }
        let fused = compiled
            .plan()
            .weights
            .iter()
            .any(|w| w.name.contains("qkv_proj"));
        let parts = qkv_parts.unwrap_or(if fused { 1 } else { 3 });
        let expected = if parts == 1 {
            [1, 1, 1, 1]
        } else {
            [3, 1, 2, 1]
        };
        assert_eq!(stacks, expected, "{what}: layer {index}\n{text}");
    }
}

/// The law above can fail.
#[test]
fn llama_fuses_whole() {
    let tiny = Tiny::all()
        .into_iter()
        .find(|t| t.folder.ends_with("llama_head_dim_untied_sharded"))
        .expect("the fixture");
    let model = Tiny::load(&tiny.folder);
    let plan = model.compiled().plan();
    let n_layers = model.config().n_layers;
    let in_layers = plan
        .steps
        .iter()
        .filter(|s| s.scope.starts_with("model.layers."))
        .count();
    assert_eq!(in_layers, 5 * n_layers, "{}", plan.to_text());
    // Look-up, angles (positions, cos, sin), head.
    assert!(plan.steps.len() <= 5 * n_layers + 8, "{}", plan.to_text());
}
