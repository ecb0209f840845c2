//! Resident worker threads: one closure runs on all of them, and they meet at barriers inside it.
//!
//! A [`Team`] of `n` threads counts the caller as worker 0. Work is split statically
//! ([`Worker::split`]), so which worker does what depends on `n` only. Waiting is a bounded spin,
//! then a parked thread; a worker that finds itself parked often spins less, so a team on a
//! crowded machine slows down but does not collapse.
//!
//! What the workers do is no business of this file.
#![allow(unsafe_code)]

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::hint::spin_loop;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

/// Spins of one wait before the thread parks: some tens of microseconds.
const MAX_SPINS: u32 = 4096;
/// Spins of a wait for the next job, which may be a sampling step away.
const MAX_IDLE_SPINS: u32 = 16 * 1024;
/// A parked thread looks again after this long even if nobody wakes it.
const PARK: Duration = Duration::from_millis(50);
/// The epoch of a worker that has left the job: it never holds a barrier up.
const LEFT: u32 = u32::MAX;

/// Why a team could not be made, or a run failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TeamError {
    /// Zero threads were asked for.
    #[error("a team needs at least one thread, 0 were asked for")]
    NoThreads,
    /// More threads than any machine has.
    #[error("{0} threads were asked for, at most {max} are possible", max = Team::MAX_THREADS)]
    TooManyThreads(usize),
    /// The operating system refused a thread.
    #[error("cannot start worker thread {index} of {threads}: {reason}")]
    Spawn {
        /// The worker that could not be started.
        index: usize,
        /// The size of the team.
        threads: usize,
        /// What the operating system says.
        reason: String,
    },
    /// A worker panicked; the others were let go and the team can be used again.
    #[error("worker {index} panicked: {message}")]
    Panicked {
        /// Which worker.
        index: usize,
        /// Its message.
        message: String,
    },
    /// A run was started from inside a run of the same team.
    #[error("a run of this team is already under way on this thread")]
    Nested,
}

/// A cache line (two, as they are fetched in pairs) of its own.
#[repr(align(128))]
struct Padded<T>(T);

/// What a worker shows the others.
struct Slot {
    /// Barriers reached in the running job.
    epoch: AtomicU32,
    /// The last job finished.
    done: AtomicU64,
    /// Whether the thread is, or is about to be, parked.
    parked: AtomicBool,
}

/// A closure without its type: valid while the run that published it has not returned.
#[derive(Clone, Copy)]
struct Job {
    data: *const (),
    call: unsafe fn(*const (), &Worker<'_>),
}

struct Shared {
    slots: Box<[Padded<Slot>]>,
    /// The number of the newest job; `STOP` ends the threads.
    job_number: Padded<AtomicU64>,
    /// Written by the caller before `job_number` is raised, read by workers after.
    job: UnsafeCell<Option<Job>>,
    /// The handle of the thread that is worker 0 now; same protocol as `job`.
    caller: UnsafeCell<Option<Thread>>,
    panicked: AtomicBool,
    panic: Mutex<Option<TeamError>>,
    /// More workers than processors: never spin.
    crowded: bool,
}

const STOP: u64 = u64::MAX;

// SAFETY: `job` and `caller` are written only by the holder of the run lock while every other
// worker waits for `job_number`, which is raised with release and read with acquire ordering.
unsafe impl Sync for Shared {}
// SAFETY: a `Job` points at a closure that is `Sync` (bound of `Team::run`); `Thread` is `Send`.
unsafe impl Send for Shared {}

/// The payload with which a barrier unwinds when another worker has panicked.
struct Released;

/// A fixed number of threads that run jobs together.
pub struct Team {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    handles: Arc<[Thread]>,
    run: Mutex<u64>,
}

/// One worker's view of a running job.
pub struct Worker<'t> {
    index: usize,
    shared: &'t Shared,
    /// Handles of workers 1..n.
    handles: &'t [Thread],
    epoch: Cell<u32>,
    spins: &'t Cell<u32>,
}

