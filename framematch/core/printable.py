"""Makes text from outside safe to print: a terminal obeys control characters, and some characters reorder a line."""


def printable(text: str) -> str:
    """`text` of a camera, server, file or catalogue in one line, with `?` for what is not printable."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def printable_lines(text: str) -> str:
    """The same for several lines."""
    return "\n".join(printable(line.removesuffix("\r")) for line in text.removesuffix("\n").split("\n"))


def printable_json(text: str, encoding: str = "utf-8") -> str:
    r"""The same JSON in one line: what is not printable, or not in `encoding`, is escaped as `\u202e`."""
    if text.isprintable() and _fits(text, encoding):
        return text
    plain = not _fits(text, encoding)
    return "".join(_escaped(character, plain=plain) for character in text)


def _escaped(character: str, *, plain: bool) -> str:
    if character in "\t\n\r":  # between the tokens: within them JSON has no such character
        return " "
    if character.isprintable() and (character.isascii() or not plain):
        return character
    code = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{code[at : at + 4]}" for at in range(0, len(code), 4))


def _fits(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
