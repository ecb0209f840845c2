//! Damage that keeps most of an input's structure, so that it gets past the first check.

use crate::random::Random;

/// What inputs of a target look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Words, numbers and punctuation in lines.
    Text,
    /// Bytes with little-endian lengths and offsets.
    Binary,
    /// Eight bytes of length, a JSON header, bytes.
    JsonHeader,
}

/// Words that text forms know, and some that they do not.
const WORDS: [&str; 40] = [
    "f32",
    "f16",
    "i64",
    "bool",
    "q4_0",
    "[",
    "]",
    "{",
    "}",
    "(",
    ")",
    ",",
    ":",
    "=",
    "%x",
    "@w",
    "->",
    "\"",
    "\\",
    "//",
    "..",
    "#",
    "null",
    "true",
    "nan",
    "inf",
    "[]",
    "{}",
    "%0",
    "tokens",
    "ceil_div(n, 4)",
    "min(a, b)",
    "n % 4",
    "-n",
    "F32",
    "BF16",
    "dtype",
    "shape",
    "data_offsets",
    "__metadata__",
];
const NUMBERS: [&str; 18] = [
    "0",
    "1",
    "-1",
    "2",
    "3",
    "16",
    "64",
    "255",
    "256",
    "65536",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "1e308",
    "1e-400",
    "0.5",
];
const SIZES: [u64; 16] = [
    0,
    1,
    2,
    7,
    8,
    31,
    32,
    63,
    64,
    127,
    255,
    256,
    1 << 16,
    u32::MAX as u64,
    i64::MAX as u64,
    u64::MAX,
];

/// One to eight changes; `other` is another input of the same target to take pieces from.
pub fn mutate(input: &[u8], other: &[u8], form: Form, random: &mut Random) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=random.below(8).min(random.below(8)) {
        bytes = match form {
            Form::Text => text(&bytes, other, random),
            Form::Binary => binary(bytes, other, random),
            Form::JsonHeader => json_header(bytes, other, random),
        };
    }
    bytes
}

fn text(bytes: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    // Now and then bytes that are no text.
    if random.one_in(16) {
        return binary(bytes.to_vec(), other, random);
    }
    let lossy = String::from_utf8_lossy(bytes).into_owned();
    if random.one_in(4) {
        return lines(&lossy, &String::from_utf8_lossy(other), random).into_bytes();
    }
    let mut tokens = tokens(&lossy);
    let at = random.below(tokens.len());
    if tokens.is_empty() {
        return random.choose(&WORDS).as_bytes().to_vec();
    }
    match random.below(7) {
        0 => {
            tokens.remove(at);
        }
        1 => tokens.insert(at, tokens[at]),
        2 => {
            let other = random.below(tokens.len());
            tokens.swap(at, other);
        }
        3 => tokens[at] = *random.choose(&WORDS),
        4 => {
            let numbers: Vec<usize> = (0..tokens.len())
                .filter(|&i| tokens[i].starts_with(|c: char| c.is_ascii_digit()))
                .collect();
            if !numbers.is_empty() {
                tokens[*random.choose(&numbers)] = *random.choose(&NUMBERS);
            }
        }
        5 => tokens[at] = tokens[random.below(tokens.len())],
        _ => tokens.insert(at, *random.choose(&WORDS)),
    }
    tokens.concat().into_bytes()
}

/// Runs of letters and digits, runs of blanks, single other characters.
fn tokens(text: &str) -> Vec<&str> {
    let class = |c: char| match c {
        c if c.is_alphanumeric() || c == '_' => 0,
        ' ' => 1,
        _ => 2,
    };
    let mut tokens = Vec::new();
    let mut start = 0;
    let mut last = None;
    for (at, c) in text.char_indices() {
        if last.is_some_and(|last| last == 2 || last != class(c)) {
            tokens.push(&text[start..at]);
            start = at;
        }
        last = Some(class(c));
    }
    if start < text.len() {
        tokens.push(&text[start..]);
    }
    tokens
}

