//! Straight-line elementwise programs: what a fused chain of elementwise operators computes. The
//! graph's `fused_map` and the plan's `map` kernel hold the same program.

use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};

use crate::{BinaryFn, CompareFn, DType, UnaryFn};

/// Register `i` is operand `i` for `i < reads`, then one register per instruction.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MapProgram {
    /// How many operands there are.
    pub reads: usize,
    /// The instructions.
    pub instrs: Vec<MapInstr>,
    /// The register of each result.
    pub results: Vec<u16>,
}

/// One instruction.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MapInstr {
    /// What is computed.
    pub op: MapOp,
    /// The operand registers.
    pub args: Vec<u16>,
    /// The dtype of the result and, for maths, of the computation (f16 and bf16 compute in f32 and
    /// round once). The result of a comparison is bool; its operands have one dtype.
    pub dtype: DType,
}

/// What one instruction computes. Equality and hashing see a constant's bits.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MapOp {
    /// One operand.
    Unary(UnaryFn),
    /// Two operands of the instruction's dtype.
    Binary(BinaryFn),
    /// Two operands of one dtype.
    Compare(CompareFn),
    /// `args[0] ? args[1] : args[2]`.
    Select,
    /// Conversion to the instruction's dtype.
    Cast,
    /// A number, exact for the dtype. Serialises as a number, or as "nan", "inf", "-inf".
    Const(#[serde(with = "number")] f64),
}

impl MapOp {
    fn key(&self) -> (u8, u64) {
        match self {
            MapOp::Unary(f) => (0, *f as u64),
            MapOp::Binary(f) => (1, *f as u64),
            MapOp::Compare(f) => (2, *f as u64),
            MapOp::Select => (3, 0),
            MapOp::Cast => (4, 0),
            MapOp::Const(x) => (5, x.to_bits()),
        }
    }

    /// How many operands the instruction has.
    pub fn arity(&self) -> usize {
        match self {
            MapOp::Const(_) => 0,
            MapOp::Unary(_) | MapOp::Cast => 1,
            MapOp::Binary(_) | MapOp::Compare(_) => 2,
            MapOp::Select => 3,
        }
    }
}

impl PartialEq for MapOp {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for MapOp {}

impl Hash for MapOp {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

/// Serde for f64 attributes: numbers that JSON lacks become words.
pub mod number {
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes a number or a word.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        if value.is_nan() {
            serializer.serialize_str("nan")
        } else if value.is_infinite() {
            serializer.serialize_str(if *value > 0.0 { "inf" } else { "-inf" })
        } else {
            serializer.serialize_f64(*value)
        }
    }

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Repr {
        Number(f64),
        Word(String),
    }

    /// Reads a number or a word.
    ///
    /// # Errors
    /// Anything else.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        match Repr::deserialize(deserializer)? {
            Repr::Number(x) => Ok(x),
            Repr::Word(w) => match w.as_str() {
                "nan" => Ok(f64::NAN),
                "inf" => Ok(f64::INFINITY),
                "-inf" => Ok(f64::NEG_INFINITY),
                other => Err(serde::de::Error::custom(format!("`{other}` is no number"))),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instr(op: MapOp, args: &[u16]) -> MapInstr {
        MapInstr {
            op,
            args: args.to_vec(),
            dtype: DType::F32,
        }
    }

    #[test]
    fn programs_read_back_with_every_constant() {
        let constants = [
            0.1,
            -0.0,
            1e-310,
            f64::MAX,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
        ];
        let mut instrs: Vec<MapInstr> = constants.map(|x| instr(MapOp::Const(x), &[])).into();
        instrs.push(instr(MapOp::Unary(UnaryFn::GeluErf), &[0]));
        instrs.push(instr(MapOp::Binary(BinaryFn::FloorDiv), &[0, 1]));
        instrs.push(instr(MapOp::Compare(CompareFn::Le), &[0, 1]));
        instrs.push(instr(MapOp::Select, &[9, 0, 1]));
        instrs.push(instr(MapOp::Cast, &[2]));
        let program = MapProgram {
            reads: 1,
            instrs,
            results: vec![8, 11],
        };
        let json = serde_json::to_string(&program).unwrap();
        assert_eq!(serde_json::from_str::<MapProgram>(&json).unwrap(), program);
        for instr in &program.instrs {
            assert_eq!(instr.op.arity(), instr.args.len(), "{:?}", instr.op);
        }
        let error = serde_json::from_str::<MapOp>(r#"{"const":"one"}"#).unwrap_err();
        assert_eq!(error.to_string(), "`one` is no number");
    }

    #[test]
    fn constants_are_compared_by_their_bits() {
        assert_eq!(MapOp::Const(f64::NAN), MapOp::Const(f64::NAN));
        assert_ne!(MapOp::Const(0.0), MapOp::Const(-0.0));
        assert_ne!(MapOp::Binary(BinaryFn::Add), MapOp::Compare(CompareFn::Eq));
    }
}
