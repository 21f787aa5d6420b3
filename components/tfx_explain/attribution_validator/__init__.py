"""AttributionValidator: the gate that turns attributions into a verdict and a blessing."""
