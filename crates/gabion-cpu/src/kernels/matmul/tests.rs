//! Matmul against a plain chain of multiply-adds over decoded weights, to the last bit.
#![allow(clippy::undocumented_unsafe_blocks)]
// SAFETY of the blocks below: every pointer comes from a vector of the size that it describes.

use super::*;
use crate::kernels::simd::portable_fma;
use crate::kernels::vmath::VectorFn;
use crate::pack::*;
use crate::workers::Team;
use half::f16;

/// Numbers that look random and are the same on every machine.
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Numbers {
        Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    /// From -1 to 1.
    pub(crate) fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
    pub(crate) fn vec(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.unit()).collect()
    }
    /// A stored matrix of any codes and of small scales.
    pub(crate) fn stored(&mut self, format: WeightFormat, rows: usize, k: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let blocks = rows * k / format.block_elems();
        for _ in 0..blocks {
            let half = |n: &mut Numbers| f16::from_f32(n.unit()).to_le_bytes();
            match format {
                WeightFormat::F32 => bytes.extend(self.unit().to_le_bytes()),
                WeightFormat::F16 => bytes.extend(half(self)),
                WeightFormat::Bf16 => {
                    bytes.extend(half::bf16::from_f32(self.unit()).to_le_bytes());
                }
                WeightFormat::Q4_0
                | WeightFormat::Q4_1
                | WeightFormat::Q5_0
                | WeightFormat::Q5_1
                | WeightFormat::Q8_0 => {
                    let mut block = vec![0; format.block_bytes()];
                    block.fill_with(|| self.bits() as u8);
                    block[..2].copy_from_slice(&half(self));
                    if matches!(format, WeightFormat::Q4_1 | WeightFormat::Q5_1) {
                        block[2..4].copy_from_slice(&half(self));
                    }
                    bytes.extend(block);
                }
            }
        }
        bytes
    }
}

fn decoded(format: WeightFormat, k: usize, bytes: &[u8]) -> Vec<f32> {
    let row = format.row_bytes(k).unwrap();
    let mut out = vec![0.0; bytes.len() / row * k];
    for (bytes, out) in bytes.chunks(row).zip(out.chunks_mut(k)) {
        decode_row(format, bytes, out);
    }
    out
}

fn chain(isa: Isa, x: &[f32], w: &[f32]) -> f32 {
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "fma")]
    fn fused(x: &[f32], w: &[f32]) -> f32 {
        x.iter().zip(w).fold(0.0, |acc, (x, w)| x.mul_add(*w, acc))
    }
    #[cfg(target_arch = "x86_64")]
    if isa != Isa::Portable {
        return unsafe { fused(x, w) };
    }
    x.iter()
        .zip(w)
        .fold(0.0, |acc, (x, w)| portable_fma(*x, *w, acc))
}

fn reference(isa: Isa, x: &[f32], w: &[f32], k: usize) -> Vec<f32> {
    let rows = |x| w.chunks(k).map(move |w| chain(isa, x, w));
    x.chunks(k).flat_map(rows).collect()
}

fn same_bits(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        let same = f.to_bits() == e.to_bits() || f.is_nan() && e.is_nan();
        assert!(same, "{what}: value {i} is {f}, expected {e}");
    }
}

/// Runs a matmul whose segments `build` makes from the weight and the output's pointer.
fn run(
    isa: Isa,
    team: &Team,
    x: &[f32],
    weight: &PackedWeight,
    out: &mut [f32],
    build: impl Fn(*mut f32) -> Vec<Segment<'static>>,
) {
    let kernels = Kernels::of(isa);
    let m = x.len() / weight.k();
    let scratch = Scratch::new(kernels, team.threads(), m, &[weight.k()]).unwrap();
    let segments = build(out.as_mut_ptr());
    struct Shared<'a>(Matmul<'a>);
    unsafe impl Sync for Shared<'_> {}
    let shared = Shared(Matmul {
        x: Rows {
            ptr: x.as_ptr(),
            rows: m,
            row_stride: weight.k(),
        },
        weight,
        segments: &segments,
    });
    let shared = &shared;
    team.run(|worker| unsafe { matmul(worker, kernels, &shared.0, &scratch) })
        .unwrap();
}

