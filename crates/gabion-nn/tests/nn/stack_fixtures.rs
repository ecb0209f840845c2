//! Every case of `stack_f32`: numbers that MAX's own StackedLinear gave.

use crate::support::{distance, folders, json, run, tensors};
use gabion_ir::Builder;
use gabion_nn::{Scope, StackedLinear, StackedLinearConfig};
use gabion_tensor::TensorType;

#[test]
fn every_case_of_max_is_reproduced() {
    let cases = folders("stack_f32");
    assert!(cases.len() >= 10, "the fixtures are there: {cases:?}");
    for case in cases {
        let config =
            StackedLinearConfig::from_json(&json(&case.join("config.json")), "config.json")
                .unwrap();
        let stack = StackedLinear::new(config).unwrap();
        let x = tensors(&case.join("inputs.safetensors"))["x"].clone();
        let weights = tensors(&case.join("weights.safetensors"));
        let expected = tensors(&case.join("expected.safetensors"));

        let b = Builder::new("stack");
        let shape: Vec<usize> = x.shape().to_vec();
        let input = b.input(
            "x",
            TensorType::new(
                x.dtype(),
                shape.into_iter().collect::<gabion_tensor::Shape>(),
            ),
        );
        let scope = Scope::root(&b);
        b.output("y", stack.forward(&scope, input));
        b.output("stacked_weight", stack.stacked_weight(&scope));
        if let Some(bias) = stack.stacked_bias(&scope) {
            b.output("stacked_bias", bias);
        }
        let graph = b.finish().unwrap();
        let found = run(&graph, [("x".to_owned(), x)], &weights);

        let names: Vec<&String> = expected.keys().collect();
        assert!(
            names.iter().any(|n| *n == "y"),
            "{}: {names:?}",
            case.display()
        );
        for (name, tensor) in &expected {
            let off = distance(&found[name], tensor);
            assert!(off <= 1e-5, "{}: {name} is off by {off}", case.display());
        }
    }
}
