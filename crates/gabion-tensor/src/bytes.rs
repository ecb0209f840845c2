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

    /// `len` zero bytes; none if there is no memory for them.
    pub fn try_zeroed(len: usize) -> Option<Self> {
        let lines = bytemuck::try_zeroed_vec(len.div_ceil(64)).ok()?;
        Some(AlignedBuf { lines, len })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owned_bytes_are_aligned() {
        for len in [0, 1, 63, 64, 65, 1000] {
            let bytes = Bytes::from(vec![7u8; len]);
            assert_eq!(bytes.as_ptr() as usize % 64, 0);
            assert_eq!(&*bytes, vec![7; len]);
        }
    }

    #[test]
    fn slices_share_and_are_checked() {
        let bytes = Bytes::from((0..100).collect::<Vec<u8>>());
        let inner = bytes.slice(10..50).unwrap().slice(5..8).unwrap();
        assert_eq!(&*inner, &[15, 16, 17]);
        assert_eq!(inner.as_ptr(), bytes[15..].as_ptr());
        assert!(bytes.slice(100..100).unwrap().is_empty());
        let error = inner.slice(2..4).unwrap_err();
        assert_eq!(error.to_string(), "bytes 2..4 of 3");
        let (start, end) = (3, 2);
        let error = inner.slice(start..end).unwrap_err();
        assert_eq!(error.to_string(), "bytes 3..2 of 3");
    }

    #[test]
    fn writing_copies_what_is_shared() {
        let mut bytes = Bytes::from(vec![1, 2, 3]);
        let address = bytes.as_ptr();
        bytes.to_mut()[0] = 9;
        assert_eq!((bytes.as_ptr(), bytes[0]), (address, 9));
        let before = bytes.clone();
        bytes.to_mut()[1] = 8;
        assert_eq!((&*before, &*bytes), (&[9, 2, 3][..], &[9, 8, 3][..]));
        let mut part = bytes.slice(1..3).unwrap();
        part.to_mut()[0] = 0;
        assert_eq!((&*part, &*bytes), (&[0, 3][..], &[9, 8, 3][..]));
    }

    #[test]
    fn mapped_files_read_again_after_their_pages_are_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("weights");
        let content: Vec<u8> = (0..20_000u32).map(|i| (i % 251) as u8).collect();
        std::fs::write(&path, &content).unwrap();
        let bytes = Bytes::map_file(&path).unwrap();
        assert!(bytes.is_mapped());
        let part = bytes.slice(5000..15_001).unwrap();
        part.advise_dontneed();
        assert_eq!(&*part, &content[5000..15_001]);
        let mut copy = part.clone();
        copy.to_mut()[0] ^= 1;
        assert!(!copy.is_mapped());
        assert_eq!(&*bytes, content);
    }

    #[test]
    fn empty_and_missing_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("empty");
        std::fs::write(&path, []).unwrap();
        let empty = Bytes::map_file(&path).unwrap();
        empty.advise_dontneed();
        assert!(empty.is_empty());
        let error = Bytes::map_file(&dir.path().join("none")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
