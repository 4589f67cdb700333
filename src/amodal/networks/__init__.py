"""What networks share: building blocks (torch; import them inside functions), export to ONNX, sessions of ONNX Runtime."""
