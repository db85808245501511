//! Gemini, by generateContent.
