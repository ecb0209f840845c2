//! Reading a plan. The grammar is in [`super`]. A statement that cannot be read is reported, and
//! reading goes on at the next line that begins one.

use std::collections::BTreeMap;

use gabion_tensor::{DType, Dim, Guard, Relations, TensorType};
use serde_json::Value;

use super::attrs::variant_from;
use super::cursor::Cursor;
use super::error::{Fault, MAX_ERRORS, PlanTextErrors};
use super::print::implied_type;
use crate::kernel::Kernel;
use crate::plan::{Buffer, BufferId, Lifetime, Place, Plan, PlanInput, PlanOutput, Step};
use crate::view::{Source, View};
use crate::weight::{ConstantData, Part, PartSource, PlanWeight, WeightId, WeightSegment};

const STATEMENTS: [&str; 9] = [
    "input", "require", "guard", "weight", "arena", "const", "buffer", "step", "return",
];

pub(super) fn plan_of_text(text: &str) -> Result<Plan, PlanTextErrors> {
    let mut parser = Parser::new(text);
    let mut faults = Vec::new();
    match parser.head() {
        Ok((name, target)) => {
            parser.plan.name = name;
            parser.plan.target = target;
        }
        Err(fault) => {
            faults.push(fault);
            parser.cursor.recover(0, &STATEMENTS);
        }
    }
    loop {
        if faults.len() > MAX_ERRORS || (!faults.is_empty() && parser.cursor.at_end()) {
            return Err(PlanTextErrors::new(text, faults));
        }
        let at = parser.cursor.at();
        match parser.statement() {
            Ok(true) => {}
            Ok(false) => break,
            Err(fault) => {
                faults.push(fault);
                parser.cursor.recover(at, &STATEMENTS);
            }
        }
    }
    // A declaration that could not be read would make its uses look wrong.
    if faults.is_empty() {
        match parser.finish() {
            Ok(plan) => return Ok(plan),
            Err(found) => faults = found,
        }
    }
    Err(PlanTextErrors::new(text, faults))
}

/// A name or number that stands for a buffer or weight, to be looked up when all are declared.
struct Reference {
    at: usize,
    name: Option<String>,
    number: Option<u32>,
}

/// A view whose source is still a name.
struct ViewText {
    sigil: char,
    source: Reference,
    view: View,
}

struct StepText {
    at: usize,
    word: String,
    weight: Option<Reference>,
    attrs: Option<serde_json::Map<String, Value>>,
    scope: String,
    reads: Vec<ViewText>,
    writes: Vec<ViewText>,
}

struct Parser<'t> {
    cursor: Cursor<'t>,
    plan: Plan,
    /// The buffers of inputs that name one.
    input_buffers: Vec<(usize, Reference)>,
    steps: Vec<StepText>,
    outputs: Vec<(String, Option<TensorType>, ViewText)>,
}

impl<'t> Parser<'t> {
    fn new(text: &'t str) -> Self {
        let plan = Plan {
            name: String::new(),
            target: String::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            relations: Relations::new(),
            guards: Vec::new(),
            weights: Vec::new(),
            buffers: Vec::new(),
            steps: Vec::new(),
        };
        Self {
            cursor: Cursor::new(text),
            plan,
            input_buffers: Vec::new(),
            steps: Vec::new(),
            outputs: Vec::new(),
        }
    }

    fn head(&mut self) -> Result<(String, String), Fault> {
        self.cursor.expect_word("plan")?;
        self.cursor.expect("@")?;
        let name = self.cursor.name("the plan's name")?;
        self.cursor.expect_word("target")?;
        let target = self.cursor.name("the target's name")?;
        self.cursor.expect("{")?;
        Ok((name, target))
    }

    /// One line of the plan; false at its end.
    fn statement(&mut self) -> Result<bool, Fault> {
        if self.cursor.eat("}") {
            return if self.cursor.at_end() {
                Ok(false)
            } else {
                Err(self.cursor.fault("the end of the text"))
            };
        }
        let Some(word) = STATEMENTS
            .into_iter()
            .find(|word| self.cursor.eat_word(word))
        else {
            let expected = format!(
                "a statement ({}) or `}}`",
                STATEMENTS.map(|w| format!("`{w}`")).join(", ")
            );
            return Err(self.cursor.fault(expected));
        };
        match word {
            "input" => self.input()?,
            "require" => self.require()?,
            "guard" => self.guard()?,
            "weight" => self.weight()?,
            "arena" => self.arena()?,
            "const" => self.constant()?,
            "buffer" => self.buffer()?,
            "step" => self.step()?,
            _ => self.output()?,
        }
        Ok(true)
    }

