//! The text form of dims: `2*tokens + 1`, `tokens//2`, `tokens % 16`, `ceil_div(tokens, 16)`, `min(a, b)`.
//!
//! ```text
//! sum     = product { ("+" | "-") product }
//! product = unary { ("*" | "//" | "%") unary }
//! unary   = [ "-" ] unary | integer | symbol | "(" sum ")" | "ceil_div" "(" sum "," sum ")" | ("min" | "max") "(" sum { "," sum } ")"
//! ```

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

use super::{Atom, Dim, DimError, Poison, Repr, Sum, Term};

/// Deepest nesting that the parser follows.
const MAX_NESTING: u32 = 200;

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Fixed(value) => write!(f, "{value}"),
            Repr::Sum(sum) => write_sum(sum, f),
            Repr::Poison(Poison::Overflow) => f.write_str("<overflow>"),
            Repr::Poison(Poison::TooComplex) => f.write_str("<too complex>"),
        }
    }
}

impl fmt::Debug for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dim({self})")
    }
}

fn write_sum(sum: &Sum, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut constant = sum.constant;
    for (i, term) in sum.terms.iter().enumerate() {
        write_sign(term.coefficient, i == 0, f)?;
        let lone = match term.monomial.atoms() {
            [atom] => Some(atom),
            _ => None,
        };
        if let Some(rounded_up) = lone.and_then(as_symbolic_ceil_div)
            && let Some(rest) = constant.checked_sub(term.coefficient)
        {
            constant = rest;
            write_factor(term.coefficient, f)?;
            f.write_str(&rounded_up)?;
            continue;
        }
        // A sign in front would bind to what is divided.
        let bare = match term.coefficient {
            1 => true,
            -1 => i > 0,
            _ => false,
        };
        match lone {
            Some(atom) if bare => write!(f, "{atom}")?,
            _ => write_product(term, f)?,
        }
    }
    if constant != 0 {
        write_sign(constant, false, f)?;
        write!(f, "{}", Magnitude(constant))?;
    }
    Ok(())
}

/// An integer whose sign is already written. The smallest one has no positive twin and keeps its own.
struct Magnitude(i64);

impl fmt::Display for Magnitude {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.checked_abs().unwrap_or(self.0))
    }
}

fn write_sign(number: i64, first: bool, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let negative = number < 0 && number != i64::MIN;
    f.write_str(match (first, negative) {
        (true, true) => "-",
        (true, false) => "",
        (false, true) => " - ",
        (false, false) => " + ",
    })
}

fn write_factor(coefficient: i64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match coefficient {
        1 | -1 => Ok(()),
        _ => write!(f, "{}*", Magnitude(coefficient)),
    }
}

fn write_product(term: &Term, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write_factor(term.coefficient, f)?;
    for (i, atom) in term.monomial.atoms().iter().enumerate() {
        let times = if i == 0 { "" } else { "*" };
        if is_tight(atom) {
            write!(f, "{times}{atom}")?;
        } else {
            write!(f, "{times}({atom})")?;
        }
    }
    Ok(())
}

/// Whether the atom's text can stand in a product: names and calls can.
fn is_tight(atom: &Atom) -> bool {
    match atom {
        Atom::Symbol(_) | Atom::Min(_) | Atom::Max(_) => true,
        Atom::FloorDiv(pair) => as_fixed_ceil_div(pair).is_some(),
        Atom::Mod(_) => false,
    }
}

/// What is divided, if the quotient by an integer is one that rounds up: `(x + n - 1) // n`.
fn as_fixed_ceil_div(pair: &(Dim, Dim)) -> Option<Dim> {
    let n = pair.1.as_fixed()?;
    (pair.0.sum()?.constant == n - 1).then(|| &pair.0 - (n - 1))
}

/// `ceil_div(x, b)` for `(x - 1) // b`, which is one less.
fn as_symbolic_ceil_div(atom: &Atom) -> Option<String> {
    match atom {
        Atom::FloorDiv(pair) => {
            if pair.0.sum()?.constant != -1 || pair.1.is_fixed() {
                return None;
            }
            let dividend = &pair.0 + 1;
            let reads_back =
                dividend.ceil_div(&pair.1).ok()? == Dim::from_atom(atom.clone()).ok()? + 1;
            reads_back.then(|| format!("ceil_div({dividend}, {})", pair.1))
        }
        Atom::Symbol(_) | Atom::Mod(_) | Atom::Min(_) | Atom::Max(_) => None,
    }
}

