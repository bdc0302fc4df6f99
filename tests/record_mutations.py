"""Mutated records of a run, beside a good one that every view must still show."""

import json

import numpy as np
import polars as pl

VALUES = (
    *(None, True, -1, 10**30, 10**400, float("nan"), float("inf"), 1e308, 0, 0.5, "12", "", "x" * 300_000),
    *("\ud800", "\x1b[31m\x00", "<script>alert(1)</script>", "0000-99-99T99:99", [], {}, [[[]]], ["a"]),
    *({"best": None}, {"a": 1}, [1, "a", None], {"\ud800": 1}, {"sha256": 5}),
)
JSONS = ("run.json", "config_history.json")
TABLES = ("cases.parquet", "curves.parquet", "calibration.parquet", "concentration.parquet")
KINDS = (*JSONS, *TABLES, "metrics.csv", "config.yaml")
BOMB = "\n".join(
    ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 13))]
)


def _places(content):
    if isinstance(content, (dict, list)):
        for key in content if isinstance(content, dict) else range(len(content)):
            yield content, key
            yield from _places(content[key])


def _json(data, rng):
    content = json.loads(data)
    for _ in range(rng.integers(1, 3)):
        places = list(_places(content))
        if not places:
            break
        container, key = places[rng.integers(len(places))]
        if rng.random() < 0.2:
            del container[key]
        else:
            container[key] = VALUES[rng.integers(len(VALUES))]
    return json.dumps(content).encode()


def _text(data, rng):
    lines = data.split(b"\n")
    words = (
        b"nan",
        b"1e400",
        b"9" * 40,
        b"-1",
        b'"',
        b"\xff\xfe",
        b"a,b,c,d,e,f",
        b"{",
        b"&a [*a]",
        BOMB.encode(),
    )
    for _ in range(rng.integers(1, 4)):
        place = int(rng.integers(len(lines)))
        word = words[rng.integers(len(words))]
        parts = lines[place].split(b",") if b"," in lines[place] else lines[place].split(b": ")
        parts[rng.integers(len(parts))] = word
        lines[place] = (b"," if b"," in lines[place] else b": ").join(parts)
    return b"\n".join(lines)


def _table(path, rng):
    frame = pl.read_parquet(path)
    name = frame.columns[rng.integers(len(frame.columns))]
    column = frame[name]
    odd = [None, float("nan"), float("inf"), -1, 2**62, "x" * 20_000, "<b>", "\x1b[2J", "", 1e300, 7, 40_000]
    value = odd[rng.integers(len(odd))]
    how = rng.integers(5)
    if how == 0:
        frame = frame.drop(name)
    elif how == 1:
        frame = frame.with_columns(pl.lit(value).alias(name))
    elif how == 2:
        frame = frame.clear() if rng.random() < 0.3 else frame.rename({name: f"{name} "})
    elif how == 3:
        kind = pl.String if column.dtype.is_numeric() else pl.Binary
        frame = frame.with_columns(pl.col(name).cast(kind))
    else:
        place = int(rng.integers(frame.height))
        new = pl.lit(value).cast(column.dtype, strict=False)
        frame = frame.with_columns(
            pl.when(pl.int_range(pl.len()) == place).then(new).otherwise(pl.col(name)).alias(name)
        )
    frame.write_parquet(path)


def _bytes(data, rng):
    changed = bytearray(data)
    if rng.random() < 0.3:
        return bytes(changed[: rng.integers(len(changed))])
    for _ in range(rng.integers(1, 6)):
        changed[rng.integers(len(changed))] = rng.integers(256)
    return bytes(changed)


def mutate(path, *, seed):
    """Change a file of a run: half of the time by values that still parse."""
    rng = np.random.default_rng([seed, sum(path.name.encode())])
    data = path.read_bytes()
    if rng.random() < 0.3:
        path.write_bytes(_bytes(data, rng))
    elif path.suffix == ".parquet":
        try:
            _table(path, rng)
        except pl.exceptions.PolarsError:  # the value has no form in the column's type
            path.write_bytes(_bytes(data, rng))
    else:
        path.write_bytes((_json if path.suffix == ".json" else _text)(data, rng))
