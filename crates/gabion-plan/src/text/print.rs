//! Printing a plan. The grammar is in [`super`].

use std::collections::BTreeMap;
use std::fmt::Write;

use gabion_tensor::{Dim, TensorType};
use serde_json::Value;

use super::attrs::{variant_of, write_attrs, write_attrs_tall, write_variant};
use super::cursor::is_bare_name;
use super::literal::write_literal;
use crate::plan::{Buffer, Place, Plan, PlanInput, PlanOutput, Step};
use crate::view::{Source, View};
use crate::weight::{Part, PartSource, PlanWeight};

/// Longer lines are broken.
const WIDTH: usize = 110;

pub(super) fn plan_text(plan: &Plan) -> String {
    let mut printer = Printer {
        plan,
        out: String::new(),
        buffers: labels(plan.buffers.iter().map(|b| b.name.as_str())),
        weights: labels(plan.weights.iter().map(|w| w.name.as_str())),
        next_input: 0,
    };
    printer.plan();
    printer.out
}

/// How each of a list is named: its name, with its number if others have the same.
fn labels<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Vec<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for name in names.clone() {
        *counts.entry(name).or_default() += 1;
    }
    names
        .enumerate()
        .map(|(id, name)| match counts[name] {
            1 => quoted(name),
            _ => format!("{}#{id}", quoted(name)),
        })
        .collect()
}

fn quoted(name: &str) -> String {
    // `donate` is a keyword where an input's name stands.
    if is_bare_name(name) && name != "donate" {
        name.to_owned()
    } else {
        Value::from(name).to_string()
    }
}

fn dims(dims: &[Dim]) -> String {
    let all: Vec<String> = dims.iter().map(Dim::to_string).collect();
    format!("[{}]", all.join(", "))
}

struct Printer<'p> {
    plan: &'p Plan,
    out: String,
    buffers: Vec<String>,
    weights: Vec<String>,
    /// Inputs before this one are printed.
    next_input: usize,
}

