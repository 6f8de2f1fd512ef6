"""The readers of strangers' bytes, with inputs made by rules. `make fuzz` is the long form, led by coverage."""

import zipfile
from io import BytesIO

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fuzz.seeds import CORPUS, seeds
from fuzz.targets import TARGETS

QUICK, DEEP = 60, 10_000
SEEDS = {target: [data for name, _, data in seeds() if name == target] for target in TARGETS}

numbers = st.one_of(
    st.integers(-1, 300).map(str), st.sampled_from(["", " ", "00", "1e3", "９", "0" * 5000, "\0", "nan", "+1"])
)
cells = st.one_of(
    st.lists(numbers, max_size=8).map(" ".join),
    st.sampled_from(["Training", "PublicTest", '"', '"a,b"', "=1+1", "\u202e", "'", "<b>", "\r", "﻿"]),
    st.text(max_size=8),
)
headers = st.one_of(
    st.sampled_from(["emotion,pixels,Usage", "emotion, Usage, pixels", '"pixels",Usage,EMOTION', "pixels,Usage"]), cells
)
csv_files = st.builds(
    lambda start, header, rows, end: start + end.join([header, *map(",".join, rows)]).encode("utf-8", "surrogatepass"),
    st.sampled_from([b"", b"\xef\xbb\xbf", b"\xff\xfe", b"PK"]),
    headers,
    st.lists(st.lists(cells, max_size=4), max_size=6),
    st.sampled_from(["\n", "\r\n", "\r", "\n\n"]),
)


def damaged(target):
    """A seed of the target with bytes changed, left out or repeated."""

    def damage(data, changes):
        for at, change in changes:
            at %= len(data) + 1
            data = data[:at] + change + data[at + max(len(change), 1) :]
        return data

    return st.builds(
        damage,
        st.sampled_from(SEEDS[target]),
        st.lists(st.tuples(st.integers(0, 9999), st.binary(max_size=4)), max_size=4),
    )


def zip_of(members):
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in dict(members).items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return buffer.getvalue()


names = st.one_of(
    st.sampled_from(
        ["train/happy/a.png", "test/sad/b.jpg", "../a.png", "/a.csv", "C:\\a.csv", "x/a.csv", "a/", "train/happy/.."]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20),
)
contents = st.one_of(csv_files, damaged("image"), st.binary(max_size=20))
INPUTS = {
    "csv": st.one_of(csv_files, damaged("csv")),
    "zip": st.one_of(st.lists(st.tuples(names, contents), max_size=5).map(zip_of), damaged("zip")),
    "image": damaged("image"),
    "pixel_text": st.lists(st.lists(numbers, max_size=8).map(" ".join), max_size=40).map("\n".join).map(str.encode),
    "conf": damaged("conf"),
}


def tried(target, num_inputs):
    @settings(max_examples=num_inputs, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(INPUTS[target])
    @example(b"")
    def read(data):
        TARGETS[target](data)

    read()


@pytest.mark.parametrize("target", TARGETS)
def test_a_reader_refuses_or_reads_whatever_comes(target):
    tried(target, QUICK)


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_a_reader_refuses_or_reads_whatever_comes_many_times(target):
    tried(target, DEEP)


@pytest.mark.parametrize("target", TARGETS)
def test_the_kept_corpus_is_read_without_a_crash(target):
    kept = sorted((CORPUS / target).iterdir())
    assert len(kept) >= 2
    for path in kept:
        TARGETS[target](path.read_bytes())


def test_the_kept_corpus_is_small():
    assert sum(path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()) < 100_000
