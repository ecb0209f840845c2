//! Rotary frequencies as `config.json` describes them: which rule (`rope_type`), its numbers, and
//! the inverse frequencies that follow, in f32 as transformers computes them. The rotation itself
//! is in [`super`], the reading of the fields in [`super::fields`].

/// How the frequencies follow from the base.
#[derive(Clone, Debug, PartialEq)]
pub enum RopeScaling {
    /// `1 / theta^(2i/d)` (Su et al., arXiv:2104.09864).
    Default,
    /// All frequencies divided by a factor.
    Linear {
        /// The factor.
        factor: f64,
    },
    /// The base grows with the sequence beyond `max_positions`; up to there, which is the context
    /// length here, the frequencies are those of `Default`.
    Dynamic {
        /// The factor.
        factor: f64,
        /// `max_position_embeddings`.
        max_positions: usize,
    },
    /// Low frequencies divided, high ones kept, a blend between (Llama 3.1).
    Llama3 {
        /// The divisor of low frequencies.
        factor: f64,
        /// Wavelengths above `original / low_freq_factor` are low frequencies.
        low_freq_factor: f64,
        /// Wavelengths below `original / high_freq_factor` are high frequencies.
        high_freq_factor: f64,
        /// The context length before scaling.
        original: usize,
    },
    /// Blended by the number of rotations in the original context (Peng et al., arXiv:2309.00071).
    Yarn {
        /// The divisor of low frequencies.
        factor: f64,
        /// What cos and sin are multiplied by; `None` follows from factor and the two scales.
        attention_factor: Option<f64>,
        /// Numerator and denominator of the attention factor, if both are set.
        mscale: Option<(f64, f64)>,
        /// Rotations above which a dimension keeps its frequency.
        beta_fast: f64,
        /// Rotations below which a dimension is divided.
        beta_slow: f64,
        /// Whether the range of the blend is widened to whole dimensions.
        truncate: bool,
        /// The context length before scaling.
        original: usize,
    },
    /// A divisor for each frequency, one list for sequences up to the original context, one beyond
    /// (Ding et al., arXiv:2402.13753).
    LongRope {
        /// Divisors up to `original` positions.
        short: Vec<f64>,
        /// Divisors beyond.
        long: Vec<f64>,
        /// What cos and sin are multiplied by; `None` follows from factor and `original`.
        attention_factor: Option<f64>,
        /// Context length after scaling over that before.
        factor: f64,
        /// The context length before scaling.
        original: usize,
    },
}

/// Rotary embedding of one model.
#[derive(Clone, Debug, PartialEq)]
pub struct RopeConfig {
    /// The base of the frequencies (`rope_theta`).
    pub theta: f64,
    /// The leading part of each head that is rotated: even, at most the head's size.
    pub rotary_dim: usize,
    /// How the frequencies follow from the base.
    pub scaling: RopeScaling,
}

/// Inverse frequencies, `rotary_dim / 2` of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Frequencies {
    /// Radians per position.
    pub inv_freq: Vec<f32>,
    /// Beyond this many positions, these frequencies hold for the whole sequence.
    pub long: Option<(usize, Vec<f32>)>,
    /// What cos and sin are multiplied by.
    pub attention_factor: f32,
}

