//! `map`: runs an elementwise program over tiles that stay in the first cache.
#![allow(unsafe_code)]

use std::sync::Arc;

use gabion_plan::RunError;
use gabion_tensor::{BinaryFn, CompareFn, DType, MapOp, MapProgram, UnaryFn};
use smallvec::SmallVec;

use super::rows::Flat;
use super::{Prepare, PreparedStep, StepCx, TILE, require_plain};
use crate::value::{self, Kind, Value, Values, ValuesMut, with_kind};

/// Registers that a program may have.
const MAX_REGISTERS: usize = 160;

struct Register {
    dtype: DType,
    kind: Kind,
    /// Where its tile is in the worker's scratch, in bytes.
    slot: usize,
}

struct Instr {
    op: MapOp,
    args: SmallVec<[u16; 3]>,
    register: usize,
}

struct MapStep {
    reads: Vec<Flat>,
    writes: Vec<Flat>,
    registers: Vec<Register>,
    instrs: Vec<Instr>,
    results: Vec<usize>,
    /// The last instruction may write its tile straight to this write.
    direct: Option<usize>,
    len: usize,
    scratch: usize,
    cost: usize,
    name: Arc<str>,
}

pub(super) fn prepare(
    cx: &Prepare<'_>,
    program: &MapProgram,
) -> Result<Box<dyn PreparedStep>, RunError> {
    let dtypes = register_dtypes(cx, program)?;
    let shape = &cx.write(0)?.shape;
    for (write, &result) in cx.writes.iter().zip(&program.results) {
        let found = dtypes.get(usize::from(result)).copied();
        cx.require(found == Some(write.dtype) && write.shape == *shape, || {
            format!("result {result} does not fit its write")
        })?;
    }
    let registers = allocate(program, &dtypes);
    let scratch = registers
        .iter()
        .map(|r| r.slot + r.kind.bytes() * TILE)
        .max()
        .unwrap_or(0);
    let instrs: Vec<Instr> = program
        .instrs
        .iter()
        .enumerate()
        .map(|(i, instr)| Instr {
            op: instr.op.clone(),
            args: instr.args.iter().copied().collect(),
            register: program.reads + i,
        })
        .collect();
    let reads = (0..program.reads).map(|index| Ok(Flat::new(cx.read(index)?)));
    let reads: Vec<Flat> = reads.collect::<Result<_, RunError>>()?;
    let len: usize = shape.iter().product();
    let weight = instrs.iter().map(instr_cost).sum::<usize>() + reads.len() + cx.writes.len();
    Ok(Box::new(MapStep {
        reads,
        writes: cx.writes.iter().map(Flat::new).collect(),
        registers,
        instrs,
        results: program.results.iter().map(|&r| usize::from(r)).collect(),
        direct: direct_write(cx, program),
        len,
        scratch,
        cost: len * weight / 8,
        name: cx.name.clone(),
    }))
}

/// The dtype of each register, reads first, of a program that fits its operands.
fn register_dtypes(cx: &Prepare<'_>, program: &MapProgram) -> Result<Vec<DType>, RunError> {
    let count = program.reads + program.instrs.len();
    cx.require(count <= MAX_REGISTERS, || {
        format!("{count} registers, at most {MAX_REGISTERS} are possible")
    })?;
    cx.require(program.results.len() == cx.writes.len(), || {
        "one write for each result is expected".into()
    })?;
    let shape = &cx.write(0)?.shape;
    let mut dtypes = Vec::with_capacity(count);
    for index in 0..program.reads {
        let read = cx.read(index)?;
        require_plain(cx, "an operand", read.dtype)?;
        cx.require(read.shape == *shape, || {
            format!("read {index} is {:?}, the write is {shape:?}", read.shape)
        })?;
        dtypes.push(read.dtype);
    }
    for (index, instr) in program.instrs.iter().enumerate() {
        check_instr(&instr.op, &instr.args, instr.dtype, &dtypes)
            .map_err(|problem| cx.wrong(format!("instruction {index}: {problem}")))?;
        dtypes.push(instr.dtype);
    }
    Ok(dtypes)
}

