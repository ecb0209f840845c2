//! Whether a checkpoint stores a head of its own beside the embedding.

use crate::checkpoint::Checkpoint;

/// The head's tensor.
pub(crate) const HEAD: &str = "lm_head.weight";

const EMBEDDING: &str = "model.embed_tokens.weight";

impl Checkpoint {
    /// Whether `lm_head.weight` is stored and is not, byte for byte, `model.embed_tokens.weight`. Such a head is used whatever
    /// `tie_word_embeddings` says, as transformers does: what a checkpoint was trained to is never dropped.
    pub fn has_own_head(&self) -> bool {
        let (Some(head), Some(embedding)) = (self.info(HEAD), self.info(EMBEDDING)) else {
            return self.contains(HEAD);
        };
        let same = (head.stored, &head.shape) == (embedding.stored, &embedding.shape)
            && self.raw_bytes(head).as_deref() == self.raw_bytes(embedding).as_deref();
        !same
    }
}