    fn input(&mut self) -> Result<(), Fault> {
        let donated = self.cursor.eat_word("donate");
        let index = self.plan.inputs.len();
        if self.cursor.eat("%") {
            let name = self.declared(self.plan.buffers.len())?;
            self.cursor.expect(":")?;
            let ty = self.cursor.tensor_type()?;
            let buffer = BufferId(self.plan.buffers.len() as u32);
            let place = Place::Input(index);
            self.plan.buffers.push(Buffer {
                name: name.clone(),
                dtype: ty.dtype,
                elements: ty.shape.numel(),
                place,
            });
            self.plan.inputs.push(PlanInput {
                name,
                ty,
                buffer,
                donated,
            });
            return Ok(());
        }
        let name = self.cursor.name("`%` and the input's name")?;
        self.cursor.expect(":")?;
        let ty = self.cursor.tensor_type()?;
        self.cursor.expect_word("in")?;
        self.cursor.expect("%")?;
        let buffer = self.reference()?;
        self.input_buffers.push((index, buffer));
        self.plan.inputs.push(PlanInput {
            name,
            ty,
            buffer: BufferId(0),
            donated,
        });
        Ok(())
    }

    fn require(&mut self) -> Result<(), Fault> {
        let at = self.cursor.at();
        let constraint = self.cursor.constraint(&[])?;
        self.plan.relations.declare(constraint).map_err(|e| Fault {
            at,
            expected: "a relation that the others allow".to_owned(),
            found: e.to_string(),
        })
    }

    fn guard(&mut self) -> Result<(), Fault> {
        let constraint = self.cursor.constraint(&['"'])?;
        let why = self.cursor.string()?;
        self.plan.guards.push(Guard { constraint, why });
        Ok(())
    }

    fn weight(&mut self) -> Result<(), Fault> {
        self.cursor.expect("@")?;
        let name = self.declared(self.plan.weights.len())?;
        self.cursor.expect(":")?;
        let ty = self.cursor.tensor_type()?;
        let at = self.cursor.at();
        let layout = variant_from("a layout", at, self.cursor.word("a layout")?, None)?;
        let mut weight = PlanWeight {
            name,
            ty,
            parts: Vec::new(),
            layout,
            segments: Vec::new(),
        };
        if self.cursor.eat("{") {
            while !self.cursor.eat("}") {
                if self.cursor.eat_word("rows") {
                    weight.parts.push(self.part()?);
                } else if self.cursor.eat_word("segment") {
                    let rows = self.cursor.range()?;
                    weight.segments.push(WeightSegment {
                        rows,
                        arrangement: self.cursor.variant("an arrangement")?,
                    });
                } else {
                    return Err(self.cursor.fault("`rows`, `segment` or `}`"));
                }
            }
        }
        self.plan.weights.push(weight);
        Ok(())
    }

    fn part(&mut self) -> Result<Part, Fault> {
        let rows = self.cursor.range()?;
        self.cursor.expect_word("of")?;
        let source = if self.cursor.peek("\"") {
            PartSource::Checkpoint(self.cursor.string()?)
        } else {
            PartSource::Constant(ConstantData(self.cursor.literal()?))
        };
        self.cursor.expect(":")?;
        let stored = self.cursor.tensor_type()?;
        let mut recipe = Vec::new();
        while self.cursor.eat_word("then") {
            recipe.push(self.cursor.variant("a transform")?);
        }
        Ok(Part {
            source,
            stored,
            recipe,
            rows,
        })
    }

    fn arena(&mut self) -> Result<(), Fault> {
        self.cursor.expect("%")?;
        let name = self.declared(self.plan.buffers.len())?;
        let (dtype, elements) = self.size()?;
        self.cursor.expect_word("at")?;
        let offset = self.cursor.single_dim()?;
        self.cursor.expect_word("live")?;
        let live = self.cursor.range()?;
        let place = Place::Arena {
            offset,
            live: Lifetime {
                first: live.start,
                last: live.end,
            },
        };
        self.plan.buffers.push(Buffer {
            name,
            dtype,
            elements,
            place,
        });
        Ok(())
    }

