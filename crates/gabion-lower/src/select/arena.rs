//! Lifetimes and offsets: buffers that do not live at the same time share a slot of the arena.
//! Sizes are symbolic, so a slot is as large as the maximum of its tenants.

use gabion_plan::{Lifetime, Place, Plan};
use gabion_tensor::{Bindings, Dim, DimError};

/// Alignment of every arena buffer, in bytes: a cache line, and a vector of 16 f32.
const ALIGN: i64 = 64;

/// The value that symbols get when slots are compared: only a choice between correct layouts.
const TYPICAL: i64 = 64;

struct Slot {
    bytes: Dim,
    typical: i64,
    free_from: usize,
    tenants: Vec<usize>,
}

/// Sets the lifetime and the offset of every arena buffer.
///
/// # Errors
/// The arena's size overflows.
pub(super) fn place(plan: &mut Plan) -> Result<(), DimError> {
    let lifetimes = lifetimes(plan);
    let mut order: Vec<usize> = (0..plan.buffers.len())
        .filter(|&b| matches!(plan.buffers[b].place, Place::Arena { .. }))
        .collect();
    order.sort_by_key(|&b| (lifetimes[b].first, b));
    let mut slots: Vec<Slot> = Vec::new();
    for buffer in order {
        let live = lifetimes[buffer];
        let bytes = byte_size(plan, buffer);
        let typical = typical_value(&bytes);
        let free = (0..slots.len()).filter(|&s| slots[s].free_from <= live.first);
        // The same size wastes nothing; else the nearest size wastes least.
        let best = free.min_by_key(|&s| {
            (
                slots[s].bytes != bytes,
                (slots[s].typical - typical).abs(),
                s,
            )
        });
        match best {
            Some(s) => {
                let slot = &mut slots[s];
                slot.bytes = slot.bytes.max(&bytes);
                slot.typical = slot.typical.max(typical);
                slot.free_from = live.last + 1;
                slot.tenants.push(buffer);
            }
            None => slots.push(Slot {
                bytes,
                typical,
                free_from: live.last + 1,
                tenants: vec![buffer],
            }),
        }
    }
    let mut offset = Dim::fixed(0);
    for slot in slots {
        for &tenant in &slot.tenants {
            plan.buffers[tenant].place = Place::Arena {
                offset: offset.clone(),
                live: lifetimes[tenant],
            };
        }
        offset = &offset + &round_up(&slot.bytes);
    }
    offset.check()
}

fn round_up(bytes: &Dim) -> Dim {
    let align = Dim::fixed(ALIGN);
    // The divisor is a non-zero constant.
    bytes
        .ceil_div(&align)
        .map_or_else(|_| bytes.clone(), |lines| &lines * &align)
}

fn byte_size(plan: &Plan, buffer: usize) -> Dim {
    let buffer = &plan.buffers[buffer];
    let (elems, bytes) = (
        buffer.dtype.block_elems() as i64,
        buffer.dtype.block_bytes() as i64,
    );
    let blocks = match elems {
        1 => buffer.elements.clone(),
        // The divisor is a block size, never zero.
        n => buffer
            .elements
            .ceil_div(&Dim::fixed(n))
            .unwrap_or_else(|_| buffer.elements.clone()),
    };
    &blocks * &Dim::fixed(bytes)
}

fn typical_value(dim: &Dim) -> i64 {
    let mut bindings = Bindings::default();
    for symbol in dim.symbols() {
        // Each symbol is bound once, so no binding disagrees.
        let _ = bindings.bind(symbol.name(), TYPICAL);
    }
    dim.eval(&bindings).unwrap_or(0)
}

fn lifetimes(plan: &Plan) -> Vec<Lifetime> {
    let end = plan.steps.len();
    let mut live = vec![
        Lifetime {
            first: usize::MAX,
            last: 0
        };
        plan.buffers.len()
    ];
    for (i, step) in plan.steps.iter().enumerate() {
        for view in step.writes.iter().chain(&step.reads) {
            if let Some(buffer) = view.buffer() {
                let live = &mut live[buffer.0 as usize];
                live.first = live.first.min(i);
                live.last = live.last.max(i);
            }
        }
    }
    for output in &plan.outputs {
        if let Some(buffer) = output.view.buffer() {
            live[buffer.0 as usize].last = end;
        }
    }
    for live in &mut live {
        live.first = live.first.min(live.last);
    }
    live
}
