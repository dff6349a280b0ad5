import errno
import hashlib
import json
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from eifn.database import DatabaseError, check_destination, read_database, write_database

ABOUT = {
    "name": "tiny",
    "expressions": ("happiness", "neutral"),
    "licence": "CC0",
    "citation": "Nobody (2019)",
    "made_by": "python -m data_prep tiny",
}


def a_table(n=4):
    return pd.DataFrame(
        {
            "subject": [f"{i // 2:03d}" for i in range(n)],
            "sequence": "001",
            "position": [i % 2 for i in range(n)],
            "expression": ["happiness" if i % 4 < 2 else "neutral" for i in range(n)],
            "source": [f"a folder/é, {i}.png" for i in range(n)],
        }
    )


def some_frames(n=4, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, 64, 64, 3), dtype=np.uint8)


def write(path, frames=None, table=None, **changed):
    return write_database(
        path,
        frames=some_frames() if frames is None else frames,
        table=a_table() if table is None else table,
        **{**ABOUT, **changed},
    )


def seal(folder):
    """Make the checksums right again, as a tool of someone else's would that writes the format itself."""
    about = json.loads((folder / "database.json").read_text("utf-8"))
    for file in ("frames.npy", "frames.csv"):
        about["sha256"][file] = hashlib.sha256((folder / file).read_bytes()).hexdigest()
    (folder / "database.json").write_text(json.dumps(about), "utf-8")


def listing(folder):
    return sorted(path.name for path in folder.iterdir())


# What was written is what is read.


def test_round_trip(tmp_path):
    assert write(tmp_path / "new" / "tiny") == tmp_path / "new" / "tiny"
    database = read_database(tmp_path / "new" / "tiny")
    np.testing.assert_array_equal(database.frames, some_frames())
    pd.testing.assert_frame_equal(database.table, a_table())
    assert database.table["position"].dtype == np.int64
    assert {name: getattr(database, name) for name in ABOUT} == ABOUT
    assert database.subjects == ["000", "001"]  # text, zeros kept
    assert database.labels.tolist() == [0, 0, 1, 1]
    assert len(database) == 4
    assert repr(database) == "FaceDatabase('tiny': 4 frames, 2 sequences, 2 subjects, 2 expressions)"
    assert listing(tmp_path / "new") == ["tiny"]
    assert listing(tmp_path / "new" / "tiny") == ["database.json", "frames.csv", "frames.npy"]


def test_labels_go_by_the_order_of_the_expressions(tmp_path):
    """Which need not be that of the alphabet, nor have a frame each."""
    path = write(tmp_path / "tiny", expressions=("neutral", "fear", "happiness"))
    assert read_database(path).labels.tolist() == [2, 2, 0, 0]


def test_frames_are_mapped_read_only(tmp_path):
    database = read_database(write(tmp_path / "tiny"))
    assert isinstance(database.frames, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        database.frames[0, 0, 0, 0] = 1


def test_the_identity_is_that_of_the_data(tmp_path):
    first = read_database(write(tmp_path / "a")).sha256
    assert first == "".join(
        hashlib.sha256((tmp_path / "a" / file).read_bytes()).hexdigest()
        for file in ("frames.npy", "frames.csv")
    )
    assert read_database(write(tmp_path / "b", name="other")).sha256 == first
    assert read_database(write(tmp_path / "c", frames=some_frames(seed=1))).sha256 != first


def test_rows_and_columns_in_any_order_and_more_columns(tmp_path):
    table = a_table().iloc[::-1, ::-1].assign(age=30)
    read = read_database(write(tmp_path / "tiny", table=table)).table
    pd.testing.assert_frame_equal(read, a_table().iloc[::-1].reset_index(drop=True))


def test_subjects_that_look_like_numbers_or_nothing_stay_text(tmp_path):
    names = ["NA", "None", "1e5", "007"]
    table = a_table().assign(subject=names)
    assert read_database(write(tmp_path / "tiny", table=table)).table["subject"].tolist() == names


def test_a_folder_of_the_database_is_as_open_as_any_other(tmp_path):
    (tmp_path / "other").mkdir()
    write(tmp_path / "tiny")
    assert (tmp_path / "tiny").stat().st_mode == (tmp_path / "other").stat().st_mode


# Replacing, and what is in the way.


def test_an_old_database_is_replaced(tmp_path):
    write(tmp_path / "tiny")
    mapped = read_database(tmp_path / "tiny")
    write(tmp_path / "tiny", frames=mapped.frames[::-1], table=mapped.table[::-1])
    np.testing.assert_array_equal(read_database(tmp_path / "tiny").frames, some_frames()[::-1])
    np.testing.assert_array_equal(
        mapped.frames, some_frames()
    )  # the old one stays readable where it is mapped
    assert listing(tmp_path) == ["tiny"]


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "tiny").mkdir()
    write(tmp_path / "tiny")
    read_database(tmp_path / "tiny")
    assert listing(tmp_path) == ["tiny"]


