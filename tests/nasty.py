"""Texts that would harm a terminal or a log, and what of them must not come through."""

import unicodedata

from hypothesis import strategies as st

SEEN = "\u200c\u200d\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2"
"""Of the signs that only format: joiners inside emoji and words, and signs of Arabic numbers."""

HARMFUL = (
    "\x1b[2J",
    "\x1b]0;title\x07",
    "\x1b]8;;http://other.example\x1b\\link",
    "\x9b31m",
    "\x85",
    "\x7f\x08\x08",
    "line\r\nforged: line\n",
    "\u2028\u2029",
    "\u202egnp.exe\u202c",
    "\u2066\u2067\u2068\u2069\u200e\u200f\u061c",
    "pass\u200bword\ufeff\u2060\u00ad",
    "pa\u200dss\u200cword",
    "\U000e0041\U000e0042\U000e007f",
    "\u3164\u115f\uffa0",
    "a" + "\u0301" * 100,
)
READABLE = (
    "Zahlung per Karte: größer",
    "שלום עולם",
    "مرحبا بالعالم",
    "می‌خواهم",
    "日本語の課題",
    "👩‍💻 👨‍👩‍👧‍👦 🏳️‍🌈 ❤️‍🔥 1️⃣ 🇩🇪 👍🏽",
    "नमस्ते क्‍ष",
)
"""They are shown as they are."""

texts = st.lists(
    st.one_of(st.sampled_from(HARMFUL + READABLE), st.text(st.characters(codec="utf-8"))),
    min_size=1,
    max_size=6,
).map("".join)
"""Mixtures of both with any other text that can be stored."""


def harmful_signs(text: str) -> list[str]:
    """What of `text` a terminal may obey, or nobody sees."""
    return [f"U+{ord(sign):04X}" for sign in text if _harms(sign)]


def _harms(sign: str) -> bool:
    category = unicodedata.category(sign)
    if category == "Cf":
        hieroglyphs = "\U00013430" <= sign <= "\U0001345f"
        others = "\U000110bd\U000110cd"
        return sign not in SEEN + others and not hieroglyphs
    return category in {"Cc", "Zl", "Zp", "Cs"} or sign in "\u3164\u115f\u1160\uffa0\u034f"
