//! `gabion explain`, and the profiles of `gabion generate` and `gabion bench model`.

use std::fs;

use gabion::plan::Plan;
use gabion::plan::profile::read_trace;
use serde_json::Value;

use super::{fixture, gabion, tiny_llama};
use crate::words;

#[test]
fn a_row_is_told_for_people_and_for_programs() {
    let folder = tempfile::tempdir().unwrap();
    for model in [tiny_llama(), fixture("tiny_models/phi3_fused")] {
        let ask = words!["explain", &model, "--value", "layers.1.qkv", "--row", "3"];
        let text = gabion(folder.path(), ask).ok();
        for word in [
            "in the checkpoint",
            "loaded into plan weight",
            "read by step",
            "stack_weights: ",
        ] {
            assert!(text.contains(word), "{word}: {text}");
        }
        let ask = words![
            "--json",
            "explain",
            &model,
            "--value",
            "layers.1.qkv",
            "--row",
            "3",
            "--col",
            "2"
        ];
        let told = gabion(folder.path(), ask).json();
        assert_eq!(told["uses"][0]["row"], 3);
        assert_eq!(told["stored"]["column"], 2);
        let file = fs::read(told["stored"]["file"].as_str().unwrap()).unwrap();
        let at = told["stored"]["bytes"]["start"].as_u64().unwrap() as usize;
        assert_eq!(told["stored"]["format"], "f32");
        let value = f32::from_le_bytes(file[at..at + 4].try_into().unwrap());
        assert_eq!(told["stored"]["value"].as_f64(), Some(f64::from(value)));
    }
}

#[test]
fn a_graph_with_weights_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let text = "graph @g(%x: f32[n, 4]) -> (f32[n, 3]) {
  %w = weight {name = \"w\"} : f32[3, 4]
  %y = matmul %x, %w {transpose_b = true} : f32[n, 3]
  return y = %y
}
";
    fs::write(folder.path().join("g.gir"), text).unwrap();
    let mut file = br#"{"w": {"dtype": "F32", "shape": [3, 4], "data_offsets": [0, 48]}}"#.to_vec();
    let mut bytes = (file.len() as u64).to_le_bytes().to_vec();
    bytes.append(&mut file);
    bytes.extend((0..12).flat_map(|i| (i as f32 + 0.5).to_le_bytes()));
    fs::write(folder.path().join("w.safetensors"), bytes).unwrap();
    let ask = |more: &[&str]| {
        let mut ask = words!["--json", "explain", "g.gir", "--weights", "w.safetensors"].to_vec();
        ask.extend(more.iter().map(Into::into));
        gabion(folder.path(), ask)
    };
    for name in ["y", "%y", "w", "%w"] {
        let told = ask(&["--value", name, "--row", "1", "--col", "2"]).json();
        assert_eq!(told["stored"]["value"], 6.5, "{name}");
        assert_eq!(told["uses"][0]["value"], 6.5, "{name}");
    }
    let told = ask(&["--weight", "w", "--byte", "25"]).json();
    assert_eq!(told["stored"]["value"], 6.5);
    assert_eq!(told["stored"]["byte"]["role"], "value");
    let told = ask(&["--node", "%y"]).json();
    let after = told["after"].as_array().unwrap();
    let passes: Vec<_> = after.iter().map(|it| it["pass"].as_str()).collect();
    assert_eq!(passes, [Some("stack_weights")]);
    ask(&["--node", "%z"]).refused(&["there is no node `%z`", "0..3"]);
    let alone = words!["explain", "g.gir", "--value", "%y", "--row", "0"];
    gabion(folder.path(), alone).refused(&["--weights FILE"]);
    let node = words!["--json", "explain", "g.gir", "--node", "0"];
    assert_eq!(gabion(folder.path(), node).json()["op"], "input");
    gabion(folder.path(), words!["explain", "g.gir"]).misused(&["--value"]);
}

/// What the passes noted: pass and words.
fn noted(told: &Value) -> Vec<(&str, &str)> {
    let lines = told["ledger"].as_array().unwrap().iter();
    let line = lines.map(|it| (it["pass"].as_str().unwrap(), it["said"].as_str().unwrap()));
    line.collect()
}

