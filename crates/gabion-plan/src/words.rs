//! What a plan says, in words for people: one phrase for each transform, arrangement and epilogue, wherever it is shown.

use crate::kernel::{Epilogue, Kernel, NormKind, NormSpec};
use crate::plan::Plan;
use crate::weight::{Arrangement, Transform};

/// `cast to f32`.
pub fn transform(transform: &Transform) -> String {
    match transform {
        Transform::Cast { dtype } => format!("cast to {dtype}"),
        Transform::Clamp { min, max } => {
            let limit = |word, limit: &Option<f64>| limit.map(|x| format!(" {word} {x}"));
            let (min, max) = (limit("min", min), limit("max", max));
            format!(
                "clamp{}{}",
                min.unwrap_or_default(),
                max.unwrap_or_default()
            )
        }
        Transform::Transpose => "transpose".to_owned(),
        Transform::Reshape { shape } => format!("reshape to {shape:?}"),
    }
}

/// What is done in order while loading: `transpose, cast to f32`; "" where nothing is.
pub fn recipe(recipe: &[Transform]) -> String {
    let words: Vec<String> = recipe.iter().map(transform).collect();
    words.join(", ")
}

/// Which rows are computed together.
pub fn arrangement(arrangement: Arrangement) -> String {
    match arrangement {
        Arrangement::Plain => "plain".to_owned(),
        Arrangement::Halves { block } => format!("halves of blocks of {block} rows"),
    }
}

/// `silu of the first half, times the second`.
pub fn epilogue(epilogue: &Epilogue) -> String {
    match epilogue {
        Epilogue::Bias { .. } => "bias".to_owned(),
        Epilogue::Map { func } => func.name().to_owned(),
        Epilogue::Binary { func, .. } => format!("{} a tensor", func.name()),
        Epilogue::Scalar { func, value } => format!("{} {value}", func.name()),
        Epilogue::Glu { func } => format!("{} of the first half, times the second", func.name()),
        Epilogue::Rope { .. } => "rotary embedding".to_owned(),
        Epilogue::CacheWrite { .. } => "written into the cache".to_owned(),
    }
}

/// `rms_norm, eps 0.00001`.
pub fn norm(norm: NormSpec) -> String {
    let kind = match norm.kind {
        NormKind::Rms => "rms_norm",
        NormKind::Layer => "layer_norm",
        NormKind::LayerBias => "layer_norm with bias",
    };
    format!("{kind}, eps {}", norm.eps)
}

/// What follows a product, in order; "" where nothing does.
pub fn epilogues(epilogues: &[Epilogue]) -> String {
    let words: Vec<String> = epilogues.iter().map(epilogue).collect();
    words.join(", ")
}

/// What is said of a product that nothing follows.
pub const AS_IT_IS: &str = "written as they are";

/// For each weight, what products with it do with each of its segments. Where products of one weight do different things,
/// all of them, with ` / ` between. "" where nothing follows.
pub fn after_products(plan: &Plan) -> Vec<Vec<String>> {
    let mut all: Vec<Vec<Vec<String>>> = plan
        .weights
        .iter()
        .map(|weight| vec![Vec::new(); weight.segments.len()])
        .collect();
    for step in &plan.steps {
        let Kernel::Matmul(matmul) = &step.kernel else {
            continue;
        };
        let Some(segments) = all.get_mut(matmul.weight.0 as usize) else {
            continue;
        };
        for (said, output) in segments.iter_mut().zip(&matmul.outputs) {
            let words = match epilogues(&output.epilogue) {
                none if none.is_empty() => AS_IT_IS.to_owned(),
                words => words,
            };
            if !said.contains(&words) {
                said.push(words);
            }
        }
    }
    let joined = |said: &Vec<String>| match said.as_slice() {
        [only] if only == AS_IT_IS => String::new(),
        said => said.join(" / "),
    };
    let weights = all.iter();
    weights
        .map(|weight| weight.iter().map(joined).collect())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipes_say_their_transforms_in_order() {
        let clamp = |min, max| Transform::Clamp { min, max };
        let all = [
            Transform::Transpose,
            Transform::Reshape { shape: vec![4, 6] },
            clamp(Some(-0.5), None),
            clamp(None, Some(2.0)),
        ];
        let said = "transpose, reshape to [4, 6], clamp min -0.5, clamp max 2";
        assert_eq!(recipe(&all), said);
        assert_eq!(recipe(&[]), "");
        let halves = arrangement(Arrangement::Halves { block: 64 });
        assert_eq!(halves, "halves of blocks of 64 rows");
    }

    #[test]
    fn products_that_do_different_things_with_one_weight_say_each() {
        let text = crate::sample::attention_plan_text();
        let mut plan = Plan::parse(&text).expect("a plan");
        let said = [
            "rotary embedding",
            "rotary embedding, written into the cache",
            "written into the cache",
        ];
        let product = plan.steps.iter().find_map(|step| match &step.kernel {
            Kernel::Matmul(matmul) => Some((step.clone(), matmul.clone())),
            _ => None,
        });
        let (mut step, mut matmul) = product.expect("a product");
        let at = matmul.weight.0 as usize;
        assert_eq!(after_products(&plan)[at], said);
        matmul.outputs[0].epilogue = Vec::new();
        step.kernel = Kernel::Matmul(matmul);
        plan.steps.push(step.clone());
        let both = "rotary embedding / written as they are";
        assert_eq!(after_products(&plan)[at], [both, said[1], said[2]]);
        plan.steps = vec![step];
        assert_eq!(after_products(&plan)[at], ["", said[1], said[2]]);
    }
}
