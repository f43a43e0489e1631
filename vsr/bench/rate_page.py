"""The page that raters look at, put together: for the server, or with all its pictures in one file."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from importlib.resources import files
from typing import Any

SCRIPTS = ("rate_sources.js", "rate.js")


def rate_page(content: dict[str, Any] | None) -> tuple[str, str]:
    """The page as text, and its policy for browsers. `content` is a kit, None where a server has the pictures.

    The policy lets the page's own style and script run, by their hashes, and nothing be asked of anybody but that server.
    """
    parts = files("vsr.bench") / "page"
    style = (parts / "rate.css").read_text(encoding="utf-8")
    script = "\n".join((parts / name).read_text(encoding="utf-8") for name in SCRIPTS)
    there = "img-src data:" if content is not None else "img-src 'self' data:; connect-src 'self'"
    policy = (
        f"default-src 'none'; {there}; style-src {_hash(style)}; script-src {_hash(script)}; base-uri 'none'; form-action 'none'"
    )
    data = json.dumps(content).replace("<", "\\u003c")  # no name in it can end the script element
    values = {"policy": policy, "style": style, "script": script, "data": data}
    template = (parts / "rate.html").read_text(encoding="utf-8")
    return re.sub("@(policy|style|script|data)@", lambda found: values[found[1]], template), policy


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
