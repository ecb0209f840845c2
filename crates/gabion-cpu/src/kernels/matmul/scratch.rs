//! The memory that a matmul needs besides its operands: made once, never grown in a run.
#![allow(unsafe_code)]

use super::blocking::Blocking;
use crate::pack::{Arena, OutOfMemory, TILE};
use crate::workers::Worker;
use std::cell::UnsafeCell;

/// Packed rows of x, decoded tiles and sums in progress, for one team.
///
/// May serve one run at a time.
#[derive(Debug)]
pub struct Scratch {
    /// Two buffers for packed x, used in turn, so that one barrier is enough for each.
    shared: [Arena; 2],
    workers: Vec<WorkerScratch>,
}

#[derive(Debug)]
struct WorkerScratch {
    /// Which shared buffer is next; all workers of a team count alike.
    turn: UnsafeCell<usize>,
    memory: Arena,
}

// SAFETY: entry i of `workers` is used by worker i only, and `Scratch` serves one run at a time;
// the shared buffers are written and read in phases that a barrier separates.
unsafe impl Sync for Scratch {}

/// A worker's own memory.
pub(super) struct Own {
    /// Decoded tiles.
    pub tiles: *mut f32,
    /// Sums.
    pub sums: *mut f32,
}

/// `f32` values: what each buffer has to hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sizes {
    shared: usize,
    tiles: usize,
    sums: usize,
}

impl Sizes {
    fn of(blocking: &Blocking, m: usize, k: usize) -> Sizes {
        let rows = m.min(blocking.block_rows(k));
        Sizes {
            shared: rows * k,
            // Decoded tiles, or the few rows of x that a worker packs for itself.
            tiles: blocking.most_decoded(k).max(blocking.stream_rows * k),
            sums: blocking.group * TILE * rows.max(blocking.stream_rows),
        }
    }

    fn max(self, other: Sizes) -> Sizes {
        Sizes {
            shared: self.shared.max(other.shared),
            tiles: self.tiles.max(other.tiles),
            sums: self.sums.max(other.sums),
        }
    }
}

impl Scratch {
    /// Enough for matmuls of up to `m` rows, for each `k` listed, on `threads` workers.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn new(
        kernels: &super::Kernels,
        threads: usize,
        m: usize,
        ks: &[usize],
    ) -> Result<Scratch, OutOfMemory> {
        let blocking = kernels.blocking();
        let sizes = ks.iter().fold(Sizes::default(), |sizes, &k| {
            sizes.max(Sizes::of(blocking, m, k))
        });
        let floats = |count: usize| Arena::zeroed(count * size_of::<f32>());
        let worker = |_| {
            Ok(WorkerScratch {
                turn: UnsafeCell::new(0),
                memory: floats(pad(sizes.tiles) + sizes.sums)?,
            })
        };
        Ok(Scratch {
            shared: [floats(sizes.shared)?, floats(sizes.shared)?],
            workers: (0..threads).map(worker).collect::<Result<_, _>>()?,
        })
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let own: usize = self.workers.iter().map(|w| w.memory.len()).sum();
        own + self.shared[0].len() * 2
    }

    /// Whether a matmul of `m` rows of `k` values fits.
    pub(super) fn holds(&self, blocking: &Blocking, m: usize, k: usize, threads: usize) -> bool {
        let sizes = Sizes::of(blocking, m, k);
        let bytes = |count: usize| count * size_of::<f32>();
        self.workers.len() >= threads
            && self.shared[0].len() >= bytes(sizes.shared)
            && self
                .workers
                .iter()
                .all(|w| w.memory.len() >= bytes(pad(sizes.tiles) + sizes.sums))
    }

    /// The next shared buffer.
    ///
    /// # Safety
    /// All workers of the run call this alike.
    pub(super) unsafe fn next_shared(&self, worker: &Worker<'_>) -> *mut f32 {
        // SAFETY: this worker's own counter.
        let turn = unsafe { &mut *self.workers[worker.index()].turn.get() };
        *turn ^= 1;
        self.shared[*turn].as_mut_ptr().cast()
    }

    /// The worker's own memory for a matmul over `k`.
    pub(super) fn own(&self, blocking: &Blocking, m: usize, k: usize, worker: usize) -> Own {
        let sizes = Sizes::of(blocking, m, k);
        let base: *mut f32 = self.workers[worker].memory.as_mut_ptr().cast();
        Own {
            tiles: base,
            sums: base.wrapping_add(pad(sizes.tiles)),
        }
    }
}

/// To whole cache lines.
fn pad(floats: usize) -> usize {
    floats.next_multiple_of(16)
}