impl RopeConfig {
    /// The frequencies, each step in f32 in transformers' order.
    pub fn frequencies(&self) -> Frequencies {
        let (attention_factor, long) = (1.0, None);
        let inv_freq = match &self.scaling {
            RopeScaling::Default => self.base_frequencies(self.theta),
            RopeScaling::Linear { factor } => self
                .base_frequencies(self.theta)
                .iter()
                .map(|f| f / *factor as f32)
                .collect(),
            RopeScaling::Dynamic {
                factor,
                max_positions,
            } => {
                let (d, max) = (self.rotary_dim as f64, *max_positions as f64);
                let growth = (factor * max / max) - (factor - 1.0);
                self.base_frequencies(self.theta * libm::pow(growth, d / (d - 2.0)))
            }
            RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original,
            } => {
                let original = *original as f64;
                self.llama3(*factor, *low_freq_factor, *high_freq_factor, original)
            }
            RopeScaling::Yarn { .. } => return self.yarn(),
            RopeScaling::LongRope { .. } => return self.longrope(),
        };
        Frequencies {
            inv_freq,
            long,
            attention_factor,
        }
    }

    /// `theta^(2i/d)`: the exponent is rounded to f32, the power once more.
    fn powers(&self, theta: f64) -> impl Iterator<Item = f32> {
        let d = self.rotary_dim as f32;
        (0..self.rotary_dim / 2).map(move |i| {
            let exponent = (2 * i) as f32 / d;
            libm::pow(f64::from(theta as f32), f64::from(exponent)) as f32
        })
    }

    fn base_frequencies(&self, theta: f64) -> Vec<f32> {
        self.powers(theta).map(|p| 1.0 / p).collect()
    }

    fn llama3(&self, factor: f64, low: f64, high: f64, original: f64) -> Vec<f32> {
        let (factor, low32) = (factor as f32, low as f32);
        let (low_wavelength, high_wavelength) = ((original / low) as f32, (original / high) as f32);
        let scaled = |f: f32| {
            let wavelength = (1.0 / f) * (2.0 * std::f64::consts::PI) as f32;
            if wavelength > low_wavelength {
                f / factor
            } else if wavelength < high_wavelength {
                f
            } else {
                let smooth = ((1.0 / wavelength) * original as f32 - low32) / (high - low) as f32;
                (1.0 - smooth) * f / factor + smooth * f
            }
        };
        self.base_frequencies(self.theta)
            .into_iter()
            .map(scaled)
            .collect()
    }

    fn yarn(&self) -> Frequencies {
        let RopeScaling::Yarn {
            factor,
            attention_factor,
            mscale,
            beta_fast,
            beta_slow,
            truncate,
            original,
        } = &self.scaling
        else {
            return self.plain();
        };
        let d = self.rotary_dim as f64;
        let dimension = |rotations: f64| {
            d * libm::log(*original as f64 / (rotations * 2.0 * std::f64::consts::PI))
                / (2.0 * libm::log(self.theta))
        };
        let (mut low, mut high) = (dimension(*beta_fast), dimension(*beta_slow));
        if *truncate {
            (low, high) = (low.floor(), high.ceil());
        }
        (low, high) = (low.max(0.0), high.min(d - 1.0));
        if low == high {
            high += 0.001;
        }
        let blend = |(i, power): (usize, f32)| {
            let ramp = ((i as f32 - low as f32) / (high - low) as f32).clamp(0.0, 1.0);
            let keep = 1.0 - ramp;
            let (kept, divided) = (1.0 / power, 1.0 / (*factor as f32 * power));
            divided * (1.0 - keep) + kept * keep
        };
        let inv_freq = self.powers(self.theta).enumerate().map(blend).collect();
        let scale = |by: f64| {
            if *factor <= 1.0 {
                1.0
            } else {
                0.1 * by * libm::log(*factor) + 1.0
            }
        };
        let implied = mscale.map_or(scale(1.0), |(numerator, denominator)| {
            scale(numerator) / scale(denominator)
        });
        Frequencies {
            inv_freq,
            long: None,
            attention_factor: attention_factor.unwrap_or(implied) as f32,
        }
    }

    fn longrope(&self) -> Frequencies {
        let RopeScaling::LongRope {
            short,
            long,
            attention_factor,
            factor,
            original,
        } = &self.scaling
        else {
            return self.plain();
        };
        let divided = |by: &[f64]| -> Vec<f32> {
            self.powers(self.theta)
                .zip(by)
                .map(|(power, by)| 1.0 / (*by as f32 * power))
                .collect()
        };
        let implied = if *factor <= 1.0 {
            1.0
        } else {
            libm::sqrt(1.0 + libm::log(*factor) / libm::log(*original as f64))
        };
        Frequencies {
            inv_freq: divided(short),
            long: Some((*original, divided(long))),
            attention_factor: attention_factor.unwrap_or(implied) as f32,
        }
    }

    fn plain(&self) -> Frequencies {
        Frequencies {
            inv_freq: self.base_frequencies(self.theta),
            long: None,
            attention_factor: 1.0,
        }
    }
}
