//! Sessions: inputs by name, symbols, relations and guards, state, outputs, and settings.

use std::sync::Arc;

use crate::plans::*;
use gabion_cpu::isa::Isa;
use gabion_cpu::{CpuExecutor, CpuOptions, cpu_target};
use gabion_plan::*;
use gabion_tensor::*;

fn dim(text: &str) -> Dim {
    text.parse().unwrap()
}

/// `y[tokens, width] = x + row`, for symbols of both.
fn add_row() -> Planner {
    let mut planner = Planner::new();
    let x = planner.input("x", "f32[tokens, width]", false);
    let row = planner.input("row", "f32[width]", false);
    planner.plan.buffers.push(Buffer {
        name: "y".into(),
        dtype: DType::F32,
        elements: dim("tokens * width"),
        place: Place::Arena {
            offset: Dim::from(0),
            live: Lifetime { first: 0, last: 1 },
        },
    });
    let y = View::contiguous(Source::Buffer(BufferId(2)), x.shape.clone());
    let rows = View {
        source: row.source,
        offset: Dim::from(0),
        shape: x.shape.clone(),
        strides: [Dim::from(0), Dim::from(1)].into_iter().collect(),
    };
    let instrs = vec![MapInstr {
        op: MapOp::Binary(BinaryFn::Add),
        args: vec![0, 1],
        dtype: DType::F32,
    }];
    planner.step(
        Kernel::Map(MapProgram {
            reads: 2,
            instrs,
            results: vec![2],
        }),
        vec![x.clone(), rows],
        vec![y.clone()],
    );
    planner.output("y", &y);
    let transposed = View {
        shape: y.shape.iter().rev().cloned().collect(),
        strides: y.strides.iter().rev().cloned().collect(),
        ..y
    };
    planner.output("transposed", &transposed);
    planner.output("x", &x);
    planner
}

#[test]
fn sizes_are_bound_at_every_run_and_outputs_are_row_major() {
    let planner = add_row();
    let mut numbers = Numbers::new(1);
    for threads in THREADS {
        let mut session = planner.session(threads, None, &Default::default());
        assert_eq!(session.output_names(), ["y", "transposed", "x"]);
        // More sets of sizes than are kept, and back again.
        for tokens in (1..25).chain([500, 3, 1, 0]) {
            let (x, row) = (numbers.f32s(&[tokens, 7]), numbers.f32s(&[7]));
            let found = session.run(&[("row", &row), ("x", &x)]).unwrap();
            let (xs, rows) = (x.to_f32_vec().unwrap(), row.to_f32_vec().unwrap());
            let expected: Vec<f32> = xs
                .iter()
                .enumerate()
                .map(|(i, x)| x + rows[i % 7])
                .collect();
            assert_eq!(found[0].1.shape(), [tokens, 7]);
            assert_eq!(found[0].1.to_f32_vec().unwrap(), expected);
            assert_eq!(found[1].1.shape(), [7, tokens]);
            let transposed = found[1].1.to_f32_vec().unwrap();
            assert!((0..tokens * 7).all(|i| transposed[i % 7 * tokens + i / 7] == expected[i]));
            assert!(found[2].1.bitwise_eq(&x));
        }
        assert!(session.memory().arena_bytes >= 500 * 7 * 4);
        assert_eq!(session.memory().state_bytes, 0);
    }
}

#[test]
fn inputs_may_start_at_any_byte() {
    let planner = add_row();
    let mut session = planner.session(2, None, &Default::default());
    let mut bytes = [0u8; 8 * 4 + 1];
    for (i, chunk) in bytes[1..].chunks_exact_mut(4).enumerate() {
        chunk.copy_from_slice(&(i as f32).to_le_bytes());
    }
    let row = [0u8; 16];
    for start in [1usize, 0] {
        let x = InputRef {
            name: "x",
            dtype: DType::F32,
            shape: &[2, 4],
            bytes: &bytes[1..],
        };
        let row = InputRef {
            name: "row",
            dtype: DType::F32,
            shape: &[4],
            bytes: &row,
        };
        session.execute(&[x, row]).unwrap();
        let found: Vec<f32> = session
            .output(start)
            .unwrap()
            .bytes
            .chunks(4)
            .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
            .collect();
        let expected: Vec<f32> = if start == 1 {
            vec![0., 4., 1., 5., 2., 6., 3., 7.]
        } else {
            (0..8).map(|i| i as f32).collect()
        };
        assert_eq!(found, expected);
    }
}

