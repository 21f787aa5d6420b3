"""What changed after a refusal: the model, the data, or what is upstream of both."""
