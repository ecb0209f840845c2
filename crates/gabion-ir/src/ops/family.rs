//! Operators that share a struct and differ in a function: the word in the text form is the
//! function's name, and the attributes are the struct's other fields.

use gabion_tensor::{BinaryFn, CompareFn, DType, ScalarError, UnaryFn};

use crate::op::{EvalError, TypeError};

macro_rules! family {
    ($(#[$doc:meta])* $op:ident, $func:ident, $unset:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $op {
            /// The function; it is the operator's word and no attribute.
            #[serde(skip, default = "unset")]
            pub func: $func,
        }

        impl $op {
            pub(crate) fn words() -> Vec<&'static str> {
                $func::ALL.iter().map(|f| f.name()).collect()
            }

            pub(crate) fn named(word: &str, attrs: Attrs) -> Result<Self, serde_json::Error> {
                let mut op: Self = serde_json::from_value(serde_json::Value::Object(attrs))?;
                op.func = $func::from_name(word).unwrap_or($unset);
                Ok(op)
            }
        }
    };
}

macro_rules! family_words {
    () => {
        fn word(&self) -> &'static str {
            self.func.name()
        }

        fn words() -> Vec<&'static str> {
            Self::words()
        }

        fn from_word(word: &str, attrs: Attrs) -> Result<Self, serde_json::Error> {
            Self::named(word, attrs)
        }
    };
}

/// The function until [`OpDef::from_word`] sets the one that the word names.
pub(crate) trait Unset {
    const UNSET: Self;
}

impl Unset for UnaryFn {
    const UNSET: Self = UnaryFn::Neg;
}

impl Unset for BinaryFn {
    const UNSET: Self = BinaryFn::Add;
}

impl Unset for CompareFn {
    const UNSET: Self = CompareFn::Eq;
}

pub(crate) fn unset<T: Unset>() -> T {
    T::UNSET
}

impl From<ScalarError> for EvalError {
    fn from(error: ScalarError) -> Self {
        EvalError::Value(error.to_string())
    }
}

/// The function does not take this dtype.
pub(crate) fn refused(func: &str, dtype: DType) -> TypeError {
    TypeError::new(format!(
        "`{func}` is not defined on {dtype}: `cast` the operand"
    ))
}

pub(crate) use {family, family_words};
