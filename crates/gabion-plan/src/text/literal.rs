//! Constant data in the text form: a type, then the numbers, one number that fills it, or its bytes.
//! Printing and parsing, side by side.

use gabion_tensor::{DType, HostTensor, bf16, f16, f64_to_bf16, f64_to_f16};

use super::cursor::Cursor;
use super::error::Fault;

/// Up to so many elements are printed as numbers, more as bytes.
const MAX_NUMBERS: usize = 64;
/// Bytes on one line.
const HEX_LINE: usize = 32;
/// A few characters of text must not ask for more memory than this.
const MAX_FILL_BYTES: usize = 1 << 28;

/// `f32[2] [0.5, 1.0]`.
pub(super) fn write_literal(out: &mut String, tensor: &HostTensor, indent: &str) {
    out.push_str(tensor.dtype().name());
    out.push_str(&format!("{:?} ", tensor.shape()));
    let (dtype, bytes) = (tensor.dtype(), tensor.bytes());
    let numbers = |n: usize| -> Option<Vec<String>> {
        bytes
            .chunks_exact(dtype.size_bytes()?)
            .take(n)
            .map(|element| exact_text(dtype, element))
            .collect()
    };
    if is_fill(tensor)
        && let Some([number]) = numbers(1).as_deref()
    {
        out.push_str(&format!("fill {number}"));
    } else if tensor.numel() <= MAX_NUMBERS
        && let Some(all) = numbers(MAX_NUMBERS)
    {
        out.push_str(&format!("[{}]", all.join(", ")));
    } else {
        out.push_str("hex [");
        for line in bytes.chunks(HEX_LINE) {
            out.push_str(&format!("\n{indent}  "));
            line.iter()
                .for_each(|byte| out.push_str(&format!("{byte:02x}")));
        }
        out.push_str(&format!("\n{indent}]"));
    }
}

fn is_fill(tensor: &HostTensor) -> bool {
    let bytes = tensor.bytes();
    match tensor.dtype().size_bytes() {
        Some(size) if tensor.numel() > 1 && bytes.len() <= MAX_FILL_BYTES => {
            bytes[size..] == bytes[..bytes.len() - size]
        }
        _ => false,
    }
}

/// The number, if its text reads back to the same bits.
fn exact_text(dtype: DType, element: &[u8]) -> Option<String> {
    let text = number_text(dtype, element)?;
    (number_bytes(dtype, &text)? == element).then_some(text)
}

/// Calls `$body` with `$T` bound to the type of plain integers, or goes to the other arms.
macro_rules! by_dtype {
    ($dtype:expr, $T:ident => $int:expr, { $($arms:tt)* }) => {
        match $dtype {
            DType::I8 => { type $T = i8; $int }
            DType::I16 => { type $T = i16; $int }
            DType::I32 => { type $T = i32; $int }
            DType::I64 => { type $T = i64; $int }
            DType::U8 => { type $T = u8; $int }
            DType::U16 => { type $T = u16; $int }
            DType::U32 => { type $T = u32; $int }
            DType::U64 => { type $T = u64; $int }
            $($arms)*
        }
    };
}

fn number_text(dtype: DType, element: &[u8]) -> Option<String> {
    let float = |shortest: String, value: f64| match value {
        v if v.is_nan() => "nan".to_owned(),
        v if v == f64::INFINITY => "inf".to_owned(),
        v if v == f64::NEG_INFINITY => "-inf".to_owned(),
        _ => shortest,
    };
    let narrow = |value: f32| float(format!("{value:?}"), value.into());
    Some(
        by_dtype!(dtype, T => T::from_le_bytes(element.try_into().ok()?).to_string(), {
            DType::Bool => (element != [0]).to_string(),
            DType::F16 => narrow(f16::from_le_bytes(element.try_into().ok()?).to_f32()),
            DType::BF16 => narrow(bf16::from_le_bytes(element.try_into().ok()?).to_f32()),
            DType::F32 => narrow(f32::from_le_bytes(element.try_into().ok()?)),
            DType::F64 => {
                let value = f64::from_le_bytes(element.try_into().ok()?);
                float(format!("{value:?}"), value)
            }
            DType::Block(_) => return None,
        }),
    )
}