#[test]
fn a_weight_is_told_with_what_the_passes_noted_of_its_readers() {
    let folder = tempfile::tempdir().unwrap();
    let three = fixture("../window/three_linears.gir");
    let node = |id: &str| {
        let ask = words!["--json", "explain", &three, "--node", id];
        gabion(folder.path(), ask).json()
    };
    let (weight, product) = (node("%wk"), node("%k"));
    let passes: Vec<&str> = noted(&weight).iter().map(|it| it.0).collect();
    assert_eq!(passes, ["stack_weights", "stack_siblings"]);
    assert_eq!(noted(&weight), noted(&product));
    let changed = |told: &Value| {
        let after = told["after"].as_array().unwrap().iter();
        let passes = after.map(|it| it["pass"].as_str().unwrap().to_owned());
        passes.collect::<Vec<_>>()
    };
    assert_eq!(changed(&product), ["stack_weights", "stack_siblings"]);
    // It stays what it is from first to last.
    assert!(changed(&weight).is_empty(), "{weight}");
    // A weight that a product reads through a cast and a concat, by its number, and a row of it, alike.
    let model = fixture("tiny_models/mistral_bf16");
    let graph = gabion(folder.path(), words!["lower", &model, "--stage", "graph"]).ok();
    let name = "model.layers.1.self_attn.k_proj.weight";
    assert!(graph.contains(name), "{graph}");
    let told = (0..).find_map(|id| {
        let ask = words!["--json", "explain", &model, "--node", id.to_string()];
        let told = gabion(folder.path(), ask).json();
        let text = told["text"].as_str().unwrap();
        (told["op"] == "weight" && text.contains(name)).then_some(told)
    });
    let byte = words!["--json", "explain", &model, "--weight", name, "--byte", "0"];
    let byte = gabion(folder.path(), byte).json();
    let whole = |told: &Value| -> Vec<(String, String)> {
        let lines = noted(told)
            .into_iter()
            .filter(|(_, said)| !said.contains("of rows"));
        lines
            .map(|(pass, said)| (pass.to_owned(), said.to_owned()))
            .collect()
    };
    let told = told.unwrap();
    assert!(whole(&told).len() > 1, "{told}");
    assert_eq!(whole(&told), whole(&byte));
}

#[test]
fn a_pass_that_only_numbers_anew_is_not_listed() {
    let folder = tempfile::tempdir().unwrap();
    // One pass takes both transpositions out, so `%3` is `%1` after it.
    let text = "graph @g(%x: f32[n, 4]) -> (f32[n, 4]) {
  %0 = transpose %x {perm = [1, 0]} : f32[4, n]
  %1 = transpose %0 {perm = [1, 0]} : f32[n, 4]
  %2 = relu %1 : f32[n, 4]
  %3 = softmax %2 {axis = -1} : f32[n, 4]
  return out = %3
}
";
    fs::write(folder.path().join("g.gir"), text).unwrap();
    let node = |id: &str| {
        let ask = words!["--json", "explain", "g.gir", "--node", id];
        gabion(folder.path(), ask).json()
    };
    let kept = node("%3");
    assert_eq!(kept["op"], "softmax");
    assert_eq!(kept["after"], serde_json::json!([]), "{kept}");
    // What it reads is another value than before.
    let reader = node("%2");
    assert_eq!(reader["after"][0]["pass"], "simplify_views", "{reader}");
    assert_eq!(reader["after"].as_array().unwrap().len(), 1, "{reader}");
    let gone = node("%0");
    assert_eq!(gone["after"][0]["pass"], "simplify_views", "{gone}");
}

