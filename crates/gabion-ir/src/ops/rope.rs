//! `rope`: rotary position embedding.

use gabion_tensor::{Constraint, DType, Dim, HostTensor, Relation, TensorType};
use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use crate::builder::TensorValue;
use crate::op::{
    EvalCx, EvalError, HostTensors, InferCx, OpDef, Results, Tolerance, TypeError, operands,
};
use crate::ops::broadcasting::{broadcast_positions, require_broadcasts_to};
use crate::ops::lanes::from_f64;
use crate::ops::requirements::{float, rank_at_least, wide};
use crate::sample::{Sample, Sampler};

/// Which elements of a head form the pairs that are rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pairing {
    /// Element `i` with `i + r / 2`: Hugging Face's layout.
    Half,
    /// Element `2 i` with `2 i + 1`: the layout of the paper and of GGUF's llama.
    Interleaved,
}

/// Rotates pairs of `x [.., tokens, heads, head_dim]` by the angles whose `cos` and `sin`
/// `[.., tokens, r / 2]` are operands 1 and 2 (leading axes broadcast): `(a, b)` becomes
/// `(a cos - b sin, b cos + a sin)`. The first `r` elements of a head are rotated, the rest passes
/// through. Floats; the result has the type of `x`, computed wider and rounded once.
/// Su et al., "RoFormer", 2021.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rope {
    /// How elements are paired.
    pub pairing: Pairing,
}

impl Pairing {
    /// The places of pair `i` of `half` pairs.
    fn pair(self, i: usize, half: usize) -> (usize, usize) {
        match self {
            Pairing::Half => (i, i + half),
            Pairing::Interleaved => (2 * i, 2 * i + 1),
        }
    }
}

impl OpDef for Rope {
    const NAME: &'static str = "rope";

    fn infer(&self, args: &[TensorType], cx: &mut InferCx<'_>) -> Result<Results, TypeError> {
        let [x, cos, sin] = operands(args)?;
        for (i, arg) in args.iter().enumerate() {
            float(i, arg)?;
        }
        rank_at_least(0, 3, x)?;
        rank_at_least(1, 2, cos)?;
        if cos.shape.rank() != sin.shape.rank() {
            return Err(TypeError::rank(
                2,
                &format!("rank {} as operand 1", cos.shape.rank()),
                sin,
            ));
        }
        for (axis, (s, c)) in sin.shape.iter().zip(cos.shape.iter()).enumerate() {
            cx.require_eq(
                s,
                c,
                &format!("operand 2, axis {axis}: the size of operand 1"),
            )?;
        }
        let (rank, last) = (x.shape.rank(), cos.shape.rank() - 1);
        require_broadcasts_to(1, &cos.shape[..last], &x.shape[..rank - 2], cx)?;
        let (lhs, rhs) = (&cos.shape[last] * 2, x.shape[rank - 1].clone());
        let why =
            "twice the last axis of operand 1 is at most head_dim, the last axis of operand 0";
        cx.require(
            Constraint {
                lhs,
                relation: Relation::Le,
                rhs,
            },
            why,
        )?;
        Ok(smallvec![x.clone()])
    }

    fn eval(&self, args: &[HostTensor], _: &EvalCx<'_>) -> Result<HostTensors, EvalError> {
        let [x, cos, sin] = [&args[0], &args[1], &args[2]];
        let rank = x.rank();
        let (heads, head_dim) = (x.shape()[rank - 2], x.shape()[rank - 1]);
        let half = cos.shape()[cos.rank() - 1];
        if 2 * half > head_dim || cos.shape() != sin.shape() {
            return Err(EvalError::Value(format!(
                "cos {:?} and sin {:?} do not fit x {:?}",
                cos.shape(),
                sin.shape(),
                x.shape()
            )));
        }
        let rows = broadcast_positions(&cos.shape()[..cos.rank() - 1], &x.shape()[..rank - 2])?;
        let (cos, sin) = (cos.to_f64_vec()?, sin.to_f64_vec()?);
        let mut values = x.to_f64_vec()?;
        for (token, row) in rows.into_iter().enumerate() {
            for head in token * heads..(token + 1) * heads {
                for i in 0..half {
                    let (first, second) = self.pairing.pair(i, half);
                    let (at_a, at_b) = (head * head_dim + first, head * head_dim + second);
                    let (a, b) = (values[at_a], values[at_b]);
                    let (c, s) = (cos[row * half + i], sin[row * half + i]);
                    values[at_a] = a * c - b * s;
                    values[at_b] = b * c + a * s;
                }
            }
        }
        Ok(smallvec![from_f64(x.dtype(), x.shape(), values)?])
    }