fn leak<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

fn plain_segment(weight: &PackedWeight, part: usize, rows: usize, out: Output) -> Segment<'static> {
    Segment {
        tiles: weight.part_tiles(part),
        columns: leak(Columns::by_row(&plain_tiles(rows), None)),
        scale: None,
        bias: None,
        form: Form::Plain {
            activation: None,
            residual: None,
        },
        out,
    }
}

fn product(isa: Isa, team: &Team, x: &[f32], weight: &PackedWeight) -> Vec<f32> {
    let n = weight.part_rows(0);
    let mut out = vec![f32::NAN; x.len() / weight.k() * n];
    run(isa, team, x, weight, &mut out, |ptr| {
        vec![plain_segment(weight, 0, n, Output::rows(ptr, n))]
    });
    out
}

fn check_shape(isa: Isa, format: WeightFormat, teams: &[Team], (m, n, k): (usize, usize, usize)) {
    let mut numbers = Numbers::new((m * 10_007 + n * 101 + k) as u64);
    let bytes = numbers.stored(format, n, k);
    let x = numbers.vec(m * k);
    let source = StoredRows {
        format,
        rows: n,
        bytes: &bytes,
    };
    let weight = PackedWeight::pack(&teams[0], k, &[Part::plain(source)]).unwrap();
    let expected = reference(isa, &x, &decoded(format, k, &bytes), k);
    for team in teams {
        let what = format!("{isa} {format} {m}x{n}x{k} on {} threads", team.threads());
        same_bits(&product(isa, team, &x, &weight), &expected, &what);
    }
}

fn teams() -> Vec<Team> {
    (1..=3).map(|n| Team::new(n).unwrap()).collect()
}

#[test]
fn every_row_count_and_width_has_the_bits_of_the_plain_chain() {
    let teams = teams();
    for isa in Isa::available() {
        for format in WeightFormat::ALL {
            let k = if format.block_elems() == 1 { 37 } else { 64 };
            for m in 1..=40 {
                // Every n from 1 to 100 comes up within a few m.
                for n in (1 + m % 13..=100).step_by(13) {
                    check_shape(isa, format, &teams[n % 3..n % 3 + 1], (m, n, k));
                }
            }
        }
    }
}

#[test]
fn every_k_is_summed_whole() {
    let teams = teams();
    for isa in Isa::available() {
        for format in WeightFormat::ALL {
            let block = format.block_elems();
            let long = [640, 672, 1_312].into_iter();
            let short: Vec<usize> = if block == 1 {
                vec![1, 2, 3, 4, 5, 6, 7, 15, 31, 33, 63, 129, 641, 1_301]
            } else {
                vec![32, 64, 96, 160]
            };
            for k in long.chain(short) {
                for m in [1, 2, 7, 13, 30] {
                    check_shape(isa, format, &teams, (m, 35, k));
                }
            }
        }
    }
}

#[test]
fn blocks_of_rows_and_of_k_are_joined() {
    // More rows than a block holds, more k than a step holds, more tiles than a group holds.
    let teams = teams();
    for isa in Isa::available() {
        check_shape(isa, WeightFormat::F32, &teams, (1_100, 40, 96));
        check_shape(isa, WeightFormat::Q4_1, &teams, (300, 300, 4_096));
    }
}

#[test]
fn fused_instruction_sets_agree() {
    if !Isa::Avx512.is_available() {
        return;
    }
    let team = Team::new(2).unwrap();
    let mut numbers = Numbers::new(5);
    for format in WeightFormat::ALL {
        let bytes = numbers.stored(format, 70, 160);
        let x = numbers.vec(29 * 160);
        let source = StoredRows {
            format,
            rows: 70,
            bytes: &bytes,
        };
        let weight = PackedWeight::pack(&team, 160, &[Part::plain(source)]).unwrap();
        let wide = product(Isa::Avx512, &team, &x, &weight);
        same_bits(&product(Isa::Avx2, &team, &x, &weight), &wide, "avx2");
        // A row alone has the bits that it has among others.
        let alone = product(Isa::Avx512, &team, &x[28 * 160..], &weight);
        same_bits(&alone, &wide[28 * 70..], "alone");
    }
}