impl fmt::Display for Atom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Atom::Symbol(symbol) => write!(f, "{symbol}"),
            Atom::FloorDiv(pair) => match as_fixed_ceil_div(pair) {
                Some(dividend) => write!(f, "ceil_div({dividend}, {})", pair.1),
                None => write!(f, "{}//{}", Dividend(&pair.0), Divisor(&pair.1)),
            },
            Atom::Mod(pair) => write!(f, "{} % {}", Dividend(&pair.0), Divisor(&pair.1)),
            Atom::Min(args) => write_call("min", args, f),
            Atom::Max(args) => write_call("max", args, f),
        }
    }
}

fn write_call(name: &str, args: &[Dim], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{name}(")?;
    for (i, arg) in args.iter().enumerate() {
        let comma = if i == 0 { "" } else { ", " };
        write!(f, "{comma}{arg}")?;
    }
    f.write_str(")")
}

/// Left of `//` or `%`: products need no parentheses.
struct Dividend<'a>(&'a Dim);

impl fmt::Display for Dividend<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bare = match self.0.sum() {
            None => self.0.as_fixed().is_some_and(|value| value >= 0),
            Some(sum) => match sum.terms.as_slice() {
                [term] => {
                    sum.constant == 0
                        && term.coefficient > 0
                        && term.monomial.atoms().iter().all(is_tight)
                }
                _ => false,
            },
        };
        write_parenthesised(self.0, bare, f)
    }
}

/// Right of `//` or `%`: only names, calls and integers need no parentheses.
struct Divisor<'a>(&'a Dim);

impl fmt::Display for Divisor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bare = match self.0.sum() {
            None => self.0.as_fixed().is_some_and(|value| value >= 0),
            Some(sum) => sum.as_atom().is_some_and(is_tight),
        };
        write_parenthesised(self.0, bare, f)
    }
}

fn write_parenthesised(dim: &Dim, bare: bool, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if bare {
        write!(f, "{dim}")
    } else {
        write!(f, "({dim})")
    }
}

impl FromStr for Dim {
    type Err = DimError;

    fn from_str(text: &str) -> Result<Dim, DimError> {
        let mut parser = Parser::new(text);
        let dim = parser.sum()?;
        parser.end()?;
        Ok(dim)
    }
}

impl Dim {
    /// Reads the dim that `text` starts with, and gives the text after it.
    ///
    /// ```
    /// use gabion_tensor::Dim;
    /// let (dim, rest) = Dim::parse_prefix("min(a, b) + 1, 576]").unwrap();
    /// assert_eq!((dim.to_string().as_str(), rest), ("min(a, b) + 1", ", 576]"));
    /// ```
    ///
    /// # Errors
    /// If the text starts with no dim, or the dim has no canonical form (division by zero, overflow).
    pub fn parse_prefix(text: &str) -> Result<(Dim, &str), DimError> {
        let mut parser = Parser::new(text);
        let dim = parser.sum()?;
        Ok((dim, &text[parser.at..]))
    }
}

/// Reads dims; `at` is where it is, past white space only if something follows.
pub(crate) struct Parser<'a> {
    text: &'a str,
    at: usize,
    nesting: u32,
}

