//! Properties of dims and relations, on random expressions. An expression is a plain tree here, with a plain meaning
//! ([`expression::Expression::value`]) that knows nothing of canonical forms.

mod dims;
mod expression;
mod relations;
