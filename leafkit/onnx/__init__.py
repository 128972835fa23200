"""Export a trained student to ONNX files, prove that they agree with it, and restore a student from them."""
