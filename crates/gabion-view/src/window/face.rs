//! What is drawn for each visible thing, as egui wants it: made from what [`Look::dresses`] says when something changed,
//! and shared by all frames until the next change.

use std::sync::Arc;

use egui::{Pos2, Rect, pos2, vec2};

use crate::look::dress::{Dress, WireDress};
use crate::look::palette::{Rgb, mix};
use crate::look::{Look, Pane};
use crate::place::{Direction, HEADER, Item, Placement};

/// A box or group.
#[derive(Debug)]
pub(super) struct NodeFace {
    /// Its number among the placed items.
    pub(super) at: u32,
    pub(super) rect: Rect,
    pub(super) open: bool,
    pub(super) group: bool,
    pub(super) dress: Dress,
}

impl NodeFace {
    /// Where an open group can be clicked: on its header. Inside, what it holds is clicked, or nothing.
    pub(super) fn clickable(&self) -> Rect {
        match self.open {
            true => Rect::from_min_size(self.rect.min, vec2(self.rect.width(), HEADER)),
            false => self.rect,
        }
    }
}

/// The ground of an open group.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) rect: Rect,
    pub(super) fill: Rgb,
    pub(super) stroke: Rgb,
    pub(super) width: f32,
}

/// A wire.
#[derive(Debug)]
pub(super) struct WireFace {
    pub(super) at: u32,
    pub(super) points: Vec<Pos2>,
    pub(super) bounds: Rect,
    pub(super) down: bool,
    pub(super) text: Rgb,
    /// Where its label stands, if there is room for one.
    pub(super) label: Option<Rect>,
    pub(super) dress: WireDress,
}

/// Everything of a pane.
pub(super) struct Faces {
    pub(super) placement: Arc<Placement>,
    pub(super) grounds: Vec<Ground>,
    pub(super) nodes: Vec<Arc<NodeFace>>,
    pub(super) wires: Vec<Arc<WireFace>>,
}

impl Faces {
    pub(super) fn new(look: &mut Look<'_>, pane: Pane) -> Option<Self> {
        let dresses = look.dresses(pane)?;
        let theme = look.theme;
        let placement = dresses.placement;
        let mut grounds = Vec::new();
        let mut nodes = Vec::with_capacity(placement.items.len());
        for (at, (placed, dress)) in placement.items.iter().zip(dresses.items).enumerate() {
            let rect = Rect::from_min_size(
                pos2(placed.rect.x, placed.rect.y),
                vec2(placed.rect.w, placed.rect.h),
            );
            if placed.open {
                let quiet = mix(theme.wire(), theme.ground(), 0.35);
                grounds.push(Ground {
                    rect,
                    fill: theme.group_ground(placed.depth + 1),
                    stroke: if dress.stroke > 1.0 {
                        dress.paint.stroke
                    } else {
                        quiet
                    },
                    width: dress.stroke,
                });
            }
            nodes.push(Arc::new(NodeFace {
                at: at as u32,
                rect,
                open: placed.open,
                group: matches!(placed.item, Item::Group(_)),
                dress,
            }));
        }
        let down = look.direction() == Direction::Down;
        let wires = placement.wires.iter().zip(dresses.wires).enumerate();
        let wires = wires.map(|(at, (wire, dress))| {
            let points: Vec<Pos2> = wire.points.iter().map(|(x, y)| pos2(*x, *y)).collect();
            Arc::new(WireFace {
                at: at as u32,
                bounds: Rect::from_points(&points).expand(16.0),
                points,
                down,
                text: theme.weak_text(),
                label: dress
                    .place
                    .map(|r| Rect::from_min_size(pos2(r.x, r.y), vec2(r.w, r.h))),
                dress,
            })
        });
        let wires = wires.collect();
        Some(Self {
            placement,
            grounds,
            nodes,
            wires,
        })
    }
}
