"""Loaded by `make test` before any other plugin (`-p tests.lean_imports`): keeps out an import that costs more than torch.

nbval imports nbformat, which imports jsonschema, which takes more than a second to build a grammar for checking internationalized
addresses that no notebook contains. jsonschema treats that package as optional, so here it is absent.
"""

import sys

sys.modules.setdefault("rfc3987_syntax", None)
