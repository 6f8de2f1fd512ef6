"""Fuzz one reader with atheris, which mutates what reached new lines of the code.

    python -m fuzz.run TARGET [--inputs 100000] [--corpus FOLDER]

An input that crashes the reader is written to fuzz/crashes/, and the exit status is not 0. What reached new code is
kept in --corpus (a folder that is thrown away, unless given).
"""

import argparse
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["fer_tasks", "PIL", "zipfile", "csv"]):
    from fuzz.seeds import CORPUS
    from fuzz.targets import TARGETS

_SECONDS_AN_INPUT = 120
_MEGABYTES = 3000
_LONGEST = {"image": 4096, "zip": 4096, "csv": 8192, "pixel_text": 8192, "conf": 2048}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=list(TARGETS))
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--corpus", type=Path)
    options = parser.parse_args()
    found = options.corpus or Path(tempfile.mkdtemp(prefix="fuzz-corpus-"))
    crashes = Path(__file__).resolve().parent / "crashes"
    for folder in (found, crashes):
        folder.mkdir(parents=True, exist_ok=True)
    atheris.Setup(
        [
            "fuzz",
            f"-atheris_runs={options.inputs}",
            f"-max_len={_LONGEST[options.target]}",
            f"-timeout={_SECONDS_AN_INPUT}",
            f"-rss_limit_mb={_MEGABYTES}",
            f"-artifact_prefix={crashes}/{options.target}-",
            str(found),
            str(CORPUS / options.target),
        ],
        TARGETS[options.target],
    )
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
