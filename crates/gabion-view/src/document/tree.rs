//! The groups that boxes lie in: module paths first, then groups of our own where a module has more children than can be
//! looked at, and one group around identical neighbours (the thirty layers of a decoder).

use std::ops::Range;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::built::signatures;
use super::{BoxId, Kind, Stage, ViewBox};

/// Names a group of a [`Tree`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupId(pub u32);

impl GroupId {
    /// The group that holds all others. It is always open.
    pub const ROOT: Self = Self(0);
}

/// A module, or some of its children.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// What it is called inside its parent: `self_attn`, `0..29`, `nodes 100..199`.
    pub name: Arc<str>,
    /// The module path.
    pub path: Arc<str>,
    /// The group it lies in; the root lies in itself.
    pub parent: GroupId,
    /// How deep it lies: the root 0.
    pub depth: u32,
    /// How many identical groups it holds, if that is what it is for.
    pub repeats: Option<u32>,
    /// The groups inside, in the order of their first boxes.
    pub groups: Vec<GroupId>,
    /// The boxes right inside, of all stages, in order.
    pub boxes: Vec<BoxId>,
    /// Boxes inside, at any depth, of all stages.
    pub n_boxes: u32,
}

/// All groups. A parent has a lower number than its children.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    /// The groups.
    pub groups: Vec<Group>,
}

impl Tree {
    /// The group.
    pub fn get(&self, id: GroupId) -> &Group {
        &self.groups[id.0 as usize]
    }

    /// The groups around a group, from itself to the root.
    pub fn ancestors(&self, id: GroupId) -> impl Iterator<Item = GroupId> {
        let parent = |id: &GroupId| (*id != GroupId::ROOT).then(|| self.get(*id).parent);
        std::iter::successors(Some(id), parent)
    }

    /// The child of `around` that holds `id`, or nothing if `id` is not inside.
    pub fn child_towards(&self, around: GroupId, id: GroupId) -> Option<GroupId> {
        self.ancestors(id)
            .find(|it| *it != GroupId::ROOT && self.get(*it).parent == around)
    }

    /// The deepest group of this module path.
    pub fn by_path(&self, path: &str) -> Option<GroupId> {
        let at = self.groups.iter().position(|group| &*group.path == path);
        at.map(|at| GroupId(at as u32))
    }

    /// For each group of another tree the one here that is of the same module and has the same name, wherever it lies.
    pub(crate) fn alike(&self, other: &Tree) -> Vec<Option<GroupId>> {
        // Parts of parts of a divided group may have one name: the first is like the first.
        let mut here: FxHashMap<(&str, &str), Vec<GroupId>> = FxHashMap::default();
        for (at, group) in self.groups.iter().enumerate() {
            let same = here.entry((&group.path, &group.name)).or_default();
            same.push(GroupId(at as u32));
        }
        let mut met: FxHashMap<(&str, &str), usize> = FxHashMap::default();
        let found = other.groups.iter().map(|group| {
            let key = (&*group.path, &*group.name);
            let nth = met.entry(key).or_default();
            let found = here.get(&key).and_then(|same| same.get(*nth)).copied();
            *nth += 1;
            found
        });
        found.collect()
    }

    /// The lowest group that holds both.
    pub fn common(&self, a: GroupId, b: GroupId) -> GroupId {
        let (mut a, mut b) = (a, b);
        while a != b {
            match self.get(a).depth >= self.get(b).depth {
                true => a = self.get(a).parent,
                false => b = self.get(b).parent,
            }
        }
        a
    }
}

/// Modules as they are met.
pub(super) struct TreeBuilder {
    groups: Vec<Group>,
    by_path: FxHashMap<Arc<str>, GroupId>,
}

/// Paths are cut here: no model nests deeper, and what walks the tree may recurse.
const DEEPEST: usize = 48;

/// Children beyond which a group is divided.
const MOST_CHILDREN: usize = 240;

/// How many children the parts of a divided group have.
const PART: usize = 80;

