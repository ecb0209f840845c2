//! The way of one wire: straight from its beginning to the end of that rank, along lanes, and straight to its end. In every
//! open group between its ends and the group around both it takes a lane of that group, and crosses the border in it.

use super::Item;
use super::inside::{Frame, Frames, Pass};
use crate::document::{Document, GroupId};
use crate::order::ChildEdge;

/// A wire between two visible things, and where it leads through.
#[derive(Clone, Copy, Debug)]
pub(super) struct Course {
    pub(super) from: Item,
    pub(super) to: Item,
    /// The children of the lowest group around both that hold them.
    pub(super) ends: (Item, Item),
}

/// A straight piece along the ranks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Piece {
    pub(super) x: f64,
    pub(super) from: f64,
    pub(super) to: f64,
}

/// All but where it begins and ends.
#[derive(Clone, Debug, Default)]
pub(super) struct Path {
    /// How far it goes straight before it turns.
    leave: f64,
    /// From where it goes straight to its end.
    arrive: f64,
    pub(super) lanes: Vec<Piece>,
}

/// Lanes that are as near as this to each other's line are one line.
const STRAIGHT: f64 = 0.5;

impl Path {
    pub(super) fn new(document: &Document, frames: &Frames<'_>, course: Course) -> Self {
        let mut path = Self::default();
        path.go_out(document, frames, course);
        let mut back = Vec::new();
        path.go_in(document, frames, course, &mut back);
        back.reverse();
        path.lanes.append(&mut back);
        path
    }

    /// From the beginning to the group around both, and along its lanes.
    fn go_out(&mut self, document: &Document, frames: &Frames<'_>, course: Course) {
        let mut item = course.from;
        loop {
            let group = group_of(document, item);
            let Some((frame, child)) = find(frames, group, item) else {
                return;
            };
            let bottom = frame.y + frame.inside.rank_of(child).1;
            match self.lanes.last_mut() {
                Some(last) => last.to = bottom,
                None => self.leave = bottom,
            }
            if item != course.ends.0 {
                let out = frame.edge(child, frame.outside());
                let pieces = frame.inside.passes(out).into_iter();
                self.lanes.extend(pieces.map(|it| frame.piece(it)));
                item = Item::Group(group);
                continue;
            }
            if let Some(to) = frame.inside.order.number(course.ends.1) {
                let edge = frame.edge(child, to);
                let pieces = frame.inside.passes(edge).into_iter();
                let back = frame.inside.order.order.leads_back(edge);
                match back {
                    true => self
                        .lanes
                        .extend(pieces.rev().map(|it| frame.piece(it).reversed())),
                    false => self.lanes.extend(pieces.map(|it| frame.piece(it))),
                }
            }
            return;
        }
    }

    /// From the end backwards to the group around both.
    fn go_in(
        &mut self,
        document: &Document,
        frames: &Frames<'_>,
        course: Course,
        lanes: &mut Vec<Piece>,
    ) {
        let mut item = course.to;
        loop {
            let group = group_of(document, item);
            let Some((frame, child)) = find(frames, group, item) else {
                return;
            };
            let top = frame.y + frame.inside.rank_of(child).0;
            match lanes.last_mut() {
                Some(last) => last.from = top,
                None => self.arrive = top,
            }
            if item == course.ends.1 {
                return;
            }
            let into = frame.edge(frame.outside(), child);
            let pieces = frame.inside.passes(into).into_iter().rev();
            lanes.extend(pieces.map(|it| frame.piece(it)));
            item = Item::Group(group);
        }
    }

    /// The points of the wire from where to where it goes.
    pub(super) fn points(&self, begin: (f64, f64), end: (f64, f64)) -> Vec<(f32, f32)> {
        let mut points: Vec<(f64, f64)> = Vec::with_capacity(4 + 2 * self.lanes.len());
        go(&mut points, begin.0, begin.1, self.leave);
        for lane in &self.lanes {
            go(&mut points, lane.x, lane.from, lane.to);
        }
        go(&mut points, end.0, self.arrive, end.1);
        let points = points.iter();
        points.map(|(x, y)| (*x as f32, *y as f32)).collect()
    }
}

/// Goes on with a straight piece, as part of the one before if that is on the same line.
fn go(points: &mut Vec<(f64, f64)>, x: f64, from: f64, to: f64) {
    if let [.., before, last] = &mut points[..]
        && (last.0 - x).abs() < STRAIGHT
        && before.0 == last.0
        && (last.1 - before.1) * (to - last.1) >= 0.0
    {
        last.1 = to;
        return;
    }
    points.push((x, from));
    if from != to {
        points.push((x, to));
    }
}

impl Piece {
    fn reversed(self) -> Self {
        Self {
            from: self.to,
            to: self.from,
            ..self
        }
    }
}

impl Frame<'_> {
    fn piece(&self, pass: Pass) -> Piece {
        Piece {
            x: self.x + pass.x,
            from: self.y + pass.top,
            to: self.y + pass.bottom,
        }
    }

    /// What stands for what is outside in the edges of the group.
    fn outside(&self) -> u32 {
        self.inside.order.children.len() as u32
    }

    fn edge(&self, from: u32, to: u32) -> ChildEdge {
        ChildEdge { from, to }
    }
}

fn group_of(document: &Document, item: Item) -> GroupId {
    match item {
        Item::Box(id) => document.get(id).group,
        Item::Group(id) => document.tree.get(id).parent,
    }
}

fn find<'f, 'i>(
    frames: &'f Frames<'i>,
    group: GroupId,
    item: Item,
) -> Option<(&'f Frame<'i>, u32)> {
    let frame = frames.get(&group)?;
    Some((frame, frame.inside.order.number(item)?))
}