impl<'a> Parser<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Parser {
            text,
            at: 0,
            nesting: 0,
        }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// Takes `token`, after white space, if it is next.
    pub(crate) fn take(&mut self, token: &str) -> bool {
        let rest = self.rest().trim_start();
        if !rest.starts_with(token) {
            return false;
        }
        self.at = self.text.len() - rest.len() + token.len();
        true
    }

    pub(crate) fn expected(&self, expected: &'static str) -> DimError {
        let blank = self.rest().len() - self.rest().trim_start().len();
        DimError::Text {
            text: self.text.to_string(),
            at: self.at + blank,
            expected,
        }
    }

    pub(crate) fn end(&self) -> Result<(), DimError> {
        if self.rest().trim_start().is_empty() {
            return Ok(());
        }
        Err(self.expected("an operator or the end"))
    }

    pub(crate) fn sum(&mut self) -> Result<Dim, DimError> {
        self.nesting += 1;
        if self.nesting > MAX_NESTING {
            return Err(DimError::TooComplex);
        }
        let mut sum = self.product()?;
        loop {
            if self.take("+") {
                sum = sum.try_add(&self.product()?)?;
            } else if self.take("-") {
                sum = sum.try_sub(&self.product()?)?;
            } else {
                self.nesting -= 1;
                return Ok(sum);
            }
        }
    }

    fn product(&mut self) -> Result<Dim, DimError> {
        let mut product = self.unary()?;
        loop {
            if self.take("*") {
                product = product.try_mul(&self.unary()?)?;
            } else if self.take("//") {
                product = product.floor_div(&self.unary()?)?;
            } else if self.take("%") {
                product = product.rem(&self.unary()?)?;
            } else {
                return Ok(product);
            }
        }
    }

    fn unary(&mut self) -> Result<Dim, DimError> {
        let mut negative = false;
        while self.take("-") {
            negative = !negative;
        }
        let rest = self.rest().trim_start();
        if rest.starts_with(|c: char| c.is_ascii_digit()) {
            return self.integer(negative);
        }
        let dim = self.primary()?;
        if negative { dim.try_neg() } else { Ok(dim) }
    }

    fn word(&mut self, belongs: fn(char) -> bool) -> &'a str {
        let rest = self.rest().trim_start();
        let end = rest.find(|c| !belongs(c)).unwrap_or(rest.len());
        self.at = self.text.len() - rest.len() + end;
        &rest[..end]
    }

    fn integer(&mut self, negative: bool) -> Result<Dim, DimError> {
        let digits = self.word(|c| c.is_ascii_digit());
        let sign = if negative { "-" } else { "" };
        let value = format!("{sign}{digits}").parse();
        value.map(Dim::fixed).map_err(|_| DimError::Overflow)
    }

    fn primary(&mut self) -> Result<Dim, DimError> {
        if self.take("(") {
            let dim = self.sum()?;
            return self.close(dim);
        }
        let start = self.at;
        let name = self.word(|c| c.is_ascii_alphanumeric() || c == '_');
        if name.is_empty() {
            self.at = start;
            return Err(self.expected("a symbol, an integer, `(`, `min`, `max` or `ceil_div`"));
        }
        if !self.take("(") {
            return Dim::symbol(name);
        }
        let first = self.sum()?;
        match name {
            "ceil_div" => {
                if !self.take(",") {
                    return Err(self.expected("`,`"));
                }
                let divisor = self.sum()?;
                self.close(first.ceil_div(&divisor)?)
            }
            "min" | "max" => {
                let mut args = vec![first];
                while self.take(",") {
                    args.push(self.sum()?);
                }
                let extremum = if name == "min" {
                    Dim::try_min_of(args)
                } else {
                    Dim::try_max_of(args)
                };
                self.close(extremum?)
            }
            _ => {
                self.at = start;
                Err(self.expected("`min`, `max` or `ceil_div` before `(`"))
            }
        }
    }

    fn close(&mut self, dim: Dim) -> Result<Dim, DimError> {
        if self.take(")") {
            return Ok(dim);
        }
        Err(self.expected("`)`"))
    }
}

