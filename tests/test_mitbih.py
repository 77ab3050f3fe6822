"""Heartbeats from where a user has them: records of PhysioNet, brought or downloaded; two CSVs."""

import gzip
import hashlib
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

import tiny_records
from local_server import serving
from samscope import data
from samscope.data import mitbih, mitdb, wfdb_files
from samscope.errors import InputError
from samscope.run import cli

KINDS = {"N": "NLRej", "S": "AaJS", "V": "VE", "F": "F", "Q": "/fQ"}
"""Table 1 of Kachuee et al.: the annotations of each class."""

BEATS = {
    100: [(18, "+"), (77, "N"), (370, "A"), (662, "V"), (700, "~"), (1900, "F"), (2000, "/"),
          (2230, "N"), (2500, "L"), (2800, "f"), (3100, "Q")],
    102: [(40, "R"), (300, "e"), (560, "j"), (800, "!"), (830, "a"), (1100, "J"), (1400, "S"),
          (1700, "E"), (3000, "F"), (3500, "N"), (3590, "N")],
    114: [(10, "F"), (170, "F"), (400, "V"), (600, "N")],
}  # fmt: skip
COUNTS = {"training": (5, 2, 2, 3, 1), "test": (2, 2, 1, 1, 1)}


@pytest.fixture
def records(tmp_path, monkeypatch):
    """A folder with the records of three patients, who stand for all 48."""
    monkeypatch.setattr(mitdb, "RECORDS", tuple(BEATS))
    monkeypatch.setattr(mitdb, "COUNTS", COUNTS)
    monkeypatch.setattr(mitdb, "URL", "http://127.0.0.1:9/")
    folder = tmp_path / "made"
    ramps = tiny_records.RAMP, tiny_records.FALL
    tiny_records.write(folder, 100, BEATS[100])
    tiny_records.write(folder, 102, BEATS[102], leads=("V5", "V2"))
    tiny_records.write(folder, 114, BEATS[114], leads=("V5", "MLII"), signals=ramps[::-1])
    return folder


def brought(records, data_dir):
    """The data folder of a user who has put the records there."""
    data_dir.mkdir(exist_ok=True)
    records.rename(data_dir / "mitdb")
    return data_dir


def list_sums(folder):
    lines = [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.name}" for p in folder.iterdir()]
    (folder / mitdb.SUMS).write_text("\n".join([*lines, f"{'0' * 64}  x_mitdb/x_108.hea", ""]))


# Formats


def test_two_values_lie_in_three_bytes(tmp_path):
    # record 100 of the database begins 995, 1011; then the ends of the range
    path = tmp_path / "100.dat"
    path.write_bytes(bytes.fromhex("E333F3 FF7FFF 000801"))
    values = [(995, 1011), (-1, 2047), (-2048, 1)]
    header = wfdb_files.Header(360.0, 3, ("MLII", "V5"), (-1054, 3059))
    assert wfdb_files.signals(path, header).tolist() == list(map(list, values))


def test_annotations_are_intervals_long_ones_fields_and_texts(tmp_path):
    path = tmp_path / "100.atr"
    told = ["1270 02FC 284E", "3B04", "01F0 02F4 03F8", "00EC 0100 A086 0314", "03FC 61620000"]
    back = "00EC FFFF FBFF 00 04"
    path.write_bytes(bytes.fromhex(" ".join([*told, back, "0000"])))
    at, codes = wfdb_files.annotations(path)
    assert at.tolist() == [18, 77, 77 + 100_003, 77 + 100_003 - 5]
    assert codes.tolist() == [28, 1, 5, 1]


def test_the_library_of_the_format_reads_the_same(records):
    wfdb = pytest.importorskip("wfdb")
    for record, beats in BEATS.items():
        header = wfdb_files.header(records / f"{record}.hea")
        theirs = wfdb.rdrecord(str(records / str(record)), physical=False)
        own = wfdb_files.signals(records / f"{record}.dat", header)
        assert theirs.sig_name == list(header.leads)
        assert np.array_equal(theirs.d_signal, own)
        at, codes = wfdb_files.annotations(records / f"{record}.atr")
        read = wfdb.rdann(str(records / str(record)), "atr", return_label_elements=["label_store"])
        assert (read.sample.tolist(), read.label_store.tolist()) == (at.tolist(), codes.tolist())
        assert at.tolist() == [beat[0] for beat in beats]


