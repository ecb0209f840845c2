//! The nearest names to a name that is not there, by edit distance. Nothing else.

/// How many names are offered.
const MAX_OFFERED: usize = 3;

/// Up to three of `candidates` that resemble `name`, nearest first, then in their own order.
pub(crate) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Vec<String> {
    let limit = (name.chars().count() / 3).max(2);
    let mut found: Vec<(usize, &str)> = Vec::new();
    for candidate in candidates {
        if let Some(distance) = distance_within(name, candidate, limit) {
            let at = found.partition_point(|&(other, _)| other <= distance);
            if at < MAX_OFFERED {
                found.insert(at, (distance, candidate));
                found.truncate(MAX_OFFERED);
            }
        }
    }
    found
        .into_iter()
        .map(|(_, candidate)| candidate.to_string())
        .collect()
}

/// The Levenshtein distance of two texts if it is at most `limit`.
fn distance_within(a: &str, b: &str, limit: usize) -> Option<usize> {
    // It is no less than the difference in length, which is quickly told.
    let longer = a.chars().count().abs_diff(b.chars().count());
    let distance = (longer <= limit).then(|| strsim::levenshtein(a, b));
    distance.filter(|distance| *distance <= limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_levenshtein() {
        assert_eq!(distance_within("kitten", "sitting", 9), Some(3));
        assert_eq!(distance_within("kitten", "sitting", 2), None);
        assert_eq!(distance_within("", "ab", 2), Some(2));
        assert_eq!(distance_within("same", "same", 0), Some(0));
    }

    #[test]
    fn the_nearest_come_first_and_strangers_not_at_all() {
        let names = [
            "model.norm.weights",
            "unrelated",
            "model.norms.weights",
            "model.norm.bias",
            "model.form.weight",
        ];
        assert_eq!(
            nearest("model.norm.weight", names.into_iter()),
            [
                "model.norm.weights",
                "model.form.weight",
                "model.norms.weights"
            ]
        );
        assert!(nearest("x", ["yyyyyyyy"].into_iter()).is_empty());
    }
}