    fn constant(&mut self) -> Result<(), Fault> {
        self.cursor.expect("%")?;
        let name = self.declared(self.plan.buffers.len())?;
        let size = if self.cursor.peek(":") {
            Some(self.size()?)
        } else {
            None
        };
        self.cursor.expect("=")?;
        let data = self.cursor.literal()?;
        let (dtype, elements) = size.unwrap_or_else(|| (data.dtype(), Dim::from(data.numel())));
        self.plan.buffers.push(Buffer {
            name,
            dtype,
            elements,
            place: Place::Constant(ConstantData(data)),
        });
        Ok(())
    }

    fn buffer(&mut self) -> Result<(), Fault> {
        self.cursor.expect("%")?;
        let name = self.declared(self.plan.buffers.len())?;
        let (dtype, elements) = self.size()?;
        self.cursor.expect_word("of")?;
        self.cursor.expect_word("input")?;
        let place = Place::Input(self.cursor.digits("the number of an input")?);
        self.plan.buffers.push(Buffer {
            name,
            dtype,
            elements,
            place,
        });
        Ok(())
    }

    /// `: f32[576*tokens]`.
    fn size(&mut self) -> Result<(DType, Dim), Fault> {
        self.cursor.expect(":")?;
        Ok((self.cursor.dtype()?, self.cursor.single_dim()?))
    }

    fn step(&mut self) -> Result<(), Fault> {
        if self.cursor.peek_digit() {
            let at = self.cursor.at();
            let number: usize = self.cursor.digits("the step's number")?;
            if number != self.steps.len() {
                let expected = format!("step number {}", self.steps.len());
                return Err(Fault {
                    at,
                    expected,
                    found: format!("`{number}`"),
                });
            }
        }
        let scope = if self.cursor.peek("\"") {
            self.cursor.string()?
        } else {
            String::new()
        };
        self.cursor.expect(":")?;
        let at = self.cursor.at();
        let word = self.cursor.word("a kernel")?.to_owned();
        let weight = if self.cursor.eat("@") {
            Some(self.reference()?)
        } else {
            None
        };
        let attrs = if self.cursor.peek("{") {
            Some(self.cursor.attrs()?)
        } else {
            None
        };
        let reads = self.views("reads")?;
        let writes = self.views("writes")?;
        self.steps.push(StepText {
            at,
            word,
            weight,
            attrs,
            scope,
            reads,
            writes,
        });
        Ok(())
    }

    fn views(&mut self, word: &str) -> Result<Vec<ViewText>, Fault> {
        let mut views = Vec::new();
        if self.cursor.eat_word(word) {
            views.push(self.view()?);
            while self.cursor.eat(",") {
                views.push(self.view()?);
            }
        }
        Ok(views)
    }

    fn view(&mut self) -> Result<ViewText, Fault> {
        let sigil = match (self.cursor.eat("%"), self.cursor.peek("@")) {
            (true, _) => '%',
            (false, true) => {
                self.cursor.expect("@")?;
                '@'
            }
            (false, false) => return Err(self.cursor.fault("a view such as `%x[tokens, 64]`")),
        };
        let source = self.reference()?;
        let shape = self.cursor.shape()?;
        // The real source is put in when all names are known.
        let mut view = View::contiguous(Source::Buffer(BufferId(0)), shape);
        if self.cursor.eat_word("at") {
            view.offset = self.cursor.single_dim()?;
        }
        if self.cursor.eat_word("strides") {
            view.strides = self.cursor.dims()?.into();
        }
        Ok(ViewText {
            sigil,
            source,
            view,
        })
    }

    fn output(&mut self) -> Result<(), Fault> {
        let name = self.cursor.name("the output's name")?;
        let ty = if self.cursor.eat(":") {
            Some(self.cursor.tensor_type()?)
        } else {
            None
        };
        self.cursor.expect("=")?;
        let view = self.view()?;
        self.outputs.push((name, ty, view));
        Ok(())
    }

    /// The name of a declaration, perhaps with the number it will have.
    fn declared(&mut self, number: usize) -> Result<String, Fault> {
        let name = self.cursor.name("a name")?;
        if self.cursor.eat("#") {
            let at = self.cursor.at();
            let found: usize = self.cursor.digits("a number")?;
            if found != number {
                return Err(Fault {
                    at,
                    expected: format!("`{number}`, its place in the list"),
                    found: format!("`{found}`"),
                });
            }
        }
        Ok(name)
    }

    fn reference(&mut self) -> Result<Reference, Fault> {
        let at = self.cursor.at();
        let name = if self.cursor.peek("#") {
            None
        } else {
            Some(self.cursor.name("a name, or `#` and a number")?)
        };
        let number = if self.cursor.eat("#") {
            Some(self.cursor.digits("a number")?)
        } else {
            None
        };
        Ok(Reference { at, name, number })
    }