# Beats


def expected(record):
    """Beats of a ramp of one unit a sample, one by one, as (samples, class)."""
    kept = [(at, c) for at, kind in BEATS[record] for c, of in KINDS.items() if kind in of]
    for (at, kind), (following, _) in pairwise(kept):
        values = []
        for k in range(min(187, round(1.2 * (following - at) * 125 / 360))):
            step = Fraction(288, 100) * k
            if at + step <= tiny_records.SAMPLES - 1:
                values.append(round(step))
        yield np.array(values) / values[-1], kind


def test_a_beat_goes_from_its_r_wave_past_the_next_one(records, tmp_path):
    arrays = data.read("mitbih", brought(records, tmp_path / "data"))
    beats = [beat for record in BEATS for beat in expected(record)]
    assert len(arrays["x"]) == len(beats) == sum(map(sum, COUNTS.values()))
    lengths = {len(values) for values, _ in beats}
    assert {67, 122, 187} <= lengths
    for row, kind, (values, name) in zip(arrays["x"], arrays["y"], beats, strict=True):
        assert "NSVFQ"[kind] == name
        assert np.allclose(row[: len(values)], values, atol=1e-7, rtol=0)
        assert not row[len(values) :].any()
    assert arrays["record"].tolist() == [r for r, of in BEATS.items() for _ in expected(r)]


def test_a_fifth_of_each_class_is_drawn_for_the_test():
    y = np.random.default_rng(0).permutation(np.repeat(np.arange(3), (500, 50, 20)))
    first, again = (mitdb._drawn(y, (100, 11, 4)) for _ in range(2))
    assert np.bincount(y[first]).tolist() == [100, 11, 4]
    assert np.array_equal(first, again)
    # spread over all the places of the class, not its first
    assert abs(np.flatnonzero(first).mean() - 285) < 60


def test_the_counts_are_those_of_the_set():
    assert [sum(part) for part in mitdb.COUNTS.values()] == [87_554, 21_892]
    assert len(set(mitdb.RECORDS)) == 48
    assert {c: len(codes) for c, codes in mitdb.CODES.items()} == {
        c: len(symbols) for c, symbols in KINDS.items()
    }


# Downloads


def test_records_are_downloaded_once_and_go_on_where_they_broke_off(records, tmp_path, monkeypatch):
    list_sums(records)
    with serving(records) as (url, asked):
        monkeypatch.setattr(mitdb, "URL", url)
        asked.broken = {"102.dat"}
        with pytest.raises(
            InputError, match=r"mitdb: records: 5 files missing \(102\.dat, \.\.\.\)"
        ):
            data.read("mitbih", tmp_path)
        there = {p.name for p in (tmp_path / "mitdb").iterdir()}
        assert there == {"100.hea", "100.dat", "100.atr", "102.hea", mitdb.SUMS}
        assert not (tmp_path / "mitbih.npz").exists()
        asked.broken = set()
        asked.clear()
        downloaded = data.read("mitbih", tmp_path)
        assert asked == ["102.dat", "102.atr", "114.hea", "114.dat", "114.atr"]
    (tmp_path / "mitbih.npz").unlink()
    again = data.read("mitbih", tmp_path)
    assert all(np.array_equal(downloaded[name], again[name]) for name in again)


def test_a_file_that_is_not_the_published_one_is_named(records, tmp_path, monkeypatch):
    list_sums(records)
    other = (records / "102.atr").read_bytes()
    (records / "102.atr").write_bytes(tiny_records.annotated(BEATS[114]))
    with serving(records) as (url, _):
        monkeypatch.setattr(mitdb, "URL", url)
        with pytest.raises(InputError, match=r"102\.atr cannot .*its SHA-256 is not the published"):
            data.read("mitbih", tmp_path)
        assert not (tmp_path / "mitdb" / "102.atr").exists()
        (records / "102.atr").write_bytes(other)
        (tmp_path / "mitdb" / "100.dat").write_bytes(b"half")
        with pytest.raises(InputError, match=r"100\.dat: content: another SHA-256 .* delete it to"):
            data.read("mitbih", tmp_path)


