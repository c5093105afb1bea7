"""Classifies the given texts, or each line of standard input if no text is given."""

import codecs
import io
import os
import shlex
import sys
from typing import Any

from lab10.cli.arguments import data_overrides, run_parser
from lab10.cli.console import console
from lab10.cli.script import ScriptResult, run_script
from lab10.config.errors import UserError

# UTF-32's comes first, because it begins with that of UTF-16.
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Texts in Latin letters have zero for every second byte in UTF-16, and for none in UTF-8.
MAX_ZERO_BYTES = 0.2


def main(arguments: list[str]) -> ScriptResult:
    parser = run_parser(__doc__)
    parser.add_argument(
        "texts",
        metavar="TEXT",
        nargs="*",
        help="text to classify, not a file's name; after -- if it begins with a dash "
        "(default: one text per line of standard input, in UTF-8 or UTF-16)",
    )
    args = parser.parse_intermixed_args(arguments)
    texts = [_not_a_path(text, args.directory) for text in args.texts]

    from lab10.inspection.load import load
    from lab10.inspection.text_run import TextRun

    run = load(args.directory, args.checkpoint, **data_overrides(args))
    if not isinstance(run, TextRun):
        raise run.unsupported("classify texts")
    if not texts:
        if sys.stdin.isatty():
            console.print("Type one text per line, then Ctrl-D.")
        texts = split_lines(sys.stdin.buffer.read())
    invalid = sum(not _is_utf_8(text) for text in texts)
    if invalid:
        console.print(
            f"Warning: {invalid} of {len(texts)} texts are not valid UTF-8. To convert a file, for example: "
            "iconv -f CP1252 -t UTF-8 FILE"
        )
    predictions = run.predict(texts)
    unknown = sum(prediction["known_words"] == 0 for prediction in predictions)
    if unknown:
        console.print(
            f"{unknown} of {len(texts)} texts have no word that the model knows: their labels say nothing about them.",
        )
    return {"predictions": predictions}, "\n".join(map(_as_line, predictions))


def _not_a_path(text: str, directory: str) -> bytes:
    """Returns a text given as argument, as bytes, because an argument need not be valid UTF-8.

    Raises:
      UserError: it is the path of a file or folder.
    """
    if text and os.path.exists(text):
        name, folder = shlex.quote(text), shlex.quote(directory)
        if os.path.isdir(text):
            raise UserError(f"{name} is a folder; expected a text, or texts on standard input, one per line.")
        raise UserError(
            f"{name} is a file; expected a text. To classify each line of the file:\n"
            f"  python scripts/predict.py {folder} < {name}\n"
            f"To classify the text {name} itself:\n  echo {name} | python scripts/predict.py {folder}"
        )
    return os.fsencode(text)


def _is_utf_8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def split_lines(content: bytes) -> list[bytes]:
    """Returns the lines of a file as UTF-8, without byte-order marks and line ends.

    Raises:
      UserError: the file is not in UTF-8 but, by its byte-order mark or its zero bytes, in UTF-16 or UTF-32, and cannot
        be decoded.
    """
    encoding = next((name for mark, name in BYTE_ORDER_MARKS if content.startswith(mark)), None)
    if encoding is not None:
        try:
            content = content.decode(encoding).encode()
        except UnicodeError as error:
            raise UserError(
                f"Standard input begins with the byte-order mark of {encoding.upper()}, but is not valid ({error}).\n"
                "Expected UTF-8, one text per line."
            ) from error
    elif content.count(0) > MAX_ZERO_BYTES * len(content):
        raise UserError(
            f"{content.count(0)} of the {len(content)} bytes of standard input are zero, as in UTF-16 or in files that "
            "are not text.\nExpected UTF-8, one text per line. To convert: iconv -f UTF-16LE -t UTF-8 FILE"
        )
    return [line.rstrip(b"\r\n").removeprefix(codecs.BOM_UTF8) for line in io.BytesIO(content)]


def _as_line(prediction: dict[str, Any]) -> str:
    text, share = prediction["text"], prediction["known_words"]
    known = f"{int(100 * share)}% known" if share else "NO KNOWN WORD"
    return (
        f"{prediction['label']} {prediction['probability']:.3f}, {known}  {text[:200]}{'…' if len(text) > 200 else ''}"
    )


if __name__ == "__main__":
    run_script(main)