#[test]
fn parts_of_different_formats_share_a_stack() {
    let teams = teams();
    let (k, mut numbers) = (96, Numbers::new(11));
    let stored: Vec<(WeightFormat, usize, Vec<u8>)> = WeightFormat::ALL
        .into_iter()
        .enumerate()
        .map(|(i, format)| (format, 20 + 9 * i, numbers.stored(format, 20 + 9 * i, k)))
        .collect();
    let parts: Vec<Part<'_>> = stored
        .iter()
        .map(|(format, rows, bytes)| {
            Part::plain(StoredRows {
                format: *format,
                rows: *rows,
                bytes,
            })
        })
        .collect();
    let weight = PackedWeight::pack(&teams[1], k, &parts).unwrap();
    assert_eq!(weight.runs().len(), 8);
    let n: usize = stored.iter().map(|s| s.1).sum();
    for isa in Isa::available() {
        for m in [1, 5, 30, 70] {
            let x = numbers.vec(m * k);
            let mut expected = vec![0.0; m * n];
            let mut column = 0;
            for (format, rows, bytes) in &stored {
                let part = reference(isa, &x, &decoded(*format, k, bytes), k);
                for (m, row) in part.chunks(*rows).enumerate() {
                    expected[m * n + column..][..*rows].copy_from_slice(row);
                }
                column += rows;
            }
            for team in &teams {
                let mut out = vec![f32::NAN; m * n];
                run(isa, team, &x, &weight, &mut out, |ptr| {
                    let mut column = 0;
                    let segment = |(part, stored): (usize, &(_, usize, _))| {
                        let to = Output::rows(ptr.wrapping_add(column), n);
                        column += stored.1;
                        plain_segment(&weight, part, stored.1, to)
                    };
                    stored.iter().enumerate().map(segment).collect()
                });
                same_bits(&out, &expected, &format!("{isa} m {m}"));
            }
        }
    }
    // Every row comes back as it was stored.
    let mut row = vec![0.0; k];
    for (part, (format, rows, bytes)) in stored.iter().enumerate() {
        let expected = decoded(*format, k, bytes);
        for index in 0..*rows {
            assert!(weight.decode_row(part, index, &mut row));
            same_bits(&row, &expected[index * k..][..k], format.name());
        }
        assert!(!weight.decode_row(part, *rows, &mut row));
    }
}

#[test]
fn nan_and_infinity_pass_through() {
    let team = Team::new(2).unwrap();
    let (k, n) = (64, 40);
    let mut numbers = Numbers::new(3);
    let bytes = numbers.stored(WeightFormat::Q4_1, n, k);
    let source = StoredRows {
        format: WeightFormat::Q4_1,
        rows: n,
        bytes: &bytes,
    };
    let weight = PackedWeight::pack(&team, k, &[Part::plain(source)]).unwrap();
    for isa in Isa::available() {
        for m in [1, 3, 40] {
            let mut x = numbers.vec(m * k);
            x[5] = f32::NAN;
            if m > 1 {
                x[k + 7] = f32::INFINITY;
            }
            let out = product(isa, &team, &x, &weight);
            assert!(out[..n].iter().all(|y| y.is_nan()));
            let expected = reference(isa, &x, &decoded(WeightFormat::Q4_1, k, &bytes), k);
            same_bits(&out, &expected, isa.name());
            assert!(m == 1 || out[n..2 * n].iter().all(|y| !y.is_finite()));
        }
    }
}

/// A weight `[n, k]`, values of x, and their plain product.
struct Case {
    k: usize,
    n: usize,
    x: Vec<f32>,
    bytes: Vec<u8>,
    sums: Vec<f32>,
}