#[test]
fn a_row_is_told_with_the_lines_about_its_segment_alone() {
    let folder = tempfile::tempdir().unwrap();
    let model = tiny_llama();
    let mut of_segment = Vec::new();
    for part in ["q_proj", "k_proj", "v_proj"] {
        let name = format!("layers.1.{part}");
        let ask = words!["--json", "explain", &model, "--value", &name, "--row", "1"];
        let told = gabion(folder.path(), ask).json();
        let used = &told["uses"][0];
        let rows = &used["segment_rows"];
        let own = format!("of rows [{}, {}]", rows["start"], rows["end"]);
        let about: Vec<String> = noted(&told)
            .into_iter()
            .filter(|(_, said)| said.contains("of rows ["))
            .map(|(_, said)| said.to_owned())
            .collect();
        assert!(
            about.iter().all(|said| said.contains(&own)),
            "{part}: {about:?}"
        );
        of_segment.push((about.len(), own));
        // Lines about the whole product are there too.
        assert!(
            noted(&told).iter().any(|it| it.0 == "stack_weights"),
            "{told}"
        );
    }
    let lines: Vec<usize> = of_segment.iter().map(|it| it.0).collect();
    assert_eq!(lines, [1, 1, 1], "rotary, rotary, cache: {of_segment:?}");
    // The rows of a gate are both halves'.
    for part in ["gate_proj", "up_proj"] {
        let name = format!("layers.1.{part}");
        let ask = words!["--json", "explain", &model, "--value", &name, "--row", "1"];
        let told = gabion(folder.path(), ask).json();
        let gates = noted(&told)
            .iter()
            .filter(|it| it.1.contains("silu gate of rows"))
            .count();
        assert_eq!(gates, 1, "{told}");
    }
}

#[test]
fn a_projection_that_is_stacked_is_asked_for_by_its_module() {
    let folder = tempfile::tempdir().unwrap();
    let model = tiny_llama();
    for part in ["q_proj", "k_proj", "v_proj"] {
        let ask = |name: &str| {
            let ask = ["--json", "explain"].map(Into::into).into_iter();
            let more = ["--value", name, "--row", "5", "--col", "3"].map(Into::into);
            let ask = ask.chain([model.clone().into_os_string()]).chain(more);
            gabion(folder.path(), ask).json()
        };
        let module = ask(&format!("layers.1.{part}"));
        let tensor = format!("model.layers.1.self_attn.{part}.weight");
        assert_eq!(module["stored"]["tensor"], tensor.as_str());
        assert_eq!(module["stored"]["row"], 5);
        let by_tensor = ask(&tensor);
        assert_eq!(module["stored"], by_tensor["stored"]);
        assert_eq!(module["uses"], by_tensor["uses"]);
        let matched = module["matched"].as_str().unwrap();
        assert!(
            matched.contains(part) && matched.contains("which are "),
            "{matched}"
        );
    }
}

#[test]
fn a_tensor_goes_by_its_name_in_the_file_too() {
    let folder = tempfile::tempdir().unwrap();
    gabion(folder.path(), words!["convert", tiny_llama(), "m.gguf"]).ok();
    let ask = |name: &str| {
        let ask = ["--json", "explain", "m.gguf", "--value", name, "--row", "3"];
        gabion(folder.path(), ask)
    };
    let in_file = ask("blk.1.attn_k.weight").json();
    let in_graph = ask("model.layers.1.self_attn.k_proj.weight").json();
    for field in ["matched", "stored", "uses", "ledger"] {
        assert_eq!(in_file[field], in_graph[field], "{field}");
    }
    assert_eq!(in_file["stored"]["graph_row"], 3);
    ask("blk.1.attn_k.weigth").refused(&["m.gguf", "the nearest names are `blk.1.attn_k.weight`"]);
}

/// The page of the first steps says what the program says.
#[test]
fn three_linears_are_told_as_the_page_tells_them() {
    let page = fixture("../../docs/getting-started.md");
    let page = fs::read_to_string(page).unwrap();
    let mut graphs = page.split("```gir\n").skip(1);
    let graph = graphs
        .find(|it| it.starts_with("graph @projections"))
        .unwrap();
    let (graph, _) = graph.split_once("```").unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("projections.gir"), graph).unwrap();
    for command in [
        "lower projections.gir --ledger",
        "explain projections.gir --node %k",
    ] {
        assert!(page.contains(&format!("gabion {command}\n")), "{command}");
        let said = gabion(folder.path(), command.split(' ')).ok();
        let block = format!("```text\n{said}```\n");
        assert!(page.contains(&block), "{command} prints\n{said}");
    }
    let report = ["report", "projections.gir", "-o", "report.html"];
    let said = gabion(folder.path(), report).ok();
    let (_, counted) = said.trim_end().split_once(" bytes").unwrap();
    assert!(page.contains(counted), "{said}");
}

/// Tensors with a number of its own in each element, and questions about graphs that use them.
struct Small(tempfile::TempDir);

/// Element `[row, col]` of the tensor: a number that no other has.
fn number(tensor: &str, columns: usize, row: usize, col: usize) -> f64 {
    let first = match tensor {
        "w" => 1000,
        "v" => 2000,
        _ => 3000,
    };
    (first + row * columns + col) as f64
}

