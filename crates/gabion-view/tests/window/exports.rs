//! Files of what is exported: all five kinds, read back.

use gabion_view::look::{Look, Pane, Theme};
use gabion_view::window::{ExportKind, export, picture};

use crate::support::{recorded, three_linears};

#[test]
fn every_kind_is_written_under_the_name_of_graph_and_stage_and_none_replaces_another() {
    let document = recorded(&three_linears());
    let mut look = Look::new(&document);
    let folder = tempfile::tempdir().expect("a folder");
    let mut names = Vec::new();
    for kind in ExportKind::ALL {
        for _ in 0..2 {
            let path = export(&mut look, kind, folder.path()).expect("written");
            assert_eq!(path.parent(), Some(folder.path()));
            let name = path.file_name().expect("a name").to_string_lossy();
            names.push(name.into_owned());
        }
    }
    assert_eq!(
        names,
        [
            "three_linears.graph.svg",
            "three_linears.graph.2.svg",
            "three_linears.graph.png",
            "three_linears.graph.2.png",
            "three_linears.graph.dot",
            "three_linears.graph.2.dot",
            "three_linears.graph.json",
            "three_linears.graph.2.json",
            "three_linears.graph.explorer.json",
            "three_linears.graph.2.explorer.json",
        ]
    );
    let text = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect("text");
    assert!(text("three_linears.graph.svg").starts_with("<svg"));
    assert!(text("three_linears.graph.dot").starts_with("digraph"));
    let json =
        |name: &str| -> serde_json::Value { serde_json::from_str(&text(name)).expect("JSON") };
    let boxes = json("three_linears.graph.json")["boxes"]
        .as_array()
        .map(Vec::len);
    assert_eq!(boxes, Some(document.boxes.len()));
    let graphs = json("three_linears.graph.explorer.json")["graphs"]
        .as_array()
        .map(Vec::len);
    assert_eq!(graphs, Some(document.stages.len()));
    assert_eq!(
        std::fs::read_dir(folder.path()).expect("a folder").count(),
        10
    );
}

#[test]
fn a_png_shows_the_whole_drawing_and_leaves_the_camera_alone() {
    let document = recorded(&three_linears());
    let mut look = Look::new(&document);
    look.theme = Theme::Dark;
    look.camera.zoom = 0.3;
    let (camera, wanted) = (look.camera, look.wanted);
    let folder = tempfile::tempdir().expect("a folder");
    let path = export(&mut look, ExportKind::Png, folder.path()).expect("written");
    assert_eq!((look.camera, look.wanted), (camera, wanted));
    let image = image::open(&path).expect("a picture").into_rgb8();
    let placement = look.placement(Pane::Now).expect("a placement");
    let size = (placement.size.0 * 2.0, placement.size.1 * 2.0);
    let near = |a: u32, b: f32| (a as f32 - b).abs() <= 1.0;
    assert!(near(image.width(), size.0) && near(image.height(), size.1));
    // Every box is painted: some pixel of it is not the ground.
    let ground = *image.get_pixel(0, 0);
    for placed in &placement.items {
        let rect = &placed.rect;
        let (left, top) = ((rect.x * 2.0) as u32, (rect.y * 2.0) as u32);
        let (right, bottom) = (left + (rect.w * 2.0) as u32, top + (rect.h * 2.0) as u32);
        let painted = (left..right).any(|x| {
            let mut column = (top..bottom).map(|y| image.get_pixel_checked(x, y));
            column.any(|it| it.is_some_and(|it| *it != ground))
        });
        assert!(painted, "{:?}", placed.item);
    }
    let drawn = picture(&mut look, Pane::Now).expect("a picture");
    assert_eq!(
        drawn.size,
        [image.width() as usize, image.height() as usize]
    );
    let pixels = drawn.pixels.iter().zip(image.pixels());
    assert!(pixels.clone().all(|(a, b)| [a.r(), a.g(), a.b()] == b.0));
    assert!(
        picture(&mut look, Pane::Before).is_none(),
        "nothing is compared"
    );
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let document = recorded(&three_linears());
    let mut look = Look::new(&document);
    let folder = tempfile::tempdir().expect("a folder");
    let missing = folder.path().join("missing");
    let error = export(&mut look, ExportKind::Dot, &missing).expect_err("no folder");
    let said = error.to_string();
    assert!(
        said.contains("missing") && said.contains("cannot be written"),
        "{said}"
    );
}