thread_local! {
    /// The team whose job this thread runs, by address.
    static RUNNING: Cell<usize> = const { Cell::new(0) };
}

impl Team {
    /// The most threads that a team may have.
    pub const MAX_THREADS: usize = 1024;

    /// A team of `threads` threads: the caller's and `threads - 1` new ones.
    ///
    /// # Errors
    /// [`TeamError`] for zero or absurdly many threads, or if a thread cannot be started.
    pub fn new(threads: usize) -> Result<Team, TeamError> {
        match threads {
            0 => return Err(TeamError::NoThreads),
            1..=Self::MAX_THREADS => {}
            _ => return Err(TeamError::TooManyThreads(threads)),
        }
        let processors = thread::available_parallelism().map_or(1, |n| n.get());
        let slot = |_| {
            Padded(Slot {
                epoch: AtomicU32::new(0),
                done: AtomicU64::new(0),
                parked: AtomicBool::new(false),
            })
        };
        let shared = Arc::new(Shared {
            slots: (0..threads).map(slot).collect(),
            job_number: Padded(AtomicU64::new(0)),
            job: UnsafeCell::new(None),
            caller: UnsafeCell::new(None),
            panicked: AtomicBool::new(false),
            panic: Mutex::new(None),
            crowded: threads > processors,
        });
        let mut team = Team {
            shared: Arc::clone(&shared),
            threads: Vec::with_capacity(threads - 1),
            handles: Arc::new([]),
            run: Mutex::new(0),
        };
        // Workers get the list of handles once all of them exist.
        let (mut senders, mut failed) = (Vec::with_capacity(threads), None);
        for index in 1..threads {
            let (sender, receiver) = std::sync::mpsc::channel::<Arc<[Thread]>>();
            let shared = Arc::clone(&shared);
            let body = move || {
                if let Ok(handles) = receiver.recv() {
                    serve(index, &shared, &handles);
                }
            };
            match thread::Builder::new()
                .name(format!("gabion-{index}"))
                .spawn(body)
            {
                Ok(handle) => {
                    team.threads.push(handle);
                    senders.push(sender);
                }
                Err(error) => {
                    failed = Some(TeamError::Spawn {
                        index,
                        threads,
                        reason: error.to_string(),
                    });
                    break;
                }
            }
        }
        team.handles = team.threads.iter().map(|t| t.thread().clone()).collect();
        if let Some(error) = failed {
            // The receivers see their senders go, so the threads that did start end.
            drop(senders);
            return Err(error);
        }
        for sender in senders {
            // A thread that is gone already is found by `join`.
            let _ = sender.send(Arc::clone(&team.handles));
        }
        Ok(team)
    }

    /// How many threads the team has, the caller's included.
    pub fn threads(&self) -> usize {
        self.shared.slots.len()
    }

    /// Runs `job` once on every worker and returns when all are through. Allocates nothing.
    ///
    /// Runs from several threads take turns.
    ///
    /// # Errors
    /// [`TeamError::Panicked`] if a worker panicked (the first one is named),
    /// [`TeamError::Nested`] if called from inside a job of this team.
    pub fn run<F: Fn(&Worker<'_>) + Sync>(&self, job: F) -> Result<(), TeamError> {
        let address = Arc::as_ptr(&self.shared) as usize;
        if RUNNING.get() == address {
            return Err(TeamError::Nested);
        }
        let mut number = lock(&self.run);
        *number += 1;
        let job = Job {
            data: (&raw const job).cast(),
            call: call::<F>,
        };
        self.publish(job, *number);
        thread_local! {
            static SPINS: Cell<u32> = const { Cell::new(MAX_SPINS) };
        }
        SPINS.with(|spins| perform(0, &self.shared, &self.handles, spins, job, *number));
        self.wait_for_all(*number);
        if self.shared.panicked.swap(false, Ordering::Relaxed) {
            let error = lock(&self.shared.panic).take();
            return Err(error.unwrap_or(TeamError::Panicked {
                index: 0,
                message: String::new(),
            }));
        }
        Ok(())
    }

