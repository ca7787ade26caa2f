"""Text that every stream can print."""

__all__ = ["encodable"]


def encodable(text: str) -> str:
    """Return a text with each lone surrogate spelled out: a backslash, u and four digits.

    File names that are no UTF-8 and escapes in JSON make lone surrogates, which UTF-8 has no bytes
    for.
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
