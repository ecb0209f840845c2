//! Aligned memory for packed weights and scratch: 64 bytes, or whole 2 MiB pages if it is large.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc};
use std::ptr::NonNull;

/// A vector register and a cache line.
const LINE: usize = 64;
/// A huge page.
const HUGE: usize = 2 << 20;

/// Memory that could not be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot allocate {bytes} bytes")]
pub struct OutOfMemory {
    /// How much was asked for.
    pub bytes: usize,
}

/// A block of aligned bytes that is freed with its owner.
#[derive(Debug)]
pub struct Arena {
    base: NonNull<u8>,
    layout: Layout,
}

// SAFETY: an `Arena` owns its bytes; it hands out pointers whose users keep the borrow rules.
unsafe impl Send for Arena {}
// SAFETY: as above; shared references give reads only.
unsafe impl Sync for Arena {}

impl Arena {
    /// `bytes` bytes that hold nothing yet: whoever reads them has to have written them.
    ///
    /// # Errors
    /// [`OutOfMemory`] if the system has none left.
    pub fn reserve(bytes: usize) -> Result<Arena, OutOfMemory> {
        let align = if bytes >= HUGE { HUGE } else { LINE };
        let layout = Layout::from_size_align(bytes.max(LINE).next_multiple_of(LINE), align)
            .map_err(|_| OutOfMemory { bytes })?;
        // SAFETY: the size is not zero.
        let base = NonNull::new(unsafe { alloc(layout) }).ok_or(OutOfMemory { bytes })?;
        if bytes >= HUGE {
            advise_huge(base.as_ptr(), layout.size());
        }
        Ok(Arena { base, layout })
    }

    /// `bytes` zeroed bytes.
    ///
    /// # Errors
    /// [`OutOfMemory`] if the system has none left.
    pub fn zeroed(bytes: usize) -> Result<Arena, OutOfMemory> {
        let arena = Arena::reserve(bytes)?;
        // SAFETY: just allocated with this size.
        unsafe { arena.base.as_ptr().write_bytes(0, arena.len()) };
        Ok(arena)
    }

    /// Where the bytes start.
    pub fn as_ptr(&self) -> *const u8 {
        self.base.as_ptr()
    }

    /// Where the bytes start, for writing by whoever has the only use of a part of them.
    pub fn as_mut_ptr(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    /// How many bytes there are: what was asked for, rounded up to whole lines.
    pub fn len(&self) -> usize {
        self.layout.size()
    }

    /// Never true: the least size is one line.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout and not freed before.
        unsafe { dealloc(self.base.as_ptr(), self.layout) }
    }
}

/// Asks for huge pages behind `bytes` bytes from `base`. Whether they come is of no matter.
#[cfg(target_os = "linux")]
fn advise_huge(base: *mut u8, bytes: usize) {
    const MADV_HUGEPAGE: i32 = 14;
    // SAFETY: the signature of the C library, which std links already.
    unsafe extern "C" {
        fn madvise(addr: *mut u8, length: usize, advice: i32) -> i32;
    }
    // Whole pages only, so that memory after the block is left alone.
    let whole = bytes / HUGE * HUGE;
    // SAFETY: the range lies in a live allocation, and the advice does not change its contents.
    unsafe { madvise(base, whole, MADV_HUGEPAGE) };
}

#[cfg(not(target_os = "linux"))]
fn advise_huge(_base: *mut u8, _bytes: usize) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_aligned_and_zero() {
        for bytes in [0, 1, 100, HUGE, 3 * HUGE + 5] {
            let arena = Arena::zeroed(bytes).unwrap();
            assert!(arena.len() >= bytes && !arena.is_empty());
            let align = if bytes >= HUGE { HUGE } else { LINE };
            assert_eq!(arena.as_ptr() as usize % align, 0);
            // SAFETY: the arena is alive and nobody writes to it.
            let all = unsafe { std::slice::from_raw_parts(arena.as_ptr(), arena.len()) };
            assert!(all.iter().all(|&b| b == 0));
        }
    }

    #[test]
    fn an_impossible_size_is_an_error() {
        let bytes = isize::MAX as usize - 4096;
        assert_eq!(Arena::zeroed(bytes).unwrap_err(), OutOfMemory { bytes });
    }
}