/// Identical neighbours that are worth a group.
const FEWEST_REPEATS: u32 = 3;

/// Inputs, or outputs, beyond which they get a group: the caches of a decoder are two for each layer, and two more that come
/// out.
const MOST_ENDS: usize = 12;

impl TreeBuilder {
    pub(super) fn new() -> Self {
        let root = Group {
            name: "".into(),
            path: "".into(),
            parent: GroupId::ROOT,
            depth: 0,
            repeats: None,
            groups: Vec::new(),
            boxes: Vec::new(),
            n_boxes: 0,
        };
        let by_path = FxHashMap::from_iter([(root.path.clone(), GroupId::ROOT)]);
        Self {
            groups: vec![root],
            by_path,
        }
    }

    /// The group of a module path.
    pub(super) fn group(&mut self, path: &str) -> GroupId {
        if let Some(known) = self.by_path.get(path) {
            return *known;
        }
        let mut group = GroupId::ROOT;
        let mut end = 0;
        for name in path.splitn(DEEPEST, '.') {
            end += name.len();
            group = self.child(group, &path[..end], name);
            end += 1;
        }
        self.by_path.insert(path.into(), group);
        group
    }

    fn child(&mut self, parent: GroupId, path: &str, name: &str) -> GroupId {
        if let Some(known) = self.by_path.get(path) {
            return *known;
        }
        let id = GroupId(self.groups.len() as u32);
        let path: Arc<str> = path.into();
        let depth = self.groups[parent.0 as usize].depth + 1;
        self.groups.push(Group {
            name: name.into(),
            path: path.clone(),
            parent,
            depth,
            repeats: None,
            groups: Vec::new(),
            boxes: Vec::new(),
            n_boxes: 0,
        });
        self.by_path.insert(path, id);
        id
    }

    /// The tree. Boxes get their final groups.
    pub(super) fn finish(self, boxes: &mut [ViewBox], stages: &[Stage]) -> Tree {
        let positions = positions(boxes, stages);
        let mut shape = Shape::new(self.groups, boxes, &positions);
        shape.fold_ends(boxes, Kind::Input, "inputs");
        shape.fold_ends(boxes, Kind::Output, "outputs");
        if let Some(built) = stages.first() {
            shape.fold_repeats(boxes, built);
        }
        shape.divide();
        shape.into_tree(boxes)
    }
}

/// Where each box stands among all: a box that was built, where it was; one that a pass or the plan made, at the last of what it
/// was made from, or after the box before it.
fn positions(boxes: &[ViewBox], stages: &[Stage]) -> Vec<f64> {
    let mut of: Vec<Option<f64>> = vec![None; boxes.len()];
    let mut by_key: FxHashMap<super::Key, f64> = FxHashMap::default();
    for (number, stage) in stages.iter().enumerate() {
        let mut last = 0.0;
        for (at, id) in stage.boxes.iter().enumerate() {
            let it = &boxes[*id as usize];
            let position = by_key.get(&it.key).copied();
            let position = position.unwrap_or_else(|| match number {
                0 => at as f64,
                _ => {
                    let origins = it.origins.iter().filter_map(|key| by_key.get(key));
                    origins.copied().max_by(f64::total_cmp).unwrap_or(last)
                }
            });
            by_key.insert(it.key, position);
            of[*id as usize].get_or_insert(position);
            last = position;
        }
    }
    of.into_iter().map(|it| it.unwrap_or(0.0)).collect()
}

/// A child of a group.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Child {
    Group(usize),
    Box(BoxId),
}

/// Identical groups beside each other.
struct Run {
    /// Where they are among the children of their parent, from the first to the last.
    children: Range<usize>,
    /// How many they are.
    groups: u32,
}

/// The tree while it is changed: children in order, and nothing else that would have to be kept in step.
struct Shape {
    groups: Vec<Group>,
    children: Vec<Vec<Child>>,
    position: Vec<f64>,
}

