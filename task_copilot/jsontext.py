"""JSON as the program writes it: compact, UTF-8 as it is, and never NaN."""

import json
from typing import Any

encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
"""The compact text of a value; raises ValueError for NaN and infinities."""


def decode(text: str) -> Any:
    """The value of a JSON text that this program wrote."""
    return json.loads(text)


def size(value: Any) -> int:
    """Bytes of a value's compact JSON in UTF-8."""
    return len(encode(value).encode())
