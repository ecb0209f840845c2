//! GGUF files: damaged ones are refused with a message; what is accepted can be read to the last
//! tensor, and its configuration and tokenizer are read or refused.

use std::path::Path;

use gabion_checkpoint::{Checkpoint, Tokenizer, gguf_config};
use gabion_tensor::Bytes;

use crate::Target;
use crate::mutate::Form;
use crate::outcome::{accepted, refused};

/// See the module.
pub const TARGET: Target = Target {
    name: "gguf",
    run,
    seeds,
    form: Form::Binary,
};

/// Type numbers of metadata values.
const U32: u32 = 4;
const F32: u32 = 6;
const STRING: u32 = 8;
const ARRAY: u32 = 9;

/// Writes the pieces of a GGUF file.
#[derive(Default)]
struct Gguf {
    values: Vec<u8>,
    n_values: u64,
    infos: Vec<u8>,
    n_tensors: u64,
    data: Vec<u8>,
}

impl Gguf {
    fn text(out: &mut Vec<u8>, text: &str) {
        out.extend((text.len() as u64).to_le_bytes());
        out.extend(text.as_bytes());
    }

    fn value(&mut self, key: &str, kind: u32, bytes: &[u8]) {
        Self::text(&mut self.values, key);
        self.values.extend(kind.to_le_bytes());
        self.values.extend(bytes);
        self.n_values += 1;
    }

    fn string(&mut self, key: &str, value: &str) {
        let mut bytes = Vec::new();
        Self::text(&mut bytes, value);
        self.value(key, STRING, &bytes);
    }

    fn strings(&mut self, key: &str, values: &[&str]) {
        let mut bytes = [
            STRING.to_le_bytes().as_slice(),
            &(values.len() as u64).to_le_bytes(),
        ]
        .concat();
        values
            .iter()
            .for_each(|value| Self::text(&mut bytes, value));
        self.value(key, ARRAY, &bytes);
    }

    /// `kind` is the number of the element type; `bytes` how many the tensor has.
    fn tensor(&mut self, name: &str, dims: &[u64], kind: u32, bytes: usize) {
        Self::text(&mut self.infos, name);
        self.infos.extend((dims.len() as u32).to_le_bytes());
        dims.iter()
            .for_each(|dim| self.infos.extend(dim.to_le_bytes()));
        self.infos.extend(kind.to_le_bytes());
        self.infos.extend((self.data.len() as u64).to_le_bytes());
        self.data
            .extend((0..bytes.next_multiple_of(32)).map(|i| (i % 61) as u8));
        self.n_tensors += 1;
    }

    fn finish(self, version: u32) -> Vec<u8> {
        let mut file = b"GGUF".to_vec();
        file.extend(version.to_le_bytes());
        file.extend(self.n_tensors.to_le_bytes());
        file.extend(self.n_values.to_le_bytes());
        file.extend(self.values);
        file.extend(self.infos);
        file.resize(file.len().next_multiple_of(32), 0);
        file.extend(self.data);
        file
    }
}

/// A llama of one layer, with a tokenizer.
fn llama() -> Gguf {
    let mut gguf = Gguf::default();
    gguf.string("general.architecture", "llama");
    for (key, value) in [
        ("llama.block_count", 1u32),
        ("llama.context_length", 64),
        ("llama.embedding_length", 16),
        ("llama.feed_forward_length", 32),
        ("llama.attention.head_count", 4),
        ("llama.attention.head_count_kv", 2),
        ("tokenizer.ggml.bos_token_id", 0),
        ("tokenizer.ggml.eos_token_id", 1),
    ] {
        gguf.value(key, U32, &value.to_le_bytes());
    }
    gguf.value(
        "llama.attention.layer_norm_rms_epsilon",
        F32,
        &1e-5f32.to_le_bytes(),
    );
    gguf.string("tokenizer.ggml.model", "gpt2");
    gguf.string("tokenizer.ggml.pre", "smollm");
    gguf.strings(
        "tokenizer.ggml.tokens",
        &["<a>", "<b>", "a", "b", "ab", "Ġ", "1", "2"],
    );
    gguf.strings("tokenizer.ggml.merges", &["a b"]);
    for (name, rows) in [
        ("attn_q", 16),
        ("attn_k", 8),
        ("attn_v", 8),
        ("attn_output", 16),
        ("ffn_gate", 32),
        ("ffn_up", 32),
    ] {
        gguf.tensor(
            &format!("blk.0.{name}.weight"),
            &[16, rows],
            0,
            64 * rows as usize,
        );
    }
    gguf.tensor("blk.0.ffn_down.weight", &[32, 16], 8, 34 * 16);
    gguf.tensor("blk.0.attn_norm.weight", &[16], 0, 64);
    gguf.tensor("blk.0.ffn_norm.weight", &[16], 0, 64);
    gguf.tensor("output_norm.weight", &[16], 0, 64);
    gguf.tensor("token_embd.weight", &[16, 8], 1, 256);
    gguf
}

fn seeds() -> Vec<Vec<u8>> {
    let mut few = Gguf::default();
    few.string("general.architecture", "other");
    few.value("general.alignment", U32, &32u32.to_le_bytes());
    few.tensor("a", &[32, 2], 2, 36);
    few.tensor("b", &[32], 3, 20);
    vec![
        llama().finish(3),
        llama().finish(2),
        few.finish(3),
        Gguf::default().finish(3),
    ]
}

/// One input.
pub fn run(bytes: &[u8]) -> u64 {
    let path = Path::new("x.gguf");
    let opened = super::safetensors::read(path, bytes);
    let Ok(checkpoint) = Checkpoint::from_bytes(path, Bytes::from(bytes)) else {
        return opened;
    };
    let Some(gguf) = checkpoint.gguf() else {
        return opened;
    };
    let config = match gguf_config(gguf, None) {
        Ok(_) => accepted("config"),
        Err(e) => refused(&e.to_string()),
    };
    let tokenizer = match Tokenizer::from_gguf(&gguf.metadata) {
        Ok(tokenizer) => {
            let ids = tokenizer.encode("ab 12<a>é\n", true);
            accepted(ids.map(|ids| tokenizer.decode(&ids, false).is_ok()).ok())
        }
        Err(e) => refused(&e.to_string()),
    };
    accepted((opened, config, tokenizer))
}