#[test]
fn wrong_inputs_are_named_with_expected_and_found() {
    let planner = add_row();
    let mut session = planner.session(1, None, &Default::default());
    let mut numbers = Numbers::new(2);
    let (x, row) = (numbers.f32s(&[2, 4]), numbers.f32s(&[4]));
    let mut check = |inputs: &[(&str, &HostTensor)], parts: &[&str]| {
        let text = session.run(inputs).unwrap_err().to_string();
        assert!(parts.iter().all(|p| text.contains(p)), "{text}");
        let none = session.output(0).map(|_| ()).unwrap_err().to_string();
        assert_eq!(none, "output 0: there is no complete run yet");
    };
    check(&[("x", &x)], &["`row`", "missing", "f32[width]"]);
    check(
        &[("x", &x), ("row", &row), ("rwo", &row)],
        &["`rwo`", "x, row"],
    );
    check(&[("x", &x), ("x", &x), ("row", &row)], &["`x`", "twice"]);
    check(
        &[("x", &row), ("row", &row)],
        &["`x`", "f32[tokens, width]", "f32[4]"],
    );
    check(
        &[("x", &x.cast(DType::F16).unwrap()), ("row", &row)],
        &["`x`", "f16[2, 4]"],
    );
    check(
        &[("x", &x), ("row", &numbers.f32s(&[5]))],
        &["`row`", "f32[5]", "4"],
    );
    assert!(session.run(&[("x", &x), ("row", &row)]).is_ok());
    assert!(
        session
            .output(9)
            .unwrap_err()
            .to_string()
            .contains("no such output")
    );
}

#[test]
fn relations_and_guards_are_checked_with_their_values() {
    let mut planner = add_row();
    planner
        .plan
        .relations
        .declare("tokens % 2 == 0".parse().unwrap())
        .unwrap();
    planner.plan.guards.push(Guard::new(
        "width <= 8".parse().unwrap(),
        "a row has to fit",
    ));
    let mut session = planner.session(1, None, &Default::default());
    let mut numbers = Numbers::new(3);
    let mut run = |tokens: usize, width: usize| {
        let (x, row) = (numbers.f32s(&[tokens, width]), numbers.f32s(&[width]));
        session
            .run(&[("x", &x), ("row", &row)])
            .err()
            .map(|e| e.to_string())
    };
    assert_eq!(run(2, 8), None);
    let text = run(3, 8).unwrap();
    assert!(
        text.contains("tokens % 2 == 0") && text.contains("tokens = 3"),
        "{text}"
    );
    let text = run(4, 9).unwrap();
    assert!(
        text.contains("width <= 8") && text.contains("a row has to fit"),
        "{text}"
    );
    assert_eq!(run(4, 7), None);
}

/// `total = total + x`, kept by the session.
fn running_total() -> Planner {
    let mut planner = Planner::new();
    let total = planner.input("total", "f32[n]", true);
    let x = planner.input("x", "f32[n]", false);
    let instrs = vec![MapInstr {
        op: MapOp::Binary(BinaryFn::Add),
        args: vec![0, 1],
        dtype: DType::F32,
    }];
    let program = MapProgram {
        reads: 2,
        instrs,
        results: vec![2],
    };
    planner.step(
        Kernel::Map(program),
        vec![total.clone(), x],
        vec![total.clone()],
    );
    planner.output("total", &total);
    planner
}

