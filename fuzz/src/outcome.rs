//! What happened to an input, as a number: the kinds of errors without their names and numbers.

use std::hash::{DefaultHasher, Hash, Hasher};

/// The input was accepted; `detail` tells kinds of acceptance apart.
pub fn accepted(detail: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    (true, detail).hash(&mut hasher);
    hasher.finish()
}

/// The input was refused with this message. Its first line counts: combinations are not news.
pub fn refused(message: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (false, kind(message.lines().next().unwrap_or(""))).hash(&mut hasher);
    hasher.finish()
}

/// The beginning of a message without what is quoted, without `%names` and without numbers.
fn kind(line: &str) -> String {
    let mut kind = String::new();
    let mut quote = None;
    for c in line.chars() {
        match quote {
            Some(end) if c == end => quote = None,
            Some(_) => {}
            None if matches!(c, '`' | '"') => quote = Some(c),
            None if matches!(c, '%' | '@') => quote = Some(' '),
            None if !c.is_ascii() || c.is_ascii_digit() || kind.len() >= 48 => {}
            None => kind.push(c),
        }
    }
    kind
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_without_names_and_numbers() {
        assert_eq!(
            refused("tensor `a`: 3 bytes at 7\n| x"),
            refused("tensor `b \"`: 42 bytes at 1\n| y")
        );
        assert_ne!(
            refused("tensor `a`: 3 bytes"),
            refused("tensor `a`: 3 bits")
        );
        assert_ne!(refused(""), accepted(""));
    }
}
