"""Teachers, whose vectors students learn from: models, ONNX folders, vectors files and other students."""
