//! Which items of two lists belong together.

/// Larger blocks are compared without looking for what moved.
const MOST_CELLS: usize = 4_000_000;

/// Items before the first that differs that may be paired otherwise.
const OPEN: usize = 8;

/// The pairs, in order, whose scores are the most; a score of 0 is no pair.
pub(crate) fn aligned(
    old: usize,
    new: usize,
    score: impl Fn(usize, usize) -> u32,
) -> Vec<(usize, usize)> {
    // Items that only look alike are still open: 2 is not sure.
    let sure = |i: usize, j: usize| !matches!(score(i, j), 0 | 2);
    let last = (0..old.min(new))
        .take_while(|i| sure(old - 1 - i, new - 1 - i))
        .count();
    let rest = old.min(new) - last;
    let first = (0..rest).take_while(|&i| sure(i, i)).count();
    // Operands stand before what reads them: which ones they are shows there.
    let first = match first == rest && old == new {
        true => first,
        false => first.saturating_sub(OPEN),
    };
    let (rows, columns) = (old - first - last, new - first - last);
    let mut pairs: Vec<(usize, usize)> = (0..first).map(|i| (i, i)).collect();
    if rows.saturating_mul(columns) <= MOST_CELLS {
        let back = |i: usize, j: usize| (first + rows - 1 - i, first + columns - 1 - j);
        let middle = middle(rows, columns, |i, j| {
            let (i, j) = back(i, j);
            score(i, j)
        });
        pairs.extend(middle.into_iter().rev().map(|(i, j)| back(i, j)));
    }
    pairs.extend((0..last).rev().map(|i| (old - 1 - i, new - 1 - i)));
    pairs
}

fn middle(rows: usize, columns: usize, score: impl Fn(usize, usize) -> u32) -> Vec<(usize, usize)> {
    let at = |i: usize, j: usize| i * (columns + 1) + j;
    let mut best = vec![0u32; (rows + 1) * (columns + 1)];
    for i in (0..rows).rev() {
        for j in (0..columns).rev() {
            let pair = match score(i, j) {
                0 => 0,
                score => score + best[at(i + 1, j + 1)],
            };
            best[at(i, j)] = pair.max(best[at(i + 1, j)]).max(best[at(i, j + 1)]);
        }
    }
    let (mut i, mut j, mut pairs) = (0, 0, Vec::new());
    while i < rows && j < columns {
        let score = score(i, j);
        if score > 0 && best[at(i, j)] == score + best[at(i + 1, j + 1)] {
            pairs.push((i, j));
            (i, j) = (i + 1, j + 1);
        } else if best[at(i, j)] == best[at(i + 1, j)] {
            i += 1;
        } else {
            j += 1;
        }
    }
    pairs
}
