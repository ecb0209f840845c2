//! Checkpoints: safetensors, GGUF, model folders, tokenizers, load reports, conversion.
