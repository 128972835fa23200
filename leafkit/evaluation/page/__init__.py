"""Write reports as one HTML file that needs no other file: no scripts, fonts or images from outside.

build.py             the page itself: headline, tables, plots and provenance
section_content.py   what one section of the page shows, and the retentions in its headline
plot_blocks.py       the parts of a section with plots or heat tables, each with heading and legend
plots.py             the plots
svg.py               matplotlib figures as SVG elements in the page's colours
provenance_block.py  the end of a section: where the figures come from
document.py          the frame of any page: head, style sheet and policy
html.py              HTML elements whose text is escaped
page.css             the style sheet
"""
