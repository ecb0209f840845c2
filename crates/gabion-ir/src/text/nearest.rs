//! The nearest known name, for "did you mean".

/// Longer names are not compared: distance is quadratic in length.
const MAX_LEN: usize = 64;

/// The candidate nearest to `name` by edit distance, if it is near enough to be a slip of the hand;
/// the first in order among equals.
pub(crate) fn nearest<'c>(
    name: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    if name.len() > MAX_LEN {
        return None;
    }
    let allowed = (name.len() / 3).clamp(1, 3);
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        if candidate.len().abs_diff(name.len()) > allowed || candidate.len() > MAX_LEN {
            continue;
        }
        let distance = strsim::levenshtein(name, candidate);
        let better = best.is_none_or(|(least, of)| (distance, candidate) < (least, of));
        if distance > 0 && distance <= allowed && better {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_near_names_are_suggested() {
        assert_eq!(nearest("matmull", ["matmul", "mul", "max"]), Some("matmul"));
        assert_eq!(nearest("x", ["embedding", "softmax"]), None);
        assert_eq!(nearest(&"x".repeat(1000), ["x"]), None);
    }
}
