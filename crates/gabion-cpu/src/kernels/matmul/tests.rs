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
                for n in (1 + m % 7..=100).step_by(7) {
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
