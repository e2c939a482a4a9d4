"""From answers to findings to ranked hypotheses to verified claims: calculation only, no input or output."""
