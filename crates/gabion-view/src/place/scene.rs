//! One stage of a document, prepared for layout: which children each group has there, and the wires between them.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::Item;
use crate::document::{BoxId, Document, GroupId, Kind, ViewBox};
use crate::order::{ChildEdge, Order, unique_edges};

/// A group's children at a stage and their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupOrder {
    /// The children, operands before users where that can be.
    pub children: Vec<Item>,
    /// Which child feeds which, and which reads from outside the group or gives to there; sorted. The number of children
    /// stands for what is outside.
    pub edges: Vec<ChildEdge>,
    /// Where they stand.
    pub order: Order,
    numbers: FxHashMap<Item, u32>,
}

impl GroupOrder {
    /// The number of a child.
    pub fn number(&self, child: Item) -> Option<u32> {
        self.numbers.get(&child).copied()
    }
}

/// A wire between two boxes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wire {
    pub(super) from: BoxId,
    pub(super) result: u32,
    pub(super) to: BoxId,
    /// The children of the lowest group that holds both that they lie in.
    pub(super) ends: (Item, Item),
}

/// For boxes and groups: how deep the group is that is around the longest wire that comes into it or goes out of it.
/// Nothing is said of wires that do not leave the group that the box or group lies in.
struct Crossed {
    boxes: Vec<[u32; 2]>,
    groups: Vec<[u32; 2]>,
}

/// Deeper than any group.
const NONE: u32 = u32::MAX;

impl Crossed {
    fn new(document: &Document) -> Self {
        Self {
            boxes: vec![[NONE; 2]; document.boxes.len()],
            groups: vec![[NONE; 2]; document.tree.groups.len()],
        }
    }

    /// Notes a wire's end. What was noted for one as long need not be noted again, nor what is around it.
    fn mark(&mut self, document: &Document, id: BoxId, around: u32, into: bool) {
        let mut group = document.get(id).group;
        let mut slot = &mut self.boxes[id as usize][usize::from(into)];
        while document.tree.get(group).depth > around && *slot > around {
            *slot = around;
            slot = &mut self.groups[group.0 as usize][usize::from(into)];
            group = document.tree.get(group).parent;
        }
    }

    fn is_marked(&self, item: Item, into: bool) -> bool {
        let slots = match item {
            Item::Box(id) => self.boxes[id as usize],
            Item::Group(id) => self.groups[id.0 as usize],
        };
        slots[usize::from(into)] != NONE
    }
}

/// One stage of a document, without the kinds of boxes that are hidden. Orders of groups are computed when they are
/// asked for, and once.
pub struct Scene<'d> {
    document: &'d Document,
    stage: usize,
    children: Vec<Vec<Item>>,
    wires: Vec<Wire>,
    /// Wires by the group around them.
    by_group: Vec<Vec<u32>>,
    /// What wires come into from outside its group, and out of.
    crossed: Crossed,
    floating: Vec<bool>,
    orders: FxHashMap<GroupId, Arc<GroupOrder>>,
}

impl<'d> Scene<'d> {
    /// A stage without the boxes that `hidden` says.
    pub fn new(document: &'d Document, stage: usize, hidden: &dyn Fn(&ViewBox) -> bool) -> Self {
        let tree = &document.tree;
        let boxes = &document.stages[stage].boxes;
        let shown: Vec<BoxId> = boxes
            .iter()
            .copied()
            .filter(|id| !hidden(document.get(*id)))
            .collect();
        let mut scene = Self {
            document,
            stage,
            children: vec![Vec::new(); tree.groups.len()],
            wires: Vec::new(),
            by_group: vec![Vec::new(); tree.groups.len()],
            crossed: Crossed::new(document),
            floating: vec![true; tree.groups.len()],
            orders: FxHashMap::default(),
        };
        let mut met = vec![false; tree.groups.len()];
        let mut present = vec![false; document.boxes.len()];
        for id in shown {
            present[id as usize] = true;
            let it = document.get(id);
            let mut child = Item::Box(id);
            for group in tree.ancestors(it.group) {
                scene.floating[group.0 as usize] &= it.floating;
                let known = matches!(child, Item::Group(inner) if met[inner.0 as usize]);
                if !known {
                    scene.children[group.0 as usize].push(child);
                }
                if let Item::Group(inner) = child {
                    met[inner.0 as usize] = true;
                }
                child = Item::Group(group);
            }
        }
        scene.collect_wires(&present);
        scene
    }