impl Small {
    fn new() -> Self {
        let small = Self(tempfile::tempdir().unwrap());
        small.write(
            "w.safetensors",
            &[("w", [8, 4]), ("v", [8, 4]), ("sq", [6, 6])],
        );
        small.write(
            "other.safetensors",
            &[("w", [8, 5]), ("v", [8, 4]), ("sq", [6, 6])],
        );
        small
    }

    fn write(&self, file: &str, tensors: &[(&str, [usize; 2])]) {
        let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
        for (name, [rows, columns]) in tensors {
            let start = data.len();
            for at in 0..rows * columns {
                let value = number(name, *columns, at / columns, at % columns) as f32;
                data.extend(value.to_le_bytes());
            }
            let entry = serde_json::json!({"dtype": "F32", "shape": [rows, columns], "data_offsets": [start, data.len()]});
            header.insert((*name).to_owned(), entry);
        }
        let header = serde_json::to_vec(&header).unwrap();
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header);
        bytes.extend(data);
        fs::write(self.0.path().join(file), bytes).unwrap();
    }

    fn ask(&self, graph: &str, weights: &str, more: &[String]) -> super::Ran {
        fs::write(self.0.path().join("g.gir"), graph).unwrap();
        let mut ask = words!["--json", "explain", "g.gir", "--weights", weights].to_vec();
        ask.extend(more.iter().map(Into::into));
        gabion(self.0.path(), ask)
    }

    fn element(&self, graph: &str, name: &str, row: usize, col: usize) -> Value {
        let more = [
            format!("--value={name}"),
            format!("--row={row}"),
            format!("--col={col}"),
        ];
        self.ask(graph, "w.safetensors", &more).json()
    }

    fn refused(&self, graph: &str, name: &str, row: usize, said: &[&str]) {
        let more = [format!("--value={name}"), format!("--row={row}")];
        self.ask(graph, "w.safetensors", &more).refused(said);
    }
}

/// What is told is element `[row, col]` of the tensor, and nothing else is.
fn is_element(told: &Value, tensor: &str, columns: usize, [row, col]: [usize; 2]) {
    let value = number(tensor, columns, row, col);
    let stored = &told["stored"];
    assert_eq!(stored["tensor"], tensor, "{told}");
    assert_eq!(
        (&stored["row"], &stored["column"]),
        (&row.into(), &col.into()),
        "{told}"
    );
    assert_eq!(stored["value"], value, "{told}");
    let uses = told["uses"].as_array().unwrap();
    assert!(!uses.is_empty(), "{told}");
    assert!(uses.iter().all(|used| used["value"] == value), "{told}");
}

/// Each use's plan row, its column there, and the results of the steps that read it.
fn places(told: &Value) -> Vec<(u64, u64, String)> {
    let uses = told["uses"].as_array().unwrap().iter();
    let place = uses.map(|used| {
        let steps = used["steps"].as_array().unwrap().iter();
        let results: Vec<&str> = steps.filter_map(|step| step["result"].as_str()).collect();
        let column = used["packed"][0]["column"].as_u64().unwrap();
        (used["row"].as_u64().unwrap(), column, results.join(" "))
    });
    place.collect()
}

const TWO_WAYS: &str = "graph @g(%x: f32[n, 6]) -> (f32[n, 6], f32[n, 6]) {
  %w = weight {name = \"sq\"} : f32[6, 6]
  %y = matmul %x, %w
  %z = matmul %x, %w {transpose_b = true}
  return %y, %z
}
";