impl Case {
    fn new(isa: Isa, m: usize, n: usize, k: usize) -> Case {
        let mut numbers = Numbers::new((m + 100 * n) as u64);
        let bytes = numbers.stored(WeightFormat::F32, n, k);
        let x = numbers.vec(m * k);
        let sums = reference(isa, &x, &decoded(WeightFormat::F32, k, &bytes), k);
        Case {
            k,
            n,
            x,
            bytes,
            sums,
        }
    }

    fn weight(&self, team: &Team, tiles: &[TileRows]) -> PackedWeight {
        let part = Part {
            tiles: tiles.to_vec(),
            ..Part::plain(StoredRows {
                format: WeightFormat::F32,
                rows: self.n,
                bytes: &self.bytes,
            })
        };
        PackedWeight::pack(team, self.k, &[part]).unwrap()
    }
}

/// One value through a function of an instruction set.
fn apply(isa: Isa, function: VectorFn, x: f32) -> f32 {
    use crate::kernels::simd::{Simd, per_isa};
    per_isa! { fn chosen => one(function: VectorFn, x: &mut f32) }
    #[inline(always)]
    unsafe fn one<S: Simd>(function: VectorFn, x: &mut f32) {
        unsafe { S::store_first(x, function.eval::<S>(S::splat(*x)), 1) };
    }
    let mut x = x;
    unsafe { chosen(isa)(function, &mut x) };
    x
}

/// The lanes' values of something that rows have.
fn in_lanes(tiles: &[TileRows], of_rows: &[f32]) -> &'static [f32] {
    let lane = |row: &u32| of_rows.get(*row as usize).copied().unwrap_or(0.0);
    Vec::leak(tiles.iter().flatten().map(lane).collect())
}

#[test]
fn scale_bias_activation_and_residual_have_the_bits_of_separate_steps() {
    let team = Team::new(2).unwrap();
    for isa in Isa::available() {
        for (m, n) in [(1, 33), (3, 7), (30, 100)] {
            let case = Case::new(isa, m, n, 40);
            let tiles = plain_tiles(n);
            let weight = case.weight(&team, &tiles);
            let mut numbers = Numbers::new(8);
            let (bias, residual) = (numbers.vec(n), numbers.vec(m * n));
            let bias_lanes = in_lanes(&tiles, &bias);
            for activation in [None, Some(VectorFn::Relu), Some(VectorFn::GeluErf)] {
                let value = |i: usize| {
                    let y = case.sums[i] * 0.7 + bias[i % n];
                    activation.map_or(y, |f| apply(isa, f, y)) + residual[i]
                };
                let expected: Vec<f32> = (0..m * n).map(value).collect();
                // The residual is the output itself: added to where it stands.
                let mut out = residual.clone();
                run(isa, &team, &case.x, &weight, &mut out, |ptr| {
                    vec![Segment {
                        scale: Some(0.7),
                        bias: Some(bias_lanes.as_ptr()),
                        form: Form::Plain {
                            activation,
                            residual: Some(Residual { ptr, row_stride: n }),
                        },
                        ..plain_segment(&weight, 0, n, Output::rows(ptr, n))
                    }]
                });
                same_bits(&out, &expected, &format!("{isa} {m}x{n} {activation:?}"));
            }
        }
    }
}

#[test]
fn gated_pairs_meet_and_give_half_the_columns() {
    let team = Team::new(2).unwrap();
    for isa in Isa::available() {
        for (m, n) in [(1, 16), (2, 40), (29, 21)] {
            let case = Case::new(isa, m, 2 * n, 33);
            let tiles = gated_tiles(n);
            let weight = case.weight(&team, &tiles);
            let bias = Numbers::new(4).vec(2 * n);
            let bias_lanes = in_lanes(&tiles, &bias);
            let columns = leak(Columns::by_first_row(&tiles, None));
            let value = |i: usize| {
                let (row, j) = (i / n, i % n);
                let sum = |column: usize| case.sums[row * 2 * n + column] + bias[column];
                apply(isa, VectorFn::Silu, sum(j)) * sum(n + j)
            };
            let expected: Vec<f32> = (0..m * n).map(value).collect();
            let mut out = vec![f32::NAN; m * n];
            run(isa, &team, &case.x, &weight, &mut out, |ptr| {
                vec![Segment {
                    columns,
                    bias: Some(bias_lanes.as_ptr()),
                    form: Form::Gated {
                        activation: Some(VectorFn::Silu),
                    },
                    ..plain_segment(&weight, 0, 0, Output::rows(ptr, n))
                }]
            });
            same_bits(&out, &expected, &format!("{isa} {m}x{n}"));
        }
    }
}

