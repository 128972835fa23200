"""The program in a folder of bulk files that prints a search, and the page that says how to use it."""

from __future__ import annotations

from collections.abc import Sequence

from leafkit.bulk.format import BulkFormat
from leafkit.space import describe

_PROGRAM = '''\
"""Print a search for {engine}: python query.py "what to find" [HITS]. README.md says where to send it."""

import json
import sys

import leafkit

STUDENT = {student!r}  # a student's folder or name; the machine that searches needs this folder and nothing else
SPACE, DIM = {space!r}, {dim}


def body(vector, k):
    return {body}


encoder = leafkit.QueryEncoder.open(STUDENT)
if encoder.space.id != SPACE:
    sys.exit(f"{{STUDENT}} writes the space {{encoder.space.id}}, but the vectors in {engine} have {{SPACE}}.")
vector = encoder.encode([sys.argv[1]], "query")[0, :DIM]
vector /= (vector**2).sum() ** 0.5
print(json.dumps(body(vector.tolist(), int(sys.argv[2]) if len(sys.argv) > 2 else 10)))
'''

_PAGE = """\
# {engine}: {name}

{documents:,} documents from the index `{index}`, in files of at most {megabytes:g} MB. Their vectors have length 1 and
belong to the space

    {space}

## Load

In this folder:

```sh
{load}
```

## Search

`query.py` encodes a text with the student `{student}` and prints the search. It needs leafkit and the student's
folder on the machine that searches:

```sh
python query.py "what to find" | {search}
```

Query vectors of another model have no meaning here. `query.py` compares the space ids and refuses such a student.
{not_fields}"""


def query_program(form: BulkFormat, student: str) -> str:
    """Return the program that prints a search: it encodes a text with ``student``."""
    body = form.search_body().replace("\n", "\n    ")
    return _PROGRAM.format(engine=form.engine, student=student, space=form.space.id, dim=form.dim, body=body)


def page(
    form: BulkFormat, *, student: str, index: str, documents: int, megabytes: float, not_fields: Sequence[str]
) -> str:
    """Return the page README.md; ``not_fields`` are columns that the engine cannot filter by."""
    names = ", ".join(f"`{name}`" for name in not_fields)
    return _PAGE.format(
        engine=form.engine,
        name=form.name,
        documents=documents,
        index=index,
        megabytes=megabytes,
        space=describe(form.space),
        load=form.load_commands(),
        search=form.search_command(),
        student=student,
        not_fields=f"\n{form.engine} does not accept the names of these columns; `payload` holds them: {names}.\n"
        if names
        else "",
    )
