//! Epilogues that see one element at a time: bias, scale, activation, residual.

use gabion_ir::Op;
use gabion_ir::ops::{Float, Fused};
use gabion_tensor::{BinaryFn, DType};

use super::Site;
use crate::rewriter::Verdict;
use crate::run::LowerError;
use gabion_ir::Value;

/// `stack + vector`.
pub(super) fn bias(site: &Site<'_>) -> Result<Verdict, LowerError> {
    let (Op::Binary(add), Some(other)) = (site.graph.op(site.user), site.other()) else {
        return Ok(Verdict::Skip);
    };
    let ty = site.graph.value_type(other);
    let segment = &site.stack.segments[site.at];
    let is_vector = ty.dtype == DType::F32
        && ty.shape.rank() == 1
        && ty.shape[0].as_fixed() == Some(segment.width() as i64)
        && segment.width() > 1
        && site.shape().rank() > 1;
    if add.func != BinaryFn::Add || !is_vector || !site.is_before(other) {
        return Ok(Verdict::Skip);
    }
    let label = format!("bias of rows {:?}", segment.rows);
    site.append(label, [other], Value::new(site.user, 0), |[extra]| {
        Fused::Bias { extra }
    })
}

/// `stack * number` and the like, where the number is a constant.
pub(super) fn scalar(site: &Site<'_>) -> Result<Verdict, LowerError> {
    let (Op::Binary(binary), Some(other)) = (site.graph.op(site.user), site.other()) else {
        return Ok(Verdict::Skip);
    };
    let Op::Constant(constant) = site.graph.op(other.node) else {
        return Ok(Verdict::Skip);
    };
    let tensor = constant.value();
    if tensor.numel() != 1 || tensor.dtype() != DType::F32 || tensor.rank() > site.shape().rank() {
        return Ok(Verdict::Skip);
    }
    if site.graph.node(site.user).results[0].shape != *site.shape() {
        return Ok(Verdict::Skip);
    }
    let commutes = matches!(
        binary.func,
        BinaryFn::Add | BinaryFn::Mul | BinaryFn::Max | BinaryFn::Min
    );
    let simple = matches!(binary.func, BinaryFn::Sub | BinaryFn::Div);
    if !(commutes || simple && site.operand == 0) {
        return Ok(Verdict::Skip);
    }
    let value = Float(tensor.to_f64_vec().map_err(LowerError::Tensor)?[0]);
    let label = format!(
        "{} {value} of rows {:?}",
        binary.func.name(),
        site.stack.segments[site.at].rows
    );
    let func = binary.func;
    site.append(label, [], Value::new(site.user, 0), |[]| Fused::Scalar {
        func,
        value,
    })
}

/// An activation.
pub(super) fn map(site: &Site<'_>) -> Result<Verdict, LowerError> {
    let Op::Unary(unary) = site.graph.op(site.user) else {
        return Ok(Verdict::Skip);
    };
    let rows = site.stack.segments[site.at].rows;
    if !site.target.epilogue_maps.contains(&unary.func) {
        let why = format!(
            "{} of rows {rows:?}: {} applies no such function while storing",
            unary.func.name(),
            site.target.name
        );
        return Ok(Verdict::Refuse(why));
    }
    let label = format!("{} of rows {rows:?}", unary.func.name());
    let func = unary.func;
    site.append(label, [], Value::new(site.user, 0), |[]| Fused::Map {
        func,
    })
}

/// A residual, or any other tensor of the same shape that is computed before.
pub(super) fn binary(site: &Site<'_>) -> Result<Verdict, LowerError> {
    let (Op::Binary(binary), Some(other)) = (site.graph.op(site.user), site.other()) else {
        return Ok(Verdict::Skip);
    };
    let simple = matches!(
        binary.func,
        BinaryFn::Add
            | BinaryFn::Sub
            | BinaryFn::Mul
            | BinaryFn::Div
            | BinaryFn::Max
            | BinaryFn::Min
    );
    if !simple {
        return Ok(Verdict::Skip);
    }
    let rows = site.stack.segments[site.at].rows;
    let (ty, own) = (
        site.graph.value_type(other),
        site.graph.value_type(site.value()),
    );
    if ty != own {
        let why = format!(
            "{} of rows {rows:?}: the other operand is {ty}, not {own}",
            binary.func.name()
        );
        return Ok(Verdict::Refuse(why));
    }
    if !site.is_before(other) {
        let why = format!(
            "{} of rows {rows:?}: the other operand depends on the stack",
            binary.func.name()
        );
        return Ok(Verdict::Refuse(why));
    }
    let (func, swapped) = (binary.func, site.operand == 1);
    let label = format!("{} of rows {rows:?} with a tensor", func.name());
    site.append(label, [other], Value::new(site.user, 0), |[extra]| {
        Fused::Binary {
            func,
            extra,
            swapped,
        }
    })
}
