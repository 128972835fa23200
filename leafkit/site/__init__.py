"""A static folder that searches an index inside the browser: ``leafkit site``.

- `build`: from an index package to a folder for any web server.
- `documents`: document vectors as whole numbers, and what the page shows of a document.
- `student`: the student's files; `token_table`: a token table as plain numbers.
- `npm`: the JavaScript packages that the page needs, by version and hash.
- `page/`: the page itself, plain HTML, CSS and ES modules. No file of it is made by a build step.
"""
