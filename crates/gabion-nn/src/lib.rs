//! Layers and models that build graphs: StackedLinear, attention, Llama, Qwen2, Phi-3, BERT.