def test_a_link_to_another_disk_stays_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "tiny").symlink_to(tmp_path / "disk" / "large")
    for seed in (0, 1):
        write(tmp_path / "tiny", frames=some_frames(seed=seed))
        assert (tmp_path / "tiny").is_symlink()
        np.testing.assert_array_equal(
            read_database(tmp_path / "disk" / "large").frames, some_frames(seed=seed)
        )
    assert listing(tmp_path / "disk") == ["large"]


@pytest.mark.parametrize("name", ["thesis.tex", "database.json.bak"])
def test_a_folder_with_anything_else_is_left_alone(tmp_path, name):
    mine = write(tmp_path / "mine")
    (mine / name).write_text("precious")
    before = {path: path.read_bytes() for path in mine.iterdir()}
    for attempt in (write, check_destination):
        with pytest.raises(DatabaseError, match=rf"mine: .* not a prepared database \(it holds '{name}'\)"):
            attempt(mine)
    assert {path: path.read_bytes() for path in mine.iterdir()} == before
    assert listing(tmp_path) == ["mine"]


def test_a_file_is_left_alone(tmp_path):
    (tmp_path / "mine").write_text("precious")
    for attempt in (write, check_destination):
        with pytest.raises(DatabaseError, match="mine: exists and is not a folder"):
            attempt(tmp_path / "mine")
    assert (tmp_path / "mine").read_text() == "precious"
    assert listing(tmp_path) == ["mine"]


def test_a_place_below_a_file_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    for attempt in (write, check_destination):
        with pytest.raises(OSError, match=r"file/below/tiny: cannot be written \(Not a directory\)"):
            attempt(tmp_path / "file" / "below" / "tiny")
    assert listing(tmp_path) == ["file"]