/// The write that the last instruction may write its tile to.
fn direct_write(cx: &Prepare<'_>, program: &MapProgram) -> Option<usize> {
    let last = (program.reads + program.instrs.len()).checked_sub(1)?;
    if program.instrs.is_empty() {
        return None;
    }
    let index = program
        .results
        .iter()
        .position(|&r| usize::from(r) == last)?;
    // Reads that overlap the write would be seen changed by the compiler's vector loops.
    let write = &cx.writes[index];
    let mut reads = cx.reads.iter().flatten();
    reads
        .all(|read| !cx.memory.may_overlap(read, write))
        .then_some(index)
}

/// Rough eighths of a nanosecond for an element.
fn instr_cost(instr: &Instr) -> usize {
    match instr.op {
        MapOp::Unary(func) if crate::kernels::lanes::vector_fn(func).is_some() => 8,
        MapOp::Unary(UnaryFn::Neg | UnaryFn::Abs | UnaryFn::Square | UnaryFn::Relu) => 1,
        MapOp::Unary(_) => 80,
        MapOp::Binary(BinaryFn::Pow | BinaryFn::Atan2 | BinaryFn::Mod) => 160,
        MapOp::Binary(_) | MapOp::Compare(_) | MapOp::Select | MapOp::Cast => 1,
        MapOp::Const(_) => 0,
    }
}

/// Whether an instruction has a meaning on these dtypes.
fn check_instr(op: &MapOp, args: &[u16], dtype: DType, dtypes: &[DType]) -> Result<(), String> {
    if args.len() != op.arity() {
        return Err(format!("{} operands, expected {}", args.len(), op.arity()));
    }
    let of = |i: usize| {
        dtypes
            .get(usize::from(args[i]))
            .copied()
            .ok_or("an operand is not there yet")
    };
    if dtype.is_block() {
        return Err(format!("{dtype} is no plain dtype"));
    }
    let holds = match op {
        MapOp::Unary(f) => f.accepts(of(0)?) && f.result_dtype(of(0)?) == dtype,
        MapOp::Binary(f) => f.accepts(dtype) && of(0)? == dtype && of(1)? == dtype,
        MapOp::Compare(f) => f.accepts(of(0)?) && of(0)? == of(1)? && dtype == DType::Bool,
        MapOp::Select => of(0)? == DType::Bool && of(1)? == dtype && of(2)? == dtype,
        MapOp::Cast => !of(0)?.is_block(),
        MapOp::Const(_) => true,
    };
    if holds {
        Ok(())
    } else {
        Err(format!("{op:?} does not take such operands"))
    }
}

/// Gives registers their memory; a slot is used again when its value is dead.
fn allocate(program: &MapProgram, dtypes: &[DType]) -> Vec<Register> {
    let count = dtypes.len();
    let mut last_use = vec![0; count];
    for (i, instr) in program.instrs.iter().enumerate() {
        for &arg in &instr.args {
            last_use[usize::from(arg)] = program.reads + i;
        }
    }
    for &result in &program.results {
        last_use[usize::from(result)] = usize::MAX;
    }
    let (mut free, mut slots): (Vec<usize>, usize) = (Vec::new(), 0);
    let mut registers: Vec<Register> = Vec::with_capacity(count);
    let constant = |i: usize| {
        i >= program.reads && matches!(program.instrs[i - program.reads].op, MapOp::Const(_))
    };
    for (i, &dtype) in dtypes.iter().enumerate() {
        // Constants are filled once for all tiles, so theirs are not shared.
        let slot = if constant(i) { None } else { free.pop() };
        let slot = slot.unwrap_or_else(|| {
            slots += 1;
            slots - 1
        });
        registers.push(Register {
            dtype,
            kind: Kind::of(dtype),
            slot: slot * 8 * TILE,
        });
        if i >= program.reads {
            for &arg in &program.instrs[i - program.reads].args {
                let arg = usize::from(arg);
                if last_use[arg] == i && !constant(arg) {
                    last_use[arg] = usize::MAX;
                    free.push(registers[arg].slot / (8 * TILE));
                }
            }
        }
    }
    registers
}

/// The addresses of the registers' tiles.
struct Tiles {
    at: [*mut u8; MAX_REGISTERS],
    len: usize,
}

