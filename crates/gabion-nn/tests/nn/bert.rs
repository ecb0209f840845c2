//! A tiny BERT of transformers: hidden states of a padded batch, and every pooling.

use gabion_nn::{BertConfig, BertEncoder, BertOptions, Pooling};
use gabion_tensor::HostTensor;

use crate::support::{Tensors, distance, fixtures, json, run, tensors};

struct Fixture {
    weights: Tensors,
    encoder: BertEncoder,
    expected: Tensors,
}

fn fixture() -> Fixture {
    let folder = fixtures("tiny_bert");
    let weights = tensors(&folder.join("model.safetensors"));
    let config = BertConfig::from_json(&json(&folder.join("config.json")), "config.json").unwrap();
    let encoder =
        BertEncoder::new(config, "", &|name| weights.get(name).map(HostTensor::dtype)).unwrap();
    Fixture {
        weights,
        encoder,
        expected: tensors(&folder.join("expected.safetensors")),
    }
}

impl Fixture {
    fn run(&self, options: BertOptions) -> Tensors {
        let mut names = vec!["ids", "mask"];
        if options.token_type_ids {
            names.push("token_type_ids");
        }
        let inputs = names
            .into_iter()
            .map(|name| (name.to_owned(), self.expected[name].clone()));
        run(
            &self.encoder.build_graph(options).unwrap(),
            inputs,
            &self.weights,
        )
    }

    /// The rows of text `batch` that are no padding.
    fn text(&self, hidden: &HostTensor, batch: usize) -> HostTensor {
        let mask = self.expected["mask"].to_i64_vec().unwrap();
        let seq = hidden.shape()[1];
        let n = mask[batch * seq..(batch + 1) * seq]
            .iter()
            .filter(|&&m| m != 0)
            .count();
        let row = hidden.rows(batch..batch + 1).unwrap();
        row.reshape(&[seq, hidden.shape()[2]])
            .unwrap()
            .rows(0..n)
            .unwrap()
    }
}

#[test]
fn hidden_states_of_every_token_agree_with_transformers() {
    let fixture = fixture();
    for (token_type_ids, name) in [(false, "last_hidden_state"), (true, "with_types")] {
        let options = BertOptions {
            token_type_ids,
            ..BertOptions::default()
        };
        let found = fixture.run(options);
        assert_eq!(found.keys().collect::<Vec<_>>(), ["last_hidden_state"]);
        for batch in 0..3 {
            let (found, expected) = (&found["last_hidden_state"], &fixture.expected[name]);
            let off = distance(&fixture.text(found, batch), &fixture.text(expected, batch));
            assert!(off <= 1e-5, "{name}, text {batch}: off by {off}");
        }
    }
}

#[test]
fn every_pooling_agrees_with_its_formula() {
    let fixture = fixture();
    let cases = [
        ("mean", Pooling::Mean, false),
        ("mean_normalized", Pooling::Mean, true),
        ("mean_sqrt_len", Pooling::MeanSqrtLength, false),
        ("cls", Pooling::Cls, false),
        ("max", Pooling::Max, false),
    ];
    for (name, pooling, normalize) in cases {
        let found = fixture.run(BertOptions::embedding(pooling, normalize));
        assert_eq!(found.keys().collect::<Vec<_>>(), ["embedding"]);
        let off = distance(&found["embedding"], &fixture.expected[name]);
        assert!(off <= 1e-5, "{name}: off by {off}");
    }
}

#[test]
fn the_graph_reads_the_checkpoint_but_for_the_pooler() {
    let fixture = fixture();
    let mut names: Vec<String> = fixture
        .encoder
        .expected_weights()
        .unwrap()
        .into_iter()
        .map(|w| w.name)
        .collect();
    names.sort_unstable();
    let (ignored, read): (Vec<_>, Vec<_>) = fixture
        .weights
        .keys()
        .cloned()
        .partition(|name| fixture.encoder.may_ignore(name));
    assert_eq!(names, read);
    assert_eq!(ignored, ["pooler.dense.bias", "pooler.dense.weight"]);
}

#[test]
fn names_may_have_a_prefix() {
    let config = fixture().encoder.config().clone();
    let encoder = BertEncoder::new(config, "bert.", &|_| None).unwrap();
    let names: Vec<String> = encoder
        .expected_weights()
        .unwrap()
        .into_iter()
        .map(|w| w.name)
        .collect();
    assert!(
        names.contains(&"bert.encoder.layer.1.attention.self.query.bias".to_owned()),
        "{names:?}"
    );
    assert!(names.iter().all(|n| n.starts_with("bert.")));
    assert!(
        encoder.may_ignore("bert.pooler.dense.weight")
            && encoder.may_ignore("cls.predictions.bias")
    );
    assert!(!encoder.may_ignore("bert.encoder.layer.0.output.dense.weight"));
}

#[test]
fn a_layer_alone_has_its_names_and_a_wrong_index_says_so() {
    let fixture = fixture();
    let graph = fixture.encoder.layer_graph(1).unwrap();
    assert_eq!(graph.weights().len(), 16);
    assert!(
        graph
            .weights()
            .iter()
            .all(|(name, ..)| name.starts_with("encoder.layer.1."))
    );
    let scopes: Vec<_> = graph
        .node_ids()
        .filter_map(|id| graph.node(id).scope.clone())
        .collect();
    assert!(
        scopes
            .iter()
            .any(|s| &**s == "encoder.layer.1.attention.self.qkv.query"),
        "{scopes:?}"
    );
    let errors = fixture.encoder.layer_graph(2).unwrap_err().to_string();
    assert!(
        errors.contains("layer 2 is outside the model's 2 layers"),
        "{errors}"
    );
}

#[test]
fn poolings_have_words() {
    assert_eq!("mean_tokens".parse(), Ok(Pooling::Mean));
    assert_eq!("cls".parse(), Ok(Pooling::Cls));
    let error = "lasttoken".parse::<Pooling>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "`lasttoken` is no pooling: use mean, mean_sqrt_len_tokens, cls or max"
    );
}