impl Shape {
    fn new(groups: Vec<Group>, boxes: &[ViewBox], positions: &[f64]) -> Self {
        let mut children = vec![Vec::new(); groups.len()];
        // A group stands where the first box that was built in it stands: what passes make differs from layer to layer.
        let mut built = vec![f64::INFINITY; groups.len()];
        let mut any = built.clone();
        for (id, it) in boxes.iter().enumerate() {
            let group = it.group.0 as usize;
            children[group].push(Child::Box(id as u32));
            any[group] = any[group].min(positions[id]);
            if it.stages.start == 0 {
                built[group] = built[group].min(positions[id]);
            }
        }
        for at in (1..groups.len()).rev() {
            let parent = groups[at].parent.0 as usize;
            children[parent].push(Child::Group(at));
            any[parent] = any[parent].min(any[at]);
            built[parent] = built[parent].min(built[at]);
        }
        let of_group = built.iter().zip(&any);
        let position: Vec<f64> = of_group
            .map(|(built, any)| if built.is_finite() { *built } else { *any })
            .collect();
        let place = |child: &Child| match child {
            Child::Group(at) => (position[*at], 0, *at),
            Child::Box(id) => (positions[*id as usize], 1, *id as usize),
        };
        for list in &mut children {
            list.sort_by(|a, b| {
                let (a, b) = (place(a), place(b));
                a.0.total_cmp(&b.0).then((a.1, a.2).cmp(&(b.1, b.2)))
            });
        }
        Self {
            groups,
            children,
            position,
        }
    }

    /// Many inputs, or outputs, right in the root get a group where the first of them was.
    fn fold_ends(&mut self, boxes: &[ViewBox], kind: Kind, name: &str) {
        let is_end = |child: &Child| match child {
            Child::Box(id) => boxes[*id as usize].kind == kind,
            Child::Group(_) => false,
        };
        let ends = self.children[0].iter().filter_map(|child| match child {
            Child::Box(id) if is_end(child) => Some(boxes[*id as usize].key),
            Child::Box(_) | Child::Group(_) => None,
        });
        if ends.collect::<FxHashSet<_>>().len() <= MOST_ENDS {
            return;
        }
        let all = std::mem::take(&mut self.children[0]);
        let before = all.iter().take_while(|child| !is_end(child)).count();
        let (ends, mut rest): (Vec<Child>, Vec<Child>) = all.into_iter().partition(is_end);
        let n = ends.len();
        rest.splice(before..before, ends);
        self.children[0] = rest;
        self.wrap(0, before..before + n, name.to_owned());
    }

    /// Runs of identical sibling groups get a group of their own; where they are all that their parent has, the parent is
    /// that group.
    fn fold_repeats(&mut self, boxes: &[ViewBox], built: &Stage) {
        let signatures = signatures(&self.groups, &self.children, boxes, built);
        for parent in 0..signatures.len() {
            let runs = self.runs(parent, &signatures, boxes);
            let whole = runs
                .first()
                .filter(|run| run.children.len() == self.children[parent].len());
            if let Some(whole) = whole {
                self.groups[parent].repeats = Some(whole.groups);
                continue;
            }
            for run in runs.into_iter().rev() {
                let name = |at: usize, this: &Self| match this.children[parent][at] {
                    Child::Group(group) => this.groups[group].name.clone(),
                    Child::Box(_) => "".into(),
                };
                let (first, last) = (run.children.start, run.children.end - 1);
                let names = format!("{}..{}", name(first, self), name(last, self));
                let new = self.wrap(parent, run.children, names);
                self.groups[new].repeats = Some(run.groups);
            }
        }
    }

