"""YAML that commands read: the numbers of jsonargparse, no key twice, nothing that grows or never ends."""

import time

import pytest
from jsonargparse import ArgumentParser

from segfocal.__main__ import main
from segfocal.errors import SegfocalError, check_range
from segfocal.yaml_text import load_yaml, parse_mapping, read_mapping, to_yaml

WORDS = [
    "1e-3",
    "1E5",
    "0.5",
    ".5",
    "-.5e-2",
    "1_000",
    "0x1f",
    "1:30",
    "1:30.5",
    "2024-01-01",
    ".inf",
    "-.inf",
]
WORDS += ["yes", "Null", "~", "0o17", "017", "1e", "e5", "1.e3", "+1e+3", "word"]


@pytest.mark.parametrize("word", WORDS)
def test_a_value_is_what_the_command_line_reads(word):
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--x", type=dict)
    assert load_yaml(f"x: {word}", what="text") == parser.parse_args([f"--x={{x: {word}}}"]).x


TWICE = {
    "top": ("a: 1\nb: 2\na: 3\n", "'a'", (1, 3)),
    "below": ("m:\n  lr: 1\n  x: {y: 1}\n  lr: 2\n", "'lr'", (2, 4)),
    "in a list": ("- {a: 1}\n- a: 1\n  a: 1\n", "'a'", (2, 3)),
    "flow": ("m: {a: 1, b: 2, a: 3}\n", "'a'", (1, 1)),
    "numbers": ("1: a\n0x1: b\n", "'0x1'", (1, 2)),
    "quoted": ("a: 1\n'a': 2\n", "'a'", (1, 2)),
    "explicit": ("? a\n: 1\n? a\n: 2\n", "'a'", (1, 3)),
    "behind an anchor": ("base: &base\n  a: 1\n  a: 2\nother: *base\n", "'a'", (2, 3)),
}


@pytest.mark.parametrize("name", TWICE)
def test_a_key_that_stands_twice_is_named_with_its_lines(name):
    text, key, lines = TWICE[name]
    with pytest.raises(SegfocalError) as raised:
        load_yaml(text, what="x.yaml")
    said = str(raised.value)
    assert f"x.yaml is no valid YAML: the key {key} stands twice in one mapping" in said
    assert f"(lines {lines[0]} and {lines[1]})" in said


def test_what_a_merge_brings_may_be_overridden():
    text = "base: &base {a: 1, b: 2}\nsecond: &second {<<: *base, a: 3}\nthird: {<<: *second, b: 4}\n"
    assert load_yaml(text, what="x")["third"] == {"a": 3, "b": 4}


def bomb(levels, width=9):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]" for n in range(1, levels)]
    return "\n".join(lines)


HOSTILE = {
    "aliases": (bomb(12), "aliases add more than"),
    "merged aliases": (
        bomb(9).replace("[", "{k: [").replace("]", "]}").replace("x, x", "y, x"),
        "aliases add",
    ),
    "a list in itself": ("a: &a [1, *a]", "inside of what it names"),
    "a mapping in itself": ("&a {b: {c: *a}}", "inside of what it names"),
    "levels": ("[" * 150 + "]" * 150, "levels of nesting"),
    "very many levels": ("{a: " * 5000 + "1" + "}" * 5000, "no valid YAML"),
    "digits": ("a: " + "9" * 5000, "no valid YAML"),
    "objects": ("a: !!python/object/apply:os.system ['true']", "no valid YAML"),
    "names": ("a: !!python/name:os.system ''", "no valid YAML"),
    "keys of lists": ("? [1, 2]\n: 3", "no valid YAML"),
    "documents": ("a: 1\n---\nb: 2\n", "no valid YAML"),
    "controls": ("a: \x07", "no valid YAML"),
    "tabs": ("a:\n\tb: 1", "no valid YAML"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts_end_soon_in_one_line(name):
    text, said = HOSTILE[name]
    start = time.monotonic()
    with pytest.raises(SegfocalError) as raised:
        load_yaml(text, what="x.yaml")
    assert time.monotonic() - start < 5
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 600


def test_aliases_of_people_are_read():
    text = "\n".join(["base: &b {a: [1, 2, 3]}", *(f"k{n}: *b" for n in range(2000))])
    assert load_yaml(text, what="x")["k1999"] == {"a": [1, 2, 3]}


def test_what_is_written_is_read_again():
    content = {"a": [1e-5, 1e300, None, True, "1e-3", "no", {"b": "2024-01-01"}], "": "x", "1": 2}
    assert parse_mapping(to_yaml(content), what="x") == content


@pytest.mark.parametrize("text", ["- a", "", "word", "3"])
def test_what_is_no_mapping_is_said(text, tmp_path):
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(SegfocalError, match="must be a mapping, got"):
        read_mapping(tmp_path / "x.yaml", what="x")


CONFIGS = [
    ("model:\n  learning_rate: 1\n  learning_rate: 2\n", "'learning_rate'", "(lines 2 and 3)"),
    ("model: {}\ndata: {}\nmodel: {}\n", "'model'", "(lines 1 and 3)"),
]


@pytest.mark.parametrize("verb", ["fit", "finetune", "tune"])
@pytest.mark.parametrize(("text", "key", "lines"), CONFIGS)
def test_commands_name_a_key_that_stands_twice(verb, text, key, lines, tmp_path, capsys):
    (tmp_path / "x.yaml").write_text(text)
    words = [verb, "--config", str(tmp_path / "x.yaml")]
    words += ["--from", str(tmp_path / "x.yaml")] if verb == "finetune" else []
    words += ["--out", str(tmp_path / "out")] if verb == "tune" else []
    assert main(words) == 2
    said = capsys.readouterr().err
    assert f"the key {key} stands twice" in said
    assert lines in said


@pytest.mark.parametrize("where", ["word", "file", "file in a file"])
def test_a_key_that_stands_twice_in_a_value_is_named_too(where, tmp_path, capsys):
    inner, outer = tmp_path / "inner.yaml", tmp_path / "x.yaml"
    inner.write_text("class_path: torch.nn.Identity\nclass_path: torch.nn.Conv2d\n")
    outer.write_text(f"model: {{network: {inner.name if where == 'file in a file' else 'null'}}}\n")
    words = {"word": ["--model.network={class_path: a.B, class_path: a.C}"], "file in a file": []}
    given = words.get(where, ["--model.network", str(inner)])
    assert main(["fit", "--config", str(outer), *given]) == 2
    assert "the key 'class_path' stands twice" in capsys.readouterr().err


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan"), -1.0, 0.0])
def test_a_rate_is_a_finite_number_above_zero(value):
    with pytest.raises(SegfocalError, match="rate must"):
        check_range("rate", value, low=0.0, open_low=True)


def test_files_are_checked_whole(tmp_path):
    (tmp_path / "x.yaml").write_text("a: " + "x" * (17 << 20))
    with pytest.raises(SegfocalError, match="more than 16"):
        read_mapping(tmp_path / "x.yaml", what="x")
