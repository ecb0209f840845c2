//! A small plan in text form that uses most of what a plan has: the attention half of a
//! transformer layer with a cache. Tests of the text form and of the verifier start from it.

/// The canonical text.
pub(crate) fn attention_plan_text() -> String {
    include_str!("sample.plan").to_owned()
}
