"""Measure students against their teacher, or a teacher alone.

Start with evaluate.py, the function behind ``leafkit evaluate``. It opens the models, measures every data source and
returns a `Report`.

Models and settings
    modes.py             the three modes (teacher, standard, asymmetric) and which model encodes which side in each
    students.py          open the students to measure, in torch or as exported to ONNX
    learning_curve.py    read the validations of a student's training from its folder
    grid.py              the grid of dims and precisions, and exhaustive search in one cell of the grid

Retrieval collections
    collection.py        read a collection in BEIR's layout
    corpus_subset.py     take a fixed subset of a large corpus
    retrieval.py         measure every mode in every grid cell on one collection
    metrics.py           nDCG, recall, MRR and MAP of every query
    bm25.py              rank with BM25, a baseline without vectors, alone and fused with vectors
    beir_crosscheck.py   compute nDCG@10 with BEIR's own search, to check ours

MTEB tasks
    mteb_tasks.py        find a task by name, in a local folder or in mteb's registry
    mteb_local_tasks.py  tasks read from local folders
    labelled_tables.py   read the JSONL tables of tasks in local folders
    mteb_model.py        a leafkit encoder as a model that mteb can measure
    mteb_run.py          run a task with mteb and its result cache

Results
    result_rows.py       one row of results, and rows averaged over collections
    bootstrap.py         95 % intervals by resampling queries
    collection_means.py  averages over collections, with intervals
    provenance.py        the code, packages and data behind the figures
    folder_names.py      short, distinct names for folders
    result_tables.py     rows as tables of text
    report.py            the report: to JSON, from JSON and as text
    page/                the report as one HTML file

    shadow/              run queries without labels through two encoders of an index, and compare the hits
    compare/             train recipes and compare the students that they produce
"""
