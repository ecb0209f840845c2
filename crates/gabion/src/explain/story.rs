//! What is told: plain data, for text and JSON.

use std::ops::Range;

use gabion_cpu::PackedElement;
use serde::Serialize;

/// Where a row, an element or a byte comes from and goes to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// The question.
    pub asked: String,
    /// What the name was taken for.
    pub matched: String,
    /// What else it could have been taken for.
    pub others: Vec<String>,
    /// Where it lies in the checkpoint; none for a constant of the graph.
    pub stored: Option<StoredStory>,
    /// The plan's weights that it is loaded into; none if nothing that is returned needs it.
    pub uses: Vec<UseStory>,
    /// What the passes noted about the nodes that read it.
    pub ledger: Vec<LedgerLine>,
}

/// An element (or a row) in a checkpoint file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StoredStory {
    /// The file.
    pub file: String,
    /// The tensor's name as the graph has it.
    pub tensor: String,
    /// Its name in the file.
    pub stored_name: String,
    /// The stored format.
    pub format: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// The row in the file.
    pub row: usize,
    /// The row in the graph's order.
    pub graph_row: usize,
    /// The file has the rows in another order than the graph (GGUF's rotary pairs).
    pub reordered: bool,
    /// The element of the row that the block and the value are of.
    pub column: usize,
    /// Where the row, or the element's block, lies in the file.
    pub bytes: Range<usize>,
    /// The block that the element is stored in; none for formats without blocks.
    pub block: Option<BlockStory>,
    /// The number that the element stands for, before the recipe.
    pub value: Option<f32>,
    /// The byte that was asked for.
    pub byte: Option<ByteStory>,
}

/// A block of a stored row.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BlockStory {
    /// Where it lies in the file.
    pub bytes: Range<usize>,
    /// The columns that it holds.
    pub columns: Range<usize>,
    /// What codes are multiplied with.
    pub scale: f32,
    /// What is added then.
    pub min: Option<f32>,
}

/// A byte of a tensor.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ByteStory {
    /// From the tensor's first.
    pub in_tensor: usize,
    /// From the file's first.
    pub in_file: usize,
    /// What it is a part of.
    pub role: ByteRole,
    /// The columns of the row that it bears on.
    pub columns: Vec<usize>,
}

/// What a byte of a stored block says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ByteRole {
    /// A plain value.
    Value,
    /// The block's scale.
    Scale,
    /// The block's minimum.
    Min,
    /// Fifth bits of eight codes.
    FifthBits,
    /// One code, or two of four bits.
    Codes,
}

/// A row of a plan's weight.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UseStory {
    /// The plan weight.
    pub weight: String,
    /// Its number in the plan.
    pub weight_id: usize,
    /// Its type.
    #[serde(rename = "type")]
    pub ty: String,
    /// The row in the plan weight.
    pub row: usize,
    /// The part that the row belongs to.
    pub part: usize,
    /// The rows that the part has of its tensor, after the recipe.
    pub part_rows: Range<usize>,
    /// What is done to the stored tensor while loading, in order.
    pub recipe: Vec<String>,
    /// The number that the first shown element stands for, after the recipe.
    pub value: Option<f32>,
    /// `tiles` or `dense`.
    pub layout: &'static str,
    /// The segment that the row lies in.
    pub segment: Option<usize>,
    /// The segment's rows.
    pub segment_rows: Option<Range<usize>>,
    /// Which rows of the segment are computed together.
    pub arrangement: Option<String>,
    /// The row that this one is computed together with.
    pub partner: Option<usize>,
    /// Bytes of the packed weight.
    pub packed_bytes: usize,
    /// Where the elements lie in it.
    pub packed: Vec<PackedStory>,
    /// Who reads it.
    pub steps: Vec<StepStory>,
}

/// Where an element lies among the packed bytes, counted from the weight's first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PackedStory {
    /// The element's column.
    pub column: usize,
    /// The format that it is kept in.
    pub format: String,
    /// The tile, if the weight is in tiles.
    pub tile: Option<usize>,
    /// The lane in the tile.
    pub lane: Option<usize>,
    /// The byte in which its code begins.
    pub byte: usize,
    /// The code's lowest bit in that byte.
    pub bit: u8,
    /// How many bits it has there.
    pub bits: u8,
    /// The byte and bit of a fifth bit that is kept apart.
    pub fifth: Option<(usize, u8)>,
    /// The first byte of the scale.
    pub scale: Option<usize>,
    /// The first byte of the minimum.
    pub min: Option<usize>,
}

impl PackedStory {
    pub(super) fn of(column: usize, element: &PackedElement) -> Self {
        Self {
            column,
            format: element.format.name().to_owned(),
            tile: element.tile.map(|it| it.0),
            lane: element.tile.map(|it| it.1),
            byte: element.byte,
            bit: element.bit,
            bits: element.bits,
            fifth: element.fifth,
            scale: element.scale,
            min: element.min,
        }
    }
}

/// A step that reads a weight's row.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepStory {
    /// Its number.
    pub step: usize,
    /// Number, kernel and module.
    pub name: String,
    /// The norm computed before the product.
    pub prologue: Option<String>,
    /// What is done to each finished element before it is stored.
    pub epilogue: Vec<String>,
    /// The buffer that the row's results go to.
    pub result: Option<String>,
    /// Which column of it.
    pub column: Option<usize>,
}

/// A line of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LedgerLine {
    /// The pass.
    pub pass: String,
    /// What it looked at.
    pub candidate: String,
    /// It was rewritten.
    pub fired: bool,
    /// What was made of it, or why it stayed.
    pub said: String,
}

/// What became of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeStory {
    /// Its number in the graph as it was built.
    pub id: usize,
    /// Its line.
    pub text: String,
    /// Its operator.
    pub op: String,
    /// Its module path.
    pub module: String,
    /// The line of code that built it.
    pub built_at: Option<String>,
    /// The nodes made from it, after each pass that changed them.
    pub after: Vec<NodeAfter>,
    /// The plan's steps made from it.
    pub steps: Vec<String>,
    /// The plan's weights made from it.
    pub weights: Vec<String>,
    /// What the passes noted about it.
    pub ledger: Vec<LedgerLine>,
}

/// The nodes made from a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeAfter {
    /// After this pass.
    pub pass: String,
    /// Their lines.
    pub nodes: Vec<String>,
}
