//! Expected errors as comments on the line that they speak of, and the `parse_error` sub-test.

use gabion_ir::Graph;

use super::Case;

/// An error that a file expects: line (from 1) and substring.
pub(super) type Expected = (usize, String);

/// The `error:`, `error-next:` and `error-previous:` comments of a text.
pub(super) fn expected(text: &str) -> Vec<Expected> {
    let mut expected = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let marks = [
            ("// error: ", index + 1),
            ("// error-next: ", index + 2),
            ("// error-previous: ", index),
        ];
        for (mark, number) in marks {
            for part in line.split(mark).skip(1) {
                let part = part.split("// error").next().unwrap_or(part);
                expected.push((number, part.trim().to_owned()));
            }
        }
    }
    expected
}

/// Every found error (line, text) is expected, and every expected one is found.
pub(super) fn compare(
    name: &str,
    expected: &[Expected],
    found: &[(usize, String)],
) -> Result<(), String> {
    if expected.is_empty() {
        return Err(format!("{name}: expects no error"));
    }
    let mut left: Vec<&Expected> = expected.iter().collect();
    let mut problems = Vec::new();
    for (line, message) in found {
        match left
            .iter()
            .position(|(at, part)| at == line && message.contains(part))
        {
            Some(i) => drop(left.remove(i)),
            None => problems.push(format!("line {line}: not expected: {message}")),
        }
    }
    problems.extend(
        left.iter()
            .map(|(line, part)| format!("line {line}: expected, not found: {part}")),
    );
    if problems.is_empty() {
        Ok(())
    } else {
        Err(format!("{name}:\n  {}", problems.join("\n  ")))
    }
}

/// The text does not parse, for the reasons that it states.
pub(super) fn run(case: &Case) -> Result<(), String> {
    let found = match Graph::parse(&case.text) {
        Ok(_) => Vec::new(),
        Err(errors) => errors
            .items()
            .iter()
            .map(|e| {
                (
                    e.line,
                    format!(
                        "{} | {} | {}",
                        e.message,
                        e.label,
                        e.help.as_deref().unwrap_or("")
                    ),
                )
            })
            .collect(),
    };
    compare(&case.name, &expected(&case.text), &found)
}
