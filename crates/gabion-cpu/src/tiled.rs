//! A plan weight in packed tiles: which stored rows go to which lanes, and where lanes go when a
//! matrix product stores them.
//!
//! The order of bytes inside a tile is `pack`'s; what a product does with tiles is `step/matmul`'s.

use std::ops::Range;

use gabion_plan::{Arrangement, LoadError, Part, PlanWeight, Transform, WeightSource};
use gabion_tensor::{BlockFormat, Bytes, DType};

use crate::kernels::matmul::Columns;
use crate::pack::{self, HALF, NO_ROW, PackedWeight, StoredRows, TileRows, WeightFormat};
use crate::recipe::{self, limited};
use crate::workers::Team;

/// A weight `[rows, k]` in tiles.
#[derive(Debug)]
pub(crate) struct TiledWeight {
    pub(crate) packed: PackedWeight,
    pub(crate) segments: Vec<TiledSegment>,
    rows: usize,
}

/// The tiles of one of the plan's segments.
#[derive(Debug)]
pub(crate) struct TiledSegment {
    pub(crate) rows: Range<usize>,
    pub(crate) pieces: Vec<Piece>,
}

/// Rows of a segment that lie in tiles of one format.
#[derive(Debug)]
pub(crate) struct Piece {
    /// Which part of the packed weight.
    part: usize,
    /// The rows, counted from the segment's first.
    pub(crate) rows: Range<usize>,
    /// Its tiles in the packed weight.
    pub(crate) tiles: Range<usize>,
    /// The segment's row in each lane.
    pub(crate) lanes: Vec<TileRows>,
    /// Lanes to the columns of their rows, counted from the piece's first.
    pub(crate) columns: Columns,
    /// For pairs that give one column.
    pub(crate) pairs: Option<Pairs>,
    /// For each row from the piece's first, its number among the rows given to the packer.
    ids: Vec<u32>,
}

/// What pairs need.
#[derive(Debug)]
pub(crate) struct Pairs {
    /// First lanes to the columns of their pairs.
    pub(crate) columns: Columns,
    /// For each tile, each pair's place in its block.
    pub(crate) angles: Vec<[u16; HALF]>,
    /// Rows of a block.
    pub(crate) block: usize,
}

impl TiledWeight {
    /// Values of a row.
    pub(crate) fn k(&self) -> usize {
        self.packed.k()
    }

    /// How many rows there are.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Decodes row `index < rows()` into `out`, which has `k()` values.
    pub(crate) fn read_row(&self, index: usize, out: &mut [f32]) {
        let after = self.segments.partition_point(|s| s.rows.start <= index);
        let segment = &self.segments[after - 1];
        let index = index - segment.rows.start;
        let after = segment.pieces.partition_point(|p| p.rows.start <= index);
        let piece = &segment.pieces[after - 1];
        let id = piece.ids[index - piece.rows.start] as usize;
        let found = self.packed.decode_row(piece.part, id, out);
        debug_assert!(found, "row {index} was packed");
    }
}

/// Where a weight's rows go, known without their data: the format, tile and lane of each.
pub(crate) struct Arranged {
    k: usize,
    segments: Vec<TiledSegment>,
    /// For each piece's part: its format, the packer's rows in its tiles, and where its tiles start.
    parts: Vec<(WeightFormat, Vec<TileRows>, usize)>,
    bytes: usize,
    tiles: usize,
}

