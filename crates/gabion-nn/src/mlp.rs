//! The gated feed-forward block.

use gabion_ir::TensorValue;

use crate::activation::Activation;
use crate::linear::Linear;
use crate::scope::Scope;
use crate::stack::StackedLinear;

/// `down(act(gate(x)) · up(x))` (Shazeer, arXiv:2002.05202), gate and up as one stack.
#[derive(Clone, Debug)]
pub struct Mlp {
    /// The attribute of the parent module.
    pub name: String,
    /// gate and up, of one size.
    pub gate_up: StackedLinear,
    /// The gate's function.
    pub activation: Activation,
    /// Back to the width of the model.
    pub down: Linear,
}

impl Mlp {
    /// f32 `[.., hidden]` to f32 `[.., hidden]`. `scope` is the parent's.
    #[track_caller]
    pub fn forward<'g>(&self, scope: &Scope<'g>, x: TensorValue<'g>) -> TensorValue<'g> {
        let (scope, _open) = scope.enter(&self.name);
        let projected = self.gate_up.forward_split(&scope, x);
        let [gate, up] = projected[..] else {
            let message = format!(
                "`{}` needs 2 projections, found {}",
                self.name,
                projected.len()
            );
            return scope.builder().poison("mlp", message);
        };
        self.down.forward(&scope, self.activation.apply(gate) * up)
    }
}
