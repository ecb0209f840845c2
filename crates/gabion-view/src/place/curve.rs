//! How a wire is drawn from one of its points to the next.

use super::Direction;

/// How far a wire swings out where it turns back, by its control points: the curve reaches three quarters of that.
pub const SWING: f32 = 16.0;

/// The control points of the cubic curve between two points of a wire, which leaves and arrives along the way of the
/// edges; nothing where it is a straight line. `before` is the point before, `swing` is [`SWING`] in the unit of the points.
pub fn curve(
    before: Option<(f32, f32)>,
    from: (f32, f32),
    to: (f32, f32),
    direction: Direction,
    swing: f32,
) -> Option<[(f32, f32); 2]> {
    let swap = |(x, y): (f32, f32)| match direction {
        Direction::Down => (x, y),
        Direction::Right => (y, x),
    };
    let (before, from, to) = (before.map(swap), swap(from), swap(to));
    if from.0 == to.0 {
        return None;
    }
    let middle = match (from.1 == to.1, before) {
        // It comes back up, and turns to what it reads.
        (true, Some(before)) if before.1 > from.1 => from.1 - swing,
        (true, _) => from.1 + swing,
        (false, _) => (from.1 + to.1) / 2.0,
    };
    Some([swap((from.0, middle)), swap((to.0, middle))])
}

/// The point at a share of the way along a cubic curve: from the first of its points to the last, with control points between.
pub fn on_curve([p, q, r, s]: [(f32, f32); 4], share: f32) -> (f32, f32) {
    let (t, u) = (share, 1.0 - share);
    let (a, b, c, d) = (u * u * u, 3.0 * u * u * t, 3.0 * u * t * t, t * t * t);
    let at = |p: f32, q: f32, r: f32, s: f32| p * a + q * b + r * c + s * d;
    (at(p.0, q.0, r.0, s.0), at(p.1, q.1, r.1, s.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_go_along_the_edges_and_turns_swing_out() {
        let down = |before, from, to| curve(before, from, to, Direction::Down, 16.0);
        assert_eq!(down(None, (5.0, 0.0), (5.0, 9.0)), None);
        let bent = Some([(0.0, 20.0), (30.0, 20.0)]);
        assert_eq!(down(None, (0.0, 0.0), (30.0, 40.0)), bent);
        let below = Some([(0.0, 16.0), (30.0, 16.0)]);
        assert_eq!(down(Some((0.0, -9.0)), (0.0, 0.0), (30.0, 0.0)), below);
        let above = Some([(0.0, -16.0), (30.0, -16.0)]);
        assert_eq!(down(Some((0.0, 9.0)), (0.0, 0.0), (30.0, 0.0)), above);
        let right = curve(None, (0.0, 0.0), (40.0, 30.0), Direction::Right, 16.0);
        assert_eq!(right, Some([(20.0, 0.0), (20.0, 30.0)]));
    }
}