impl Arranged {
    /// As [`pack`] arranges the weight. `order` gives the order of a checkpoint tensor's rows.
    ///
    /// # Errors
    /// Rows that do not add up, or values that no tile format holds.
    pub(crate) fn of(
        weight: &PlanWeight,
        order: &dyn Fn(&str) -> Option<std::sync::Arc<[u32]>>,
    ) -> Result<Arranged, LoadError> {
        let unsupported = |problem: String| LoadError::Unsupported {
            executor: "cpu".to_owned(),
            problem: format!("weight `{}`: {problem}", weight.name),
        };
        check_rows(weight).map_err(unsupported)?;
        let k = weight.row_elements();
        let mut sources = Vec::new();
        for part in &weight.parts {
            let source = described(part, k, order);
            sources.push(source.ok_or_else(|| {
                unsupported(format!(
                    "`{}` becomes no rows of {k} floats",
                    recipe::name(part)
                ))
            })?);
        }
        let layout = Layout::of(weight, &sources);
        let (mut parts, mut bytes, mut first) = (Vec::new(), 0, 0);
        let mut segments = layout.segments;
        let mut pieces = segments.iter_mut().flat_map(|s| &mut s.pieces);
        for (stretch, tiles) in layout.stretches.iter().zip(layout.tiles) {
            let stored = stretch
                .sources
                .first()
                .map(|(index, _)| sources[*index].format);
            let kept = stored.filter(|_| !stretch.change && k > 0);
            let format = kept.unwrap_or(WeightFormat::F32);
            let tile_bytes = format
                .tile_bytes(k)
                .ok_or_else(|| unsupported(format!("rows of {k} values are no {format} blocks")))?;
            let start = bytes;
            bytes += tiles.len() * tile_bytes;
            if let Some(piece) = pieces.next() {
                piece.tiles = first..first + tiles.len();
            }
            first += tiles.len();
            parts.push((format, tiles, start));
        }
        Ok(Arranged {
            k,
            segments,
            parts,
            bytes,
            tiles: first,
        })
    }

    /// Bytes and tiles of the whole.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.bytes, self.tiles)
    }

    /// The format, tile, lane and first byte of the tile that hold a row; `None` beyond the last.
    pub(crate) fn find(&self, row: usize) -> Option<(WeightFormat, usize, usize, usize)> {
        let segment = self.segments.iter().find(|s| s.rows.contains(&row))?;
        let row = row - segment.rows.start;
        let piece = segment.pieces.iter().find(|p| p.rows.contains(&row))?;
        let id = piece.ids[row - piece.rows.start];
        let (format, tiles, start) = &self.parts[piece.part];
        let lane = tiles.iter().flatten().position(|it| *it == id)?;
        let (tile, lane) = (lane / pack::TILE, lane % pack::TILE);
        let tile_bytes = format.tile_bytes(self.k)?;
        Some((
            *format,
            piece.tiles.start + tile,
            lane,
            start + tile * tile_bytes,
        ))
    }
}

/// What [`source_of`] would give, but for the data.
fn described(
    part: &Part,
    k: usize,
    order: &dyn Fn(&str) -> Option<std::sync::Arc<[u32]>>,
) -> Option<Source> {
    let shape = part.stored.shape.as_fixed()?;
    let fits = shape.len() == 2 && shape[1] == k;
    if let (Some(format), Some(limits), true) =
        (tile_format(part.stored.dtype), limits_only(part), fits)
    {
        let map = match &part.source {
            gabion_plan::PartSource::Checkpoint(name) => order(name),
            gabion_plan::PartSource::Constant(_) => None,
        };
        let order = match map {
            Some(map) => map.get(part.rows.clone())?.to_vec(),
            None => part.rows.clone().map(|row| row as u32).collect(),
        };
        return Some(Source {
            format,
            bytes: Bytes::from(Vec::new()),
            rows: shape[0],
            order,
            limits,
        });
    }
    let mut casts = part.recipe.iter().filter_map(|transform| match transform {
        Transform::Cast { dtype } => Some(*dtype),
        Transform::Clamp { .. } | Transform::Transpose | Transform::Reshape { .. } => None,
    });
    let rows = part.rows.len();
    Some(Source {
        format: tile_format(casts.next_back().unwrap_or(part.stored.dtype))?,
        bytes: Bytes::from(Vec::new()),
        rows,
        order: (0..rows as u32).collect(),
        limits: Vec::new(),
    })
}

/// A part's data as the packer takes it.
struct Source {
    format: WeightFormat,
    bytes: Bytes,
    /// Rows in `bytes`.
    rows: usize,
    /// The part's rows in the plan's order, as rows of `bytes`.
    order: Vec<u32>,
    /// Limits of the decoded values.
    limits: Vec<(Option<f32>, Option<f32>)>,
}