#[test]
fn a_tensor_used_plain_and_transposed_is_told_apart() {
    let small = Small::new();
    for (row, col) in [(5, 1), (1, 5), (0, 3), (2, 2)] {
        let (r, c) = (row as u64, col as u64);
        // x.w has column `row` of the tensor for its row; x.wT has row `row`.
        let y = small.element(TWO_WAYS, "y", row, col);
        is_element(&y, "sq", 6, [col, row]);
        assert_eq!(places(&y), [(r, c, "%y".to_owned())]);
        let z = small.element(TWO_WAYS, "z", row, col);
        is_element(&z, "sq", 6, [row, col]);
        assert_eq!(places(&z), [(6 + r, c, "%z".to_owned())]);
        let told = small.element(TWO_WAYS, "%w", row, col);
        is_element(&told, "sq", 6, [row, col]);
        let both = [(c, r, "%y".to_owned()), (6 + r, c, "%z".to_owned())];
        assert_eq!(places(&told), both);
    }
    // The plan's weight has the tensor's name: the answer says which was taken.
    let told = small.element(TWO_WAYS, "sq", 5, 1);
    is_element(&told, "sq", 6, [1, 5]);
    assert_eq!(told["others"][0], "tensor `sq`: F32[6, 6]");
    // A stored row is a column of the transposed use.
    small.refused(TWO_WAYS, "%w", 3, &["row 3 is not followed", "--col"]);
    let byte = [
        "--weight=sq".to_owned(),
        format!("--byte={}", 4 * (5 * 6 + 1)),
    ];
    let told = small.ask(TWO_WAYS, "w.safetensors", &byte).json();
    is_element(&told, "sq", 6, [5, 1]);
    assert_eq!(told["uses"].as_array().unwrap().len(), 2);
}

#[test]
fn a_gather_of_the_same_tensor_is_no_use_of_a_product() {
    let small = Small::new();
    let graph = "graph @g(%x: f32[n, 6], %i: i32[m]) -> (f32[n, 6], f32[m, 6]) {
  %w = weight {name = \"sq\"} : f32[6, 6]
  %y = matmul %x, %w
  %z = gather %w, %i {axis = 0}
  return %y, %z
}
";
    let told = small.element(graph, "y", 5, 1);
    is_element(&told, "sq", 6, [1, 5]);
    assert_eq!(places(&told), [(5, 1, "%y".to_owned())]);
    let told = small.element(graph, "%w", 5, 1);
    is_element(&told, "sq", 6, [5, 1]);
    let both = [(1, 5, "%y".to_owned()), (5, 1, "%z".to_owned())];
    assert_eq!(places(&told), both);
}

#[test]
fn a_reshaped_weight_is_followed_by_its_elements() {
    let small = Small::new();
    let graph = "graph @g(%x: f32[n, 8]) -> (f32[n, 4]) {
  %w = weight {name = \"w\"} : f32[8, 4]
  %s = reshape %w {shape = [4, 8]}
  %y = matmul %x, %s {transpose_b = true}
  return %y
}
";
    for (row, col) in [(0, 0), (3, 1), (7, 3), (6, 2)] {
        let at = 4 * row + col;
        let place = [((at / 8) as u64, (at % 8) as u64, "%y".to_owned())];
        let told = small.element(graph, "%w", row, col);
        is_element(&told, "w", 4, [row, col]);
        assert_eq!(places(&told), place);
        let told = small.element(graph, "y", at / 8, at % 8);
        is_element(&told, "w", 4, [row, col]);
        assert_eq!(places(&told), place);
    }
    let more = ["--value=%w".to_owned(), "--row=7".to_owned()];
    let told = small.ask(graph, "w.safetensors", &more).json();
    is_element(&told, "w", 4, [7, 0]);
    assert_eq!(places(&told), [(3, 4, "%y".to_owned())]);
}

