//! Reports, and beside each where the window puts everything with this or that open: `tests/web` asks the page for the same
//! and compares. So are the files that both write for other programs, and the lines of the ledger about each box.
//!
//! `cargo run -p gabion-view --example placements -- FOLDER [GRAPH.gir]..` writes `placed-NAME.html`, `placed-NAME.json`
//! and `exported-NAME.json` for the graphs and for one that is drawn at random.

use std::path::Path;

use gabion_cpu::cpu_target;
use gabion_ir::Graph;
use gabion_lower::{LowerOptions, lower};
use gabion_view::document::GroupId;
use gabion_view::export::{dot, json as export_json, model_explorer};
use gabion_view::look::{Look, Pane};
use gabion_view::place::{Direction, Item, Open, Placement, Scene, default_size, place};
use gabion_view::report::{ReportOptions, report};
use gabion_view::{Document, Sizes};
use serde_json::{Value, json};

#[path = "../tests/graphs/random.rs"]
mod random;

type Failed = Box<dyn std::error::Error>;

fn main() -> Result<(), Failed> {
    let mut args = std::env::args().skip(1);
    let folder = args.next().ok_or("which folder?")?;
    let folder = Path::new(&folder);
    write(folder, "random", &random::graph(&drawn()))?;
    for path in args {
        let path = Path::new(&path);
        let name = path
            .file_stem()
            .and_then(|it| it.to_str())
            .ok_or("a name")?;
        write(
            folder,
            name,
            &Graph::parse(&std::fs::read_to_string(path)?)?,
        )?;
    }
    Ok(())
}

/// Enough nodes that some wires must share a lane.
fn drawn() -> Vec<random::Drawn> {
    let mut state = 1u64;
    let mut next = |below: u64| {
        // Knuth's linear congruential generator: the high bits are the good ones.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    (0..260)
        .map(|_| {
            let depth = next(4);
            let modules = (0..depth).map(|_| next(3) as u8).collect();
            (next(4) as usize, next(120) as usize, modules)
        })
        .collect()
}

fn write(folder: &Path, name: &str, graph: &Graph) -> Result<(), Failed> {
    let options = LowerOptions {
        record: true,
        ..LowerOptions::default()
    };
    let lowered = lower(graph, &cpu_target(), &options)?;
    let document = Document::of_lowered(graph, &lowered, &Sizes::default());
    let page = report(&document, &ReportOptions::default())?;
    std::fs::write(folder.join(format!("placed-{name}.html")), page)?;
    let expected = serde_json::to_string(&expected(&document))?;
    std::fs::write(folder.join(format!("placed-{name}.json")), expected)?;
    let exported = serde_json::to_string(&exported(&document))?;
    std::fs::write(folder.join(format!("exported-{name}.json")), exported)?;
    Ok(())
}

/// Sizes of all items, and placements of the first, a middle and the last stage, with several sets open.
fn expected(document: &Document) -> Value {
    let boxes = (0..document.boxes.len() as u32).map(Item::Box);
    let groups = (0..document.tree.groups.len() as u32).map(|it| Item::Group(GroupId(it)));
    let sizes = boxes.chain(groups).map(|item| {
        let (w, h) = default_size(document, item);
        json!([number(item), w, h])
    });
    let last = document.stages.len() - 1;
    let mut cases = Vec::new();
    for stage in [0, last / 2, last] {
        let mut scene = Scene::new(document, stage, &|_| false);
        // Nothing, everything, and two sets between.
        for bits in [0, u64::MAX, 0xb1d5_6c3a_97e4_2f0b, 0x7fff_fbff_dfff_ffff] {
            let ids = 1..document.tree.groups.len() as u32;
            let open: Vec<u32> = ids.filter(|id| bits >> (id % 64) & 1 == 1).collect();
            let set: Open = open.iter().copied().map(GroupId).collect();
            for direction in [Direction::Down, Direction::Right] {
                let placement = place(&mut scene, &set, direction, &default_size);
                let right = direction == Direction::Right;
                cases.push(json!({
                    "stage": stage, "right": right, "open": open, "placed": placed(&placement),
                }));
            }
        }
    }
    let boxes = 0..document.boxes.len() as u32;
    let lines: Vec<Vec<usize>> = boxes.map(|id| document.entries_of(id)).collect();
    json!({ "sizes": sizes.collect::<Vec<Value>>(), "cases": cases, "lines": lines })
}

/// What the window writes: all as JSON, every stage for Model Explorer, and some views as DOT.
fn exported(document: &Document) -> Value {
    let last = document.stages.len() - 1;
    let groups = 1..document.tree.groups.len() as u32;
    let mut dots = Vec::new();
    for stage in [0, last / 2, last] {
        for bits in [0, u64::MAX, 0xb1d5_6c3a_97e4_2f0b] {
            let open: Vec<u32> = groups
                .clone()
                .filter(|id| bits >> (id % 64) & 1 == 1)
                .collect();
            let mut look = Look::new(document);
            look.set_stage(stage);
            for id in groups.clone() {
                look.set_open(GroupId(id), open.contains(&id));
            }
            for direction in [Direction::Down, Direction::Right] {
                look.set_direction(direction);
                let right = direction == Direction::Right;
                let text = dot(&mut look, Pane::Now);
                dots.push(json!({ "stage": stage, "right": right, "open": open, "text": text }));
            }
        }
    }
    json!({ "json": export_json(document), "explorer": model_explorer(document), "dots": dots })
}

/// An item as the page's data say it.
fn number(item: Item) -> u32 {
    match item {
        Item::Box(id) => id * 2,
        Item::Group(id) => id.0 * 2 + 1,
    }
}

fn placed(placement: &Placement) -> Value {
    let items = placement.items.iter().map(|it| {
        let rect = it.rect;
        json!([
            number(it.item),
            rect.x,
            rect.y,
            rect.w,
            rect.h,
            u8::from(it.open)
        ])
    });
    let wires = placement.wires.iter().map(|wire| {
        let points: Vec<f32> = wire.points.iter().flat_map(|(x, y)| [*x, *y]).collect();
        json!([wire.from, wire.to, wire.values, wire.bytes, points])
    });
    let (w, h) = placement.size;
    json!({
        "size": [w, h],
        "items": items.collect::<Vec<Value>>(),
        "wires": wires.collect::<Vec<Value>>(),
    })
}