/// An integer, or the text form.
impl Serialize for Dim {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.as_fixed() {
            Some(value) => serializer.serialize_i64(value),
            None => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Dim {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(IntegerOrText)
    }
}

struct IntegerOrText;

impl Visitor<'_> for IntegerOrText {
    type Value = Dim;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer or a size expression")
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Dim, E> {
        Ok(Dim::fixed(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Dim, E> {
        i64::try_from(value).map(Dim::fixed).map_err(E::custom)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Dim, E> {
        text.parse().map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn prints(text: &str, expected: &str) {
        let dim: Dim = text.parse().unwrap();
        assert_eq!(dim.to_string(), expected);
        assert_eq!(expected.parse(), Ok(dim), "{expected}");
    }

    #[test]
    fn dims_print_as_they_are_written() {
        prints("tokens", "tokens");
        prints("-3", "-3");
        prints("1+2*tokens", "2*tokens + 1");
        prints("tokens//2", "tokens//2");
        prints("ceil_div( tokens ,16)", "ceil_div(tokens, 16)");
        prints("tokens%16", "tokens % 16");
        prints("tokens % 2", "tokens % 2");
        prints("min(b, a)", "min(a, b)");
        prints("max(a, min(b, c), 3)", "max(3, a, min(b, c))");
        prints("tokens//16*16", "16*(tokens//16)");
        prints("b - a", "-a + b");
        prints("-(a//2)", "-(a//2)");
        prints("b*b - a//2", "b*b - a//2");
        prints("3*a//2", "3*a//2");
        prints("(a + b)//2 % c", "((a + b)//2) % c");
        prints("a % (b*c)", "a % (b*c)");
        prints("(-a) % 4", "(-a) % 4");
        prints("x*(y//3)", "x*(y//3)");
        prints("x*ceil_div(y, 3)", "x*ceil_div(y, 3)");
        prints("ceil_div(x, y)", "ceil_div(x, y)");
        prints("2*ceil_div(x, y) + 3", "2*ceil_div(x, y) + 3");
        prints("5//x", "5//x");
        prints("--x", "x");
    }

    #[test]
    fn the_smallest_integer_reads_back() {
        prints("-9223372036854775808", "-9223372036854775808");
        prints("x - 9223372036854775807 - 1", "x + -9223372036854775808");
        prints("x*-9223372036854775808", "-9223372036854775808*x");
    }

    #[test]
    fn operators_group_to_the_left() {
        let value = |text: &str| text.parse::<Dim>().unwrap().as_fixed();
        assert_eq!(value("7 - 2 - 1"), Some(4));
        assert_eq!(value("17//2*3"), Some(24));
        assert_eq!(value("17 % 5 * 2"), Some(4));
        assert_eq!(value("-7//2"), Some(-4));
        assert_eq!(value("2 + 3*4"), Some(14));
        assert_eq!(value("(2 + 3)*4"), Some(20));
    }

    #[test]
    fn errors_say_where_and_what() {
        let error = |text: &str| text.parse::<Dim>().unwrap_err().to_string();
        assert_eq!(
            error("a + "),
            "in `a + ` at byte 4: expected a symbol, an integer, `(`, `min`, `max` or `ceil_div`"
        );
        assert_eq!(
            error("a b"),
            "in `a b` at byte 2: expected an operator or the end"
        );
        assert_eq!(error("min(a"), "in `min(a` at byte 5: expected `)`");
        assert_eq!(
            error("ceil_div(a)"),
            "in `ceil_div(a)` at byte 10: expected `,`"
        );
        assert_eq!(
            error("f(a)"),
            "in `f(a)` at byte 0: expected `min`, `max` or `ceil_div` before `(`"
        );
        assert_eq!(
            error("é"),
            "in `é` at byte 0: expected a symbol, an integer, `(`, `min`, `max` or `ceil_div`"
        );
        assert_eq!(error("99999999999999999999"), "size overflows 64 bits");
        assert_eq!(error("3 // (2 - 2)"), "division by zero in `(3) // 0`");
        assert_eq!("min".parse::<Dim>(), Dim::symbol("min"));
    }

    #[test]
    fn hostile_nesting_is_refused() {
        let signs = "-".repeat(100_000).parse::<Dim>();
        assert!(matches!(signs, Err(DimError::Text { at: 100_000, .. })));
        for unit in ["(", "min(", "ceil_div(", "-("] {
            let text = unit.repeat(100_000);
            assert_eq!(text.parse::<Dim>(), Err(DimError::TooComplex), "{unit}");
        }
        let long = vec!["a"; 50_000].join("*");
        assert_eq!(long.parse::<Dim>(), Err(DimError::TooComplex));
        let division = format!("{}//(a + b)", vec!["a"; 2000].join("*"));
        assert!(division.parse::<Dim>().is_ok());
    }

    #[test]
    fn json_is_an_integer_or_the_text() {
        let json = |text: &str| serde_json::to_string(&text.parse::<Dim>().unwrap()).unwrap();
        assert_eq!(
            (json("5"), json("x + 1")),
            ("5".to_string(), "\"x + 1\"".to_string())
        );
        assert_eq!(serde_json::from_str::<Dim>("7").unwrap(), Dim::fixed(7));
        let error = |json: &str| serde_json::from_str::<Dim>(json).unwrap_err().to_string();
        assert_eq!(
            error("18446744073709551615"),
            "out of range integral type conversion attempted at line 1 column 20"
        );
        assert_eq!(
            error("1.5"),
            "invalid type: floating point `1.5`, expected an integer or a size expression at line 1 column 3"
        );
        assert!(error("\"x +\"").starts_with("in `x +` at byte 3: expected "));
    }
}
