"""ExplainerGen: attributions of an exported model over its examples, as a Beam job."""
