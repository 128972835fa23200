"""The names of weights in a student's graph, by which they are found again."""

from __future__ import annotations

import re

# Prefixes of the names of weights: attributes of the two classes of `leafkit.onnx.graph`.
MODULES, TABLE, TABLE_REST = "modules_in_order.", "table.", "rest."
TABLE_WEIGHT = f"{TABLE}weight"
# Suffixes that `leafkit.onnx.int8` adds: of a channel's factor, of a matrix multiplied by factors, and of the two parts
# of an int8 table.
FACTOR = "_factor"
SMOOTHED = re.compile(r"(?P<matrix>.+?)_of_(?P<activation>.+)_smooth")
TABLE_INT8, TABLE_STEP = "_int8", "_step"