#[test]
fn heads_rotate_into_a_cache_of_their_own_layout() {
    let team = Team::new(3).unwrap();
    let shapes = [(3, 64, 64), (2, 8, 8), (3, 24, 16), (1, 6, 2), (2, 40, 40)];
    for isa in Isa::available() {
        for by in [Pairing::Halves, Pairing::Neighbours] {
            for (heads, dim, rotary) in shapes {
                for (batch, tokens) in [(1, 1), (2, 5), (1, 30)] {
                    rotate(isa, &team, by, (heads, dim, rotary), (batch, tokens));
                }
            }
        }
    }
}

fn rotate(
    isa: Isa,
    team: &Team,
    by: Pairing,
    (heads, dim, rotary): (usize, usize, usize),
    (batch, tokens): (usize, usize),
) {
    const CAPACITY: usize = 40;
    const PAST: usize = 6;
    let (m, n, half) = (batch * tokens, heads * dim, rotary / 2);
    let case = Case::new(isa, m, n, 20);
    let layout = rotary_tiles(heads, dim, rotary, by);
    let (pairs, rest) = (layout.pairs.len(), layout.rest.len());
    let tiles: Vec<TileRows> = [layout.pairs.clone(), layout.rest.clone()].concat();
    let weight = case.weight(team, &tiles);
    let mut numbers = Numbers::new(21);
    let (cos, sin) = (numbers.vec(m * half + 16), numbers.vec(m * half + 16));
    let (cos, sin) = (Vec::leak(cos), Vec::leak(sin));
    let angles: &'static [[u16; HALF]] = Vec::leak(layout.angles.clone());
    // [batch, head, position, dim]
    let size = batch * heads * CAPACITY * dim;
    let mut out = vec![-7.0; size];
    run(isa, team, &case.x, &weight, &mut out, |ptr| {
        let to = Output {
            ptr: ptr.wrapping_add(PAST * dim),
            row_stride: dim,
            group_stride: CAPACITY * dim,
            rows_per_batch: tokens,
            batch_stride: heads * CAPACITY * dim,
        };
        let rotated = Segment {
            tiles: 0..pairs,
            columns: leak(Columns::by_row(&layout.pairs, Some(dim))),
            form: Form::Rotary {
                cos: cos.as_ptr(),
                sin: sin.as_ptr(),
                row_stride: half,
                angles,
            },
            ..plain_segment(&weight, 0, 0, to)
        };
        let others = Segment {
            tiles: pairs..pairs + rest,
            columns: leak(Columns::by_row(&layout.rest, Some(dim))),
            ..plain_segment(&weight, 0, 0, to)
        };
        vec![rotated, others]
    });
    let mut expected = vec![-7.0; size];
    for row in 0..m {
        for head in 0..heads {
            let sum = |c: usize| case.sums[row * n + head * dim + c];
            let position = row / tokens * heads * CAPACITY + head * CAPACITY + row % tokens;
            let to = &mut expected[(position + PAST) * dim..][..dim];
            for j in 0..half {
                let (a, b) = match by {
                    Pairing::Halves => (j, half + j),
                    Pairing::Neighbours => (2 * j, 2 * j + 1),
                };
                let (cos, sin) = (cos[row * half + j], sin[row * half + j]);
                to[a] = sum(a) * cos - sum(b) * sin;
                to[b] = sum(b) * cos + sum(a) * sin;
            }
            for (c, to) in to.iter_mut().enumerate().skip(rotary) {
                *to = sum(c);
            }
        }
    }
    same_bits(
        &out,
        &expected,
        &format!("{isa} {by:?} {heads}x{dim}/{rotary} m {m}"),
    );
}