#[test]
fn rows_that_a_product_has_twice_or_never_are_not_guessed() {
    let small = Small::new();
    let graph = "graph @g(%x: f32[n, 4]) -> (f32[n, 10]) {
  %w = weight {name = \"w\"} : f32[8, 4]
  %v = weight {name = \"v\"} : f32[8, 4]
  %c = concat %w, %v, %w {axis = 0}
  %y = matmul %x, %c {transpose_b = true}
  %a, %d = split %y {axis = -1, sizes = [10, 14]}
  return %a
}
";
    for row in [0, 7, 16, 23] {
        small.refused(graph, "y", row, &["`w`", "more than once"]);
    }
    for row in [10, 15] {
        small.refused(graph, "y", row, &["is never loaded"]);
    }
    for (row, col) in [(8, 0), (9, 3)] {
        let told = small.element(graph, "y", row, col);
        is_element(&told, "v", 4, [row - 8, col]);
        assert_eq!(places(&told), [(row as u64, col as u64, "%a".to_owned())]);
    }
    let told = small.element(graph, "w", 2, 1);
    is_element(&told, "w", 4, [2, 1]);
    assert_eq!(places(&told), [(2, 1, "%a".to_owned())]);
}

#[test]
fn products_of_one_tensor_have_rows_of_their_own() {
    let small = Small::new();
    // One activation, so both are one stack; of `y` only two rows are needed, and `z` is clipped.
    let graph = "graph @g(%x: f32[n, 6]) -> (f32[n, 2], f32[n, 6]) {
  %w = weight {name = \"sq\"} : f32[6, 6]
  %k = clamp %w {min = 1.0}
  %y = matmul %x, %w {transpose_b = true}
  %z = matmul %x, %k {transpose_b = true}
  %a, %b = split %y {axis = -1, sizes = [2, 4]}
  return %a, %z
}
";
    let y = small.element(graph, "y", 1, 4);
    is_element(&y, "sq", 6, [1, 4]);
    assert_eq!(places(&y), [(1, 4, "%a".to_owned())]);
    let z = small.element(graph, "z", 1, 4);
    is_element(&z, "sq", 6, [1, 4]);
    assert_eq!(places(&z), [(3, 4, "%z".to_owned())]);
    small.refused(graph, "y", 3, &["row 3 is not followed"]);
    // Two activations: a row that only the other product needs is not this one's.
    let graph = "graph @g(%x: f32[n, 6], %u: f32[m, 6]) -> (f32[n, 2], f32[m, 3]) {
  %w = weight {name = \"sq\"} : f32[6, 6]
  %y = matmul %x, %w {transpose_b = true}
  %z = matmul %u, %w {transpose_b = true}
  %a, %b = split %y {axis = -1, sizes = [2, 4]}
  %c, %d = split %z {axis = -1, sizes = [3, 3]}
  return %a, %c
}
";
    small.refused(graph, "y", 2, &["is never loaded"]);
    let z = small.element(graph, "z", 2, 1);
    is_element(&z, "sq", 6, [2, 1]);
    assert_eq!(places(&z), [(2, 1, "%c".to_owned())]);
    let both = small.element(graph, "%w", 1, 1);
    is_element(&both, "sq", 6, [1, 1]);
    let uses = [(1, 1, "%a".to_owned()), (1, 1, "%c".to_owned())];
    assert_eq!(places(&both), uses);
}

#[test]
fn a_tensor_of_another_shape_is_refused() {
    let small = Small::new();
    let graph = "graph @g(%x: f32[n, 4]) -> (f32[n, 8]) {
  %w = weight {name = \"w\"} : f32[8, 4]
  %y = matmul %x, %w {transpose_b = true}
  return %y
}
";
    let said = ["other.safetensors", "`w`", "[8, 4]", "[8, 5]"];
    let ask = |more: &[&str]| {
        let more: Vec<String> = more.iter().map(|it| (*it).to_owned()).collect();
        small.ask(graph, "other.safetensors", &more)
    };
    for name in ["y", "%w", "w"] {
        ask(&["--value", name, "--row", "7", "--col", "3"]).refused(&said);
    }
    ask(&["--weight", "w", "--byte", "0"]).refused(&said);
    small.refused(graph, "%w", 8, &["row 8 is outside 0..8"]);
}

#[test]
fn what_has_no_answer_is_refused_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let model = tiny_llama();
    let refused = |more: &[&str], said: &[&str]| {
        let mut ask = words!["explain", &model].to_vec();
        ask.extend(more.iter().map(Into::into));
        gabion(folder.path(), ask).refused(said);
    };
    refused(
        &["--value", "layer.1.qkv", "--row", "0"],
        &["`layer.1.qkv`", "the nearest names are `model.layers.1."],
    );
    refused(
        &["--value", "nope", "--row", "0"],
        &[
            "llama_gqa: there is no",
            "`nope`",
            "gabion lower MODEL --stage graph",
        ],
    );
    refused(
        &["--weight", "nope", "--byte", "0"],
        &["model.safetensors: no tensor `nope`", "gabion lower MODEL"],
    );
    refused(
        &["--value", "layers.1.k_proj", "--row", "99999"],
        &["llama_gqa", "k_proj`", "row 99999 is outside 0.."],
    );
    refused(
        &["--value", "qkv", "--row", "0"],
        &["is the end of", "say which, for example `model.layers.0."],
    );
    refused(
        &["--value", "layers.1.qkv", "--row", "99999"],
        &["row 99999 is outside 0.."],
    );
    refused(
        &["--value", "layers.1.qkv", "--row", "0", "--col", "99999"],
        &["column 99999 is outside 0.."],
    );
    refused(
        &["--value", "ids", "--row", "0"],
        &["is no product with a weight", "it is `input`"],
    );
    refused(
        &["--weight", "model.norm.weigth", "--byte", "0"],
        &["the nearest names are `model.norm.weight`"],
    );
    refused(
        &[
            "--weight",
            "model.layers.1.self_attn.k_proj.weigth",
            "--byte",
            "0",
        ],
        &["the nearest names are `model.layers.1.self_attn.k_proj.weight`"],
    );
    refused(
        &["--weight", "model.norm.weight", "--byte", "99999"],
        &["model.safetensors", "byte 99999 is outside 0.."],
    );
}

