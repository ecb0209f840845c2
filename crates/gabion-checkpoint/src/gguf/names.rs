//! From GGUF's tensor names to those of Hugging Face checkpoints and back, for the architectures that are known here. Only
//! names: which rows a tensor's data has to be read in is said here too, and done in `view`.

use crate::view::RowMap;

/// The architectures whose names and metadata are understood.
pub(crate) const ARCHITECTURES: &[&str] = &["llama", "qwen2"];

/// Names outside the layers: GGUF, Hugging Face.
const GLOBAL: &[(&str, &str)] = &[
    ("token_embd.", "model.embed_tokens."),
    ("output_norm.", "model.norm."),
    ("output.", "lm_head."),
];

/// Names inside a layer, behind `blk.N.` and `model.layers.N.`: GGUF, Hugging Face.
const LAYER: &[(&str, &str)] = &[
    ("attn_norm.", "input_layernorm."),
    ("attn_q.", "self_attn.q_proj."),
    ("attn_k.", "self_attn.k_proj."),
    ("attn_v.", "self_attn.v_proj."),
    ("attn_output.", "self_attn.o_proj."),
    ("ffn_norm.", "post_attention_layernorm."),
    ("ffn_gate.", "mlp.gate_proj."),
    ("ffn_up.", "mlp.up_proj."),
    ("ffn_down.", "mlp.down_proj."),
];

/// What the last segment of a parameter's name may be.
const KINDS: &[&str] = &["weight", "bias"];

/// Tensors that are not parameters: their content goes into the config.
pub(crate) const ROPE_FACTORS: &str = "rope_freqs.weight";

/// A tensor's name on the Hugging Face side, and how its rows are ordered in the GGUF file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GgufName {
    /// The name on the Hugging Face side.
    pub name: String,
    /// The heads whose rows are permuted, or `None` where the rows are in the same order.
    pub permuted_heads: Option<usize>,
}

/// The names of one model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameMap {
    /// Heads of q and k if their rows are permuted.
    permuted: Option<(usize, usize)>,
}

impl NameMap {
    /// The names of an architecture with `heads` query heads and `kv_heads` key heads; `None` for one that is not known.
    ///
    /// GGUF's `llama` turns pairs of neighbouring rows of q and k where Hugging Face turns the two halves of a head, so the
    /// writer of the file has interleaved the halves. `qwen2` keeps the halves.
    pub fn of(architecture: &str, heads: usize, kv_heads: usize) -> Option<Self> {
        ARCHITECTURES.contains(&architecture).then(|| NameMap {
            permuted: (architecture == "llama").then_some((heads, kv_heads)),
        })
    }

    /// The Hugging Face name of a GGUF tensor, or `None` for a tensor that the architecture does not have.
    pub fn from_gguf(&self, name: &str) -> Option<GgufName> {
        if let Some(rest) = name.strip_prefix("blk.") {
            let (layer, rest) = layer_number(rest)?;
            let name = format!(
                "model.layers.{layer}.{}",
                rename(rest, LAYER, |it| (it.0, it.1))?
            );
            return Some(self.with_heads(name));
        }
        let name = rename(name, GLOBAL, |it| (it.0, it.1))?;
        Some(GgufName {
            name,
            permuted_heads: None,
        })
    }

    /// The GGUF name of a Hugging Face tensor, or `None` for a tensor that the architecture does not have.
    pub fn to_gguf(&self, name: &str) -> Option<GgufName> {
        if let Some(rest) = name.strip_prefix("model.layers.") {
            let (layer, rest) = layer_number(rest)?;
            let gguf = format!("blk.{layer}.{}", rename(rest, LAYER, |it| (it.1, it.0))?);
            return Some(GgufName {
                name: gguf,
                permuted_heads: self.with_heads(name.to_string()).permuted_heads,
            });
        }
        Some(GgufName {
            name: rename(name, GLOBAL, |it| (it.1, it.0))?,
            permuted_heads: None,
        })
    }