/// The tile format of a stored dtype.
pub(crate) fn tile_format(dtype: DType) -> Option<WeightFormat> {
    Some(match dtype {
        DType::F32 => WeightFormat::F32,
        DType::F16 => WeightFormat::F16,
        DType::BF16 => WeightFormat::Bf16,
        DType::Block(BlockFormat::Q4_0) => WeightFormat::Q4_0,
        DType::Block(BlockFormat::Q4_1) => WeightFormat::Q4_1,
        DType::Block(BlockFormat::Q5_0) => WeightFormat::Q5_0,
        DType::Block(BlockFormat::Q5_1) => WeightFormat::Q5_1,
        DType::Block(BlockFormat::Q8_0) => WeightFormat::Q8_0,
        DType::Bool
        | DType::I8
        | DType::I16
        | DType::I32
        | DType::I64
        | DType::U8
        | DType::U16
        | DType::U32
        | DType::U64
        | DType::F64 => return None,
    })
}

/// The limits that are left of a recipe when tiles keep the stored format; `None` if the recipe
/// is more than a cast to f32 and limits after it.
fn limits_only(part: &Part) -> Option<Vec<(Option<f32>, Option<f32>)>> {
    let mut dtype = part.stored.dtype;
    let mut limits = Vec::new();
    for transform in &part.recipe {
        match transform {
            Transform::Cast { dtype: DType::F32 } => dtype = DType::F32,
            Transform::Clamp { min, max } if dtype == DType::F32 => {
                limits.push((min.map(|x| x as f32), max.map(|x| x as f32)));
            }
            Transform::Cast { .. }
            | Transform::Clamp { .. }
            | Transform::Transpose
            | Transform::Reshape { .. } => {
                return None;
            }
        }
    }
    Some(limits)
}

fn source_of(
    weight: &PlanWeight,
    part: &Part,
    k: usize,
    from: &dyn WeightSource,
) -> Result<Source, LoadError> {
    let stored = recipe::fetch(part, from)?;
    let shape = stored.tensor.shape();
    let fits = shape.len() == 2 && shape[1] == k;
    if let (Some(format), Some(limits), true) =
        (tile_format(part.stored.dtype), limits_only(part), fits)
    {
        if part.rows.end > shape[0] {
            return Err(rows_error(weight, part, shape[0]));
        }
        let order = match &stored.row_map {
            Some(map) => map[part.rows.clone()].to_vec(),
            None => part.rows.clone().map(|row| row as u32).collect(),
        };
        return Ok(Source {
            format,
            bytes: stored.tensor.shared_bytes().clone(),
            rows: shape[0],
            order,
            limits,
        });
    }
    let tensor = recipe::evaluate(part, &stored)?;
    recipe::release(part, from);
    let found = tensor.shape().to_vec();
    let (rows, columns) = match found[..] {
        [rows, columns] => (rows, columns),
        [rows] if k == 1 => (rows, 1),
        _ => (0, 0),
    };
    let format = tile_format(tensor.dtype()).filter(|_| columns == k && rows == part.rows.len());
    let Some(format) = format else {
        return Err(LoadError::Mismatch {
            name: recipe::name(part).to_owned(),
            expected: format!(
                "{} rows of {k} floats for `{}`",
                part.rows.len(),
                weight.name
            ),
            found: format!("{}{found:?} after its recipe", tensor.dtype()),
        });
    };
    Ok(Source {
        format,
        bytes: tensor.shared_bytes().clone(),
        rows,
        order: (0..rows as u32).collect(),
        limits: Vec::new(),
    })
}

fn rows_error(weight: &PlanWeight, part: &Part, found: usize) -> LoadError {
    LoadError::Mismatch {
        name: recipe::name(part).to_owned(),
        expected: format!(
            "rows {}..{} for `{}`",
            part.rows.start, part.rows.end, weight.name
        ),
        found: format!("{found} rows"),
    }
}

/// A stretch of a segment and the sources it is made of: `(source, rows of its order)`.
struct Stretch {
    rows: Range<usize>,
    sources: Vec<(usize, Range<usize>)>,
    /// Values are decoded, limited and kept in f32.
    change: bool,
}

