"""Where the texts of a training come from: one file per system."""
