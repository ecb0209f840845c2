//! From lines of the ledger to boxes and back.

use gabion_ir::{Builder, Graph};
use gabion_lower::Outcome;
use gabion_view::Document;
use gabion_view::document::{BoxId, Kind, StageKind};
use gabion_view::look::Look;
use gabion_view::place::Item;

use crate::samples::{minilm, recorded, smollm2, three_linears, ty};

/// Three products of one module without names; two of them are of one type, and the ledger calls them the same.
fn twins() -> Graph {
    let b = Builder::new("twins");
    let x = b.input("x", ty("f32[tokens, 64]"));
    let products = {
        let _scope = b.scope("attn");
        let weight = |name: &str, rows: usize| b.weight(name, ty(&format!("f32[{rows}, 64]")));
        let halves = b.concat(&[weight("v.0", 16), weight("v.1", 16)], 0);
        [
            x.matmul_t(weight("q", 48)),
            x.matmul_t(weight("k", 32)),
            x.matmul_t(halves),
        ]
    };
    for (name, product) in ["q", "k", "v"].into_iter().zip(products) {
        // Outputs name what they show: that is not the product.
        b.output(name, product.relu());
    }
    b.finish().expect("a graph")
}

/// What is multiplied by at the first stage: the weights that a box's sources read.
fn weights_behind(document: &Document, id: BoxId) -> Vec<String> {
    let mut names = Vec::new();
    for key in &document.get(id).origins {
        let source = document.find(0, *key).expect("a source");
        for (operand, _) in document.operands(0, source) {
            let operand = document.get(operand);
            if operand.kind == Kind::Weight {
                names.push(operand.name.to_string());
            }
        }
    }
    names
}

#[test]
fn lines_of_twins_without_names_lead_to_their_own_products() {
    let document = recorded(&twins());
    let mut seen = Vec::new();
    for entry in document.ledger.entries() {
        if entry.pass != "stack_weights" {
            continue;
        }
        let (stage, id) = document.box_of(entry).expect("a box");
        assert_eq!(&*document.stages[stage + 1].name, entry.pass, "{entry}");
        assert_eq!(&*document.get(id).op, "matmul", "{entry}");
        let own: Vec<u32> = document.get(id).origins.iter().map(|key| key.0).collect();
        assert!(own.iter().all(|key| entry.origins.ids().contains(key)));
        seen.push((
            entry.to_string(),
            document.get(id).results[0].ty.to_string(),
            weights_behind(&document, id),
        ));
    }
    insta::assert_debug_snapshot!(seen);
}

/// What every line must keep, and how many there are.
fn check_lines(document: &Document) -> usize {
    for entry in document.ledger.entries() {
        let (stage, id) = document
            .box_of(entry)
            .unwrap_or_else(|| panic!("no box: {entry} {:?}", entry.origins));
        let it = document.get(id);
        assert!(it.stages.contains(&(stage as u32)), "{entry}");
        let ids = entry.origins.ids();
        let shared = it.origins.iter().any(|key| ids.contains(&key.0));
        assert!(shared, "{entry}: {} {}", it.op, it.name);
        let pass = document.stage_of(entry).expect("the pass is recorded");
        assert!([pass, pass - 1].contains(&stage), "{entry}");
        if !is_what_it_says(document, entry, id) {
            // What a pass made and took away again is in neither stage.
            let around = pass as u32 - 1..pass as u32 + 1;
            let mut boxes = (0..).zip(&document.boxes);
            let seen = boxes.find(|(other, it)| {
                it.stages.start < around.end
                    && around.start < it.stages.end
                    && is_what_it_says(document, entry, *other)
            });
            assert_eq!(seen, None, "{entry}");
        }
        if matches!(entry.outcome, Outcome::Refused(_)) {
            assert!(document.entries_of(id).contains(&number(document, entry)));
        }
    }
    document.ledger.entries().len()
}

/// A box of the operator and the module that a line names, made of the same.
fn is_what_it_says(document: &Document, entry: &gabion_lower::Entry, id: BoxId) -> bool {
    let it = document.get(id);
    let op = entry.candidate.split(' ').next() == Some(&*it.op);
    let shared = it
        .origins
        .iter()
        .any(|key| entry.origins.ids().contains(&key.0));
    op && shared && *document.tree.get(it.group).path == *entry.scope
}

fn number(document: &Document, entry: &gabion_lower::Entry) -> usize {
    let entries = document.ledger.entries();
    entries.iter().position(|it| it == entry).expect("a line")
}

