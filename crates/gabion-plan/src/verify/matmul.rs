//! The contract of `matmul`: a prologue, and an epilogue and a write for each segment of the weight.

use gabion_tensor::{DType, Dim};

use super::steps::{StepCheck, Want};
use crate::kernel::{Epilogue, Matmul, NormKind, SegmentOutput};
use crate::view::View;
use crate::weight::{Arrangement, Layout, WeightSegment};

const F32: Want = Want::Is(DType::F32);

impl StepCheck<'_, '_> {
    pub(super) fn matmul(&mut self, matmul: &Matmul) {
        let (plan, step) = (self.check.plan, self.step);
        let Some(weight) = plan.weights.get(matmul.weight.0 as usize) else {
            return self.error(format!("weight {} does not exist", matmul.weight.0));
        };
        if weight.layout != Layout::Tiles {
            return self.error(format!(
                "expected a weight in tiles, found @{} dense",
                weight.name
            ));
        }
        let Some(x) = step.reads.first() else {
            return self.error("expected x as read 0, found no reads");
        };
        let Some((k, lead)) = x.shape.split_last() else {
            return self.error(format!("read 0: expected [.., K], found {}", x.shape));
        };
        let x_shape: Vec<Dim> = lead.iter().chain(weight.ty.shape.get(1)).cloned().collect();
        self.expect("read 0", x, F32, &x_shape);
        if let Some(norm) = &matmul.prologue {
            self.norm_vectors(norm.kind, k);
        }
        if matmul.outputs.len() != weight.segments.len() {
            let (found, name) = (matmul.outputs.len(), &weight.name);
            return self.error(format!(
                "expected an output for each of {} segments of @{name}, found {found}",
                weight.segments.len()
            ));
        }
        self.outputs(&matmul.outputs, &weight.segments, lead);
    }

    /// The reads after x: the norm's vectors.
    fn norm_vectors(&mut self, kind: NormKind, k: &Dim) {
        for index in 1..=kind.vectors() {
            let what = format!("read {index} (norm)");
            match self.step.reads.get(index) {
                Some(vector) => self.expect(&what, vector, Want::Float, std::slice::from_ref(k)),
                None => self.error(format!("{what} is missing")),
            }
        }
    }

    /// Each segment, and each write written by one.
    fn outputs(&mut self, outputs: &[SegmentOutput], segments: &[WeightSegment], lead: &[Dim]) {
        let mut written = vec![0usize; self.step.writes.len()];
        for (index, (output, segment)) in outputs.iter().zip(segments).enumerate() {
            if let Some(n) = written.get_mut(output.write) {
                *n += 1;
            }
            self.segment(index, output, segment, lead);
        }
        for (index, n) in written.into_iter().enumerate().filter(|&(_, n)| n != 1) {
            self.error(format!(
                "write {index} is the output of {n} segments, expected one"
            ));
        }
    }

    fn segment(
        &mut self,
        index: usize,
        output: &SegmentOutput,
        segment: &WeightSegment,
        lead: &[Dim],
    ) {
        let mut width = segment.rows.len();
        let mut cache = false;
        for epilogue in &output.epilogue {
            if cache {
                return self.error(format!("segment {index}: a cache write ends its epilogue"));
            }
            self.epilogue(index, epilogue, segment, lead, &mut width);
            cache = matches!(epilogue, Epilogue::CacheWrite { .. });
        }
        let Some(write) = self.step.writes.get(output.write) else {
            return self.error(format!(
                "segment {index}: write {} is missing",
                output.write
            ));
        };
        let what = format!("write {}", output.write);
        if cache {
            self.cache(&what, write, lead, width);
        } else {
            self.expect(&what, write, F32, &row_shape(lead, width));
        }
        self.dense_columns(&what, write);
    }

    /// One step of a segment's epilogue on rows of `width`, which pairs halve.
    fn epilogue(
        &mut self,
        index: usize,
        epilogue: &Epilogue,
        segment: &WeightSegment,
        lead: &[Dim],
        width: &mut usize,
    ) {
        match epilogue {
            Epilogue::Bias { read } => self.operand(index, "bias", *read, &[Dim::from(*width)]),
            Epilogue::Map { func } => {
                let fits = func.accepts(DType::F32) && !func.is_test();
                self.function(index, func.name(), fits);
            }
            Epilogue::Scalar { func, .. } => {
                self.function(index, func.name(), func.accepts(DType::F32));
            }
            Epilogue::Binary { func, read, .. } => {
                if self.function(index, func.name(), func.accepts(DType::F32)) {
                    self.operand(index, "operand", *read, &row_shape(lead, *width));
                }
            }
            Epilogue::Glu { .. } => match segment.arrangement {
                Arrangement::Halves { block } if block == segment.rows.len() && *width == block => {
                    *width /= 2;
                }
                Arrangement::Halves { .. } | Arrangement::Plain => {
                    let found = segment.arrangement;
                    self.error(format!("segment {index}: glu needs halves of one block of {width} rows, found {found:?}"));
                }
            },
            Epilogue::Rope { cos, sin } => match segment.arrangement {
                Arrangement::Halves { block } => {
                    self.operand(index, "cos", *cos, &row_shape(lead, block / 2));
                    self.operand(index, "sin", *sin, &row_shape(lead, block / 2));
                }
                Arrangement::Plain => self.error(format!(
                    "segment {index}: rope needs halves of one head, found Plain"
                )),
            },
            Epilogue::CacheWrite { position } => match self.step.reads.get(*position) {
                Some(view) => self.expect_scalar(&format!("read {position} (position)"), view),
                None => self.error(format!(
                    "segment {index}: read {position} (position) is missing"
                )),
            },
        }
    }

    /// True if a function is one of f32 numbers, else an error.
    fn function(&mut self, segment: usize, name: &str, fits: bool) -> bool {
        if !fits {
            self.error(format!(
                "segment {segment}: {name} is no function of f32 numbers"
            ));
        }
        fits
    }

    fn operand(&mut self, segment: usize, role: &str, read: usize, shape: &[Dim]) {
        match self.step.reads.get(read) {
            Some(view) => self.expect(&format!("read {read} ({role})"), view, F32, shape),
            None => self.error(format!(
                "segment {segment}: read {read} ({role}) is missing"
            )),
        }
    }

    /// A cache `[capacity, ..]` whose rows are as wide as the segment.
    fn cache(&mut self, what: &str, write: &View, lead: &[Dim], width: usize) {
        self.expect_dtype(what, write, F32);
        if lead.len() != 1 {
            return self.error(format!(
                "{what}: a cache is written by x of rank 2, found rank {}",
                lead.len() + 1
            ));
        }
        if !self.expect_rank(what, write, 2) {
            return;
        }
        let row: Dim = write.shape[1..].iter().product();
        if let Some(values) = self.check.sizes.differ(&row, &Dim::from(width)) {
            self.error(format!(
                "{what}: expected a cache with rows of {width} elements, found {}{values}",
                write.shape
            ));
        }
    }

    /// Rows may have any stride, their elements are neighbours.
    fn dense_columns(&mut self, what: &str, write: &View) {
        if let (Some(stride), Some(size)) = (write.strides.last(), write.shape.last())
            && *stride != Dim::ONE
            && *size != Dim::ONE
        {
            self.error(format!(
                "{what}: expected a stride of 1 along the last axis, found {stride}"
            ));
        }
    }
}

/// Rows of x with `columns` columns.
fn row_shape(lead: &[Dim], columns: usize) -> Vec<Dim> {
    lead.iter().cloned().chain([Dim::from(columns)]).collect()
}