def test_the_check_leaves_no_trace(tmp_path):
    check_destination(tmp_path / "a" / "b" / "tiny")
    assert listing(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("old", [False, True])
def test_a_full_disk(tmp_path, monkeypatch, old):
    if old:
        write(tmp_path / "tiny")
    before = listing(tmp_path)
    save = np.save

    def save_on_the_full_disk(path, array):
        with Path("/dev/full").open("wb") as full:
            save(full, array)

    monkeypatch.setattr(np, "save", save_on_the_full_disk)
    with pytest.raises(OSError, match=r"tiny: cannot be written \(No space left on device\)"):
        write(tmp_path / "tiny", frames=some_frames(seed=1))
    assert listing(tmp_path) == before
    if old:
        np.testing.assert_array_equal(read_database(tmp_path / "tiny").frames, some_frames())


def test_the_old_database_comes_back_if_the_new_one_cannot_take_its_place(tmp_path, monkeypatch):
    write(tmp_path / "tiny")
    rename = Path.rename

    def only_the_new_one_fails(self, target):
        if self.name == "new":
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", only_the_new_one_fails)
    with pytest.raises(OSError, match="tiny: cannot be written"):
        write(tmp_path / "tiny", frames=some_frames(seed=1))
    assert listing(tmp_path) == ["tiny"]
    np.testing.assert_array_equal(read_database(tmp_path / "tiny").frames, some_frames())


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
sys.path.insert(0, sys.argv[1])
from test_database import some_frames, write

def dies(function, when):
    def deadly(*arguments):
        if when == "during":
            Path(arguments[0]).write_bytes(b"half")
        elif when == "after":
            function(*arguments)
        os.kill(os.getpid(), signal.SIGKILL)
    return deadly

place, moment = sys.argv[2], sys.argv[3]
if moment == "while the frames are written":
    np.save = dies(np.save, "during")
elif moment == "before the description":
    Path.write_text = dies(Path.write_text, "before")
else:
    rename = Path.rename
    def rename_and_die(self, target):
        if self.name != "new":
            return rename(self, target)
        dies(rename, "before" if moment == "between the renamings" else "after")(self, target)
    Path.rename = rename_and_die
write(place, frames=some_frames(seed=1))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill -9 here")
@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(
    "moment",
    [
        "while the frames are written",
        "before the description",
        "between the renamings",
        "before the cleaning",
    ],
)
def test_kill_9_leaves_a_whole_database_or_none(tmp_path, old, moment):
    if old:
        write(tmp_path / "tiny")
    arguments = [sys.executable, "-c", KILLED, str(Path(__file__).parent), str(tmp_path / "tiny"), moment]
    process = subprocess.run(arguments, capture_output=True, text=True)
    assert process.returncode == -signal.SIGKILL, process.stderr
    if moment == "before the cleaning":
        expected = 1
    else:
        expected = 0 if old and moment != "between the renamings" else None
    visible = [name for name in listing(tmp_path) if not name.startswith(".")]
    assert visible == ([] if expected is None else ["tiny"])
    if expected is not None:
        np.testing.assert_array_equal(read_database(tmp_path / "tiny").frames, some_frames(seed=expected))
    write(tmp_path / "tiny", frames=some_frames(seed=2))  # what is left over is in nobody's way
    np.testing.assert_array_equal(read_database(tmp_path / "tiny").frames, some_frames(seed=2))


# Content that is refused, when it is written and when it is read.

WRONG = [
    ("subject", " ", "empty subject"),
    ("subject", None, "empty subject"),
    ("sequence", np.nan, "empty sequence"),
    ("subject", "a\nb", r"subject 'a\\nb' is not plain text"),
    ("source", "half \ud83d", "source .* is not plain text"),
    ("expression", "joy", "unknown expression 'joy', this database has happiness, neutral"),
    ("expression", "fear", "unknown expression 'fear'"),  # a word of the vocabulary, but not of this database
    ("expression", None, "unknown expression"),
    ("position", -1, "position '-1' is not a whole number"),
    ("position", 0.5, r"position '0\.5' is not a whole number"),
    ("position", np.nan, "position '' is not a whole number"),
    ("position", "nan", "position 'nan' is not a whole number"),
    ("position", "inf", "position 'inf' is not a whole number"),
    ("position", True, "position 'True' is not a whole number"),
    ("position", 1, "position 1 of sequence 001 of subject 001 occurs twice"),
]


@pytest.mark.parametrize(("column", "value", "complaint"), WRONG)
def test_a_wrong_row_is_not_written(tmp_path, column, value, complaint):
    table = a_table().astype(object)
    table.loc[2, column] = value
    line = 5 if "twice" in complaint else 4  # the second of two is the one that is too many
    with pytest.raises(DatabaseError, match=rf"tiny/frames\.csv, line {line}: {complaint}"):
        write(tmp_path / "tiny", table=table)
    assert listing(tmp_path) == []


@pytest.mark.parametrize(
    ("column", "value", "complaint"), [row for row in WRONG if "\ud83d" not in str(row[1])]
)
def test_a_wrong_row_is_not_read(tmp_path, column, value, complaint):
    folder = write(tmp_path / "tiny")
    table = a_table().astype(object)
    table.loc[2, column] = value
    table.to_csv(folder / "frames.csv", index=False)
    seal(folder)
    line = 5 if "twice" in complaint else 4
    with pytest.raises(DatabaseError, match=rf"tiny/frames\.csv, line {line}: {complaint}"):
        read_database(folder)


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"expressions": ("joy", "neutral")}, "expressions must be distinct words of anger, .*got .*'joy'"),
        ({"expressions": ()}, "expressions must be distinct words"),
        ({"expressions": ("neutral", "neutral")}, "expressions must be distinct words"),
        ({"frames": np.zeros((4, 64, 64), np.uint8)}, r"expected uint8 \(N, 64, 64, 3\)"),
        ({"frames": np.zeros((4, 64, 64, 3), np.float32)}, "expected uint8 .* got float32"),
        ({"frames": np.zeros((0, 64, 64, 3), np.uint8)}, "with N >= 1"),
        ({"frames": np.zeros((3, 64, 64, 3), np.uint8)}, "4 rows for 3 frames"),
        ({"table": a_table().drop(columns="position")}, "column 'position' is missing"),
    ],
)
def test_wrong_content_is_not_written(tmp_path, changed, complaint):
    with pytest.raises(DatabaseError, match=complaint):
        write(tmp_path / "tiny", **changed)
    assert listing(tmp_path) == []