fn number_bytes(dtype: DType, text: &str) -> Option<Vec<u8>> {
    // Rust reads further words as numbers; the text form has three.
    let is_word = text
        .trim_start_matches('-')
        .starts_with(|c: char| c.is_ascii_alphabetic());
    if is_word && !matches!(text, "nan" | "inf" | "-inf" | "true" | "false") {
        return None;
    }
    let wide = || text.parse::<f64>().ok();
    Some(
        by_dtype!(dtype, T => text.parse::<T>().ok()?.to_le_bytes().to_vec(), {
            DType::Bool => vec![u8::from(text.parse::<bool>().ok()?)],
            DType::F16 => f64_to_f16(wide()?).to_le_bytes().to_vec(),
            DType::BF16 => f64_to_bf16(wide()?).to_le_bytes().to_vec(),
            DType::F32 => text.parse::<f32>().ok()?.to_le_bytes().to_vec(),
            DType::F64 => wide()?.to_le_bytes().to_vec(),
            DType::Block(_) => return None,
        }),
    )
}

impl Cursor<'_> {
    /// `f32[2] [0.5, 1.0]`.
    pub(super) fn literal(&mut self) -> Result<HostTensor, Fault> {
        let at = self.at();
        let dtype = self.dtype()?;
        let shape = self.fixed_shape()?;
        let Some(size) = dtype.bytes_for(&shape) else {
            let found = format!("{dtype}{shape:?}");
            return Err(Fault {
                at,
                expected: "a type that has a size".to_owned(),
                found,
            });
        };
        let (at, bytes) = if self.eat_word("fill") {
            (at, self.fill(dtype, size)?)
        } else if self.eat_word("hex") {
            (at, self.hex(size)?)
        } else {
            (at, self.numbers(dtype, size)?)
        };
        HostTensor::new(dtype, &shape, bytes).map_err(|e| Fault {
            at,
            expected: format!("data for {dtype}{shape:?}"),
            found: e.to_string(),
        })
    }

    fn fixed_shape(&mut self) -> Result<Vec<usize>, Fault> {
        self.expect("[")?;
        let mut shape = Vec::new();
        while !self.peek("]") {
            shape.push(self.digits("a size, or `]`")?);
            if !self.eat(",") {
                break;
            }
        }
        self.expect("]")?;
        Ok(shape)
    }

    fn fill(&mut self, dtype: DType, size: usize) -> Result<Vec<u8>, Fault> {
        if size > MAX_FILL_BYTES {
            return Err(self.fault(format!(
                "at most {MAX_FILL_BYTES} bytes to fill (this type has {size})"
            )));
        }
        let element = self.number(dtype)?;
        Ok(element.repeat(size / element.len().max(1)))
    }

    fn numbers(&mut self, dtype: DType, size: usize) -> Result<Vec<u8>, Fault> {
        self.expect("[").map_err(|fault| Fault {
            expected: "`fill`, `hex` or `[`".to_owned(),
            ..fault
        })?;
        let mut bytes = Vec::new();
        while !self.peek("]") {
            bytes.extend(self.number(dtype)?);
            if !self.eat(",") {
                break;
            }
        }
        self.expect_count(bytes.len(), size).and_then(|()| {
            if self.eat("]") {
                Ok(bytes)
            } else {
                Err(self.fault("`,` or `]`"))
            }
        })
    }

    fn number(&mut self, dtype: DType) -> Result<Vec<u8>, Fault> {
        let at = self.at();
        let token = self.number_token();
        number_bytes(dtype, token).ok_or_else(|| {
            self.move_to(at);
            self.fault(format!("a number of {dtype}"))
        })
    }

    fn hex(&mut self, size: usize) -> Result<Vec<u8>, Fault> {
        self.expect("[")?;
        let mut bytes = Vec::new();
        while !self.peek("]") {
            let at = self.at();
            let digits = self.number_token().as_bytes();
            let pair = |pair: &[u8]| -> Option<u8> {
                let digit = |b: u8| char::from(b).to_digit(16);
                u8::try_from(digit(*pair.first()?)? * 16 + digit(*pair.get(1)?)?).ok()
            };
            match digits.chunks(2).map(pair).collect::<Option<Vec<u8>>>() {
                Some(line) if !line.is_empty() => bytes.extend(line),
                _ => {
                    self.move_to(at);
                    return Err(self.fault("pairs of hexadecimal digits, or `]`"));
                }
            }
        }
        self.expect_count(bytes.len(), size)?;
        self.expect("]")?;
        Ok(bytes)
    }

    fn expect_count(&mut self, found: usize, expected: usize) -> Result<(), Fault> {
        if found == expected {
            return Ok(());
        }
        let at = self.at();
        Err(Fault {
            at,
            expected: format!("{expected} bytes of data"),
            found: format!("{found}"),
        })
    }
}