    fn publish(&self, job: Job, number: u64) {
        let shared = &*self.shared;
        for slot in &shared.slots {
            slot.0.epoch.store(0, Ordering::Relaxed);
        }
        // SAFETY: the run lock is held and all workers are done with the job before, so nobody
        // reads these cells until `job_number` is raised below.
        unsafe {
            *shared.job.get() = Some(job);
            *shared.caller.get() = Some(thread::current());
        }
        // A swap, so that it is ordered before the loads of `parked`.
        shared.job_number.0.swap(number, Ordering::SeqCst);
        for (slot, handle) in shared.slots[1..].iter().zip(self.handles.iter()) {
            if slot.0.parked.load(Ordering::SeqCst) {
                handle.unpark();
            }
        }
    }

    fn wait_for_all(&self, number: u64) {
        let spins = Cell::new(MAX_SPINS);
        let me = &self.shared.slots[0].0;
        for slot in &self.shared.slots[1..] {
            let done = || slot.0.done.load(Ordering::SeqCst) == number;
            wait(me, &spins, MAX_SPINS, self.shared.crowded, done);
        }
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.job_number.0.swap(STOP, Ordering::SeqCst);
        for handle in self.threads.drain(..) {
            handle.thread().unpark();
            // Jobs catch their panics, so a worker has none to tell of here.
            let _ = handle.join();
        }
    }
}

impl<'t> Worker<'t> {
    /// Which worker this is; the caller of [`Team::run`] is 0.
    pub fn index(&self) -> usize {
        self.index
    }

    /// How many workers there are.
    pub fn count(&self) -> usize {
        self.shared.slots.len()
    }

    /// Waits until every worker of the job has come here as often as this one.
    ///
    /// What any of them wrote before is seen by all of them after. A worker that has left the
    /// job is not waited for. If another worker has panicked, this unwinds out of the job.
    pub fn barrier(&self) {
        let slots = &self.shared.slots;
        if slots.len() == 1 {
            return;
        }
        let epoch = self.epoch.get() + 1;
        self.epoch.set(epoch);
        let me = &slots[self.index].0;
        // A swap, so that it is ordered before the loads of `parked`.
        me.epoch.swap(epoch, Ordering::SeqCst);
        self.wake_others();
        for (index, slot) in slots.iter().enumerate() {
            if index == self.index {
                continue;
            }
            let reached = || {
                slot.0.epoch.load(Ordering::Acquire) >= epoch
                    || self.shared.panicked.load(Ordering::Relaxed)
            };
            if !reached() {
                wait(me, self.spins, MAX_SPINS, self.shared.crowded, reached);
            }
        }
        if self.shared.panicked.load(Ordering::Relaxed) {
            resume_unwind(Box::new(Released));
        }
    }

    /// This worker's share of `0..items`: contiguous, sizes differ by at most one, every item is
    /// in exactly one worker's share.
    pub fn split(&self, items: usize) -> Range<usize> {
        split(items, self.index, self.count())
    }

    fn wake_others(&self) {
        let slots = &self.shared.slots;
        for (index, slot) in slots.iter().enumerate() {
            if index == self.index || !slot.0.parked.load(Ordering::SeqCst) {
                continue;
            }
            if index > 0 {
                self.handles[index - 1].unpark();
            } else {
                // SAFETY: written before this job was published and not again until it is done.
                if let Some(caller) = unsafe { &*self.shared.caller.get() } {
                    caller.unpark();
                }
            }
        }
    }
}

/// Part `index` of `0..items` cut into `parts` contiguous ranges whose sizes differ by at most one.
pub fn split(items: usize, index: usize, parts: usize) -> Range<usize> {
    let (share, extra) = (items / parts, items % parts);
    let start = index * share + index.min(extra);
    start..start + share + usize::from(index < extra)
}