impl Tiles {
    fn values<V: Value>(&self, register: u16) -> &[V] {
        // SAFETY: every register has room for a tile of its kind, or lies on memory that this step
        // reads; a program writes no register that an instruction still reads.
        unsafe { value::slice(self.at[usize::from(register)], self.len) }
    }

    #[allow(
        clippy::mut_from_ref,
        reason = "registers are apart; see the safety comment"
    )]
    fn values_mut<V: Value>(&self, register: usize) -> &mut [V] {
        // SAFETY: as above; a result never shares its slot with an operand of its instruction.
        unsafe { value::slice_mut(self.at[register], self.len) }
    }

    fn of_kind(&self, register: u16, kind: Kind) -> Values<'_> {
        match kind {
            Kind::F32 => Values::F32(self.values(register)),
            Kind::F64 => Values::F64(self.values(register)),
            Kind::I64 => Values::I64(self.values(register)),
            Kind::U64 => Values::U64(self.values(register)),
            Kind::Bool => Values::Bool(self.values(register)),
        }
    }

    fn of_kind_mut(&self, register: usize, kind: Kind) -> ValuesMut<'_> {
        match kind {
            Kind::F32 => ValuesMut::F32(self.values_mut(register)),
            Kind::F64 => ValuesMut::F64(self.values_mut(register)),
            Kind::I64 => ValuesMut::I64(self.values_mut(register)),
            Kind::U64 => ValuesMut::U64(self.values_mut(register)),
            Kind::Bool => ValuesMut::Bool(self.values_mut(register)),
        }
    }
}

impl PreparedStep for MapStep {
    fn scratch(&self) -> usize {
        self.scratch
    }

    fn cost(&self) -> usize {
        self.cost
    }

    fn run(&self, cx: &StepCx<'_>) -> Result<(), RunError> {
        let mut tiles = Tiles {
            at: [std::ptr::null_mut(); MAX_REGISTERS],
            len: TILE,
        };
        for (at, register) in tiles.at.iter_mut().zip(&self.registers) {
            *at = cx.scratch.wrapping_add(register.slot);
        }
        for instr in &self.instrs {
            if let MapOp::Const(number) = instr.op {
                self.fill(&tiles, instr.register, number);
            }
        }
        // Tiles start at multiples of a cache line of elements, so that workers share none.
        let mine = cx.share(self.len.div_ceil(64));
        let (mut start, end) = (mine.start * 64, (mine.end * 64).min(self.len));
        while start < end {
            tiles.len = TILE.min(end - start);
            self.tile(cx, &mut tiles, start)?;
            start += tiles.len;
        }
        Ok(())
    }
}

impl MapStep {
    fn fill(&self, tiles: &Tiles, register: usize, number: f64) {
        let (dtype, kind) = (
            self.registers[register].dtype,
            self.registers[register].kind,
        );
        let bits = value::number_bits(number, dtype).to_le_bytes();
        with_kind!(kind, V => {
            let mut one = [V::ZERO];
            // SAFETY: the bytes hold one element of the dtype; eight are enough for any, and an
            // array of u64 is aligned for all.
            unsafe { V::load([u64::from_le_bytes(bits)].as_ptr().cast(), dtype, 1, &mut one) };
            tiles.values_mut::<V>(register).fill(one[0]);
        });
    }

    fn tile(&self, cx: &StepCx<'_>, tiles: &mut Tiles, start: usize) -> Result<(), RunError> {
        for (index, read) in self.reads.iter().enumerate() {
            let register = &self.registers[index];
            match read.direct(cx, register.kind) {
                Some(at) => tiles.at[index] = at.wrapping_add(start * register.kind.bytes()),
                None => {
                    tiles.at[index] = cx.scratch.wrapping_add(register.slot);
                    with_kind!(register.kind, V => read.load(cx, start, tiles.values_mut::<V>(index)));
                }
            }
        }
        let mut stored = None;
        if let Some(index) = self.direct {
            let register = self.registers.len() - 1;
            let kind = self.registers[register].kind;
            if let Some(at) = self.writes[index].direct(cx, kind) {
                tiles.at[register] = at.wrapping_add(start * kind.bytes());
                stored = Some(index);
            }
        }
        for instr in &self.instrs {
            self.step(cx, tiles, instr)?;
        }
        for (index, (write, &result)) in self.writes.iter().zip(&self.results).enumerate() {
            if stored != Some(index) {
                let kind = self.registers[result].kind;
                with_kind!(kind, V => write.store(cx, start, tiles.values::<V>(result as u16)));
            }
        }
        Ok(())
    }

