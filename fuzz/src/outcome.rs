//! What happened to an input, as a number: the kinds of errors without their names and numbers.

use std::hash::{DefaultHasher, Hash, Hasher};

/// The input was accepted; `detail` tells kinds of acceptance apart.
pub fn accepted(detail: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    (true, detail).hash(&mut hasher);
    hasher.finish()
}

/// The input was refused with this message.
pub fn refused(message: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    false.hash(&mut hasher);
    for line in message.lines().take(8) {
        kind(line).hash(&mut hasher);
    }
    hasher.finish()
}

/// A message without what is quoted and without numbers.
fn kind(line: &str) -> String {
    let mut kind = String::new();
    let mut quote = None;
    for c in line.chars() {
        match quote {
            Some(end) if c == end => quote = None,
            Some(_) => {}
            None if matches!(c, '`' | '"') => quote = Some(c),
            None if c.is_ascii_digit() => {}
            None => kind.push(c),
        }
    }
    kind
}
