//! The rules of [`super::known`] and [`super::wanted`] for the instructions of a `fused_map`.

use gabion_tensor::Bindings;
use smallvec::SmallVec;

use super::interval::{Interval, Wanted};
use super::{Asked, Seen, known, wanted};
use crate::ops::FusedMap;
use crate::ops::fused_map::instruction_op;

/// Every register: the operands, then what each instruction gives.
fn registers(map: &FusedMap, args: &[Seen], bindings: &Bindings) -> Option<Vec<Seen>> {
    let mut registers = args.to_vec();
    for instr in &map.program.instrs {
        let op = instruction_op(instr).ok()?;
        let operands = operands(&registers, &instr.args)?;
        let mut result = Seen::unknown(instr.dtype);
        result.known = known::known(&op, &operands, &[result.clone()], bindings)[0];
        registers.push(result);
    }
    Some(registers)
}

fn operands(registers: &[Seen], numbers: &[u16]) -> Option<SmallVec<[Seen; 4]>> {
    numbers
        .iter()
        .map(|&n| registers.get(usize::from(n)).cloned())
        .collect()
}

pub(super) fn known(
    map: &FusedMap,
    args: &[Seen],
    bindings: &Bindings,
) -> SmallVec<[Option<Interval>; 1]> {
    let registers = registers(map, args, bindings).unwrap_or_default();
    let of = |&n: &u16| registers.get(usize::from(n)).map(|r| r.known);
    map.program.results.iter().map(of).collect()
}

/// What the program's instructions ask of its operands.
pub(super) fn wanted(
    map: &FusedMap,
    args: &[Seen],
    results: &[Wanted],
    bindings: &Bindings,
) -> Option<Asked> {
    let registers = registers(map, args, bindings)?;
    let mut asked: Vec<Wanted> = registers.iter().map(|r| Wanted::any(r.dtype)).collect();
    for (&number, &result) in map.program.results.iter().zip(results) {
        let register = asked.get_mut(usize::from(number))?;
        *register = register.and(result);
    }
    for (i, instr) in map.program.instrs.iter().enumerate().rev() {
        let number = args.len() + i;
        let op = instruction_op(instr).ok()?;
        let operands = operands(&registers, &instr.args)?;
        let result = std::slice::from_ref(registers.get(number)?);
        let asks = wanted::wanted(&op, &operands, result, &[asked[number]], bindings);
        for (&n, ask) in instr.args.iter().zip(asks) {
            asked[usize::from(n)] = asked[usize::from(n)].and(ask);
        }
    }
    asked.truncate(args.len());
    Some(asked.into())
}
