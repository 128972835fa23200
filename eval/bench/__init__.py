"""What leafkit costs beside sentence-transformers: both measured in turns in the same run, on this machine.

``python -m eval.bench --teacher T --data BEIR_FOLDER`` runs it; each measurement is one file here.
"""
