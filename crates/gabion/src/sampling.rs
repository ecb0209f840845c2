//! Choosing the next token: greedy, or at random from the top of the distribution. Deterministic
//! from a seed.

/// How the next token is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Divides the logits; 0 is greedy.
    pub temperature: f32,
    /// Only this many best tokens; 0: all.
    pub top_k: usize,
    /// Only the best tokens whose probabilities sum to this; 1: all.
    pub top_p: f32,
    /// Where the random numbers begin.
    pub seed: u64,
}

impl Default for Sampling {
    /// Greedy.
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            seed: 0,
        }
    }
}

/// A setting that means nothing.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{name} must be {expected}, found {found}")]
pub struct SamplingError {
    /// The setting.
    pub name: &'static str,
    /// What it may be.
    pub expected: &'static str,
    /// What it is.
    pub found: String,
}

/// Chooses tokens.
#[derive(Clone, Debug)]
pub struct Sampler {
    sampling: Sampling,
    state: u64,
}

impl Sampler {
    /// A sampler.
    ///
    /// # Errors
    /// A negative or infinite temperature, a `top_p` outside `0 < p <= 1`.
    pub fn new(sampling: Sampling) -> Result<Self, SamplingError> {
        if !sampling.temperature.is_finite() || sampling.temperature < 0.0 {
            let found = sampling.temperature.to_string();
            return Err(SamplingError {
                name: "temperature",
                expected: "finite and at least 0",
                found,
            });
        }
        if !(sampling.top_p > 0.0 && sampling.top_p <= 1.0) {
            let found = sampling.top_p.to_string();
            return Err(SamplingError {
                name: "top-p",
                expected: "above 0 and at most 1",
                found,
            });
        }
        Ok(Self {
            sampling,
            state: sampling.seed,
        })
    }

    /// The next token's id; the first of equal logits when greedy. NaN logits are never chosen unless
    /// all are NaN.
    pub fn choose(&mut self, logits: &[f32]) -> u32 {
        if self.sampling.temperature == 0.0 {
            return argmax(logits);
        }
        let mut ranked: Vec<u32> = (0..logits.len() as u32)
            .filter(|&i| !logits[i as usize].is_nan())
            .collect();
        if ranked.is_empty() {
            return 0;
        }
        ranked.sort_by(|&a, &b| {
            logits[b as usize]
                .total_cmp(&logits[a as usize])
                .then(a.cmp(&b))
        });
        if self.sampling.top_k > 0 {
            ranked.truncate(self.sampling.top_k);
        }
        let best = logits[ranked[0] as usize];
        let temperature = self.sampling.temperature;
        let weight = |i: u32| f64::from((logits[i as usize] - best) / temperature).exp();
        let total: f64 = ranked.iter().map(|&i| weight(i)).sum();
        let mut kept = 0;
        let mut mass = 0.0;
        for &i in &ranked {
            mass += weight(i);
            kept += 1;
            if mass >= f64::from(self.sampling.top_p) * total {
                break;
            }
        }
        let mut at = self.random() * mass;
        for &i in &ranked[..kept] {
            at -= weight(i);
            if at <= 0.0 {
                return i;
            }
        }
        ranked[kept - 1]
    }

    /// A number in `0..1` (SplitMix64).
    fn random(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// The index of the largest logit, the first of equals.
pub fn argmax(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (i, &logit) in logits.iter().enumerate() {
        if logit > logits[best] || logits[best].is_nan() {
            best = i;
        }
    }
    best as u32
}

/// The `n` largest logits with their ids, descending, ties by id.
pub fn top_logits(logits: &[f32], n: usize) -> Vec<(u32, f32)> {
    let mut ranked: Vec<u32> = (0..logits.len() as u32).collect();
    ranked.sort_by(|&a, &b| {
        logits[b as usize]
            .total_cmp(&logits[a as usize])
            .then(a.cmp(&b))
    });
    ranked
        .into_iter()
        .take(n)
        .map(|i| (i, logits[i as usize]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [f32; 5] = [1.0, 3.0, 3.0, f32::NAN, -2.0];

    #[test]
    fn greedy_takes_the_first_of_equals_and_no_nan() {
        assert_eq!(argmax(&LOGITS), 1);
        assert_eq!(argmax(&[f32::NAN, 0.0]), 1);
        assert_eq!(
            Sampler::new(Sampling::default()).unwrap().choose(&LOGITS),
            1
        );
    }

    #[test]
    fn the_same_seed_gives_the_same_tokens() {
        let sampling = Sampling {
            temperature: 1.0,
            seed: 7,
            ..Sampling::default()
        };
        let draw = || {
            let mut sampler = Sampler::new(sampling).unwrap();
            (0..50).map(|_| sampler.choose(&LOGITS)).collect::<Vec<_>>()
        };
        assert_eq!(draw(), draw());
        assert!(draw().iter().all(|&i| i != 3), "NaN is never drawn");
        assert!(draw().contains(&2) && draw().contains(&1));
    }

    #[test]
    fn top_k_and_top_p_cut_the_tail() {
        for sampling in [
            Sampling {
                temperature: 5.0,
                top_k: 2,
                top_p: 1.0,
                seed: 1,
            },
            Sampling {
                temperature: 0.5,
                top_k: 0,
                top_p: 0.9,
                seed: 1,
            },
        ] {
            let mut sampler = Sampler::new(sampling).unwrap();
            assert!(
                (0..200).all(|_| [1, 2].contains(&sampler.choose(&LOGITS))),
                "{sampling:?}"
            );
        }
    }

    #[test]
    fn settings_that_mean_nothing_are_refused() {
        let error = Sampler::new(Sampling {
            temperature: -1.0,
            ..Sampling::default()
        })
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "temperature must be finite and at least 0, found -1"
        );
        let error = Sampler::new(Sampling {
            top_p: 0.0,
            ..Sampling::default()
        })
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "top-p must be above 0 and at most 1, found 0"
        );
    }
}
