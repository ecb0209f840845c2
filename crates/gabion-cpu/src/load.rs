//! Loading a plan: packs its weights, checks that its steps only do what weights allow, and makes
//! sessions.

use std::collections::BTreeSet;
use std::sync::Arc;

use gabion_plan::{
    Kernel, Layout, LoadError, Loaded, Plan, PlanWeight, RunError, Session, Source, WeightId,
    WeightSource,
};
use gabion_tensor::Bindings;

use crate::pack::Arena;
use crate::recipe;
use crate::session::CpuSession;
use crate::step::Kernels;
use crate::tiled::{self, TiledWeight};
use crate::workers::Team;

/// A weight as kernels read it.
#[derive(Debug)]
pub(crate) enum LoadedWeight {
    /// Packed for matrix products.
    Tiles(Box<TiledWeight>),
    /// Row-major values of the weight's dtype.
    Dense(DenseWeight),
}

/// Row-major values.
#[derive(Debug)]
pub(crate) struct DenseWeight {
    memory: Arena,
    bytes: usize,
}

impl DenseWeight {
    /// Where they start, 64-byte aligned.
    pub(crate) fn as_ptr(&self) -> *const u8 {
        self.memory.as_ptr()
    }

    #[allow(unsafe_code)]
    fn as_bytes(&self) -> &[u8] {
        // SAFETY: loading wrote all of these bytes, and nobody writes any more.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr(), self.bytes) }
    }
}

/// What sessions share.
pub(crate) struct Model {
    pub(crate) plan: Arc<Plan>,
    pub(crate) weights: Vec<LoadedWeight>,
    pub(crate) team: Arc<Team>,
    pub(crate) kernels: Kernels,
    /// The inner sizes of all matrix products.
    pub(crate) depths: Vec<usize>,
}

/// A plan with its weights packed for this machine.
pub struct CpuLoaded {
    model: Arc<Model>,
}

impl CpuLoaded {
    /// Packs the weights, one after the other, each by all workers.
    pub(crate) fn new(
        plan: Arc<Plan>,
        source: &dyn WeightSource,
        team: Arc<Team>,
        kernels: Kernels,
    ) -> Result<CpuLoaded, LoadError> {
        check_steps(&plan)?;
        let mut weights = Vec::with_capacity(plan.weights.len());
        for weight in &plan.weights {
            weights.push(match weight.layout {
                Layout::Tiles => LoadedWeight::Tiles(Box::new(tiled::pack(&team, weight, source)?)),
                Layout::Dense => LoadedWeight::Dense(dense(weight, source)?),
            });
        }
        let depths: BTreeSet<usize> = weights
            .iter()
            .filter_map(|weight| match weight {
                LoadedWeight::Tiles(tiles) => Some(tiles.k()),
                LoadedWeight::Dense(_) => None,
            })
            .collect();
        Ok(CpuLoaded {
            model: Arc::new(Model {
                plan,
                weights,
                team,
                kernels,
                depths: depths.into_iter().collect(),
            }),
        })
    }

    /// The bytes of a weight as kernels read them, in the order that [`crate::PackedLayout`] tells of;
    /// `None` if the plan has no such weight.
    pub fn packed_bytes(&self, weight: WeightId) -> Option<&[u8]> {
        let weight = self.model.weights.get(weight.0 as usize)?;
        Some(match weight {
            LoadedWeight::Tiles(tiles) => tiles.packed.as_bytes(),
            LoadedWeight::Dense(dense) => dense.as_bytes(),
        })
    }

    /// A session, with its own methods (profiling) besides those of [`Session`].
    ///
    /// # Errors
    /// As [`Loaded::session`].
    pub fn cpu_session(&self, sizes: &Bindings) -> Result<CpuSession, RunError> {
        CpuSession::new(self.model.clone(), sizes)
    }
}

impl Loaded for CpuLoaded {
    fn plan(&self) -> &Plan {
        &self.model.plan
    }

    fn session(&self, sizes: &Bindings) -> Result<Box<dyn Session>, RunError> {
        Ok(Box::new(self.cpu_session(sizes)?))
    }

