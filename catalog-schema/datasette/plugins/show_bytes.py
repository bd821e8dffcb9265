"""Shows BLOBs in the pages of views as text, bytes that are none as \\xNN.

Datasette 0.65 links a BLOB to its row by its rowid, which a view has not: its page is an error (500) without this.
"""

import re

from datasette import hookimpl


@hookimpl
def render_cell(value):
    if isinstance(value, bytes):
        text = value.decode("ascii", "backslashreplace")
        return re.sub("[\x00-\x1f\x7f]", lambda found: f"\\x{ord(found[0]):02x}", text) or "(empty)"
    return None
