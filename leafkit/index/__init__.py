"""The maker's side of an index package: build one from documents, and add or remove documents later.

`leafkit.search` opens and searches what is written here. Two functions are public, and each delegates to one file::

    build.build_index     reads documents, opens the teacher, plans the package
      -> new_package      writes the whole package into a new folder
    update.update_index   locks the package, opens the teacher of the added documents
      -> next_generation  writes the changed files beside the old ones, then replaces the manifest

Both sides use the same steps, in this order::

    documents      texts become documents on disk; from there they are read back to be encoded, a block at a time
    coordinates    decides which map, if any, the vectors go through (student's coordinates, rotation, fold)
      -> fold      keeps only what one student's queries can tell apart
    vector_files   spools the encoded vectors to disk, then writes the FAISS index and the rescoring vectors
      -> fill      trains and fills the FAISS index, and chooses the rescoring vectors
    lexical        counts the words of the documents for BM25
    ladder         orders several students of one space, and names the effort of each
    encoder_files  copies the student's query encoder into the package
    package_files  names files, writes manifests, locks a package, deletes old generations
"""