def test_without_data_and_network_a_line_says_what_goes_where(records, tmp_path):
    with pytest.raises(InputError) as error:
        data.read("mitbih", tmp_path / "data")
    line = str(error.value)
    assert "\n" not in line
    for place in ("mitdb", "mitbih_train.csv and mitbih_test.csv", "mitbih.npz", "a network"):
        assert place in line.partition("allowed: ")[2]
    assert not list((tmp_path / "data").glob("**/*.*"))


# What does not fit


def cut(path):
    path.write_bytes(path.read_bytes()[:-30])


def swap(path, old, new):
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (
            lambda d: cut(d / "102.dat"),
            "102.dat: bytes: 10770 is not allowed; allowed: 10800: 3600",
        ),
        (lambda d: cut(d / "102.atr"), "102.atr: content: no end in "),
        (lambda d: (d / "102.atr").write_bytes(b""), "102.atr: content: no end in 0 bytes"),
        (lambda d: (d / "102.atr").unlink(), "records: 1 files missing (102.atr), and http"),
        (lambda d: swap(d / "114.hea", "212", "16"), "114.hea: format: 16 is not allowed; allowed"),
        (lambda d: swap(d / "114.hea", "114.dat", "x.dat"), "114.hea: file: x.dat is not allowed"),
        (lambda d: swap(d / "114.hea", "114 2 360", "114 2 250"), "114.hea: rate: 250.0 is not"),
        (lambda d: swap(d / "114.hea", "114 2", "114 3"), "114.hea: content: damaged is not"),
        (lambda d: (d / "114.hea").write_bytes(b"\xff\n"), "114.hea: content: damaged is not"),
        (lambda d: swap(d / "100.hea", "-1800 0", "0 0"), "100.dat: checksum of MLII: "),
        (lambda d: swap(d / "114.hea", " 3600", ""), "114.hea: content: damaged is not"),
        (
            lambda d: tiny_records.write(d, 114, [(9, "N"), (8, "N")]),
            "114.atr: sample of a beat: 8",
        ),
        (lambda d: tiny_records.write(d, 114, [(9, "N"), (3600, "N")]), "a beat: 3600 is not"),
        (lambda d: tiny_records.write(d, 114, BEATS[114][1:]), "7 N, 4 S, 3 V, 3 F, 2 Q is not"),
    ],
)
def test_records_that_are_none_are_one_line(damage, words, records, tmp_path):
    data_dir = brought(records, tmp_path / "data")
    damage(data_dir / "mitdb")
    with pytest.raises(InputError) as error:
        data.read("mitbih", data_dir)
    assert words in str(error.value)
    assert "\n" not in str(error.value)
    assert not (data_dir / "mitbih.npz").exists()


