//! `fused_map`: a chain of elementwise operators as one straight-line program. The compiler makes
//! it; its meaning is its instructions, one operator each.

use gabion_tensor::{DType, HostTensor, MapInstr, MapOp, MapProgram, TensorType};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::op::{EvalCx, EvalError, HostTensors, InferCx, OpDef, Results, Tolerance, TypeError};
use crate::ops::{Binary, Cast, Compare, Constant, Op, Unary, Where};
use crate::sample::{Sample, Sampler};

/// Operands broadcast by numpy's rules at each instruction; one result per `program.results`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FusedMap {
    /// The program.
    pub program: MapProgram,
}

/// The operator that one instruction stands for.
pub(crate) fn instruction_op(instr: &MapInstr) -> Result<Op, TypeError> {
    Ok(match &instr.op {
        MapOp::Unary(func) => Unary { func: *func }.into(),
        MapOp::Binary(func) => Binary { func: *func }.into(),
        MapOp::Compare(func) => Compare { func: *func }.into(),
        MapOp::Select => Where {}.into(),
        MapOp::Cast => Cast { dtype: instr.dtype }.into(),
        MapOp::Const(value) => exact_constant(instr.dtype, *value)?.into(),
    })
}

/// A scalar that the dtype holds exactly, as programs demand.
fn exact_constant(dtype: DType, value: f64) -> Result<Constant, TypeError> {
    let constant = Constant::scalar(dtype, value).map_err(TypeError::new)?;
    let held = constant.value().to_f64_vec().map_err(|e| TypeError::new(e.to_string()))?;
    match held.first() {
        Some(held) if *held == value || (held.is_nan() && value.is_nan()) => Ok(constant),
        _ => Err(TypeError::new(format!(
            "a program's constants are exact: {dtype} cannot hold {value}"
        ))),
    }
}

impl FusedMap {
    /// Runs `step` on every instruction with the registers it reads; the results' registers.
    fn walk<T: Clone, E>(
        &self,
        args: &[T],
        mut step: impl FnMut(&MapInstr, &[T]) -> Result<T, E>,
        broken: impl Fn(String) -> E,
    ) -> Result<Vec<T>, E> {
        let program = &self.program;
        if args.len() != program.reads || program.results.is_empty() {
            return Err(broken(format!(
                "the program reads {} operands, found {}",
                program.reads,
                args.len()
            )));
        }
        let mut registers: Vec<T> = args.to_vec();
        for (i, instr) in program.instrs.iter().enumerate() {
            let operands: Option<SmallVec<[T; 3]>> = instr
                .args
                .iter()
                .map(|&a| registers.get(usize::from(a)).cloned())
                .collect();
            let operands = operands
                .filter(|o| o.len() == instr.op.arity())
                .ok_or_else(|| {
                    broken(format!(
                        "instruction {i} has wrong operands {:?}",
                        instr.args
                    ))
                })?;
            let made = step(instr, &operands)?;
            registers.push(made);
        }
        program
            .results
            .iter()
            .map(|&r| {
                registers
                    .get(usize::from(r))
                    .cloned()
                    .ok_or_else(|| broken(format!("no register {r}")))
            })
            .collect()
    }
}

impl OpDef for FusedMap {
    const NAME: &'static str = "fused_map";

    fn infer(&self, args: &[TensorType], cx: &mut InferCx<'_>) -> Result<Results, TypeError> {
        let step = |instr: &MapInstr, operands: &[TensorType]| {
            let found = instruction_op(instr)?.infer(operands, cx)?.remove(0);
            if found.dtype == instr.dtype {
                Ok(found)
            } else {
                Err(TypeError::new(format!(
                    "an instruction states {} and gives {found}",
                    instr.dtype
                )))
            }
        };
        Ok(self.walk(args, step, TypeError::new)?.into())
    }

    fn eval(&self, args: &[HostTensor], cx: &EvalCx<'_>) -> Result<HostTensors, EvalError> {
        let step = |instr: &MapInstr, operands: &[HostTensor]| {
            let op = instruction_op(instr).map_err(|e| EvalError::Value(e.message))?;
            let types: SmallVec<[TensorType; 3]> = operands
                .iter()
                .map(|t| TensorType::new(t.dtype(), t.shape()))
                .collect();
            let relations = gabion_tensor::Relations::default();
            let results = op
                .infer(&types, &mut InferCx::new(&relations, None))
                .map_err(|e| EvalError::Value(e.message))?;
            Ok(op
                .eval(operands, &EvalCx::new(cx.bindings(), &results))?
                .remove(0))
        };
        Ok(self.walk(args, step, EvalError::Value)?.into())
    }

    fn tolerance(&self) -> Tolerance {
        // A few functions in a row, each within a few units in the last place.
        Tolerance::Ulps(64.0)
    }

    fn sample(s: &mut Sampler) -> Sample {
        use gabion_tensor::{BinaryFn, CompareFn, UnaryFn};
        let rank = s.size(0, 3);
        let shape = s.shape(rank, 6);
        let args = vec![
            s.tensor_with_specials(DType::F32, &shape),
            s.tensor(DType::F32, &shape),
        ];
        let f32 = DType::F32;
        let instr = |op, args: &[u16], dtype| MapInstr {
            op,
            args: args.to_vec(),
            dtype,
        };
        let func = s.choose(&[UnaryFn::Relu, UnaryFn::Neg, UnaryFn::Abs, UnaryFn::Silu]);
        let join = s.choose(&[BinaryFn::Add, BinaryFn::Mul, BinaryFn::Max, BinaryFn::Sub]);
        let instrs = vec![
            instr(MapOp::Unary(func), &[0], f32),
            instr(MapOp::Binary(join), &[2, 1], f32),
            instr(MapOp::Const(0.5), &[], f32),
            instr(MapOp::Compare(CompareFn::Lt), &[3, 4], DType::Bool),
            instr(MapOp::Select, &[5, 3, 1], f32),
        ];
        let results = if s.one_in(2) { vec![6] } else { vec![6, 3] };
        Sample::new(
            FusedMap {
                program: MapProgram {
                    reads: 2,
                    instrs,
                    results,
                },
            },
            args,
        )
    }
}