/// Cuts a segment where formats change; pairs need one format, f32 if they have several.
fn stretches(segment: &Range<usize>, arrangement: Arrangement, sources: &[Source]) -> Vec<Stretch> {
    let mut out: Vec<Stretch> = Vec::new();
    let mut start = 0;
    for (index, source) in sources.iter().enumerate() {
        let end = start + source.order.len();
        let (from, to) = (segment.start.max(start), segment.end.min(end));
        if from < to {
            let rows = from - segment.start..to - segment.start;
            let piece = (index, from - start..to - start);
            let change = !source.limits.is_empty();
            let joins = |last: &Stretch| {
                let kept = &sources[last.sources[0].0];
                let alike = last.change == change && (change || kept.format == source.format);
                alike || arrangement != Arrangement::Plain
            };
            match out.last_mut() {
                Some(last) if joins(last) => {
                    let kept = &sources[last.sources[0].0];
                    last.change |= change || kept.format != source.format;
                    last.rows.end = rows.end;
                    last.sources.push(piece);
                }
                _ => out.push(Stretch {
                    rows,
                    sources: vec![piece],
                    change,
                }),
            }
        }
        start = end;
    }
    out
}

/// Parts and segments cover the weight's rows; else what does not.
fn check_rows(weight: &PlanWeight) -> Result<(), String> {
    let rows = weight.rows();
    let covered: usize = weight.parts.iter().map(|part| part.rows.len()).sum();
    if covered != rows {
        return Err(format!(
            "its parts have {covered} rows, {} expects {rows}",
            weight.ty
        ));
    }
    let mut next = 0;
    for segment in &weight.segments {
        if segment.rows.start != next || segment.rows.end < next {
            return Err(format!("its segments leave rows {next}.. out"));
        }
        next = segment.rows.end;
        if let Arrangement::Halves { block } = segment.arrangement
            && (block == 0 || block % 2 != 0 || segment.rows.len() % block != 0)
        {
            return Err(format!(
                "{} rows are no blocks of {block}",
                segment.rows.len()
            ));
        }
    }
    if next != rows {
        return Err(format!("its segments cover {next} of {rows} rows"));
    }
    Ok(())
}

/// Packs a weight.
///
/// # Errors
/// Parts that are missing or wrong, rows that do not add up, or no memory.
pub(crate) fn pack(
    team: &Team,
    weight: &PlanWeight,
    from: &dyn WeightSource,
) -> Result<TiledWeight, LoadError> {
    let k = weight.row_elements();
    check_rows(weight).map_err(|problem| LoadError::Unsupported {
        executor: "cpu".to_owned(),
        problem: format!("weight `{}`: {problem}", weight.name),
    })?;
    let sources = weight
        .parts
        .iter()
        .map(|part| source_of(weight, part, k, from))
        .collect::<Result<Vec<_>, _>>()?;
    let tiled = pack_sources(team, weight, k, &sources)
        .map_err(|e| LoadError::Setup(format!("weight `{}`: {e}", weight.name)))?;
    for part in &weight.parts {
        recipe::release(part, from);
    }
    Ok(tiled)
}

/// A change of a row's values while it is packed.
type Change<'a> = Box<dyn Fn(usize, &mut [f32]) + Sync + 'a>;

/// The stretches of a weight and what the packer is told of each.
#[derive(Default)]
struct Layout {
    segments: Vec<TiledSegment>,
    stretches: Vec<Stretch>,
    tiles: Vec<Vec<TileRows>>,
    /// For each stretch: the packer's rows of each source.
    owners: Vec<Vec<(Range<usize>, usize)>>,
}

impl Layout {
    fn of(weight: &PlanWeight, sources: &[Source]) -> Layout {
        let mut layout = Layout::default();
        for segment in &weight.segments {
            let mut pieces = Vec::new();
            for stretch in stretches(&segment.rows, segment.arrangement, sources) {
                let (mut ids, mut owners, mut first) = (Vec::new(), Vec::new(), 0);
                for (index, rows) in &stretch.sources {
                    let source = &sources[*index];
                    ids.extend(source.order[rows.clone()].iter().map(|&row| row + first));
                    owners.push((first as usize..first as usize + source.rows, *index));
                    first += source.rows as u32;
                }
                let part = layout.stretches.len();
                let (piece, tiles) = piece(part, &stretch, segment.arrangement, ids);
                pieces.push(piece);
                layout.tiles.push(tiles);
                layout.owners.push(owners);
                layout.stretches.push(stretch);
            }
            layout.segments.push(TiledSegment {
                rows: segment.rows.clone(),
                pieces,
            });
        }
        layout
    }
}