fn lines(text: &str, other: &str, random: &mut Random) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    let others: Vec<&str> = other.lines().collect();
    let at = random.below(lines.len());
    match random.below(4) {
        _ if lines.is_empty() => {}
        0 => {
            lines.remove(at);
        }
        1 => lines.insert(at, lines[random.below(lines.len())]),
        2 => {
            let other = random.below(lines.len());
            lines.swap(at, other);
        }
        _ if others.is_empty() => {}
        _ => lines.insert(at, *random.choose(&others)),
    }
    lines.join("\n")
}

fn binary(mut bytes: Vec<u8>, other: &[u8], random: &mut Random) -> Vec<u8> {
    if bytes.is_empty() {
        return other.to_vec();
    }
    let at = random.below(bytes.len());
    match random.below(9) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at] = random.bits() as u8,
        2 => put(&mut bytes, at, &random.choose(&SIZES).to_le_bytes()),
        3 => put(
            &mut bytes,
            at,
            &(*random.choose(&SIZES) as u32).to_le_bytes(),
        ),
        4 => bytes.truncate(at),
        5 => {
            let end = (at + 1 + random.below(16)).min(bytes.len());
            bytes.drain(at..end);
        }
        6 => {
            let end = (at + 1 + random.below(16)).min(bytes.len());
            let piece = bytes[at..end].to_vec();
            let to = random.below(bytes.len());
            bytes.splice(to..to, piece);
        }
        7 if !other.is_empty() => {
            let from = random.below(other.len());
            let end = (from + 1 + random.below(64)).min(other.len());
            put(&mut bytes, at, &other[from..end]);
        }
        // A length or count near what it was.
        _ => {
            let step = random.below(9) as u8;
            bytes[at] = bytes[at].wrapping_add(step).wrapping_sub(4);
        }
    }
    bytes
}

fn put(bytes: &mut [u8], at: usize, piece: &[u8]) {
    for (to, from) in bytes[at..].iter_mut().zip(piece) {
        *to = *from;
    }
}

/// Changes the header as text and mostly makes its length right again.
fn json_header(bytes: Vec<u8>, other: &[u8], random: &mut Random) -> Vec<u8> {
    let length = bytes
        .first_chunk::<8>()
        .map(|length| u64::from_le_bytes(*length));
    let end = length
        .and_then(|n| usize::try_from(n).ok())
        .and_then(|n| n.checked_add(8));
    match end.filter(|&end| end <= bytes.len()) {
        Some(end) if !random.one_in(4) => {
            let header = text(&bytes[8..end], other.get(8..).unwrap_or(&[]), random);
            let length = if random.one_in(10) {
                bytes[..8].to_vec()
            } else {
                (header.len() as u64).to_le_bytes().to_vec()
            };
            [length.as_slice(), &header, &bytes[end..]].concat()
        }
        _ => binary(bytes, other, random),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_damage() {
        let run = || {
            let mut random = Random::new(7);
            (0..200)
                .map(|_| {
                    mutate(
                        b"graph @a(%x: f32[2]) { return %x }",
                        b"plan",
                        Form::Text,
                        &mut random,
                    )
                })
                .collect::<Vec<_>>()
        };
        let inputs = run();
        assert_eq!(inputs, run());
        let changed = inputs
            .iter()
            .filter(|i| i.as_slice() != b"graph @a(%x: f32[2]) { return %x }")
            .count();
        assert!(changed > 150, "{changed}");
    }

    #[test]
    fn a_changed_header_mostly_keeps_a_right_length() {
        let mut random = Random::new(3);
        let header = br#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
        let file = [
            (header.len() as u64).to_le_bytes().as_slice(),
            header,
            &[0; 4],
        ]
        .concat();
        let right = (0..500)
            .map(|_| mutate(&file, &file, Form::JsonHeader, &mut random))
            .filter(|f| {
                f.first_chunk::<8>()
                    .is_some_and(|n| u64::from_le_bytes(*n) as usize + 12 == f.len())
            })
            .count();
        assert!(right > 150, "{right}");
    }

    #[test]
    fn any_input_can_be_damaged() {
        let mut random = Random::new(1);
        for form in [Form::Text, Form::Binary, Form::JsonHeader] {
            for input in [&b""[..], b"\xff", b"\n", b"12345678", &[255; 9]] {
                for _ in 0..500 {
                    mutate(input, input, form, &mut random);
                }
            }
        }
    }
}