#[test]
fn every_line_about_smollm2_leads_to_a_box_made_of_the_same() {
    assert!(check_lines(&recorded(&smollm2())) > 400);
}

#[test]
fn every_line_about_minilm_leads_to_a_box_made_of_the_same() {
    assert!(check_lines(&recorded(&minilm())) > 90);
}

fn weight_named(document: &Document, stage: usize, name: &str) -> BoxId {
    let mut boxes = document.stages[stage].boxes.iter().copied();
    let found = boxes.find(|id| {
        let it = document.get(*id);
        it.kind == Kind::Weight && &*it.name == name
    });
    found.unwrap_or_else(|| panic!("no weight {name}"))
}

fn lines_of(document: &Document, id: BoxId) -> Vec<String> {
    let numbers = document.entries_of(id).into_iter();
    let lines = numbers.map(|at| document.ledger.entries()[at].to_string());
    lines.collect()
}

#[test]
fn a_weight_has_the_lines_of_the_products_that_read_it() {
    let document = recorded(&three_linears());
    let plan = document.stages.len() - 1;
    assert_eq!(document.stages[plan].kind, StageKind::Plan);
    let k = lines_of(
        &document,
        weight_named(&document, 0, "self_attn.k_proj.weight"),
    );
    let stacked = k.iter().any(|line| line.starts_with("stack_siblings"));
    let own = k.iter().any(|line| line.contains("matmul %k:"));
    assert!(stacked && own, "{k:#?}");
    let others = ["matmul %q: one", "matmul %v: one"];
    let foreign = |line: &&String| others.iter().any(|it| line.contains(it));
    assert_eq!(k.iter().find(foreign), None);
    let in_plan = document.stages[plan].boxes.iter().copied();
    let mut stacks = in_plan.filter(|id| document.get(*id).kind == Kind::Weight);
    let stack = lines_of(&document, stacks.next().expect("the stack"));
    for name in ["q", "k", "v"] {
        let own = format!("matmul %{name}: ");
        assert!(stack.iter().any(|line| line.contains(&own)), "{stack:#?}");
    }
}

/// Twins read different weights: what is noted of one is not said of the other's.
#[test]
fn a_weight_that_is_put_together_first_has_the_lines_of_what_reads_the_whole() {
    let document = recorded(&twins());
    let half = document.entries_of(weight_named(&document, 0, "v.1"));
    let other = document.entries_of(weight_named(&document, 0, "k"));
    let of_pass = |lines: &[usize]| -> Vec<usize> {
        let lines = lines.iter().copied();
        lines
            .filter(|at| document.ledger.entries()[*at].pass == "stack_weights")
            .collect()
    };
    let (half, other) = (of_pass(&half), of_pass(&other));
    assert!(!half.is_empty() && !other.is_empty());
    assert!(half.iter().all(|at| !other.contains(at)));
}

#[test]
fn a_stack_says_its_reasons_and_what_follows_its_products() {
    let document = recorded(&smollm2());
    let mut look = Look::new(&document);
    let weight = weight_named(&document, 0, "model.layers.3.self_attn.k_proj.weight");
    look.select(Some(Item::Box(weight)));
    let stack = look.stack().expect("a stack");
    let after: Vec<&str> = stack.segments.iter().map(|it| it.after.as_str()).collect();
    assert_eq!(
        after,
        [
            "rotary embedding",
            "rotary embedding, written into the cache",
            "written into the cache"
        ]
    );
    let reasons: Vec<String> = stack
        .reasons
        .iter()
        .map(|at| document.ledger.entries()[*at].to_string())
        .collect();
    assert!(reasons.iter().all(|it| it.contains("model.layers.3.")));
    for pass in ["stack_weights", "split_sinks", "fuse_epilogue"] {
        assert!(
            reasons.iter().any(|it| it.starts_with(pass)),
            "{reasons:#?}"
        );
    }
    let details = look.details();
    let rows = details.iter().find(|it| it.title == "Ledger");
    let rows = &rows.expect("lines").rows;
    assert!(
        rows.iter()
            .all(|row| row.value.contains(": fired: ") || row.value.contains(": refused: ")),
        "{rows:#?}"
    );
    // Nothing changed, so nothing is made again.
    assert!(std::sync::Arc::ptr_eq(&details, &look.details()));
    assert!(std::sync::Arc::ptr_eq(
        &stack,
        &look.stack().expect("a stack")
    ));
    look.select(None);
    assert_eq!(look.stack(), None);
}