def rows(part):
    """The lines of one of Kaggle's files, as many as `COUNTS` says."""
    return [
        ",".join(["0.5"] * 187 + [f"{c}.0"]) for c, n in enumerate(COUNTS[part]) for _ in range(n)
    ]


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda text: "", "mitbih_test.csv: content: (empty) is not allowed"),
        (lambda text: "\n\n", "content: (empty) is not allowed"),
        (lambda text: ",".join(map(str, range(188))) + "\n" + text, "line 1: 187.0 is not allowed"),
        (lambda text: "a," * 187 + "y\n" + text, "line 1: a in column 1 is not allowed"),
        (lambda text: text.replace("\n", "\n\n", 1), "line 2: (empty) is not allowed"),
        (lambda text: "# beats\n" + text, "line 1: 1 value is not allowed; allowed: 187 samples"),
        (lambda text: text.replace("\n", "\n#", 1), "line 2: #0.5 in column 1 is not allowed"),
        (lambda text: text.replace(",", ";"), "line 1: 1 value is not allowed"),
        (lambda text: text[:-100], "line 7: 164 values is not allowed"),
        (lambda text: text.partition("\n")[2], "beats: 1 N, 2 S, 1 V, 1 F, 1 Q is not"),
        (lambda text: text + text.partition("\n")[0], "beats: 3 N, 2 S, 1 V, 1 F, 1 Q is not all"),
        (lambda text: text.replace("0.5", "1e99", 1), "test.csv: line 1: 1e99 in column 1 is not"),
        (lambda text: text.replace("\n0.5", "\n-inf", 1), "line 2: -inf in column 1 is not"),
        (lambda text: text.replace("0.5", "1.5", 1), "line 1: 1.5 in column 1 is not allowed"),
        (lambda text: text.replace("0.5", "", 1), "line 1: (empty) in column 1 is not allowed"),
        (lambda text: text.replace("0.5", "9" * 60, 1), f"line 1: {'9' * 40}... in column"),
        (lambda text: text.replace("1.0\n", "7.0\n", 1), "line 3: 7.0 is not allowed; allowed: a"),
        (lambda text: text.replace("1.0\n", "1.5\n", 1), "line 3: 1.5 is not allowed; allowed: a"),
        (lambda text: text.replace("1.0\n", "-1\n", 1), "line 3: -1.0 is not allowed; allowed: "),
        (lambda text: text.encode("utf-16"), "content: damaged ('utf-8' codec can't decode"),
        (lambda text: gzip.compress(text.encode())[:40], "content: damaged (Compressed file ended"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("error")
def test_tables_that_are_none_are_one_line(edit, words, tmp_path, monkeypatch):
    monkeypatch.setattr(mitdb, "COUNTS", COUNTS)
    (tmp_path / "mitbih_train.csv").write_text("\n".join(rows("training")) + "\n")
    edited = edit("\n".join(rows("test")) + "\n")
    edited = edited if isinstance(edited, bytes) else edited.encode()
    (tmp_path / "mitbih_test.csv").write_bytes(edited)
    with pytest.raises(InputError) as error:
        data.read("mitbih", tmp_path)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_tables_are_taken_packed_and_with_marks_of_their_editors(tmp_path, monkeypatch):
    monkeypatch.setattr(mitdb, "COUNTS", COUNTS)
    monkeypatch.setattr(mitdb, "URL", "http://127.0.0.1:9/")
    texts = {part: "\n".join(rows(part)) + "\n" for part in COUNTS}
    forms = {
        "plain": lambda text: text.encode(),
        "windows": lambda text: b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode() + b"\r\n\r\n",
        "packed": lambda text: gzip.compress(text.encode()),
    }
    found = {}
    for form, made in forms.items():
        (tmp_path / form).mkdir()
        for file, part in mitbih.FILES.items():
            name = f"{file}.gz" if form == "packed" else file
            (tmp_path / form / name).write_bytes(made(texts[part]))
        found[form] = data.read("mitbih", tmp_path / form)
    assert len(found["plain"]["x"]) == sum(map(sum, COUNTS.values()))
    for arrays in found.values():
        assert all(np.array_equal(arrays[k], v) for k, v in found["plain"].items())


def test_one_table_alone_asks_for_the_other(tmp_path):
    (tmp_path / "mitbih_train.csv").write_text("\n".join(rows("training")) + "\n")
    with pytest.raises(InputError, match=r"mitbih_test\.csv: file: \(missing\) .* or neither"):
        data.read("mitbih", tmp_path)


def test_arrays_of_another_length_are_named(tmp_path):
    y = np.zeros(4, np.uint8)
    arrays = {"x": np.zeros((4, 186), np.float32), "y": y, "record": y, "is_test": y > 0}
    np.savez(tmp_path / "mitbih.npz", **arrays)
    with pytest.raises(InputError, match=r"x: float32 4 x 186 .* allowed: float32 N x 187"):
        data.read("mitbih", tmp_path)


def test_the_command_says_what_a_user_can_bring(capsys):
    with pytest.raises(SystemExit):
        cli.main(["data", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    for file in (*mitbih.FILES, "mitdb/", f"{mitdb.RECORDS[0]}.hea", f"{mitdb.RECORDS[-1]}.atr"):
        assert file in told.partition("mitbih: ")[2].partition("mutagenicity: ")[0]
    assert "Mutagenicity.zip" in told