    /// Neighbouring groups with one signature whose names differ by their numbers alone. What only passes made does not part
    /// them.
    fn runs(&self, parent: usize, signatures: &[Option<u64>], boxes: &[ViewBox]) -> Vec<Run> {
        let mut runs = Vec::new();
        let mut now: Option<(Run, (String, u64))> = None;
        for (at, child) in self.children[parent].iter().enumerate() {
            let signature = match child {
                Child::Group(group) => match signatures.get(*group).copied().flatten() {
                    Some(signature) => {
                        let name = self.groups[*group].name.chars();
                        Some((name.filter(|c| !c.is_ascii_digit()).collect(), signature))
                    }
                    None => continue,
                },
                Child::Box(id) if boxes[*id as usize].stages.start > 0 => continue,
                Child::Box(_) => None,
            };
            match (&mut now, &signature) {
                (Some((run, of)), Some(signature)) if of == signature => {
                    run.children.end = at + 1;
                    run.groups += 1;
                }
                _ => {
                    runs.extend(now.take().map(|(run, _)| run));
                    let first = Run {
                        children: at..at + 1,
                        groups: 1,
                    };
                    now = signature.map(|signature| (first, signature));
                }
            }
        }
        runs.extend(now.map(|(run, _)| run));
        runs.retain(|run| run.groups >= FEWEST_REPEATS);
        runs
    }

    /// Puts some children of a group into a new group among them.
    fn wrap(&mut self, parent: usize, range: Range<usize>, name: String) -> usize {
        let new = self.groups.len();
        let inner: Vec<Child> = self.children[parent][range.clone()].to_vec();
        let (path, depth) = (
            self.groups[parent].path.clone(),
            self.groups[parent].depth + 1,
        );
        for child in &inner {
            if let Child::Group(group) = child {
                self.groups[*group].parent = GroupId(new as u32);
            }
        }
        self.groups.push(Group {
            name: name.into(),
            path,
            parent: GroupId(parent as u32),
            depth,
            repeats: None,
            groups: Vec::new(),
            boxes: Vec::new(),
            n_boxes: 0,
        });
        self.position.push(self.position[parent]);
        self.children.push(inner);
        self.children[parent].splice(range, [Child::Group(new)]);
        new
    }

    /// Groups with too many children are divided, into parts of parts if need be.
    fn divide(&mut self) {
        let n = self.groups.len();
        for group in 0..n {
            while self.children[group].len() > MOST_CHILDREN {
                let len = self.children[group].len();
                // From the end, so that places before stay what they are.
                let starts: Vec<usize> = (0..len).step_by(PART).collect();
                for start in starts.into_iter().rev() {
                    let end = (start + PART).min(len);
                    let name = format!("{start}..{}", end - 1);
                    self.wrap(group, start..end, name);
                }
            }
        }
    }

    /// Numbers the groups so that parents come first, and tells the boxes where they lie.
    fn into_tree(self, boxes: &mut [ViewBox]) -> Tree {
        let mut number = vec![GroupId::ROOT; self.groups.len()];
        let mut groups: Vec<Group> = Vec::with_capacity(self.groups.len());
        let mut stack = vec![0];
        while let Some(at) = stack.pop() {
            number[at] = GroupId(groups.len() as u32);
            let old = &self.groups[at];
            let parent = number[old.parent.0 as usize];
            let depth = match at {
                0 => 0,
                _ => groups[parent.0 as usize].depth + 1,
            };
            groups.push(Group {
                parent,
                depth,
                ..old.clone()
            });
            for child in self.children[at].iter().rev() {
                if let Child::Group(group) = child {
                    stack.push(*group);
                }
            }
        }
        for (at, children) in self.children.iter().enumerate() {
            let group = number[at];
            for child in children {
                match child {
                    Child::Group(inner) => {
                        let inner = number[*inner];
                        groups[group.0 as usize].groups.push(inner);
                    }
                    Child::Box(id) => {
                        groups[group.0 as usize].boxes.push(*id);
                        boxes[*id as usize].group = group;
                    }
                }
            }
        }
        for at in (0..groups.len()).rev() {
            groups[at].n_boxes += groups[at].boxes.len() as u32;
            if at > 0 {
                let (n, parent) = (groups[at].n_boxes, groups[at].parent.0 as usize);
                groups[parent].n_boxes += n;
            }
        }
        Tree { groups }
    }
}