    fn decompose<'g>(&self, args: &[TensorValue<'g>]) -> Option<Vec<TensorValue<'g>>> {
        let wide = wide(args[0].dtype());
        let x = args[0].cast(wide);
        // One angle for all heads.
        let (cos, sin) = (
            args[1].cast(wide).unsqueeze(-2),
            args[2].cast(wide).unsqueeze(-2),
        );
        let half = args[1].dim(-1);
        let rotated = &half * 2;
        let rest = &x.dim(-1) - &rotated;
        let mut parts = Vec::new();
        let [turning, passing] = match rest == Dim::ZERO {
            true => [x, x],
            false => x.split_n([rotated.clone(), rest.clone()], -1),
        };
        match self.pairing {
            Pairing::Half => {
                let [a, b] = turning.split_n([half.clone(), half], -1);
                parts.extend([a * cos - b * sin, b * cos + a * sin]);
            }
            Pairing::Interleaved => {
                let mut pairs = turning.shape().to_vec();
                let flat = pairs.clone();
                pairs.pop();
                pairs.extend([half, Dim::fixed(2)]);
                let pairs = turning.reshape(pairs);
                let (a, b) = (pairs.select(-1, 0), pairs.select(-1, 1));
                let joined = x
                    .builder()
                    .stack(&[a * cos - b * sin, b * cos + a * sin], -1);
                parts.push(joined.reshape(flat));
            }
        }
        if rest != Dim::ZERO {
            parts.push(passing);
        }
        Some(vec![x.builder().concat(&parts, -1).cast(args[0].dtype())])
    }

    fn tolerance(&self) -> Tolerance {
        // Two products and a sum in f32, whose result may cancel.
        Tolerance::Norm(1e-6)
    }

    fn sample(s: &mut Sampler) -> Sample {
        let half = s.choose(&[1, 2, 4, 8, 16, 5]);
        let head_dim = 2 * half + if s.one_in(3) { s.size(1, 5) } else { 0 };
        let batch_rank = s.size(0, 2);
        let mut shape = s.shape(batch_rank, 3);
        let (tokens, heads) = (s.size(1, 5), s.size(1, 4));
        let mut angles = if s.one_in(2) {
            shape.clone()
        } else {
            vec![1; s.size(0, batch_rank)]
        };
        shape.extend([tokens, heads, head_dim]);
        angles.extend([tokens, half]);
        let dtype = s.choose(&[DType::F32, DType::F32, DType::F16, DType::BF16, DType::F64]);
        let table = s.choose(&[DType::F32, dtype]);
        let pairing = s.choose(&[Pairing::Half, Pairing::Interleaved]);
        let (cos, sin) = (
            s.tensor_in(table, &angles, -1.0, 1.0),
            s.tensor_in(table, &angles, -1.0, 1.0),
        );
        Sample::new(Rope { pairing }, vec![s.tensor(dtype, &shape), cos, sin])
    }
}

impl<'g> TensorValue<'g> {
    /// Rotates pairs of each head; see [`Rope`].
    #[track_caller]
    pub fn rope(
        self,
        cos: TensorValue<'g>,
        sin: TensorValue<'g>,
        pairing: Pairing,
    ) -> TensorValue<'g> {
        self.builder().apply1(Rope { pairing }, &[self, cos, sin])
    }
}