impl Printer<'_> {
    /// A line.
    fn line(&mut self, text: impl AsRef<str>) {
        self.out.push_str(text.as_ref());
        self.out.push('\n');
    }

    fn plan(&mut self) {
        let plan = self.plan;
        self.line(format!(
            "plan @{} target {} {{",
            quoted(&plan.name),
            quoted(&plan.target)
        ));
        let leading = (0..plan.buffers.len())
            .take_while(|&id| self.input_of(id).is_some())
            .count();
        (0..leading).for_each(|id| self.buffer(id));
        for constraint in plan.relations.iter() {
            self.line(format!("  require {constraint}"));
        }
        for guard in &plan.guards {
            self.line(format!(
                "  guard {} {}",
                guard.constraint,
                Value::from(guard.why.as_str())
            ));
        }
        for (id, weight) in plan.weights.iter().enumerate() {
            self.weight(id, weight);
        }
        (leading..plan.buffers.len()).for_each(|id| self.buffer(id));
        self.inputs_apart(plan.inputs.len());
        for (index, step) in plan.steps.iter().enumerate() {
            self.step(index, step);
        }
        for output in &plan.outputs {
            self.output(output);
        }
        self.line("}");
    }

    /// The input that one line can declare together with this buffer.
    fn input_of(&self, id: usize) -> Option<usize> {
        let buffer = &self.plan.buffers[id];
        let Place::Input(index) = buffer.place else {
            return None;
        };
        let input = self.plan.inputs.get(index)?;
        let together = index >= self.next_input
            && input.buffer.0 as usize == id
            && input.name == buffer.name
            && input.ty.dtype == buffer.dtype
            && input.ty.shape.numel() == buffer.elements
            // The inputs before it can be printed on lines of their own.
            && self.plan.inputs[self.next_input..index].iter().all(|i| (i.buffer.0 as usize) != id);
        together.then_some(index)
    }

    fn buffer(&mut self, id: usize) {
        let Buffer {
            dtype,
            elements,
            place,
            ..
        } = &self.plan.buffers[id];
        if let Some(index) = self.input_of(id) {
            self.inputs_apart(index);
            let PlanInput { ty, donated, .. } = &self.plan.inputs[index];
            let line = format!(
                "  input {}%{}: {ty}",
                if *donated { "donate " } else { "" },
                self.buffers[id]
            );
            self.line(line);
            self.next_input += 1;
            return;
        }
        let label = &self.buffers[id];
        let size = format!("{dtype}[{elements}]");
        let line = match place {
            Place::Input(index) => format!("  buffer %{label}: {size} of input {index}"),
            Place::Arena { offset, live } => {
                format!(
                    "  arena %{label}: {size} at [{offset}] live {}..{}",
                    live.first, live.last
                )
            }
            Place::Constant(data) => {
                let same = data.0.dtype() == *dtype
                    && elements.as_fixed() == i64::try_from(data.0.numel()).ok();
                let mut line = format!(
                    "  const %{label}{} = ",
                    if same {
                        String::new()
                    } else {
                        format!(": {size}")
                    }
                );
                write_literal(&mut line, &data.0, "  ");
                line
            }
        };
        self.line(line);
    }

    /// Inputs up to `end`, apart from their buffers.
    fn inputs_apart(&mut self, end: usize) {
        for input in &self.plan.inputs[self.next_input..end] {
            let donate = if input.donated { "donate " } else { "" };
            let buffer = reference(&self.buffers, input.buffer.0);
            self.line(format!(
                "  input {donate}{}: {} in %{buffer}",
                quoted(&input.name),
                input.ty
            ));
        }
        self.next_input = end;
    }

    fn weight(&mut self, id: usize, weight: &PlanWeight) {
        let mut head = format!("  weight @{}: {} ", self.weights[id], weight.ty);
        write_variant(&mut head, &weight.layout);
        if weight.parts.is_empty() && weight.segments.is_empty() {
            return self.line(head);
        }
        self.line(head + " {");
        for part in &weight.parts {
            self.line(part_line(part));
        }
        for segment in &weight.segments {
            let mut line = format!("    segment {}..{} ", segment.rows.start, segment.rows.end);
            write_variant(&mut line, &segment.arrangement);
            self.line(line);
        }
        self.line("  }");
    }

    fn step(&mut self, index: usize, step: &Step) {
        let scope = if step.scope.is_empty() {
            String::new()
        } else {
            format!(" {}", Value::from(step.scope.as_str()))
        };
        let (word, attrs) = variant_of(&step.kernel);
        let mut line = format!("  step {index}{scope}: {word}");
        let mut attrs = attrs.unwrap_or_default();
        if let crate::kernel::Kernel::Matmul(matmul) = &step.kernel {
            attrs.shift_remove("weight");
            let _ = write!(line, " @{}", reference(&self.weights, matmul.weight.0));
        }
        if !attrs.is_empty() {
            line.push(' ');
            let mut wide = String::new();
            write_attrs(&mut wide, &attrs);
            if line.len() + wide.len() <= WIDTH {
                line += &wide;
            } else {
                write_attrs_tall(&mut line, &attrs, "  ");
            }
        }
        self.line(line);
        self.views("reads", &step.reads);
        self.views("writes", &step.writes);
    }

    fn views(&mut self, word: &str, views: &[View]) {
        if views.is_empty() {
            return;
        }
        let all: Vec<String> = views.iter().map(|v| self.view(v)).collect();
        let line = format!("    {word} {}", all.join(", "));
        if line.len() <= WIDTH {
            self.line(line);
        } else {
            self.line(format!("    {word}\n      {}", all.join(",\n      ")));
        }
    }

    fn view(&self, view: &View) -> String {
        let mut text = match view.source {
            Source::Buffer(id) => format!("%{}", reference(&self.buffers, id.0)),
            Source::Weight(id) => format!("@{}", reference(&self.weights, id.0)),
        };
        text += &dims(&view.shape);
        if view.offset != Dim::fixed(0) {
            let _ = write!(text, " at [{}]", view.offset);
        }
        if view.strides != View::row_major(&view.shape) {
            let _ = write!(text, " strides {}", dims(&view.strides));
        }
        text
    }

    fn output(&mut self, output: &PlanOutput) {
        let ty = match implied_type(self.plan, &output.view) {
            Some(ty) if ty == output.ty => String::new(),
            _ => format!(": {}", output.ty),
        };
        self.line(format!(
            "  return {}{ty} = {}",
            quoted(&output.name),
            self.view(&output.view)
        ));
    }
}

fn reference(labels: &[String], id: u32) -> String {
    labels
        .get(id as usize)
        .cloned()
        .unwrap_or_else(|| format!("#{id}"))
}

/// The type that a view shows, if its source exists.
pub(super) fn implied_type(plan: &Plan, view: &View) -> Option<TensorType> {
    let dtype = match view.source {
        Source::Buffer(id) => plan.buffers.get(id.0 as usize)?.dtype,
        Source::Weight(id) => plan.weights.get(id.0 as usize)?.ty.dtype,
    };
    Some(TensorType::new(dtype, view.shape.clone()))
}

fn part_line(part: &Part) -> String {
    let mut line = format!("    rows {}..{} of ", part.rows.start, part.rows.end);
    match &part.source {
        PartSource::Checkpoint(name) => line += &Value::from(name.as_str()).to_string(),
        PartSource::Constant(data) => write_literal(&mut line, &data.0, "    "),
    }
    let _ = write!(line, ": {}", part.stored);
    for transform in &part.recipe {
        line += " then ";
        write_variant(&mut line, transform);
    }
    line
}
