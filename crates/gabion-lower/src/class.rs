//! What lowering sees in an operator: **the** match over [`Op`]. A new operator is given a class
//! here, and every decision that goes by operator matches classes without wildcards, so none of them
//! can take it for something else.

use gabion_ir::Op;
use gabion_ir::ops::{
    ArgReduce, Attention, Binary, CacheAppend, Cast, Clamp, Compare, Concat, Cumsum, Dequantize,
    FusedMap, Gather, GatherElements, LayerNorm, LogSoftmax, Matmul, Pad, Range, Reduce, Reshape,
    RmsNorm, Rope, Scatter, Slice, Softmax, Split, StackedMatmul, TopK, Transpose, Unary,
};

/// The class of an operator.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Class<'a> {
    /// A value from outside the graph.
    Leaf(Leaf),
    /// Each element comes from the elements at the same place.
    Elementwise(Elementwise<'a>),
    /// Elements move and stay what they are.
    Movement(Movement<'a>),
    /// Work that every target has a kernel for.
    Work(Work<'a>),
    /// Kept where the target names it, else decomposed.
    Composite(Composite<'a>),
    /// Always decomposed.
    Decomposed,
}

/// Values from outside the graph.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Leaf {
    Input,
    Weight,
    Constant,
}

/// Operators that are instructions of a map.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Elementwise<'a> {
    Unary(&'a Unary),
    Binary(&'a Binary),
    Compare(&'a Compare),
    Where,
    Clamp(&'a Clamp),
    Cast(&'a Cast),
    FusedMap(&'a FusedMap),
}

/// Operators that become views or copies.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Movement<'a> {
    Reshape(&'a Reshape),
    Transpose(&'a Transpose),
    Broadcast,
    Slice(&'a Slice),
    Split(&'a Split),
    Concat(&'a Concat),
    Pad(&'a Pad),
}

/// Operators that become steps of their own.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Work<'a> {
    Matmul(&'a Matmul),
    StackedMatmul(&'a StackedMatmul),
    Reduce(&'a Reduce),
    ArgReduce(&'a ArgReduce),
    TopK(&'a TopK),
    Cumsum(&'a Cumsum),
    Range(&'a Range),
    Gather(&'a Gather),
    GatherElements(&'a GatherElements),
    Scatter(&'a Scatter),
    CacheAppend(&'a CacheAppend),
    Quantize,
    Dequantize(&'a Dequantize),
}

/// Operators that some targets have kernels for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Composite<'a> {
    Softmax(&'a Softmax),
    LogSoftmax(&'a LogSoftmax),
    RmsNorm(&'a RmsNorm),
    LayerNorm(&'a LayerNorm),
    Rope(&'a Rope),
    Attention(&'a Attention),
}

/// The class of an operator.
pub(crate) fn class_of(op: &Op) -> Class<'_> {
    match op {
        Op::Input(_) => Class::Leaf(Leaf::Input),
        Op::Weight(_) => Class::Leaf(Leaf::Weight),
        Op::Constant(_) => Class::Leaf(Leaf::Constant),
        Op::Unary(op) => Class::Elementwise(Elementwise::Unary(op)),
        Op::Binary(op) => Class::Elementwise(Elementwise::Binary(op)),
        Op::Compare(op) => Class::Elementwise(Elementwise::Compare(op)),
        Op::Where(_) => Class::Elementwise(Elementwise::Where),
        Op::Clamp(op) => Class::Elementwise(Elementwise::Clamp(op)),
        Op::Cast(op) => Class::Elementwise(Elementwise::Cast(op)),
        Op::FusedMap(op) => Class::Elementwise(Elementwise::FusedMap(op)),
        Op::Reshape(op) => Class::Movement(Movement::Reshape(op)),
        Op::Transpose(op) => Class::Movement(Movement::Transpose(op)),
        Op::Broadcast(_) => Class::Movement(Movement::Broadcast),
        Op::Slice(op) => Class::Movement(Movement::Slice(op)),
        Op::Split(op) => Class::Movement(Movement::Split(op)),
        Op::Concat(op) => Class::Movement(Movement::Concat(op)),
        Op::Pad(op) => Class::Movement(Movement::Pad(op)),
        Op::Matmul(op) => Class::Work(Work::Matmul(op)),
        Op::StackedMatmul(op) => Class::Work(Work::StackedMatmul(op)),
        Op::Reduce(op) => Class::Work(Work::Reduce(op)),
        Op::ArgReduce(op) => Class::Work(Work::ArgReduce(op)),
        Op::TopK(op) => Class::Work(Work::TopK(op)),
        Op::Cumsum(op) => Class::Work(Work::Cumsum(op)),
        Op::Range(op) => Class::Work(Work::Range(op)),
        Op::Gather(op) => Class::Work(Work::Gather(op)),
        Op::GatherElements(op) => Class::Work(Work::GatherElements(op)),
        Op::Scatter(op) => Class::Work(Work::Scatter(op)),
        Op::CacheAppend(op) => Class::Work(Work::CacheAppend(op)),
        Op::Quantize(_) => Class::Work(Work::Quantize),
        Op::Dequantize(op) => Class::Work(Work::Dequantize(op)),
        Op::Softmax(op) => Class::Composite(Composite::Softmax(op)),
        Op::LogSoftmax(op) => Class::Composite(Composite::LogSoftmax(op)),
        Op::RmsNorm(op) => Class::Composite(Composite::RmsNorm(op)),
        Op::LayerNorm(op) => Class::Composite(Composite::LayerNorm(op)),
        Op::Rope(op) => Class::Composite(Composite::Rope(op)),
        Op::Attention(op) => Class::Composite(Composite::Attention(op)),
        Op::OneHot(_) => Class::Decomposed,
    }
}

/// Operators that a plan weight's recipe may hold, evaluated while loading.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LoadTime<'a> {
    /// A weight or a constant.
    Stored,
    Concat(&'a Concat),
    Cast(&'a Cast),
    Dequantize(&'a Dequantize),
    Clamp(&'a Clamp),
    Transpose(&'a Transpose),
    Reshape(&'a Reshape),
    Slice(&'a Slice),
}

/// The operator as part of a recipe; `None` where it can only run.
pub(crate) fn load_time(op: &Op) -> Option<LoadTime<'_>> {
    match class_of(op) {
        Class::Leaf(Leaf::Weight | Leaf::Constant) => Some(LoadTime::Stored),
        Class::Leaf(Leaf::Input) => None,
        Class::Elementwise(op) => match op {
            Elementwise::Cast(op) => Some(LoadTime::Cast(op)),
            Elementwise::Clamp(op) => Some(LoadTime::Clamp(op)),
            Elementwise::Unary(_)
            | Elementwise::Binary(_)
            | Elementwise::Compare(_)
            | Elementwise::Where
            | Elementwise::FusedMap(_) => None,
        },
        Class::Movement(op) => match op {
            Movement::Concat(op) => Some(LoadTime::Concat(op)),
            Movement::Transpose(op) => Some(LoadTime::Transpose(op)),
            Movement::Reshape(op) => Some(LoadTime::Reshape(op)),
            Movement::Slice(op) => Some(LoadTime::Slice(op)),
            Movement::Broadcast | Movement::Split(_) | Movement::Pad(_) => None,
        },
        Class::Work(Work::Dequantize(op)) => Some(LoadTime::Dequantize(op)),
        Class::Work(
            Work::Matmul(_)
            | Work::StackedMatmul(_)
            | Work::Reduce(_)
            | Work::ArgReduce(_)
            | Work::TopK(_)
            | Work::Cumsum(_)
            | Work::Range(_)
            | Work::Gather(_)
            | Work::GatherElements(_)
            | Work::Scatter(_)
            | Work::CacheAppend(_)
            | Work::Quantize,
        )
        | Class::Composite(_)
        | Class::Decomposed => None,
    }
}