    fn packed_weight_bytes(&self) -> usize {
        let bytes = |weight: &LoadedWeight| match weight {
            LoadedWeight::Tiles(tiles) => tiles.packed.bytes(),
            LoadedWeight::Dense(dense) => dense.bytes,
        };
        self.model.weights.iter().map(bytes).sum()
    }
}

/// Evaluates the parts of a weight one after the other into one row-major memory.
fn dense(weight: &PlanWeight, source: &dyn WeightSource) -> Result<DenseWeight, LoadError> {
    let shape = weight.ty.shape.as_fixed();
    let total = shape.and_then(|shape| weight.ty.dtype.bytes_for(&shape));
    let Some(total) = total else {
        return Err(LoadError::Unsupported {
            executor: "cpu".to_owned(),
            problem: format!("weight `{}`: {} has no fixed size", weight.name, weight.ty),
        });
    };
    let memory = Arena::reserve(total).map_err(|e| LoadError::Setup(e.to_string()))?;
    let mut at = 0;
    for part in &weight.parts {
        let stored = recipe::fetch(part, source)?;
        let tensor = recipe::evaluate(part, &stored)?;
        let bytes = tensor.bytes();
        if tensor.dtype() != weight.ty.dtype || at + bytes.len() > total {
            return Err(LoadError::Mismatch {
                name: recipe::name(part).to_owned(),
                expected: format!("rows of `{}`: {}", weight.name, weight.ty),
                found: format!("{}{:?} after its recipe", tensor.dtype(), tensor.shape()),
            });
        }
        write(&memory, at, bytes);
        at += bytes.len();
        drop((tensor, stored));
        recipe::release(part, source);
    }
    if at != total {
        return Err(LoadError::Unsupported {
            executor: "cpu".to_owned(),
            problem: format!(
                "weight `{}`: its parts have {at} bytes, {} takes {total}",
                weight.name, weight.ty
            ),
        });
    }
    Ok(DenseWeight {
        memory,
        bytes: total,
    })
}

#[allow(unsafe_code)]
fn write(memory: &Arena, at: usize, bytes: &[u8]) {
    debug_assert!(at + bytes.len() <= memory.len());
    // SAFETY: the caller has checked that the bytes fit; nobody else knows the memory yet.
    unsafe {
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), memory.as_mut_ptr().add(at), bytes.len())
    };
}

/// Weights in tiles are read by matrix products and by row only.
fn check_steps(plan: &Plan) -> Result<(), LoadError> {
    let unsupported = |problem: String| LoadError::Unsupported {
        executor: "cpu".to_owned(),
        problem,
    };
    let layout = |id: WeightId| plan.weights.get(id.0 as usize).map(|w| (w, w.layout));
    for (index, step) in plan.steps.iter().enumerate() {
        let name = format!("step {index} `{}`", step.kernel.name());
        if let Kernel::Matmul(spec) = &step.kernel {
            match layout(spec.weight) {
                Some((_, Layout::Tiles)) => {}
                Some((weight, Layout::Dense)) => {
                    return Err(unsupported(format!(
                        "{name}: weight `{}` is not in tiles",
                        weight.name
                    )));
                }
                None => return Err(unsupported(format!("{name}: no weight {}", spec.weight.0))),
            }
        }
        for (read, view) in step.reads.iter().enumerate() {
            let Source::Weight(id) = view.source else {
                continue;
            };
            let by_row = matches!(step.kernel, Kernel::Gather { axis: 0 }) && read == 0;
            match layout(id) {
                Some((_, Layout::Dense)) => {}
                Some((_, Layout::Tiles)) if by_row => {}
                Some((weight, Layout::Tiles)) => {
                    return Err(unsupported(format!(
                        "{name} reads weight `{}`, which is in tiles",
                        weight.name
                    )));
                }
                None => return Err(unsupported(format!("{name}: no weight {}", id.0))),
            }
        }
        if let Some(view) = step.writes.iter().find(|view| view.weight().is_some()) {
            return Err(unsupported(format!(
                "{name} writes weight {:?}",
                view.source
            )));
        }
    }
    Ok(())
}