    fn step(&self, cx: &StepCx<'_>, tiles: &Tiles, instr: &Instr) -> Result<(), RunError> {
        let (args, to) = (&instr.args, instr.register);
        let result = &self.registers[to];
        let operand = |i: usize| &self.registers[usize::from(args[i])];
        match instr.op {
            MapOp::Const(_) => Ok(()),
            MapOp::Cast => {
                let from = tiles.of_kind(args[0], operand(0).kind);
                value::cast(&from, result.dtype, &mut tiles.of_kind_mut(to, result.kind));
                Ok(())
            }
            MapOp::Select => {
                let mask = tiles.values::<u8>(args[0]);
                if result.kind == Kind::F32 {
                    cx.kernels.lanes.select(
                        mask,
                        tiles.values(args[1]),
                        tiles.values(args[2]),
                        tiles.values_mut(to),
                    );
                } else {
                    with_kind!(result.kind, V => {
                        let (a, b) = (tiles.values::<V>(args[1]), tiles.values::<V>(args[2]));
                        for (((out, &m), &a), &b) in tiles.values_mut::<V>(to).iter_mut().zip(mask).zip(a).zip(b) {
                            *out = if m != 0 { a } else { b };
                        }
                    });
                }
                Ok(())
            }
            MapOp::Compare(func) => {
                compare(cx, tiles, func, operand(0).kind, args, to);
                Ok(())
            }
            MapOp::Unary(func) => self.unary(cx, tiles, func, args[0], to),
            MapOp::Binary(func) => self.binary(cx, tiles, func, args, to),
        }
    }

    fn unary(
        &self,
        cx: &StepCx<'_>,
        tiles: &Tiles,
        func: UnaryFn,
        arg: u16,
        to: usize,
    ) -> Result<(), RunError> {
        let operand = &self.registers[usize::from(arg)];
        let dtype = self.registers[to].dtype;
        match operand.kind {
            Kind::F32 if func.is_test() => {
                test(func, tiles.values::<f32>(arg), tiles.values_mut(to), |x| {
                    f64::from(x)
                })
            }
            Kind::F64 if func.is_test() => {
                test(func, tiles.values::<f64>(arg), tiles.values_mut(to), |x| x)
            }
            Kind::F32 => {
                let out = tiles.values_mut::<f32>(to);
                cx.kernels.lanes.unary(func, tiles.values(arg), out);
                f32::fit(dtype, out);
            }
            Kind::F64 => {
                if let Some(f) = func.f64_fn() {
                    each(tiles.values::<f64>(arg), tiles.values_mut(to), f);
                }
            }
            Kind::I64 => {
                let out = tiles.values_mut::<i64>(to);
                self.each_checked(tiles.values::<i64>(arg), out, |x| func.eval_i64(x))?;
                i64::fit(dtype, out);
            }
            Kind::U64 => {
                let out = tiles.values_mut::<u64>(to);
                self.each_checked(tiles.values::<u64>(arg), out, |x| func.eval_u64(x))?;
                u64::fit(dtype, out);
            }
            Kind::Bool => {
                let f = |x: u8| func.eval_bool(x != 0).map(u8::from);
                self.each_checked(tiles.values::<u8>(arg), tiles.values_mut(to), f)?;
            }
        }
        Ok(())
    }

