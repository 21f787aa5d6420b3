"""tfx_explain: explain models inside TFX pipelines, and gate their push by what they lean on."""