/// # Safety
/// `data` must point at a live `F`.
unsafe fn call<F: Fn(&Worker<'_>) + Sync>(data: *const (), worker: &Worker<'_>) {
    // SAFETY: the caller's promise.
    unsafe { (*data.cast::<F>())(worker) }
}

/// The life of a worker thread: waits for jobs until told to stop.
fn serve(index: usize, shared: &Shared, handles: &[Thread]) {
    let (mut last, spins, idle_spins) = (0, Cell::new(MAX_SPINS), Cell::new(MAX_IDLE_SPINS));
    let me = &shared.slots[index].0;
    loop {
        let newer = || shared.job_number.0.load(Ordering::SeqCst) != last;
        wait(me, &idle_spins, MAX_IDLE_SPINS, shared.crowded, newer);
        last = shared.job_number.0.load(Ordering::Acquire);
        if last == STOP {
            return;
        }
        // SAFETY: written before `job_number` was raised to `last` and not changed until this
        // worker says that it is done.
        if let Some(job) = unsafe { *shared.job.get() } {
            perform(index, shared, handles, &spins, job, last);
        }
    }
}

/// Runs one job on one worker, keeps its panic, and says that it is done.
fn perform(
    index: usize,
    shared: &Shared,
    handles: &[Thread],
    spins: &Cell<u32>,
    job: Job,
    number: u64,
) {
    let outer = RUNNING.replace(std::ptr::from_ref(shared) as usize);
    let worker = Worker {
        index,
        shared,
        handles,
        epoch: Cell::new(0),
        spins,
    };
    // SAFETY: `Team::run` does not return, and so the closure lives, until every worker is done.
    let result = catch_unwind(AssertUnwindSafe(|| unsafe {
        (job.call)(job.data, &worker)
    }));
    RUNNING.set(outer);
    if let Err(payload) = result {
        keep_panic(index, shared, payload);
    }
    let me = &shared.slots[index].0;
    me.epoch.swap(LEFT, Ordering::SeqCst);
    // The caller may be gone as soon as it sees the last `done`: wake it from a clone before.
    // SAFETY: written before this job was published and not again until it is done.
    let caller = unsafe { (*shared.caller.get()).clone() };
    if index > 0 {
        worker.wake_others();
        me.done.swap(number, Ordering::SeqCst);
        if shared.slots[0].0.parked.load(Ordering::SeqCst)
            && let Some(caller) = caller
        {
            caller.unpark();
        }
    } else {
        worker.wake_others();
    }
}

fn keep_panic(index: usize, shared: &Shared, payload: Box<dyn Any + Send>) {
    if payload.is::<Released>() {
        return;
    }
    let message = payload
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned());
    let mut first = lock(&shared.panic);
    if first.is_none() {
        *first = Some(TeamError::Panicked { index, message });
    }
    shared.panicked.store(true, Ordering::SeqCst);
}