    fn binary(
        &self,
        cx: &StepCx<'_>,
        tiles: &Tiles,
        func: BinaryFn,
        args: &[u16],
        to: usize,
    ) -> Result<(), RunError> {
        let (a, b) = (args[0], args[1]);
        let dtype = self.registers[to].dtype;
        match self.registers[to].kind {
            Kind::F32 => {
                let out = tiles.values_mut::<f32>(to);
                cx.kernels
                    .lanes
                    .binary(func, tiles.values(a), tiles.values(b), out);
                f32::fit(dtype, out);
            }
            Kind::F64 => {
                if let Some(f) = func.f64_fn() {
                    zip(tiles.values(a), tiles.values(b), tiles.values_mut(to), f);
                }
            }
            Kind::I64 => {
                let (a, b, out) = (
                    tiles.values::<i64>(a),
                    tiles.values::<i64>(b),
                    tiles.values_mut::<i64>(to),
                );
                match func {
                    BinaryFn::Add => zip(a, b, out, i64::wrapping_add),
                    BinaryFn::Sub => zip(a, b, out, i64::wrapping_sub),
                    BinaryFn::Mul => zip(a, b, out, i64::wrapping_mul),
                    _ => self.zip_checked(a, b, out, |a, b| func.eval_i64(a, b))?,
                }
                i64::fit(dtype, out);
            }
            Kind::U64 => {
                let (a, b, out) = (
                    tiles.values::<u64>(a),
                    tiles.values::<u64>(b),
                    tiles.values_mut::<u64>(to),
                );
                match func {
                    BinaryFn::Add => zip(a, b, out, u64::wrapping_add),
                    BinaryFn::Sub => zip(a, b, out, u64::wrapping_sub),
                    BinaryFn::Mul => zip(a, b, out, u64::wrapping_mul),
                    _ => self.zip_checked(a, b, out, |a, b| func.eval_u64(a, b))?,
                }
                u64::fit(dtype, out);
            }
            Kind::Bool => {
                let f = |a: u8, b: u8| func.eval_bool(a != 0, b != 0).map(u8::from);
                self.zip_checked(tiles.values(a), tiles.values(b), tiles.values_mut(to), f)?;
            }
        }
        Ok(())
    }

    fn each_checked<V: Copy, E: std::fmt::Display>(
        &self,
        x: &[V],
        out: &mut [V],
        f: impl Fn(V) -> Result<V, E>,
    ) -> Result<(), RunError> {
        for (out, &x) in out.iter_mut().zip(x) {
            *out = f(x).map_err(|e| self.value_error(e))?;
        }
        Ok(())
    }

    fn zip_checked<V: Copy, E: std::fmt::Display>(
        &self,
        a: &[V],
        b: &[V],
        out: &mut [V],
        f: impl Fn(V, V) -> Result<V, E>,
    ) -> Result<(), RunError> {
        for ((out, &a), &b) in out.iter_mut().zip(a).zip(b) {
            *out = f(a, b).map_err(|e| self.value_error(e))?;
        }
        Ok(())
    }

    fn value_error(&self, problem: impl std::fmt::Display) -> RunError {
        RunError::Value(format!("{}: {problem}", self.name))
    }
}

fn each<A: Copy, B>(x: &[A], out: &mut [B], f: impl Fn(A) -> B) {
    for (out, &x) in out.iter_mut().zip(x) {
        *out = f(x);
    }
}

fn zip<V: Copy>(a: &[V], b: &[V], out: &mut [V], f: impl Fn(V, V) -> V) {
    for ((out, &a), &b) in out.iter_mut().zip(a).zip(b) {
        *out = f(a, b);
    }
}

fn test<V: Copy>(func: UnaryFn, x: &[V], out: &mut [u8], widen: impl Fn(V) -> f64) {
    let holds = func.f64_fn().unwrap_or(|_| 0.0);
    each(x, out, |x| u8::from(holds(widen(x)) != 0.0));
}

fn compare(cx: &StepCx<'_>, tiles: &Tiles, func: CompareFn, kind: Kind, args: &[u16], to: usize) {
    let out = tiles.values_mut::<u8>(to);
    if kind == Kind::F32 {
        return cx
            .kernels
            .lanes
            .compare(func, tiles.values(args[0]), tiles.values(args[1]), out);
    }
    with_kind!(kind, V => {
        let (a, b) = (tiles.values::<V>(args[0]), tiles.values::<V>(args[1]));
        for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
            *out = u8::from(func.eval(a, b));
        }
    });
}
