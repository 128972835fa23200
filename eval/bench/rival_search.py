"""A search without leafkit: load the student, the vectors and the documents, encode one query, print ten hits.

``python rival_search.py STUDENT VECTORS DOCUMENTS QUERY``. It imports nothing of leafkit.
"""

import json
import sys
from pathlib import Path


def main() -> None:
    """Print the hits of the query on the command line."""
    import faiss
    import numpy
    from sentence_transformers import SentenceTransformer

    student, vectors, documents, query = sys.argv[1:]
    model = SentenceTransformer(student, device="cpu")
    held = numpy.load(vectors)
    index = faiss.IndexFlatIP(held.shape[1])
    index.add(held)
    lines = Path(documents).read_text(encoding="utf-8").splitlines()
    scores, rows = index.search(model.encode_query(query)[None], 10)
    for rank, (row, score) in enumerate(zip(rows[0], scores[0], strict=True), start=1):
        document = json.loads(lines[row])
        words = f"{document['title']} {document['text']}".strip()
        sys.stdout.write(f"{rank:>3}  {score:.3f}  {document['_id']}  {words[:90]}\n")


if __name__ == "__main__":
    main()
