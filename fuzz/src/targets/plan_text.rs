//! The text form and the verifier of plans: whatever is read is printed the same again, and nothing
//! panics.

use gabion_lower::{LowerOptions, lower};
use gabion_plan::{Plan, verify};

use super::graphs;
use crate::Target;
use crate::mutate::Form;
use crate::outcome::{accepted, refused};

/// See the module.
pub const TARGET: Target = Target {
    name: "plan_text",
    run,
    seeds,
    form: Form::Text,
};

/// A plan with every kind of statement.
const WRITTEN: &str = include_str!("../../../crates/gabion-plan/src/sample.plan");

fn seeds() -> Vec<Vec<u8>> {
    let target = gabion_cpu::cpu_target();
    let lowered = graphs::built()
        .into_iter()
        .filter_map(|graph| lower(&graph, &target, &LowerOptions::default()).ok()?.plan);
    let plans: Vec<String> = lowered.map(|plan| plan.to_text()).collect();
    let others = "plan @a target b {\n  input x: f32[n] in %y\n  buffer %y: f32[n] of input 0\n  const %c: f16[3] = q4_0[32] hex [\n    000102030405060708090a0b0c0d0e0f1011\n  ]\n  const %d = i64[5] fill 7\n  step 0: fill {value = \"nan\"}\n    writes %y[n]\n}\n";
    plans
        .into_iter()
        .chain([WRITTEN.to_owned(), others.to_owned()])
        .map(String::into_bytes)
        .collect()
}

/// One input.
pub fn run(bytes: &[u8]) -> u64 {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return 0;
    };
    match Plan::parse(text) {
        Ok(plan) => {
            let printed = plan.to_text();
            let again = Plan::parse(&printed)
                .unwrap_or_else(|e| panic!("printed text is not read back:\n{e}\n{printed}"));
            assert_eq!(again.to_text(), printed, "printing is not idempotent");
            match verify(&plan) {
                Ok(()) => accepted(plan.steps.len().min(12)),
                Err(errors) => refused(&errors.to_string()),
            }
        }
        Err(errors) => refused(&errors.to_string()),
    }
}
