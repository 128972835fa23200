"""From a trained student to ONNX files that any runtime reads, and the proof that they agree with it."""
