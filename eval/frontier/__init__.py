"""Bytes per document against nDCG@10, for one student: prefixes, rotated prefixes and folds in every precision.

``python -m eval.frontier --data beir/scifact --teacher T --student S --dims 256,128 --out frontier.json`` measures it.
"""