    /// As [`Scene::new`], with weights and constants hidden or not.
    pub fn with_leaves(document: &'d Document, stage: usize, leaves: bool) -> Self {
        let is_leaf = |it: &ViewBox| matches!(it.kind, Kind::Weight | Kind::Constant);
        Self::new(document, stage, &|it| !leaves && is_leaf(it))
    }

    fn collect_wires(&mut self, present: &[bool]) {
        let (document, tree) = (self.document, &self.document.tree);
        let mut sources = Vec::new();
        for to in &document.stages[self.stage].boxes {
            if !present[*to as usize] {
                continue;
            }
            sources.clear();
            for operand in document.operands(self.stage, *to) {
                self.sources(present, operand, &mut sources);
            }
            for &(from, result) in &sources {
                let (a, b) = (document.get(from).group, document.get(*to).group);
                let around = tree.common(a, b);
                let end = |group, id| match tree.child_towards(around, group) {
                    Some(inner) => Item::Group(inner),
                    None => Item::Box(id),
                };
                self.by_group[around.0 as usize].push(self.wires.len() as u32);
                let depth = tree.get(around).depth;
                self.crossed.mark(document, from, depth, false);
                self.crossed.mark(document, *to, depth, true);
                self.wires.push(Wire {
                    from,
                    result,
                    to: *to,
                    ends: (end(a, from), end(b, *to)),
                });
            }
        }
    }

    /// Where a value comes from among what is shown: through hidden boxes that only move elements, its wire goes on.
    fn sources(&self, present: &[bool], value: (BoxId, u32), sources: &mut Vec<(BoxId, u32)>) {
        let mut stack = vec![value];
        let mut met = FxHashSet::default();
        while let Some((from, result)) = stack.pop() {
            if present[from as usize] {
                sources.push((from, result));
            } else if self.document.get(from).kind == Kind::Movement && met.insert(from) {
                let start = stack.len();
                stack.extend(self.document.operands(self.stage, from));
                stack[start..].reverse();
            }
        }
    }

    /// The document.
    pub fn document(&self) -> &'d Document {
        self.document
    }

    /// The stage.
    pub fn stage(&self) -> usize {
        self.stage
    }

    /// The children of a group, in the order of the text.
    pub fn children(&self, group: GroupId) -> &[Item] {
        &self.children[group.0 as usize]
    }

    pub(super) fn wires(&self) -> &[Wire] {
        &self.wires
    }

    /// A group's children in their order.
    pub fn group_order(&mut self, group: GroupId) -> Arc<GroupOrder> {
        if let Some(known) = self.orders.get(&group) {
            return known.clone();
        }
        let children = self.children[group.0 as usize].clone();
        let numbers: FxHashMap<Item, u32> = children
            .iter()
            .enumerate()
            .map(|(at, child)| (*child, at as u32))
            .collect();
        let edges = self.by_group[group.0 as usize].iter().filter_map(|wire| {
            let (from, to) = self.wires[*wire as usize].ends;
            let (from, to) = (*numbers.get(&from)?, *numbers.get(&to)?);
            (from != to).then_some(ChildEdge { from, to })
        });
        let outside = children.len() as u32;
        let crossing = children.iter().zip(0..).flat_map(|(child, number)| {
            let into = ChildEdge {
                from: outside,
                to: number,
            };
            let out = ChildEdge {
                from: number,
                to: outside,
            };
            let into = self.crossed.is_marked(*child, true).then_some(into);
            into.into_iter()
                .chain(self.crossed.is_marked(*child, false).then_some(out))
        });
        let edges = unique_edges(edges.chain(crossing));
        let floating = |child: usize| match children[child] {
            Item::Group(inner) => self.floating[inner.0 as usize],
            Item::Box(id) => self.document.get(id).floating,
        };
        let order = Order::new(children.len(), &edges, &floating);
        let order = Arc::new(GroupOrder {
            order,
            edges,
            children,
            numbers,
        });
        self.orders.insert(group, order.clone());
        order
    }
}