    /// Looks up all names.
    fn finish(self) -> Result<Plan, Vec<Fault>> {
        let mut plan = self.plan;
        let names = Names {
            buffers: ids_by_name(plan.buffers.iter().map(|b| b.name.clone())),
            weights: ids_by_name(plan.weights.iter().map(|w| w.name.clone())),
        };
        let mut faults = Vec::new();
        for (index, reference) in self.input_buffers {
            match resolve(&names.buffers, '%', &reference) {
                Ok(id) => plan.inputs[index].buffer = BufferId(id),
                Err(fault) => faults.push(fault),
            }
        }
        for step in self.steps {
            match names.step(step) {
                Ok(step) => plan.steps.push(step),
                Err(fault) => faults.push(fault),
            }
        }
        for (name, ty, text) in self.outputs {
            let at = text.source.at;
            match names.view(text) {
                Ok(view) => match ty.or_else(|| implied_type(&plan, &view)) {
                    Some(ty) => plan.outputs.push(PlanOutput { name, ty, view }),
                    None => faults.push(Fault {
                        at,
                        expected: "the output's type, since what it looks into does not exist"
                            .to_owned(),
                        found: "none".to_owned(),
                    }),
                },
                Err(fault) => faults.push(fault),
            }
        }
        if faults.is_empty() {
            Ok(plan)
        } else {
            Err(faults)
        }
    }
}

type Ids = BTreeMap<String, Vec<u32>>;

struct Names {
    buffers: Ids,
    weights: Ids,
}

fn ids_by_name(names: impl Iterator<Item = String>) -> Ids {
    let mut ids = Ids::new();
    for (id, name) in (0u32..).zip(names) {
        ids.entry(name).or_default().push(id);
    }
    ids
}

fn resolve(ids: &Ids, sigil: char, reference: &Reference) -> Result<u32, Fault> {
    let fault = |expected: String, found: String| Fault {
        at: reference.at,
        expected,
        found,
    };
    let (kind, named) = match (sigil, &reference.name) {
        (_, None) => {
            return reference
                .number
                .ok_or_else(|| fault("a number".to_owned(), "none".to_owned()));
        }
        ('%', Some(name)) => ("buffer", name),
        (_, Some(name)) => ("weight", name),
    };
    let shown = format!("{sigil}{named}");
    match (
        ids.get(named).map_or(&[][..], Vec::as_slice),
        reference.number,
    ) {
        (all, Some(number)) if all.contains(&number) => Ok(number),
        (&[id], None) => Ok(id),
        ([], _) => Err(fault(
            format!("a declared {kind}"),
            format!("`{shown}`, which no line declares"),
        )),
        (all, number) => {
            let numbers: Vec<String> = all.iter().map(|id| format!("`{shown}#{id}`")).collect();
            let found = number.map_or_else(|| format!("`{shown}`"), |n| format!("`{shown}#{n}`"));
            Err(fault(format!("one of {}", numbers.join(", ")), found))
        }
    }
}

impl Names {
    fn view(&self, text: ViewText) -> Result<View, Fault> {
        let source = match text.sigil {
            '%' => Source::Buffer(BufferId(resolve(&self.buffers, '%', &text.source)?)),
            _ => Source::Weight(WeightId(resolve(&self.weights, '@', &text.source)?)),
        };
        Ok(View {
            source,
            ..text.view
        })
    }

    fn step(&self, step: StepText) -> Result<Step, Fault> {
        let mut attrs = step.attrs;
        if let Some(weight) = &step.weight {
            let id = resolve(&self.weights, '@', weight)?;
            let attrs = attrs.get_or_insert_default();
            if attrs.insert("weight".to_owned(), Value::from(id)).is_some() {
                let expected = "the weight once".to_owned();
                return Err(Fault {
                    at: step.at,
                    expected,
                    found: "also a `weight` among the attributes".to_owned(),
                });
            }
        }
        let kernel: Kernel =
            variant_from("a kernel with its attributes", step.at, &step.word, attrs)?;
        let views = |texts: Vec<ViewText>| {
            texts
                .into_iter()
                .map(|text| self.view(text))
                .collect::<Result<Vec<_>, _>>()
        };
        Ok(Step {
            kernel,
            reads: views(step.reads)?,
            writes: views(step.writes)?,
            scope: step.scope,
        })
    }
}
