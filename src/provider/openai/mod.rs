//! The OpenAI-shaped vendors: `openai`, `openai-compatible`, `dashscope`, `moonshot`, `ark`.
