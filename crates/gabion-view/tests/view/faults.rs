//! Graphs that do not verify are shown, with what is wrong where it is.

use gabion_ir::Graph;
use gabion_view::look::Command;
use gabion_view::place::{Direction, Open, Scene, default_size, place};
use gabion_view::report::{ReportOptions, report};
use gabion_view::{Document, Look, Sizes};

use crate::graphs::{layers_of, linears};

fn document(text: &str) -> Option<Document> {
    let written = Graph::parse_as_written(text, "g.gir").ok()?;
    Some(Document::of_written(&written, &Sizes::default()))
}

/// A text with a wrong type, an operand that is defined nowhere, a cycle, and an output of another type.
const WRONG: &str = r#"graph @wrong(%x: f32[n, 8]) -> (f32[n, 9], f32[n, 4]) {
  %w = weight {name = "w"} : f32[8, 8]
  %y = matmul %x, %w {transpose_b = true} : f32[n, 9] in "layers.0"
  %a = add %b, %nowhere : f32[n, 8] in "layers.1"
  %b = relu %a : f32[n, 8] in "layers.1"
  return %y, b = %b
}
"#;

#[test]
fn faults_are_at_their_boxes() {
    let document = document(WRONG).expect("a graph");
    let faults: Vec<String> = document
        .faults
        .iter()
        .map(|(id, what)| match id {
            Some(id) => format!("{}: {what}", document.get(*id).name),
            None => what.clone(),
        })
        .collect();
    insta::assert_snapshot!(faults.join("\n"), @r"
    b: line 1: result type 1: expected f32[n, 8], the type of output `b`, found f32[n, 4]
    %y: line 3: type of result 0 of `matmul`: expected f32[n, 8], found f32[n, 9]
    %a: line 4: `%b` is not defined; `%b` is defined later, in line 5; a value is defined before it is used, and this one is computed from itself
    %a: line 4: `%nowhere` is not defined
    ");
    assert_eq!(
        document.stages.len(),
        1,
        "what does not verify is not lowered"
    );
}

#[test]
fn a_faulty_graph_can_be_looked_at_and_written() {
    let document = document(WRONG).expect("a graph");
    let mut look = Look::new(&document);
    for command in [
        Command::OpenAllInside,
        Command::SelectNext,
        Command::ConeUp,
        Command::ConeDown,
        Command::SelectOperand,
        Command::SelectUser,
        Command::HideWeights,
        Command::Turn,
    ] {
        look.run(command);
        let _ = look.dresses(gabion_view::look::Pane::Now);
    }
    let page = report(&document, &ReportOptions::default()).expect("a page");
    assert!(page.contains("<html"));
}

/// Takes words of a kind out, doubles them and exchanges them: values, or whole lines.
fn damaged(text: &str, random: &mut impl FnMut(usize) -> usize) -> String {
    let lines = random(3) == 0;
    let mut words: Vec<&str> = match lines {
        true => text.split_inclusive('\n').collect(),
        false => text.split_inclusive([' ', '\n']).collect(),
    };
    for _ in 0..=random(2) {
        let fits = |word: &str| lines || word.starts_with('%') || word.starts_with("f32[");
        let places: Vec<usize> = (0..words.len()).filter(|at| fits(words[*at])).collect();
        let (from, to) = (places[random(places.len())], places[random(places.len())]);
        match random(5) {
            0 if lines => drop(words.remove(from)),
            0..2 => words[to] = words[from],
            _ => words.swap(from, to),
        }
    }
    words.concat()
}

/// Whatever still states a graph is shown.
#[test]
fn damaged_texts_never_panic() {
    let texts = [
        WRONG.to_owned(),
        linears("qkv").to_text(),
        layers_of(3, 2, |at| format!("part.{at}")).to_text(),
    ];
    let mut state = 1u64;
    let mut random = |below: usize| {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 33) as usize % below
    };
    let (mut shown, mut refused) = (0, 0);
    for round in 0..400 {
        let text = damaged(&texts[round % texts.len()], &mut random);
        let Some(document) = document(&text) else {
            refused += 1;
            continue;
        };
        shown += usize::from(!document.faults.is_empty());
        let open: Open = document
            .tree
            .groups
            .iter()
            .enumerate()
            .map(|(at, _)| gabion_view::document::GroupId(at as u32))
            .collect();
        let mut scene = Scene::with_leaves(&document, 0, true);
        for direction in [Direction::Down, Direction::Right] {
            let placement = place(&mut scene, &open, direction, &default_size);
            assert!(placement.items.iter().all(|it| it.rect.x.is_finite()));
        }
        report(&document, &ReportOptions::default()).expect("a page");
    }
    assert!(
        shown > 100 && refused > 20,
        "{shown} shown, {refused} refused"
    );
}