#[test]
fn donated_inputs_are_zeros_at_first_then_kept_and_may_be_replaced() {
    let planner = running_total();
    let none = Default::default();
    let error = planner
        .try_session(1, None, &none, &Bindings::new())
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("`total`") && error.contains('n'), "{error}");
    let mut sizes = Bindings::new();
    sizes.bind("n", 3000).unwrap();
    let ones = HostTensor::full(&[3000], 1.0f32).unwrap();
    let tens = HostTensor::full(&[3000], 10.0f32).unwrap();
    for threads in THREADS {
        let mut session = planner.try_session(threads, None, &none, &sizes).unwrap();
        assert_eq!(session.memory().state_bytes, 12_000);
        let mut run = |inputs: &[(&str, &HostTensor)]| {
            session
                .run(inputs)
                .map(|mut o| o.remove(0).1.to_f32_vec().unwrap()[2999])
        };
        assert_eq!(run(&[("x", &ones)]).unwrap(), 1.0);
        assert_eq!(run(&[("x", &ones)]).unwrap(), 2.0);
        assert_eq!(run(&[("x", &ones), ("total", &tens)]).unwrap(), 11.0);
        assert_eq!(run(&[("x", &ones)]).unwrap(), 12.0);
        let short = HostTensor::full(&[5], 1.0f32).unwrap();
        let text = run(&[("x", &ones), ("total", &short)])
            .unwrap_err()
            .to_string();
        assert!(
            text.contains("`total`") && text.contains("3000") && text.contains('5'),
            "{text}"
        );
        let text = run(&[("x", &short)]).unwrap_err().to_string();
        assert!(text.contains("`x`"), "{text}");
        assert_eq!(run(&[("x", &ones)]).unwrap(), 13.0);
    }
    // Sessions of one model do not share state.
    let loaded = executor(2, None)
        .load_cpu(Arc::new(planner.plan.clone()), &none)
        .unwrap();
    let mut a = loaded.session(&sizes).unwrap();
    let mut b = loaded.session(&sizes).unwrap();
    a.run(&[("x", &tens)]).unwrap();
    assert_eq!(
        b.run(&[("x", &ones)]).unwrap()[0].1.to_f32_vec().unwrap()[0],
        1.0
    );
}

#[test]
fn sessions_run_on_several_threads_at_once() {
    let planner = running_total();
    let mut sizes = Bindings::new();
    sizes.bind("n", 2000).unwrap();
    let loaded = executor(2, None)
        .load(
            Arc::new(planner.plan.clone()),
            &std::collections::BTreeMap::new(),
        )
        .unwrap();
    let ones = HostTensor::full(&[2000], 1.0f32).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut session = loaded.session(&sizes).unwrap();
                for i in 1..=50 {
                    let found = session.run(&[("x", &ones)]).unwrap();
                    assert_eq!(found[0].1.to_f32_vec().unwrap()[1999], i as f32);
                }
            });
        }
    });
}

#[test]
fn a_view_outside_its_buffer_is_refused() {
    let mut planner = Planner::new();
    let x = planner.input("x", "f32[4]", false);
    let y = planner.result(DType::F32, &[4]);
    let shifted = View {
        offset: Dim::from(1),
        ..x
    };
    planner.step(Kernel::Copy, vec![shifted], vec![y.clone()]);
    planner.output("y", &y);
    let mut session = planner.session(1, None, &Default::default());
    let x = HostTensor::zeros(DType::F32, &[4]).unwrap();
    let text = session.run(&[("x", &x)]).unwrap_err().to_string();
    assert!(text.contains("`x`") && text.contains("1..5 of 4"), "{text}");
}

#[test]
fn settings_that_cannot_be_are_errors() {
    let zero = CpuOptions {
        threads: Some(0),
        isa: None,
    };
    let text = CpuExecutor::new(zero).err().unwrap().to_string();
    assert!(text.contains("at least one thread"), "{text}");
    let default = CpuExecutor::new(CpuOptions::default()).unwrap();
    assert_eq!(
        default.threads(),
        std::thread::available_parallelism().unwrap().get()
    );
    assert_eq!(default.isa(), Isa::detect().unwrap());
    assert_eq!(*default.target(), cpu_target());
    assert!(
        cpu_target().has_composite("attention")
            && cpu_target()
                .tile_formats
                .contains(&DType::Block(BlockFormat::Q5_0))
    );
}
