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
        let distance = edit_distance(name.as_bytes(), candidate.as_bytes());
        let better = best.is_none_or(|(least, of)| (distance, candidate) < (least, of));
        if distance > 0 && distance <= allowed && better {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Levenshtein distance.
fn edit_distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        assert_eq!(edit_distance(b"kitten", b"sitting"), 3);
        assert_eq!(edit_distance(b"", b"abc"), 3);
    }

    #[test]
    fn only_near_names_are_suggested() {
        assert_eq!(nearest("matmull", ["matmul", "mul", "max"]), Some("matmul"));
        assert_eq!(nearest("x", ["embedding", "softmax"]), None);
        assert_eq!(nearest(&"x".repeat(1000), ["x"]), None);
    }
}
