"""The mathematics: free of Beam and TFX."""
