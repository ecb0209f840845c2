//! Elementwise programs: every register is defined before it is used and has the dtype it needs.

use gabion_tensor::{DType, HostTensor, MapInstr, MapOp, MapProgram};

use super::steps::{StepCheck, Want};

impl StepCheck<'_, '_> {
    pub(super) fn program(&mut self, program: &MapProgram) {
        let step = self.step;
        if step.reads.len() != program.reads
            || step.writes.len() != program.results.len()
            || step.writes.is_empty()
        {
            return self.wrong_counts(&program.reads.to_string(), program.results.len().max(1));
        }
        let shape = &step.writes[0].shape;
        for (i, read) in step.reads.iter().enumerate() {
            self.expect(&format!("read {i}"), read, Want::Plain, shape);
        }
        let mut registers: Vec<DType> = step.reads.iter().map(|read| self.dtype(read)).collect();
        for (i, instr) in program.instrs.iter().enumerate() {
            // A wrong dtype is reported once, where it is stated.
            let (dtype, problem) = match instruction(instr, &registers) {
                Ok(dtype) if dtype == instr.dtype => (dtype, None),
                Ok(dtype) => (
                    dtype,
                    Some(format!(
                        "{} gives {dtype}, not {}",
                        name(&instr.op),
                        instr.dtype
                    )),
                ),
                Err(problem) => (instr.dtype, Some(problem)),
            };
            if let Some(problem) = problem {
                self.error(format!("instruction {i}: {problem}"));
            }
            registers.push(dtype);
        }
        for (i, (write, &register)) in step.writes.iter().zip(&program.results).enumerate() {
            match registers.get(usize::from(register)) {
                Some(&dtype) => self.expect(&format!("write {i}"), write, Want::Is(dtype), shape),
                None => self.error(format!("result {i}: register {register} is not defined")),
            }
        }
    }
}

/// The dtype of an instruction's result.
fn instruction(instr: &MapInstr, registers: &[DType]) -> Result<DType, String> {
    let MapInstr { op, args, dtype } = instr;
    let types: Result<Vec<DType>, String> = args
        .iter()
        .map(|&arg| {
            registers
                .get(usize::from(arg))
                .copied()
                .ok_or(format!("register {arg} is not defined"))
        })
        .collect();
    let types = types?;
    if types.len() != op.arity() {
        return Err(format!(
            "expected {} operands, found {}",
            op.arity(),
            types.len()
        ));
    }
    let (accepted, result) = match (op, types.as_slice()) {
        (MapOp::Unary(func), &[x]) => (func.accepts(x), func.result_dtype(x)),
        (MapOp::Binary(func), &[a, b]) => (a == b && func.accepts(a), a),
        (MapOp::Compare(func), &[a, b]) => (a == b && func.accepts(a), DType::Bool),
        (MapOp::Select, &[condition, a, b]) => (condition.is_bool() && a == b, a),
        (MapOp::Cast, _) => (!dtype.is_block(), *dtype),
        (MapOp::Const(value), _) => (holds(*dtype, *value), *dtype),
        // The arity was checked.
        (MapOp::Unary(_) | MapOp::Binary(_) | MapOp::Compare(_) | MapOp::Select, _) => {
            (false, *dtype)
        }
    };
    if accepted {
        return Ok(result);
    }
    let types: Vec<&str> = types.iter().map(|t| t.name()).collect();
    Err(match op {
        MapOp::Const(value) => format!("{value} is no {dtype}"),
        MapOp::Cast => format!("no cast from {} to {dtype}", types.join(", ")),
        MapOp::Unary(_) | MapOp::Binary(_) | MapOp::Compare(_) | MapOp::Select => {
            format!("{} does not take ({})", name(op), types.join(", "))
        }
    })
}

fn name(op: &MapOp) -> &'static str {
    match op {
        MapOp::Unary(func) => func.name(),
        MapOp::Binary(func) => func.name(),
        MapOp::Compare(func) => func.name(),
        MapOp::Select => "select",
        MapOp::Cast => "cast",
        MapOp::Const(_) => "const",
    }
}

/// True if the number is one of the dtype's.
fn holds(dtype: DType, value: f64) -> bool {
    let back = HostTensor::scalar(value)
        .cast(dtype)
        .and_then(|t| t.to_f64_vec());
    match back.as_deref() {
        Ok([back]) => *back == value || (back.is_nan() && value.is_nan()),
        _ => false,
    }
}
