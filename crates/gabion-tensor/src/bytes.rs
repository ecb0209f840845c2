//! Bytes of tensors: owned and aligned, or a range of a mapped file. Cheap to clone and to slice.

use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut, Range};
use std::path::Path;
use std::sync::Arc;

use bytemuck::{Pod, Zeroable};
use memmap2::Mmap;

use crate::mapping;

/// One cache line.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// Owned, writable bytes that start on a 64-byte boundary.
///
/// ```
/// use gabion_tensor::{AlignedBuf, Bytes};
/// let mut buf = AlignedBuf::zeroed(3);
/// buf[1] = 7;
/// assert_eq!(&*Bytes::from(buf), &[0, 7, 0]);
/// ```
#[derive(Clone)]
pub struct AlignedBuf {
    lines: Vec<Line>,
    len: usize,
}

impl AlignedBuf {
    /// `len` zero bytes.
    pub fn zeroed(len: usize) -> Self {
        AlignedBuf {
            lines: bytemuck::zeroed_vec(len.div_ceil(64)),
            len,
        }
    }

    /// A copy of `bytes`.
    pub fn copy_of(bytes: &[u8]) -> Self {
        let mut buf = Self::zeroed(bytes.len());
        buf.copy_from_slice(bytes);
        buf
    }
}

impl Deref for AlignedBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.lines)[..self.len]
    }
}

impl DerefMut for AlignedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.len]
    }
}

impl fmt::Debug for AlignedBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AlignedBuf({} bytes)", self.len)
    }
}

#[derive(Clone)]
enum Store {
    Owned(Arc<AlignedBuf>),
    Mapped(Arc<Mmap>),
}

/// Shared, immutable bytes: owned (64-byte aligned at the start) or part of a mapped file. Clones and slices share the store.
#[derive(Clone)]
pub struct Bytes {
    store: Store,
    range: Range<usize>,
}

/// A slice that reaches outside its bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bytes {start}..{end} of {len}")]
pub struct BytesRangeError {
    /// First byte asked for.
    pub start: usize,
    /// One past the last byte asked for.
    pub end: usize,
    /// Bytes there are.
    pub len: usize,
}

impl Bytes {
    /// Maps a file, read-only. An empty file gives empty bytes.
    ///
    /// # Errors
    /// If the file cannot be opened or mapped.
    pub fn map_file(path: &Path) -> io::Result<Bytes> {
        if std::fs::metadata(path)?.len() == 0 {
            return Ok(Bytes::from(AlignedBuf::zeroed(0)));
        }
        let map = mapping::map_file(path)?;
        let range = 0..map.len();
        Ok(Bytes {
            store: Store::Mapped(Arc::new(map)),
            range,
        })
    }

    /// A part, sharing the store.
    ///
    /// # Errors
    /// If the range is not inside these bytes.
    pub fn slice(&self, range: Range<usize>) -> Result<Bytes, BytesRangeError> {
        if range.start > range.end || range.end > self.range.len() {
            return Err(BytesRangeError {
                start: range.start,
                end: range.end,
                len: self.range.len(),
            });
        }
        Ok(Bytes {
            store: self.store.clone(),
            range: self.range.start + range.start..self.range.start + range.end,
        })
    }

    /// Whether the bytes lie in a mapped file.
    pub fn is_mapped(&self) -> bool {
        matches!(self.store, Store::Mapped(_))
    }

    /// Drops the resident pages of a mapped range that has been read; reading it again brings them back. Nothing on owned bytes.
    ///
    /// Pages that the range shares with its neighbours go too, and come back in the same way.
    pub fn advise_dontneed(&self) {
        match &self.store {
            Store::Mapped(map) if !self.range.is_empty() => {
                mapping::drop_pages(map, self.range.start, self.range.len());
            }
            Store::Mapped(_) | Store::Owned(_) => {}
        }
    }

    /// Writable bytes; shared or mapped bytes are copied first.
    pub fn to_mut(&mut self) -> &mut [u8] {
        let whole = match &self.store {
            Store::Owned(buf) => self.range == (0..buf.len()),
            Store::Mapped(_) => false,
        };
        if !whole {
            *self = Bytes::from(AlignedBuf::copy_of(self));
        }
        match &mut self.store {
            Store::Owned(buf) => &mut *Arc::make_mut(buf),
            // A mapped store was replaced by an owned copy above.
            Store::Mapped(_) => &mut [],
        }
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let all: &[u8] = match &self.store {
            Store::Owned(buf) => buf,
            Store::Mapped(map) => map,
        };
        &all[self.range.clone()]
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<AlignedBuf> for Bytes {
    fn from(buf: AlignedBuf) -> Self {
        let range = 0..buf.len();
        Bytes {
            store: Store::Owned(Arc::new(buf)),
            range,
        }
    }
}

/// Copies, for alignment.
impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Self {
        Bytes::from(AlignedBuf::copy_of(bytes))
    }
}

/// Copies, for alignment.
impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes.as_slice())
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_mapped() { "mapped" } else { "owned" };
        write!(f, "Bytes({kind}, {} bytes)", self.len())
    }
}