fn pack_sources(
    team: &Team,
    weight: &PlanWeight,
    k: usize,
    sources: &[Source],
) -> Result<TiledWeight, pack::PackError> {
    let mut layout = Layout::of(weight, sources);
    let apply = |owners: &[(Range<usize>, usize)], row: usize, values: &mut [f32]| {
        let owner = owners.iter().find(|(rows, _)| rows.contains(&row));
        for &(min, max) in owner.map_or(&[][..], |(_, index)| &sources[*index].limits) {
            values.iter_mut().for_each(|x| *x = limited(*x, min, max));
        }
    };
    let change = |owners| -> Change<'_> {
        Box::new(move |row: usize, values: &mut [f32]| apply(owners, row, values))
    };
    let changes: Vec<Change<'_>> = layout.owners.iter().map(|o| change(o)).collect();
    let stored = |&(index, _): &(usize, Range<usize>)| StoredRows {
        format: sources[index].format,
        rows: sources[index].rows,
        bytes: &sources[index].bytes,
    };
    let parts: Vec<pack::Part<'_>> = layout
        .stretches
        .iter()
        .zip(layout.tiles)
        .zip(&changes)
        .map(|((stretch, tiles), change)| pack::Part {
            sources: stretch.sources.iter().map(stored).collect(),
            change: stretch.change.then_some(&**change),
            tiles,
        })
        .collect();
    let packed = PackedWeight::pack(team, k, &parts)?;
    for piece in layout.segments.iter_mut().flat_map(|s| &mut s.pieces) {
        piece.tiles = packed.part_tiles(piece.part);
    }
    Ok(TiledWeight {
        packed,
        segments: layout.segments,
        rows: weight.rows(),
    })
}

/// A piece whose row `i` is row `ids[i]` of the packer's, and the packer's rows in its lanes.
fn piece(
    part: usize,
    stretch: &Stretch,
    arrangement: Arrangement,
    ids: Vec<u32>,
) -> (Piece, Vec<TileRows>) {
    let count = ids.len();
    // Lanes by the piece's own rows first.
    let (local, pairs) = match arrangement {
        Arrangement::Plain => (pack::plain_tiles(count), None),
        Arrangement::Halves { block } => {
            let half = block / 2;
            let pair = move |i: usize| {
                (
                    i / half * block + i % half,
                    i / half * block + i % half + half,
                )
            };
            let all = 0..count / 2;
            let tiles =
                pack::paired_tiles(all.clone().map(|i| (pair(i).0 as u32, pair(i).1 as u32)));
            let numbers = pack::paired_tiles(all.clone().map(|i| (i as u32, i as u32)));
            let angles = numbers.iter().map(|tile| {
                std::array::from_fn(|lane| {
                    if tile[lane] == NO_ROW {
                        0
                    } else {
                        (tile[lane] as usize % half) as u16
                    }
                })
            });
            let pairs = Pairs {
                columns: Columns::by_first_row(&numbers, None),
                angles: angles.collect(),
                block,
            };
            (tiles, Some(pairs))
        }
    };
    let map = |tiles: &[TileRows], f: &dyn Fn(u32) -> u32| -> Vec<TileRows> {
        tiles
            .iter()
            .map(|tile| tile.map(|row| if row == NO_ROW { NO_ROW } else { f(row) }))
            .collect()
    };
    let packed_rows = map(&local, &|row| ids[row as usize]);
    let piece = Piece {
        part,
        rows: stretch.rows.clone(),
        tiles: 0..0,
        lanes: map(&local, &|row| row + stretch.rows.start as u32),
        columns: Columns::by_row(&local, None),
        pairs,
        ids,
    };
    (piece, packed_rows)
}
