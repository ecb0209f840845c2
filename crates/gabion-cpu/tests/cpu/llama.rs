//! A small decoder as a plan: every fusion at once. Reading tokens together or one by one gives the
//! same bits, on any number of threads and on all instruction sets with fused multiply-add; a
//! decode step has five barriers a layer and allocates nothing.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout as MemoryLayout, System};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::plans::*;
use gabion_cpu::CpuSession;
use gabion_cpu::isa::Isa;
use gabion_plan::*;
use gabion_tensor::*;

/// Counts allocations of the whole process.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: MemoryLayout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as it came.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: MemoryLayout) {
        // SAFETY: as it came.
        unsafe { System.dealloc(at, layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: MemoryLayout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as it came.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static GLOBAL: Counting = Counting;

const LAYERS: usize = 3;
const HIDDEN: usize = 96;
const HEADS: usize = 6;
const KV_HEADS: usize = 2;
const DIM: usize = 32;
const FFN: usize = 160;
const VOCAB: usize = 200;
const CAPACITY: usize = 40;

fn dim(text: &str) -> Dim {
    text.parse().unwrap()
}

struct Model {
    planner: Planner,
    weights: BTreeMap<String, HostTensor>,
    numbers: Numbers,
    arena: Dim,
}

impl Model {
    fn stored(&mut self, name: &str, rows: usize, k: usize, dtype: DType) -> Part {
        let values = self.numbers.f32s(&[rows, k]);
        let tensor = values.cast(dtype).unwrap();
        self.weights.insert(name.into(), tensor.clone());
        Part {
            source: PartSource::Checkpoint(name.into()),
            stored: TensorType::of(&tensor),
            recipe: vec![Transform::Cast { dtype: DType::F32 }],
            rows: 0..rows,
        }
    }

    fn stack(
        &mut self,
        name: &str,
        parts: Vec<Part>,
        k: usize,
        arrangements: &[(usize, Arrangement)],
    ) -> WeightId {
        let mut start = 0;
        let mut segments = vec![];
        for &(rows, arrangement) in arrangements {
            segments.push(WeightSegment {
                rows: start..start + rows,
                arrangement,
            });
            start += rows;
        }
        self.planner.weight(PlanWeight {
            name: name.into(),
            ty: TensorType::new(DType::F32, [start, k]),
            parts,
            layout: Layout::Tiles,
            segments,
        })
    }

    fn vector(&mut self, name: &str, n: usize) -> View {
        let tensor = self.numbers.f32s(&[n]);
        self.weights.insert(name.into(), tensor.clone());
        let id = self.planner.weight(PlanWeight {
            name: name.into(),
            ty: TensorType::of(&tensor),
            parts: vec![Part {
                source: PartSource::Checkpoint(name.into()),
                stored: TensorType::of(&tensor),
                recipe: vec![],
                rows: 0..n,
            }],
            layout: Layout::Dense,
            segments: vec![],
        });
        View::contiguous(Source::Weight(id), Shape::fixed(&[n]))
    }

    /// `[tokens, width]` in the arena.
    fn rows(&mut self, width: usize) -> View {
        let elements = dim(&format!("tokens * {width}"));
        let buffer = BufferId(self.planner.plan.buffers.len() as u32);
        self.planner.plan.buffers.push(Buffer {
            name: format!("rows{}", buffer.0),
            dtype: DType::F32,
            elements: elements.clone(),
            place: Place::Arena {
                offset: self.arena.clone(),
                live: Lifetime {
                    first: 0,
                    last: 100,
                },
            },
        });
        self.arena = &self.arena + &dim(&format!("tokens * {}", (width * 4).next_multiple_of(64)));
        View::contiguous(
            Source::Buffer(buffer),
            [dim("tokens"), Dim::from(width)].into_iter().collect(),
        )
    }
}

/// A view of the same memory in another shape.
fn shaped(view: &View, shape: &[&str]) -> View {
    View::contiguous(view.source, shape.iter().map(|d| dim(d)).collect())
}

fn matmul(weight: WeightId, norm: bool, outputs: Vec<(Vec<Epilogue>, usize)>) -> Kernel {
    Kernel::Matmul(Matmul {
        weight,
        prologue: norm.then_some(NormSpec {
            kind: NormKind::Rms,
            eps: 1e-5,
        }),
        outputs: outputs
            .into_iter()
            .map(|(epilogue, write)| SegmentOutput { epilogue, write })
            .collect(),
    })
}

fn model() -> Model {
    let mut m = Model {
        planner: Planner::new(),
        weights: BTreeMap::new(),
        numbers: Numbers::new(42),
        arena: Dim::from(0),
    };
    let ids = m.planner.input("ids", "i64[tokens]", false);
    let position = m.planner.input("position", "i64[]", false);
    let tables = ["cos", "sin"].map(|name| m.planner.input(name, "f32[tokens, 16]", false));
    let embed = m.stored("embed", VOCAB, HIDDEN, BlockFormat::Q8_0.into());
    let embed = m.stack("embed", vec![embed], HIDDEN, &[(VOCAB, Arrangement::Plain)]);
    let mut x = m.rows(HIDDEN);
    let table = View::contiguous(Source::Weight(embed), Shape::fixed(&[VOCAB, HIDDEN]));
    m.planner.step(
        Kernel::Gather { axis: 0 },
        vec![table, ids],
        vec![x.clone()],
    );
    let (heads, kv) = (Arrangement::Halves { block: DIM }, KV_HEADS * DIM);
    for layer in 0..LAYERS {
        let formats = [
            DType::BF16,
            BlockFormat::Q4_0.into(),
            BlockFormat::Q5_1.into(),
        ];
        let dtype = formats[layer];
        let caches = ["k", "v"].map(|c| {
            m.planner.input(
                &format!("{c}{layer}"),
                &format!("f32[capacity, {KV_HEADS}, {DIM}]"),
                true,
            )
        });
        let flat = caches
            .clone()
            .map(|c| shaped(&c, &["capacity", &kv.to_string()]));
        let parts = [("q", HEADS * DIM), ("k", kv), ("v", kv)]
            .map(|(p, rows)| m.stored(&format!("{layer}.{p}"), rows, HIDDEN, dtype));
        let qkv = m.stack(
            "qkv",
            parts.to_vec(),
            HIDDEN,
            &[(HEADS * DIM, heads), (kv, heads), (kv, Arrangement::Plain)],
        );
        let norm = m.vector(&format!("{layer}.norm1"), HIDDEN);
        let q = m.rows(HEADS * DIM);
        let (rope, write) = (
            Epilogue::Rope { cos: 2, sin: 3 },
            Epilogue::CacheWrite { position: 4 },
        );
        let outputs = vec![
            (vec![rope.clone()], 0),
            (vec![rope, write.clone()], 1),
            (vec![write], 2),
        ];
        let reads = vec![
            x.clone(),
            norm,
            tables[0].clone(),
            tables[1].clone(),
            position.clone(),
        ];
        m.planner.step(
            matmul(qkv, true, outputs),
            reads,
            vec![q.clone(), flat[0].clone(), flat[1].clone()],
        );
        let a = m.rows(HEADS * DIM);
        let spec = Attention {
            scale: 0.176,
            causal: true,
            mask: false,
            position: true,
        };
        let by_head = ["tokens", &HEADS.to_string(), &DIM.to_string()];
        let reads = vec![
            shaped(&q, &by_head),
            caches[0].clone(),
            caches[1].clone(),
            position.clone(),
        ];
        m.planner
            .step(Kernel::Attention(spec), reads, vec![shaped(&a, &by_head)]);
        let residual = |read| Epilogue::Binary {
            func: BinaryFn::Add,
            read,
            swapped: false,
        };
        let o = m.stored(&format!("{layer}.o"), HIDDEN, HEADS * DIM, dtype);
        let o = m.stack("o", vec![o], HEADS * DIM, &[(HIDDEN, Arrangement::Plain)]);
        // In place: the residual stream is both operand and result.
        m.planner.step(
            matmul(o, false, vec![(vec![residual(1)], 0)]),
            vec![a, x.clone()],
            vec![x.clone()],
        );
        let norm = m.vector(&format!("{layer}.norm2"), HIDDEN);
        let parts = ["gate", "up"].map(|p| m.stored(&format!("{layer}.{p}"), FFN, HIDDEN, dtype));
        let gate_up = m.stack(
            "gate_up",
            parts.to_vec(),
            HIDDEN,
            &[(2 * FFN, Arrangement::Halves { block: 2 * FFN })],
        );
        let h = m.rows(FFN);
        m.planner.step(
            matmul(
                gate_up,
                true,
                vec![(
                    vec![Epilogue::Glu {
                        func: UnaryFn::Silu,
                    }],
                    0,
                )],
            ),
            vec![x.clone(), norm],
            vec![h.clone()],
        );
        let down = m.stored(&format!("{layer}.down"), HIDDEN, FFN, dtype);
        let down = m.stack("down", vec![down], FFN, &[(HIDDEN, Arrangement::Plain)]);
        let next = m.rows(HIDDEN);
        m.planner.step(
            matmul(down, false, vec![(vec![residual(1)], 0)]),
            vec![h, x],
            vec![next.clone()],
        );
        x = next;
    }
    let norm = m.vector("norm", HIDDEN);
    let logits = m.rows(VOCAB);
    m.planner.step(
        matmul(embed, true, vec![(vec![], 0)]),
        vec![x, norm],
        vec![logits.clone()],
    );
    m.planner.output("logits", &logits);
    m
}

fn session(m: &Model, threads: usize, isa: Option<Isa>) -> CpuSession {
    let mut sizes = Bindings::new();
    sizes.bind("capacity", CAPACITY as i64).unwrap();
    m.planner
        .try_session(threads, isa, &m.weights, &sizes)
        .unwrap()
}

/// Inputs for tokens `at..at + n` of a fixed text.
fn inputs(at: usize, n: usize) -> Vec<(&'static str, HostTensor)> {
    let ids: Vec<i64> = (at..at + n)
        .map(|i| ((i * 61 + 7) % VOCAB) as i64)
        .collect();
    let angle = |i: usize| (at + i / 16) as f32 / 10f32.powf((i % 16) as f32 / 4.0);
    let table = |f: fn(f32) -> f32| {
        HostTensor::from_vec(&[n, 16], (0..n * 16).map(|i| f(angle(i))).collect()).unwrap()
    };
    vec![
        ("ids", HostTensor::from_vec(&[n], ids).unwrap()),
        ("position", HostTensor::scalar(at as i64)),
        ("cos", table(f32::cos)),
        ("sin", table(f32::sin)),
    ]
}

fn step(session: &mut CpuSession, at: usize, n: usize) -> Vec<u32> {
    let inputs = inputs(at, n);
    let refs: Vec<(&str, &HostTensor)> = inputs.iter().map(|(name, t)| (*name, t)).collect();
    let logits = session
        .run(&refs)
        .unwrap()
        .remove(0)
        .1
        .to_vec::<f32>()
        .unwrap();
    assert!(logits.iter().all(|x| x.is_finite()));
    logits.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn together_or_one_by_one_on_any_threads_and_instruction_set() {
    let m = model();
    let mut isas: Vec<Option<Isa>> = Isa::available()
        .filter(|&i| i != Isa::Portable)
        .map(Some)
        .collect();
    if isas.is_empty() {
        isas.push(None);
    }
    let mut first: Option<Vec<u32>> = None;
    for isa in isas {
        for threads in THREADS {
            let together = step(&mut session(&m, threads, isa), 0, 30);
            let mut decoder = session(&m, threads, isa);
            let mut one_by_one = vec![];
            // In pieces of several sizes.
            for (at, n) in [(0, 1), (1, 1), (2, 5), (7, 20), (27, 1), (28, 2)] {
                one_by_one.extend(step(&mut decoder, at, n));
            }
            assert_eq!(together, one_by_one, "{isa:?}, {threads} threads");
            assert!(
                first.as_ref().is_none_or(|f| *f == together),
                "{isa:?}, {threads} threads"
            );
            first = Some(together);
        }
    }
    let text: Vec<f32> = first.unwrap().iter().map(|&b| f32::from_bits(b)).collect();
    let (a, b) = (&text[..VOCAB], &text[29 * VOCAB..]);
    assert!(
        a.iter().zip(b).any(|(a, b)| (a - b).abs() > 1e-3),
        "tokens differ"
    );
}

/// Set in the process that counts.
const CHILD: &str = "GABION_COUNT_ALLOCATIONS";

#[test]
fn a_decode_step_has_five_barriers_a_layer_and_allocates_nothing() {
    if std::env::var_os(CHILD).is_some() {
        return count_allocations();
    }
    // In a process of its own, so that no other test's allocations are counted.
    let test = "llama::a_decode_step_has_five_barriers_a_layer_and_allocates_nothing";
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--test-threads", "1"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&child.stdout);
    assert!(
        child.status.success() && text.contains("1 passed"),
        "{text}"
    );
}

fn count_allocations() {
    let m = model();
    for threads in [1, 2] {
        let mut session = session(&m, threads, None);
        step(&mut session, 0, 8);
        step(&mut session, 8, 1);
        let found = session.barriers();
        assert!(found <= 5 * LAYERS + 1, "{found} barriers");
        for at in 9..20 {
            let inputs = inputs(at, 1);
            let refs: Vec<InputRef<'_>> = inputs
                .iter()
                .map(|(name, t)| InputRef {
                    name,
                    dtype: t.dtype(),
                    shape: t.shape(),
                    bytes: t.bytes(),
                })
                .collect();
            // The test harness has a thread that may allocate at any time; a step that allocates
            // does so every time.
            let least = (0..3)
                .map(|_| {
                    let before = ALLOCATIONS.load(Ordering::Relaxed);
                    session.execute(&refs).unwrap();
                    assert!(!session.output(0).unwrap().bytes.is_empty());
                    ALLOCATIONS.load(Ordering::Relaxed) - before
                })
                .min();
            assert_eq!(
                least,
                Some(0),
                "allocations in step {at} on {threads} threads"
            );
        }
    }
}

#[test]
fn every_step_is_measured_on_every_worker() {
    let m = model();
    for threads in THREADS {
        let mut session = session(&m, threads, None);
        step(&mut session, 0, 4);
        assert!(session.take_profile().is_none());
        session
            .set_profile(Some(ProfileOptions::default()))
            .unwrap();
        step(&mut session, 4, 1);
        step(&mut session, 5, 2);
        let profile = session.take_profile().unwrap();
        let n_steps = m.planner.plan.steps.len();
        assert_eq!((profile.runs.len(), profile.workers.len()), (2, threads));
        for (run, tokens) in [(0, 1), (1, 2)] {
            let timings = profile.steps(run);
            let numbers: Vec<usize> = timings.iter().map(|t| t.step).collect();
            assert_eq!(numbers, (0..n_steps).collect::<Vec<_>>());
            assert!(timings.iter().all(|t| t.busy.as_nanos() > 0));
            assert!((0.0..=1.0).contains(&profile.waiting_share(run)));
            let sizes = &profile.runs[run].sizes;
            assert_eq!(sizes.get("tokens"), Some(tokens));
        }
        // Spans of one worker do not overlap and lie inside their run.
        for spans in &profile.workers {
            for pair in spans.windows(2) {
                assert!(pair[0].end_ns <= pair[1].start_ns);
            }
            for span in spans {
                let run = &profile.runs[span.run as usize];
                assert!(run.start_ns <= span.start_ns && span.end_ns <= run.end_ns);
                assert!(span.start_ns + span.waited_ns <= span.end_ns);
            }
        }
        let name = profile::step_name(&m.planner.plan, 1);
        assert!(name.contains("matmul") && name.contains("test.1"), "{name}");
        // What was taken is gone; then nothing is measured.
        assert!(session.take_profile().unwrap().runs.is_empty());
        session.set_profile(None).unwrap();
        step(&mut session, 7, 1);
        assert!(session.take_profile().is_none());
    }
}

/// Measuring changes no bit of what is computed.
#[test]
fn measured_runs_give_the_same_bits() {
    let m = model();
    let bits = |measured: bool| -> Vec<Vec<u8>> {
        let mut session = session(&m, 2, None);
        if measured {
            session
                .set_profile(Some(ProfileOptions::default()))
                .unwrap();
        }
        let mut all = Vec::new();
        for (position, tokens) in [(0, 4), (4, 1), (5, 1)] {
            step(&mut session, position, tokens);
            all.push(session.output(0).unwrap().bytes.to_vec());
        }
        all
    };
    assert_eq!(bits(true), bits(false));
}

#[test]
fn a_step_past_the_cache_is_an_error_and_the_session_goes_on() {
    let m = model();
    for threads in THREADS {
        let mut reader = session(&m, threads, None);
        let expected = step(&mut reader, 0, 3);
        let late = inputs(CAPACITY - 1, 2);
        let refs: Vec<(&str, &HostTensor)> = late.iter().map(|(name, t)| (*name, t)).collect();
        let error = reader.run(&refs).unwrap_err();
        assert!(
            matches!(error, RunError::Index { index: 39, .. }),
            "{error}"
        );
        let text = error.to_string();
        assert!(
            text.contains("step 1 `matmul` (test.1)") && text.contains("a cache of 40"),
            "{text}"
        );
        assert_eq!(step(&mut reader, 0, 3), expected);
    }
}
