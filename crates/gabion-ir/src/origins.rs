//! Where a node comes from: the nodes of the source graph that it was made from. Passes carry it; it is
//! no part of what a graph means, prints, hashes or compares.

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::graph::NodeId;

/// A set of nodes of a source graph, by the number that each has in that graph once compacted
/// ([`crate::Graph::compacted`]). Cheap to clone.
///
/// ```
/// use gabion_ir::Origins;
/// let both = Origins::from_iter([7, 3]).union(&Origins::of(5));
/// assert_eq!(both.ids(), [3, 5, 7]);
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Origins(Option<Arc<[u32]>>);

impl Origins {
    /// No node: what was not made from a source graph.
    pub const NONE: Self = Self(None);

    /// One node.
    pub fn of(id: u32) -> Self {
        Self(Some(Arc::new([id])))
    }

    /// The numbers, ascending.
    pub fn ids(&self) -> &[u32] {
        self.0.as_deref().unwrap_or_default()
    }

    /// True without nodes.
    pub fn is_empty(&self) -> bool {
        self.ids().is_empty()
    }

    /// True if a node is one of them.
    pub fn contains(&self, id: u32) -> bool {
        self.ids().binary_search(&id).is_ok()
    }

    /// True if the sets have a node in common.
    pub fn intersects(&self, other: &Self) -> bool {
        let (few, many) = if self.ids().len() <= other.ids().len() {
            (self, other)
        } else {
            (other, self)
        };
        few.ids().iter().any(|id| many.contains(*id))
    }

    /// True if every node of `other` is one of them.
    pub fn includes(&self, other: &Self) -> bool {
        other.ids().iter().all(|id| self.contains(*id))
    }

    /// The nodes of both. Nothing is allocated where one set has all of the other.
    pub fn union(&self, other: &Self) -> Self {
        if self.includes(other) {
            return self.clone();
        }
        if other.includes(self) {
            return other.clone();
        }
        self.ids().iter().chain(other.ids()).copied().collect()
    }

    /// Adds the nodes of another set.
    pub fn unite(&mut self, other: &Self) {
        if !self.includes(other) {
            *self = self.union(other);
        }
    }
}

impl FromIterator<u32> for Origins {
    fn from_iter<I: IntoIterator<Item = u32>>(ids: I) -> Self {
        let mut ids: Vec<u32> = ids.into_iter().collect();
        ids.sort_unstable();
        ids.dedup();
        Self((!ids.is_empty()).then(|| ids.into()))
    }
}

impl From<NodeId> for Origins {
    fn from(id: NodeId) -> Self {
        Self::of(id.0)
    }
}

impl fmt::Debug for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.ids()).finish()
    }
}

/// A list of numbers.
impl Serialize for Origins {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.ids())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_unite_sorted_and_share_what_is_there() {
        let (a, b) = (Origins::from_iter([9, 2, 2]), Origins::of(4));
        assert_eq!(a.ids(), [2, 9]);
        assert_eq!(a.union(&b).ids(), [2, 4, 9]);
        assert_eq!(b.union(&a), a.union(&b));
        assert!(Origins::from_iter([]).is_empty());
        assert_eq!(Origins::from_iter([]), Origins::NONE);
        let all = a.union(&b);
        assert!(std::ptr::eq(all.union(&a).ids(), all.ids()));
        assert!(std::ptr::eq(a.union(&all).ids(), all.ids()));
        assert!(all.includes(&a) && !a.includes(&all));
        assert!(all.intersects(&b) && !a.intersects(&b));
        assert!(!a.intersects(&Origins::NONE) && a.includes(&Origins::NONE));
    }
}