/// Waits until `ready`: spins, then parks. `budget` halves when the spins were in vain
/// and doubles, up to `most`, when they were not.
fn wait(me: &Slot, budget: &Cell<u32>, most: u32, crowded: bool, ready: impl Fn() -> bool) {
    let spins = if crowded { 0 } else { budget.get() };
    for _ in 0..spins {
        if ready() {
            budget.set((budget.get() * 2).min(most));
            return;
        }
        spin_loop();
    }
    budget.set((budget.get() / 2).max(most / 64));
    // No yielding in between: on a crowded machine that gives away far more time than a wake-up
    // costs. Whoever makes `ready` true looks at `parked` after; this thread looks at `ready` after.
    me.parked.swap(true, Ordering::SeqCst);
    while !ready() {
        thread::park_timeout(PARK);
    }
    me.parked.store(false, Ordering::Relaxed);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn zero_threads_are_refused() {
        assert_eq!(Team::new(0).err(), Some(TeamError::NoThreads));
        assert_eq!(
            Team::new(100_000).err(),
            Some(TeamError::TooManyThreads(100_000))
        );
    }

    #[test]
    fn every_item_is_in_exactly_one_share() {
        for parts in 1..9 {
            for items in 0..50 {
                let mut next = 0;
                for index in 0..parts {
                    let range = split(items, index, parts);
                    assert_eq!(range.start, next);
                    assert!(range.len() <= items.div_ceil(parts));
                    next = range.end;
                }
                assert_eq!(next, items);
            }
        }
    }

    #[test]
    fn barriers_order_the_phases_of_all_workers() {
        for threads in [1, 2, 3, 8] {
            let team = Team::new(threads).unwrap();
            let cells: Vec<AtomicUsize> = (0..threads).map(|_| AtomicUsize::new(0)).collect();
            for _ in 0..3 {
                team.run(|worker| {
                    let start = cells[worker.index()].load(Ordering::Relaxed);
                    for phase in 1..=200 {
                        cells[worker.index()].store(start + phase, Ordering::Relaxed);
                        worker.barrier();
                        for cell in &cells {
                            assert_eq!(cell.load(Ordering::Relaxed), start + phase);
                        }
                        worker.barrier();
                    }
                })
                .unwrap();
            }
        }
    }

    #[test]
    fn a_panic_frees_the_others_and_the_team_lives_on() {
        let team = Team::new(3).unwrap();
        for bad in 0..3 {
            let error = team
                .run(|worker| {
                    worker.barrier();
                    if worker.index() == bad {
                        // `resume_unwind` skips the hook that would print.
                        resume_unwind(Box::new(format!("bad {bad}")));
                    }
                    worker.barrier();
                    worker.barrier();
                })
                .unwrap_err();
            assert_eq!(
                error,
                TeamError::Panicked {
                    index: bad,
                    message: format!("bad {bad}")
                }
            );
            let count = AtomicUsize::new(0);
            team.run(|worker| {
                worker.barrier();
                count.fetch_add(1, Ordering::Relaxed);
            })
            .unwrap();
            assert_eq!(count.load(Ordering::Relaxed), 3);
        }
    }

    #[test]
    fn a_worker_that_leaves_early_holds_nobody_up() {
        let team = Team::new(3).unwrap();
        team.run(|worker| {
            for _ in 0..worker.index() * 5 {
                worker.barrier();
            }
        })
        .unwrap();
    }

    #[test]
    fn a_nested_run_is_an_error_and_other_teams_are_free() {
        let (team, other) = (Team::new(2).unwrap(), Team::new(2).unwrap());
        team.run(|_| {
            assert_eq!(team.run(|_| {}), Err(TeamError::Nested));
        })
        .unwrap();
        let count = AtomicUsize::new(0);
        team.run(|worker| {
            if worker.index() == 0 {
                other
                    .run(|_| {
                        count.fetch_add(1, Ordering::Relaxed);
                    })
                    .unwrap();
            }
        })
        .unwrap();
        assert_eq!(count.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn runs_from_many_threads_take_turns() {
        let team = Team::new(2).unwrap();
        let count = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        team.run(|worker| {
                            worker.barrier();
                            count.fetch_add(1, Ordering::Relaxed);
                        })
                        .unwrap();
                    }
                });
            }
        });
        assert_eq!(count.load(Ordering::Relaxed), 4 * 50 * 2);
    }

    #[test]
    fn a_parked_team_wakes_up() {
        let team = Team::new(2).unwrap();
        for _ in 0..3 {
            thread::sleep(Duration::from_millis(30));
            team.run(|worker| {
                if worker.index() == 1 {
                    thread::sleep(Duration::from_millis(10));
                }
                worker.barrier();
            })
            .unwrap();
        }
    }
}
