//! Elementwise operators as instructions of a straight-line program: for `fuse_elementwise`, which
//! makes programs of chains, and for the selection, where a single operator is a program of one.

use gabion_ir::ops::Constant;
use gabion_ir::{Graph, NodeId, Op, Value};
use gabion_tensor::{BinaryFn, DType, MapInstr, MapOp, MapProgram};
use indexmap::IndexMap;

use crate::class::{Class, Elementwise, class_of};

/// True for operators that compute each element from the elements at the same place.
pub fn is_elementwise(graph: &Graph, id: NodeId) -> bool {
    let Class::Elementwise(op) = class_of(graph.op(id)) else {
        return false;
    };
    match op {
        Elementwise::Unary(_)
        | Elementwise::Binary(_)
        | Elementwise::Compare(_)
        | Elementwise::Where
        | Elementwise::FusedMap(_) => true,
        Elementwise::Cast(_) | Elementwise::Clamp(_) => {
            !graph.value_type(graph.operands(id)[0]).dtype.is_block()
        }
    }
}

/// A number that every element of a constant has, if it is a scalar or filled with one.
pub fn scalar_constant(constant: &Constant) -> Option<f64> {
    let tensor = constant.value();
    if tensor.numel() != 1 || tensor.dtype().is_block() {
        return None;
    }
    let value = *tensor.to_f64_vec().ok()?.first()?;
    // 64-bit integers beyond 2^53 are no f64.
    let exact = !tensor.dtype().is_int() || value.abs() <= 9_007_199_254_740_992.0;
    exact.then_some(value)
}

/// A bound as the number of this dtype that it is rounded to; type inference has checked that the
/// dtype holds it.
fn rounded(value: f64, dtype: DType) -> f64 {
    let scalar = Constant::scalar(dtype, value)
        .ok()
        .and_then(|c| c.value().to_f64_vec().ok());
    scalar.and_then(|v| v.first().copied()).unwrap_or(value)
}

/// Builds a program bottom-up: operands become reads, operators instructions.
#[derive(Debug, Default)]
pub struct ProgramBuilder {
    reads: IndexMap<Value, DType>,
    // Registers of instructions are numbered from the number of reads, known only at the end.
    instrs: Vec<(MapOp, Vec<Register>, DType)>,
    registers: IndexMap<Value, Register>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Register {
    Read(usize),
    Instr(usize),
}

impl ProgramBuilder {
    /// The values that the program reads, in order.
    pub fn reads(&self) -> Vec<Value> {
        self.reads.keys().copied().collect()
    }

    fn push(&mut self, op: MapOp, args: Vec<Register>, dtype: DType) -> Register {
        self.instrs.push((op, args, dtype));
        Register::Instr(self.instrs.len() - 1)
    }

    fn register(&mut self, graph: &Graph, value: Value) -> (Register, DType) {
        let ty = graph.value_type(value);
        if let Some(register) = self.registers.get(&value) {
            return (*register, ty.dtype);
        }
        let scalar = if let Op::Constant(constant) = graph.op(value.node)
            && ty.shape.rank() == 0
        {
            scalar_constant(constant)
        } else {
            None
        };
        let register = match scalar {
            Some(number) => self.push(MapOp::Const(number), Vec::new(), ty.dtype),
            None => Register::Read(self.reads.insert_full(value, ty.dtype).0),
        };
        self.registers.insert(value, register);
        (register, ty.dtype)
    }

    fn cast(&mut self, (register, from): (Register, DType), to: DType) -> Register {
        if from == to {
            register
        } else {
            self.push(MapOp::Cast, vec![register], to)
        }
    }

    /// Adds an elementwise operator; its operands must have been added, or become reads. Any other
    /// operator is a read like an operand.
    pub fn add(&mut self, graph: &Graph, id: NodeId) {
        let Class::Elementwise(op) = class_of(graph.op(id)) else {
            return;
        };
        let operands = graph.operands(id);
        let args: Vec<(Register, DType)> =
            operands.iter().map(|v| self.register(graph, *v)).collect();
        let result = graph.node(id).results[0].dtype;
        let register = match op {
            Elementwise::Unary(unary) => {
                // A predicate gives bool and computes in its operand's dtype.
                self.push(MapOp::Unary(unary.func), vec![args[0].0], result)
            }
            Elementwise::Binary(binary) => {
                let (a, b) = (self.cast(args[0], result), self.cast(args[1], result));
                self.push(MapOp::Binary(binary.func), vec![a, b], result)
            }
            Elementwise::Compare(compare) => {
                let dtype = DType::promote(args[0].1, args[1].1).unwrap_or(args[0].1);
                let (a, b) = (self.cast(args[0], dtype), self.cast(args[1], dtype));
                self.push(MapOp::Compare(compare.func), vec![a, b], DType::Bool)
            }
            Elementwise::Where => {
                let (a, b) = (self.cast(args[1], result), self.cast(args[2], result));
                self.push(MapOp::Select, vec![args[0].0, a, b], result)
            }
            Elementwise::Cast(_) => self.cast(args[0], result),
            Elementwise::Clamp(clamp) => {
                let mut register = args[0].0;
                for (bound, func) in [(clamp.min, BinaryFn::Max), (clamp.max, BinaryFn::Min)] {
                    if let Some(bound) = bound {
                        let limit = self.push(
                            MapOp::Const(rounded(bound.get(), result)),
                            Vec::new(),
                            result,
                        );
                        register = self.push(MapOp::Binary(func), vec![register, limit], result);
                    }
                }
                register
            }
            Elementwise::FusedMap(fused) => self.inline(&fused.program, &args),
        };
        self.registers.insert(Value::new(id, 0), register);
    }

    fn inline(&mut self, program: &MapProgram, args: &[(Register, DType)]) -> Register {
        let mut registers: Vec<Register> = args.iter().map(|a| a.0).collect();
        for instr in &program.instrs {
            let operands = instr
                .args
                .iter()
                .map(|&r| registers[usize::from(r)])
                .collect();
            let register = self.push(instr.op.clone(), operands, instr.dtype);
            registers.push(register);
        }
        registers[usize::from(program.results[0])]
    }

    /// The number of instructions so far.
    pub fn len(&self) -> usize {
        self.instrs.len()
    }

    /// True without instructions.
    pub fn is_empty(&self) -> bool {
        self.instrs.is_empty()
    }

    /// The program whose results are the given values.
    pub fn finish(self, results: &[Value]) -> MapProgram {
        let reads = self.reads.len();
        let number = |register: &Register| match register {
            Register::Read(i) => *i as u16,
            Register::Instr(i) => (reads + i) as u16,
        };
        let instrs = self
            .instrs
            .iter()
            .map(|(op, args, dtype)| MapInstr {
                op: op.clone(),
                args: args.iter().map(number).collect(),
                dtype: *dtype,
            })
            .collect();
        let results = results
            .iter()
            .map(|v| self.registers.get(v).map_or(0, number))
            .collect();
        MapProgram {
            reads,
            instrs,
            results,
        }
    }
}
