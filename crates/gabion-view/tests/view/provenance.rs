//! From a fused step to what it was made from, and back.

use gabion_view::Document;
use gabion_view::document::{BoxId, Kind};

use crate::samples::{recorded, three_linears};

fn document() -> Document {
    recorded(&three_linears())
}

fn of_kind(document: &Document, stage: usize, kind: Kind) -> Vec<BoxId> {
    let boxes = document.stages[stage].boxes.iter().copied();
    boxes.filter(|id| document.get(*id).kind == kind).collect()
}

#[test]
fn a_fused_step_leads_to_its_products_and_weights_and_back() {
    let document = document();
    let plan = document.stages.len() - 1;
    let steps = of_kind(&document, plan, Kind::Step);
    let [step] = steps[..] else {
        panic!("{} steps", steps.len());
    };
    let (products, weights) = (
        of_kind(&document, 0, Kind::Op),
        of_kind(&document, 0, Kind::Weight),
    );
    assert_eq!((products.len(), weights.len()), (3, 3));
    let mut both = [products.clone(), weights.clone()].concat();
    both.sort_unstable();
    let mut found = document.counterparts(step, 0);
    found.sort_unstable();
    assert_eq!(found, both);
    for product in products {
        assert!(document.counterparts(product, plan).contains(&step));
    }
    let stack = of_kind(&document, plan, Kind::Weight);
    for weight in weights {
        assert_eq!(document.counterparts(weight, plan), [stack[0], step]);
    }
}

/// At each stage in between a product is one box or part of the stack, never nothing.
#[test]
fn a_product_is_found_at_every_stage() {
    let document = document();
    for product in of_kind(&document, 0, Kind::Op) {
        for stage in 0..document.stages.len() {
            let found = document.counterparts(product, stage);
            assert!(!found.is_empty(), "{}", document.stages[stage].name);
        }
    }
}