# Damage.


@pytest.mark.parametrize("file", ["database.json", "frames.npy", "frames.csv"])
def test_a_missing_file(tmp_path, file):
    folder = write(tmp_path / "tiny")
    (folder / file).unlink()
    with pytest.raises(DatabaseError, match=rf"tiny/{file}: not found; prepare it again"):
        read_database(folder)


def test_a_place_with_nothing(tmp_path):
    with pytest.raises(DatabaseError, match=r"nowhere/database\.json: not found; prepare it again"):
        read_database(tmp_path / "nowhere")


@pytest.mark.parametrize("file", ["frames.npy", "frames.csv"])
@pytest.mark.parametrize("damage", ["cut short", "one bit"])
def test_a_damaged_file(tmp_path, file, damage):
    folder = write(tmp_path / "tiny")
    content = bytearray((folder / file).read_bytes())
    if damage == "cut short":
        del content[len(content) // 2 :]
    else:
        content[-5] ^= 1
    (folder / file).write_bytes(content)
    with pytest.raises(DatabaseError, match=rf"tiny/{file}: checksum differs .* damaged; prepare it again"):
        read_database(folder)


def test_a_wrong_checksum(tmp_path):
    folder = write(tmp_path / "tiny")
    about = json.loads((folder / "database.json").read_text())
    about["sha256"]["frames.npy"] = "0" * 64
    (folder / "database.json").write_text(json.dumps(about))
    with pytest.raises(DatabaseError, match=r"tiny/frames\.npy: checksum differs"):
        read_database(folder)


@pytest.mark.parametrize(
    "description",
    ["", "{", "[]", "null", "{}", '{"name": "x"}', "\xff", '{"sha256": []}'],
)
def test_a_description_that_is_none(tmp_path, description):
    folder = write(tmp_path / "tiny")
    (folder / "database.json").write_bytes(description.encode("latin-1"))
    with pytest.raises(DatabaseError, match=r"tiny/database\.json: not a database description"):
        read_database(folder)


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_pickles_are_never_opened(tmp_path):
    folder = write(tmp_path / "tiny")
    for name in ("object array", "bare pickle", "npz"):
        with (folder / "frames.npy").open("wb") as file:
            if name == "object array":
                np.save(file, np.array([Bomb(tmp_path / "exploded")] * 4, dtype=object), allow_pickle=True)
            elif name == "bare pickle":
                pickle.dump(Bomb(tmp_path / "exploded"), file)
            else:
                np.savez(file, frames=some_frames())
        seal(folder)
        with pytest.raises(DatabaseError, match=r"tiny/frames\.npy: not a readable array"):
            read_database(folder)
    assert listing(tmp_path) == ["tiny"]


def test_an_array_that_promises_more_than_it_holds(tmp_path):
    folder = write(tmp_path / "tiny")
    content = (folder / "frames.npy").read_bytes()
    (folder / "frames.npy").write_bytes(content[:-100])
    seal(folder)
    with pytest.raises(DatabaseError, match=r"tiny/frames\.npy: not a readable array"):
        read_database(folder)


HEADER = "subject,sequence,position,expression,source\n"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "not a readable table"),
        ("\xff" + HEADER, "not a readable table"),
        (HEADER + '"never closed,1,0,neutral,x\n', "not a readable table"),
        ("subject,sequence,position,expression\na,1,0,neutral\n", "the columns must be"),
        (HEADER, "0 rows for 4 frames"),
        (HEADER + "a,1,0,neutral,x\na,1,1,neutral\n", "line 3: 4 fields instead of 5"),
        (HEADER + "a,1,0,neutral,x,y\n", "line 2: 6 fields instead of 5"),
        (HEADER + "a,1,0,neutral,x\n\n", "line 3: 0 fields instead of 5"),
    ],
)
def test_a_table_that_is_none(tmp_path, content, complaint):
    folder = write(tmp_path / "tiny")
    (folder / "frames.csv").write_bytes(content.encode("latin-1"))
    seal(folder)
    with pytest.raises(DatabaseError, match=rf"tiny/frames\.csv[:,] .*{complaint}"):
        read_database(folder)