#[test]
fn changed_rows_are_kept_as_f32() {
    let team = Team::new(2).unwrap();
    let (k, n) = (64, 37);
    let mut numbers = Numbers::new(2);
    let (a, b) = (
        numbers.stored(WeightFormat::Q8_0, 20, k),
        numbers.stored(WeightFormat::Bf16, 17, k),
    );
    let clamp = |row: usize, values: &mut [f32]| {
        for v in values {
            *v = v.clamp(-0.5, 0.25) * row as f32;
        }
    };
    let source = |format, rows, bytes| StoredRows {
        format,
        rows,
        bytes,
    };
    let part = Part {
        sources: vec![
            source(WeightFormat::Q8_0, 20, &a),
            source(WeightFormat::Bf16, 17, &b),
        ],
        change: Some(&clamp),
        tiles: plain_tiles(n),
    };
    let weight = PackedWeight::pack(&team, k, std::slice::from_ref(&part)).unwrap();
    assert_eq!(weight.tile(0).0, WeightFormat::F32);
    let mut expected = decoded(WeightFormat::Q8_0, k, &a);
    expected.extend(decoded(WeightFormat::Bf16, k, &b));
    let mut row = vec![0.0; k];
    for (index, expected) in expected.chunks_mut(k).enumerate() {
        clamp(index, expected);
        assert!(weight.decode_row(0, index, &mut row));
        same_bits(&row, expected, "row");
    }
    let unchanged = Part {
        change: None,
        ..part
    };
    let error = PackedWeight::pack(&team, k, &[unchanged]).unwrap_err();
    assert!(matches!(error, PackError::MixedFormats { part: 0, .. }));
}

#[test]
fn bad_parts_are_refused_with_what_was_found() {
    let team = Team::new(1).unwrap();
    let bytes = vec![0; 18 * 3];
    let source = StoredRows {
        format: WeightFormat::Q4_0,
        rows: 3,
        bytes: &bytes,
    };
    let pack = |k: usize, part: Part<'_>| PackedWeight::pack(&team, k, &[part]).unwrap_err();
    let error = pack(33, Part::plain(source)).to_string();
    assert_eq!(
        error,
        "part 0: rows of 33 values are no whole number of q4_0 blocks (32 values each)"
    );
    let error = pack(0, Part::plain(source)).to_string();
    assert!(error.contains("0 bytes, 54 are there"), "{error}");
    let error = pack(64, Part::plain(source)).to_string();
    assert!(error.contains("108 bytes, 54 are there"), "{error}");
    let tiles = plain_tiles(4);
    let error = pack(
        32,
        Part {
            tiles,
            ..Part::plain(source)
        },
    );
    assert!(
        matches!(
            error,
            PackError::NoSuchRow {
                row: 3,
                rows: 3,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_scratch_that_is_too_small_is_an_error_of_the_run() {
    let team = Team::new(2).unwrap();
    let kernels = Kernels::of(Isa::best());
    let case = Case::new(Isa::best(), 60, 40, 50);
    let weight = case.weight(&team, &plain_tiles(40));
    let scratch = Scratch::new(kernels, 1, 1, &[50]).unwrap();
    let mut out = vec![0.0_f32; 60 * 40];
    struct Shared(*mut f32);
    unsafe impl Sync for Shared {}
    let to = &Shared(out.as_mut_ptr());
    let error = team
        .run(|worker| {
            let segments = [plain_segment(&weight, 0, 40, Output::rows(to.0, 40))];
            let job = Matmul {
                x: Rows {
                    ptr: case.x.as_ptr(),
                    rows: 60,
                    row_stride: 50,
                },
                weight: &weight,
                segments: &segments,
            };
            unsafe { matmul(worker, kernels, &job, &scratch) };
        })
        .unwrap_err();
    assert!(
        error.to_string().contains("the scratch was made for less"),
        "{error}"
    );
}