#[test]
fn a_profile_is_a_trace_of_every_run() {
    let folder = tempfile::tempdir().unwrap();
    let generate = |file: &str| {
        words![
            "generate",
            "--model",
            tiny_llama(),
            "--prompt-ids",
            "5,6,7",
            "--max-new-tokens",
            "3",
            "--ignore-eos",
            "--threads",
            "2",
            "--profile",
            file
        ]
    };
    gabion(folder.path(), generate("trace.json")).ok();
    let text = fs::read_to_string(folder.path().join("trace.json")).unwrap();
    let events: Value = serde_json::from_str(&text).unwrap();
    let events = events["traceEvents"].as_array().unwrap();
    let phases: Vec<&str> = events
        .iter()
        .filter(|e| e["cat"] == "phase")
        .filter_map(|e| e["name"].as_str())
        .collect();
    let expected = [
        "open",
        "compile",
        "load",
        "prefill of 3 tokens",
        "token 1",
        "token 2",
    ];
    assert_eq!(phases, expected);
    let plan = Plan::parse(&gabion(folder.path(), words!["lower", tiny_llama()]).ok()).unwrap();
    let (profile, _) = read_trace(&text, &plan).unwrap();
    assert_eq!((profile.runs.len(), profile.workers.len()), (3, 2));
    for run in 0..3 {
        let steps = profile.steps(run);
        assert!(steps.len() >= plan.steps.len(), "{}", steps.len());
    }
    // Another model's plan does not fit.
    let other = gabion(
        folder.path(),
        words!["lower", fixture("tiny_models/phi3_fused")],
    )
    .ok();
    let error = read_trace(&text, &Plan::parse(&other).unwrap()).unwrap_err();
    assert!(error.to_string().contains("another plan"), "{error}");
    // What cannot be written is refused before anything is done.
    fs::create_dir(folder.path().join("dir")).unwrap();
    gabion(folder.path(), generate("dir")).refused(&["dir", "is a folder"]);
    gabion(folder.path(), generate("no/such/file.json")).refused(&[
        "no/such/file.json: cannot write",
        "there is no folder no/such",
    ]);
    let said = gabion(folder.path(), generate("no/such/file.json")).stderr;
    assert!(!said.contains(".tmp"), "{said}");
}

#[test]
fn a_benchmark_says_where_the_time_goes() {
    let folder = tempfile::tempdir().unwrap();
    let bench = words![
        "--json",
        "bench",
        "model",
        "--model",
        tiny_llama(),
        "--prefill",
        "8",
        "--decode",
        "2",
        "--by-step",
        "--svg",
        "by.svg"
    ];
    let report = gabion(folder.path(), bench).json();
    let kinds = report["by_step"].as_array().unwrap();
    assert_eq!(kinds.len(), 2);
    for kind in kinds {
        let rows = kind["rows"].as_array().unwrap();
        let named = |row: &&Value| {
            let step = row["step"].as_str().unwrap();
            step.starts_with("matmul model.layers.*.")
        };
        let layers = rows.iter().find(named).unwrap();
        assert!(layers["calls"].as_u64().unwrap() > 1, "{layers}");
        let us = |row: &Value| row["us"].as_f64().unwrap();
        assert!(rows.windows(2).all(|pair| us(&pair[0]) >= us(&pair[1])));
    }
    let svg = fs::read_to_string(folder.path().join("by.svg")).unwrap();
    assert!(
        svg.starts_with("<svg ") && svg.contains("matmul model.layers.*."),
        "{svg}"
    );
}
