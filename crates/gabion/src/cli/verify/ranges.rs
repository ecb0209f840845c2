//! `--range NAME=LO..HI`: which values the samples of an integer input have, for inputs whose meaning
//! the graph does not tell.

use std::collections::BTreeMap;
use std::ops::Range;

use gabion::ir::{EvalError, Graph, Sampler};
use gabion::tensor::{DType, HostTensor, TensorError};

use crate::cli::error::CliError;

/// The words `NAME=LO..HI`.
pub(super) fn parse(word: &str) -> Result<(String, Range<i64>), String> {
    let expected = || "expected NAME=LO..HI, such as ids=0..320".to_owned();
    let (name, range) = word.rsplit_once('=').ok_or_else(expected)?;
    let (low, high) = range.split_once("..").ok_or_else(expected)?;
    let number = |word: &str| {
        word.parse::<i64>()
            .map_err(|_| format!("`{word}` is no integer of 64 bits"))
    };
    let range = number(low)?..number(high)?;
    if range.is_empty() {
        return Err(format!(
            "{low}..{high} has no value: {high} itself is outside"
        ));
    }
    if range.end.checked_sub(range.start).is_none() {
        return Err(format!("{low}..{high} has more than {} values", i64::MAX));
    }
    Ok((name.to_owned(), range))
}

/// The ranges by input, each compared with the graph.
///
/// # Errors
/// No such input, one that holds no integers, the same one twice, or values that its dtype lacks.
pub(super) fn check(
    graph: &Graph,
    words: &[(String, Range<i64>)],
) -> Result<BTreeMap<String, Range<i64>>, CliError> {
    let mut ranges = BTreeMap::new();
    for (name, range) in words {
        let refuse = |why: String| {
            let Range { start, end } = range;
            Err(CliError::Options(format!(
                "--range {name}={start}..{end}: {why}"
            )))
        };
        let found = graph.inputs().iter().find(|input| *input.name == **name);
        let Some(dtype) = found.map(|input| graph.node(input.node).results[0].dtype) else {
            return refuse(format!("the graph's integer inputs are {}", known(graph)));
        };
        let Some((least, most)) = limits(dtype) else {
            return refuse(format!("`{name}` is {dtype}; ranges are of integer inputs"));
        };
        if i128::from(range.start) < least || i128::from(range.end) - 1 > most {
            return refuse(format!(
                "`{name}` is {dtype}, whose values are {least} to {most}"
            ));
        }
        if ranges.insert(name.clone(), range.clone()).is_some() {
            return refuse(format!("`{name}` has a range already"));
        }
    }
    Ok(ranges)
}

/// The least and the largest value of an integer dtype.
fn limits(dtype: DType) -> Option<(i128, i128)> {
    if !dtype.is_int() {
        return None;
    }
    let bits = 8 * u32::try_from(dtype.size_bytes()?).ok()?;
    Some(if dtype.is_signed_int() {
        (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1)
    } else {
        (0, (1i128 << bits) - 1)
    })
}

/// The integer inputs, for messages.
fn known(graph: &Graph) -> String {
    let inputs = graph.inputs().iter();
    let named: Vec<String> = inputs
        .filter(|input| graph.node(input.node).results[0].dtype.is_int())
        .map(|input| format!("`{}`", input.name))
        .collect();
    if named.is_empty() {
        "none".to_owned()
    } else {
        named.join(", ")
    }
}

/// Values of a range.
pub(super) fn sample(
    sampler: &mut Sampler,
    dtype: DType,
    shape: &[usize],
    range: &Range<i64>,
) -> Result<HostTensor, TensorError> {
    let values: Vec<i64> = (0..shape.iter().product())
        .map(|_: usize| sampler.int(range.start, range.end - 1))
        .collect();
    HostTensor::from_slice(shape, &values)?.cast(dtype)
}

/// Why the reference failed on the samples. If integer inputs may be the cause, their samples are
/// shown with the way to others.
pub(super) fn explained(
    graph: &Graph,
    inputs: &BTreeMap<String, HostTensor>,
    error: EvalError,
) -> anyhow::Error {
    let integers = inputs.iter().filter(|(_, tensor)| tensor.dtype().is_int());
    let shown: Vec<String> = integers
        .filter_map(|(name, tensor)| {
            let values = tensor.to_i64_vec().ok()?;
            let (least, most) = (values.iter().min()?, values.iter().max()?);
            Some(format!("`{name}` {least} to {most}"))
        })
        .collect();
    let cause = match &error {
        EvalError::Node { source, .. } => source,
        other => other,
    };
    let of_values = matches!(cause, EvalError::Index { .. } | EvalError::Value(_));
    if shown.is_empty() || !of_values {
        return error.into();
    }
    CliError::Samples {
        graph: graph.name.to_string(),
        shown: shown.join(", "),
        source: Box::new(error),
    }
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_ranges_are_read() {
        assert_eq!(parse("ids=0..320"), Ok(("ids".to_owned(), 0..320)));
        assert_eq!(parse("a=b=-3..-1"), Ok(("a=b".to_owned(), -3..-1)));
        for (word, said) in [
            ("ids", "expected NAME=LO..HI, such as ids=0..320"),
            ("ids=5", "expected NAME=LO..HI, such as ids=0..320"),
            ("ids=0..", "`` is no integer of 64 bits"),
            ("ids=0..x", "`x` is no integer of 64 bits"),
            (
                "ids=-2..9223372036854775807",
                "-2..9223372036854775807 has more than 9223372036854775807 values",
            ),
            ("ids=5..5", "5..5 has no value: 5 itself is outside"),
        ] {
            assert_eq!(parse(word).unwrap_err(), said, "{word}");
        }
    }

    #[test]
    fn limits_are_those_of_the_dtype() {
        assert_eq!(limits(DType::I8), Some((-128, 127)));
        assert_eq!(limits(DType::U16), Some((0, 65535)));
        assert_eq!(limits(DType::I64), Some((i64::MIN.into(), i64::MAX.into())));
        assert_eq!(limits(DType::F32), None);
        assert_eq!(limits(DType::Bool), None);
    }
}