    fn with_heads(&self, name: String) -> GgufName {
        let permuted_heads = self.permuted.and_then(|(heads, kv_heads)| {
            if name.contains(".q_proj.") {
                Some(heads)
            } else if name.contains(".k_proj.") {
                Some(kv_heads)
            } else {
                None
            }
        });
        GgufName {
            name,
            permuted_heads,
        }
    }
}

impl GgufName {
    /// The map from this model's rows to the file's rows, for a tensor of `rows` rows; `Err` with what was expected if the
    /// rows are not whole heads of an even width.
    pub(crate) fn row_map(&self, rows: usize) -> Result<Option<RowMap>, String> {
        let Some(heads) = self.permuted_heads else {
            return Ok(None);
        };
        if heads == 0 || !rows.is_multiple_of(heads) || !(rows / heads).is_multiple_of(2) {
            return Err(format!("rows in {heads} heads of an even width"));
        }
        Ok(Some(RowMap::halves_from_pairs(rows / heads)))
    }
}

/// Splits `12.attn_q.weight` into `12` and `attn_q.weight`; only the plain decimal spelling is a layer number.
fn layer_number(text: &str) -> Option<(usize, &str)> {
    let (digits, rest) = text.split_once('.')?;
    let number: usize = digits.parse().ok()?;
    (number.to_string() == digits).then_some((number, rest))
}

fn rename<'a, T>(
    name: &str,
    table: &'a [T],
    sides: impl Fn(&'a T) -> (&'a str, &'a str),
) -> Option<String> {
    table.iter().find_map(|row| {
        let (from, to) = sides(row);
        let kind = name.strip_prefix(from)?;
        KINDS.contains(&kind).then(|| format!("{to}{kind}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn llama() -> NameMap {
        NameMap::of("llama", 9, 3).unwrap()
    }

    #[test]
    fn every_name_goes_there_and_back() {
        for kind in KINDS {
            for (gguf, hf) in GLOBAL {
                let mapped = llama().from_gguf(&format!("{gguf}{kind}")).unwrap();
                assert_eq!(mapped.name, format!("{hf}{kind}"));
                assert_eq!(
                    llama().to_gguf(&mapped.name).unwrap().name,
                    format!("{gguf}{kind}")
                );
            }
            for (gguf, hf) in LAYER {
                let mapped = llama().from_gguf(&format!("blk.10.{gguf}{kind}")).unwrap();
                assert_eq!(mapped.name, format!("model.layers.10.{hf}{kind}"));
                let back = llama().to_gguf(&mapped.name).unwrap();
                assert_eq!(back.name, format!("blk.10.{gguf}{kind}"));
                assert_eq!(back.permuted_heads, mapped.permuted_heads);
            }
        }
    }

    #[test]
    fn only_q_and_k_of_llama_are_permuted() {
        let heads = |map: NameMap, name: &str| map.from_gguf(name).unwrap().permuted_heads;
        assert_eq!(heads(llama(), "blk.0.attn_q.weight"), Some(9));
        assert_eq!(heads(llama(), "blk.0.attn_k.bias"), Some(3));
        assert_eq!(heads(llama(), "blk.0.attn_v.weight"), None);
        assert_eq!(heads(llama(), "blk.0.attn_output.weight"), None);
        let qwen2 = NameMap::of("qwen2", 9, 3).unwrap();
        assert_eq!(heads(qwen2, "blk.0.attn_q.weight"), None);
    }

    #[test]
    fn other_names_are_left_alone() {
        for name in [
            "blk.01.attn_q.weight",
            "blk..attn_q.weight",
            "blk.0.attn_q.scale",
            "blk.0.attn_q",
            "output",
            "token_embd.weight.x",
            "rope_freqs.weight",
            "",
        ] {
            assert_eq!(llama().from_gguf(name), None, "{name}");
        }
        assert_eq!(NameMap::of("bloom", 1, 1), None);
    }
}
