//! The two calls of this crate that the operating system makes unsafe: mapping a file, and giving its pages back.

use std::fs::File;
use std::io;
use std::path::Path;

use memmap2::Mmap;

/// Maps a whole file, read-only.
#[allow(unsafe_code)]
pub(crate) fn map_file(path: &Path) -> io::Result<Mmap> {
    let file = File::open(path)?;
    // SAFETY: the mapping is read-only and outlives the file handle by design. Another process may change or truncate the file
    // meanwhile: every value read through the mapping is plain bytes, valid in any state, and files of weights are replaced by
    // renaming, never written in place.
    unsafe { Mmap::map(&file) }
}

/// Takes the pages of a range out of this process; the next read brings them back from the file. A hint: failure is harmless.
#[cfg(unix)]
#[allow(unsafe_code)]
pub(crate) fn drop_pages(map: &Mmap, start: usize, len: usize) {
    // SAFETY: the mapping is of a file and never written, so dropped pages read back as the same bytes.
    let _ = unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, start, len) };
}

/// Takes the pages of a range out of this process: nothing to do where the system has no such call.
#[cfg(not(unix))]
pub(crate) fn drop_pages(_map: &Mmap, _start: usize, _len: usize) {}
