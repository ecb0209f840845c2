//! Where elements of packed weights lie, against what the packer made of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use gabion_cpu::PackedLayout;
use gabion_plan::*;
use gabion_tensor::{DType, Format, HostTensor, TensorType};

use crate::plans::{Planner, executor};

/// Tensors, of which some have their rows in another order.
struct Files {
    tensors: BTreeMap<String, HostTensor>,
    orders: BTreeMap<String, Arc<[u32]>>,
}

impl WeightSource for Files {
    fn weight(&self, name: &str) -> Result<StoredWeight, LoadError> {
        let mut stored = self.tensors.weight(name)?;
        stored.row_map = self.orders.get(name).cloned();
        Ok(stored)
    }
}

/// Numbers that no two elements share.
fn tensor(dtype: DType, rows: usize, columns: usize) -> HostTensor {
    let value = |i: usize| ((i * 7919 + 13) % 4099) as f32 / 1024.0 - 2.0;
    let values: Vec<f32> = (0..rows * columns).map(value).collect();
    let tensor = HostTensor::from_slice(&[rows, columns], &values).unwrap();
    tensor.cast(dtype).unwrap()
}

fn part(
    name: &str,
    tensor: &HostTensor,
    recipe: Vec<Transform>,
    rows: std::ops::Range<usize>,
) -> Part {
    Part {
        source: PartSource::Checkpoint(name.to_owned()),
        stored: TensorType::of(tensor),
        recipe,
        rows,
    }
}

fn to_f32() -> Transform {
    Transform::Cast { dtype: DType::F32 }
}

/// A weight of these parts, and every element where the layout says that it is.
fn check(
    parts: Vec<Part>,
    layout: Layout,
    segments: Vec<WeightSegment>,
    files: &Files,
    expected: &[Vec<f32>],
) {
    let rows = expected.len();
    let weight = PlanWeight {
        name: "w".to_owned(),
        ty: TensorType::new(DType::F32, [rows, expected[0].len()]),
        parts,
        layout,
        segments,
    };
    let order = |name: &str| files.orders.get(name).cloned();
    let found = PackedLayout::of(&weight, &order).unwrap();
    let mut plan = Planner::new().plan;
    plan.weights.push(weight);
    let loaded = executor(2, None).load_cpu(Arc::new(plan), files).unwrap();
    let bytes = loaded.packed_bytes(WeightId(0)).unwrap();
    assert_eq!(found.bytes(), bytes.len());
    assert!(loaded.packed_bytes(WeightId(1)).is_none());
    for (row, values) in expected.iter().enumerate() {
        for (column, value) in values.iter().enumerate() {
            let element = found.locate(row, column).unwrap();
            let decoded = element.decode(bytes).unwrap();
            assert_eq!(
                decoded.to_bits(),
                value.to_bits(),
                "[{row}, {column}]: {element:?}"
            );
        }
    }
    assert_eq!(found.locate(rows, 0), None);
    assert_eq!(found.locate(0, expected[0].len()), None);
}

fn rows_of(tensor: &HostTensor) -> Vec<Vec<f32>> {
    let values = tensor.to_f32_vec().unwrap();
    values
        .chunks(tensor.shape()[1])
        .map(<[f32]>::to_vec)
        .collect()
}

fn segment(rows: std::ops::Range<usize>, arrangement: Arrangement) -> WeightSegment {
    WeightSegment { rows, arrangement }
}

#[test]
fn every_element_of_every_format_is_where_it_is_said_to_be() {
    for format in Format::all() {
        for arrangement in [Arrangement::Plain, Arrangement::Halves { block: 32 }] {
            let stored = tensor(format.dtype, 64 + 32, 96);
            let files = Files {
                tensors: BTreeMap::from([("a".to_owned(), stored.clone())]),
                orders: BTreeMap::new(),
            };
            let parts = vec![part("a", &stored, vec![to_f32()], 0..96)];
            let segments = vec![
                segment(0..64, arrangement),
                segment(64..96, Arrangement::Plain),
            ];
            check(parts, Layout::Tiles, segments, &files, &rows_of(&stored));
        }
    }
}

/// An odd depth, rows that fill no tile, rows that are not loaded, rows in another order.
#[test]
fn rows_that_are_cut_or_in_another_order_are_found() {
    for dtype in [DType::F32, DType::BF16, DType::F16] {
        let stored = tensor(dtype, 40, 7);
        let order: Vec<u32> = (0..40).map(|row| (row * 7 + 3) % 40).collect();
        let files = Files {
            tensors: BTreeMap::from([("a".to_owned(), stored.clone())]),
            orders: BTreeMap::from([("a".to_owned(), order.clone().into())]),
        };
        let all = rows_of(&stored);
        let expected: Vec<Vec<f32>> = order[5..38]
            .iter()
            .map(|&row| all[row as usize].clone())
            .collect();
        let parts = vec![part("a", &stored, vec![to_f32()], 5..38)];
        let segments = vec![segment(0..33, Arrangement::Plain)];
        check(parts, Layout::Tiles, segments, &files, &expected);
        let parts = vec![part("a", &stored, vec![to_f32()], 5..38)];
        check(parts, Layout::Dense, Vec::new(), &files, &expected);
    }
}

/// Parts of several formats, one with limits, one transposed: paired rows are kept in f32.
#[test]
fn parts_of_several_formats_are_found() {
    let names = ["a", "b", "c"].map(str::to_owned);
    let (a, b) = (
        tensor("q4_1".parse().unwrap(), 32, 32),
        tensor(DType::BF16, 32, 32),
    );
    let c = tensor(DType::F32, 32, 32);
    let files = Files {
        tensors: names
            .into_iter()
            .zip([a.clone(), b.clone(), c.clone()])
            .collect(),
        orders: BTreeMap::new(),
    };
    let limits = Transform::Clamp {
        min: Some(-0.5),
        max: Some(0.75),
    };
    let mut expected = rows_of(&a);
    let clipped = |row: Vec<f32>| row.into_iter().map(|x| x.clamp(-0.5, 0.75)).collect();
    expected.extend(rows_of(&b).into_iter().map(clipped));
    let columns = rows_of(&c);
    expected.extend((0..32).map(|i| columns.iter().map(|row| row[i]).collect()));
    for arrangement in [Arrangement::Plain, Arrangement::Halves { block: 64 }] {
        let parts = vec![
            part("a", &a, vec![to_f32()], 0..32),
            part("b", &b, vec![to_f32(), limits.clone()], 0..32),
            part("c", &c, vec![Transform::Transpose], 0..32),
        ];
        let segments = vec![
            segment(0..64, arrangement),
            segment(64..96, Arrangement::Plain),
        ];
        check(parts, Layout::Tiles, segments, &files, &expected);
    }
}

#[test]
fn a_weight_that_cannot_be_packed_is_told() {
    let stored = tensor(DType::F32, 8, 8);
    let weight = PlanWeight {
        name: "w".to_owned(),
        ty: TensorType::new(DType::F32, [8, 8]),
        parts: vec![part("a", &stored, vec![], 0..7)],
        layout: Layout::Tiles,
        segments: vec![segment(0..8, Arrangement::Plain)],
    };
    let error = PackedLayout::of(&weight, &|_| None)
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("its parts have 7 rows, f32[8, 8] expects 8"),
        "{error}"
    );
}
