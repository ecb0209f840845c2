//! What `view` and `report` show: a graph, where its model is, and every stage that lowering comes to.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use gabion::checkpoint::ModelFiles;
use gabion::cpu::cpu_target;
use gabion::ir::Graph;
use gabion::ir::text::Written;
use gabion::lower::{LowerError, LowerOptions, Watch, lower, lower_graph};
use gabion::tensor::HostTensor;
use gabion_view::{Document, Sizes};

use super::output::Output;
use super::{graph_file, lower as lower_command, model_arg};

/// A graph to look at.
pub(crate) struct LookedAt {
    pub(crate) graph: Graph,
    /// The model's folder or file, if it is one.
    pub(crate) model: Option<PathBuf>,
    /// The text, if the graph that it states does not verify.
    faulty: Option<Written>,
}

/// Gives a stored tensor by its name.
pub(crate) type Load = dyn Fn(&str) -> Option<HostTensor> + Send;

impl LookedAt {
    /// The graph of a model or of a text. A text that states no graph is an error; a graph that does not verify can be
    /// looked at.
    pub(crate) fn open(source: &OsStr, out: &Output) -> anyhow::Result<Self> {
        let path = Path::new(source);
        let is_text = path == Path::new("-") || (path.is_file() && !model_arg::is_model(path));
        if !is_text {
            let (graph, model) = lower_command::graph_of(source, None, out)?;
            return Ok(Self {
                graph,
                model,
                faulty: None,
            });
        }
        let text = graph_file::read_text(path)?;
        let written = Graph::parse_as_written(&text, &path.display().to_string())?;
        Ok(Self {
            graph: written.graph.clone(),
            model: None,
            faulty: (!written.faults.is_empty()).then_some(written),
        })
    }

    /// The values of a model's weights. Without its files a model can be looked at, but for its weights.
    pub(crate) fn loader(&self) -> Option<Box<Load>> {
        let files = ModelFiles::open(self.model.as_deref()?).ok()?;
        Some(Box::new(move |name| files.checkpoint().get(name).ok()))
    }

    /// The graph as it was built, to look at while a large one is lowered; none where that is not worth it, or done at once.
    pub(crate) fn early(&self, sizes: &Sizes) -> Option<Document> {
        const LARGE: usize = 10_000;
        let is_worth_it = self.faulty.is_none() && self.graph.len() >= LARGE;
        is_worth_it.then(|| Document::of_graph(&self.graph, sizes))
    }

    /// The graph at every stage, as far as lowering comes; why it comes no further is a fault, and each fault a warning.
    ///
    /// # Errors
    /// `watch` called lowering off.
    pub(crate) fn document(
        &self,
        sizes: &Sizes,
        watch: Option<Watch>,
        out: &Output,
    ) -> Result<Document, LowerError> {
        let document = self.stages(sizes, watch)?;
        for (_, fault) in &document.faults {
            out.warn(format_args!("@{}: {fault}", self.graph.name));
        }
        Ok(document)
    }

    fn stages(&self, sizes: &Sizes, watch: Option<Watch>) -> Result<Document, LowerError> {
        let graph = &self.graph;
        if let Some(written) = &self.faulty {
            return Ok(Document::of_written(written, sizes));
        }
        let options = LowerOptions {
            record: true,
            watch,
            ..LowerOptions::default()
        };
        let failed = match lower(graph, &cpu_target(), &options) {
            Ok(lowered) => return Ok(Document::of_lowered(graph, &lowered, sizes)),
            Err(error @ LowerError::Cancelled { .. }) => return Err(error),
            Err(error) => error.to_string(),
        };
        let mut document = match lower_graph(graph, &cpu_target(), &options) {
            Ok(lowered) => Document::of_lowered(graph, &lowered, sizes),
            Err(error @ LowerError::Cancelled { .. }) => return Err(error),
            Err(_) => Document::of_graph(graph, sizes),
        };
        document.faults.push((None, failed));
        Ok(document)
    }
}
