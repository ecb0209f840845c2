//! Whether two tensors are as close as a [`Tolerance`] asks.

use gabion_tensor::{DType, HostTensor};

use crate::op::Tolerance;

/// The distance from 1 to the next number, and the exponent of the smallest normal one.
fn precision(dtype: DType) -> (f64, i32) {
    match dtype {
        DType::F16 => (2f64.powi(-10), -14),
        DType::BF16 => (2f64.powi(-7), -126),
        DType::F32 => (2f64.powi(-23), -126),
        _ => (2f64.powi(-52), -1022),
    }
}

/// The distance of neighbours near `x`.
fn ulp(x: f64, dtype: DType) -> f64 {
    let (step, least) = precision(dtype);
    let exponent = libm::ilogb(x).max(least);
    step * 2f64.powi(exponent)
}

impl Tolerance {
    /// Compares a result with the reference evaluator's.
    ///
    /// NaN is equal to NaN. Infinities are equal to themselves only. Integers, bools and block
    /// formats are equal bit for bit, whatever the tolerance. Under [`Tolerance::Norm`], elements
    /// of f16 and bf16 may also differ by one ulp: where the last rounding falls the other way.
    ///
    /// # Errors
    /// What differs: type, or the place and both values.
    pub fn check(self, found: &HostTensor, expected: &HostTensor) -> Result<(), String> {
        if (found.dtype(), found.shape()) != (expected.dtype(), expected.shape()) {
            return Err(format!(
                "expected {}{:?}, found {}{:?}",
                expected.dtype(),
                expected.shape(),
                found.dtype(),
                found.shape()
            ));
        }
        let dtype = expected.dtype();
        if !dtype.is_float() {
            return if found.bitwise_eq(expected) {
                Ok(())
            } else {
                Err(differing_bytes(found, expected))
            };
        }
        let read = |t: &HostTensor| t.to_f64_vec().map_err(|e| e.to_string());
        let (found, expected) = (read(found)?, read(expected)?);
        let (mut error, mut norm, mut worst) = (0.0f64, 0.0f64, (0, 0.0f64));
        for (i, (&a, &b)) in found.iter().zip(&expected).enumerate() {
            if a.is_nan() && b.is_nan() || a.to_bits() == b.to_bits() {
                norm += if b.is_finite() { b * b } else { 0.0 };
                continue;
            }
            let differs = || format!("element {i}: expected {b:?}, found {a:?}");
            if !a.is_finite() || !b.is_finite() {
                return Err(differs());
            }
            let limit = ulp(a.abs().max(b.abs()), dtype);
            match self {
                Tolerance::Exact => return Err(differs()),
                Tolerance::Ulps(ulps) if (a - b).abs() > ulps * limit => {
                    return Err(format!(
                        "{}: {} ulp apart, at most {ulps} allowed",
                        differs(),
                        (a - b).abs() / limit
                    ));
                }
                Tolerance::Ulps(_) => {}
                Tolerance::Norm(_) => {
                    let narrow = dtype == DType::F16 || dtype == DType::BF16;
                    let apart = if narrow {
                        ((a - b).abs() - limit).max(0.0)
                    } else {
                        (a - b).abs()
                    };
                    error += apart * apart;
                    norm += b * b;
                    if apart > worst.1 {
                        worst = (i, apart);
                    }
                }
            }
        }
        match self {
            Tolerance::Norm(rel) if error.sqrt() > rel * norm.sqrt() => {
                let (i, _) = worst;
                let relative = error.sqrt() / norm.sqrt();
                let (a, b) = (found[i], expected[i]);
                Err(format!(
                    "relative error {relative:e}, at most {rel:e} allowed; worst element {i}: expected {b:?}, found {a:?}"
                ))
            }
            Tolerance::Norm(_) | Tolerance::Exact | Tolerance::Ulps(_) => Ok(()),
        }
    }
}

fn differing_bytes(found: &HostTensor, expected: &HostTensor) -> String {
    let at = found
        .bytes()
        .iter()
        .zip(expected.bytes())
        .position(|(a, b)| a != b)
        .unwrap_or(0);
    let unit = expected.dtype().block_bytes().max(1);
    format!(
        "{}{:?} differs at element or block {}",
        expected.dtype(),
        expected.shape(),
        at / unit
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tolerance_accepts_and_refuses() {
        let of = |v: &[f32]| HostTensor::from_slice(&[v.len()], v).unwrap();
        let one = of(&[1.0, f32::NAN, f32::INFINITY, -2.0]);
        let near = of(&[1.0 + 2.0 * f32::EPSILON, f32::NAN, f32::INFINITY, -2.0]);
        assert!(Tolerance::Exact.check(&one, &one).is_ok());
        assert!(
            Tolerance::Exact
                .check(&near, &one)
                .unwrap_err()
                .contains("element 0")
        );
        assert!(Tolerance::Ulps(2.0).check(&near, &one).is_ok());
        assert!(
            Tolerance::Ulps(1.0)
                .check(&near, &one)
                .unwrap_err()
                .contains("2 ulp")
        );
        assert!(Tolerance::Norm(2e-7).check(&near, &one).is_ok());
        assert!(
            Tolerance::Norm(1e-8)
                .check(&near, &one)
                .unwrap_err()
                .contains("worst element 0")
        );
        let finite = of(&[1.0, 0.0, f32::INFINITY, -2.0]);
        assert!(
            Tolerance::Norm(1.0)
                .check(&finite, &one)
                .unwrap_err()
                .contains("element 1")
        );
        let signs = Tolerance::Exact.check(&of(&[-0.0]), &of(&[0.0]));
        assert!(
            signs
                .unwrap_err()
                .contains("element 0: expected 0.0, found -0.0")
        );
        let half = |v: f32| of(&[v]).cast(DType::F16).unwrap();
        assert!(
            Tolerance::Norm(1e-7)
                .check(&half(1.001), &half(1.0))
                .is_ok()
        );
        let far = Tolerance::Norm(1e-7).check(&half(1.01), &half(1.0));
        assert!(far.unwrap_err().contains("relative error"));
    }
}
