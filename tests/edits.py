"""Edits of a text by tests that need a file to be another."""


def edited(text: str, changes: dict[str, str]) -> str:
    """`text` with every occurrence of each key replaced by its value. A key that it lacks is an error.

    With `str.replace` alone a test that breaks a file goes on with the file as it was once its text has changed.
    """
    for old, new in changes.items():
        assert old in text, f"the text to change has no {old!r}"
        text = text.replace(old, new)
    return text
