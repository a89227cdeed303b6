"""Reading YAML and JSON: numbers as people write them, and the line of every mistake."""

import pytest

from rehearse.core.document import read_document
from rehearse.core.errors import ConfigError


@pytest.fixture
def write(tmp_path):
    def write(text, name="campaign.yaml"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def message(path):
    with pytest.raises(ConfigError) as caught:
        read_document(path)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "number"),
    [("1e-6", 1e-6), ("-2E+3", -2000.0), ("1.5e3", 1500.0), (".5e1", 5.0), ("0.05", 0.05), ("3", 3), ("1.0", 1.0)],
)
def test_numbers_are_numbers(write, text, number):
    found = read_document(write(f"lr: {text}"))["lr"]
    assert found == number
    assert type(found) is type(number)


@pytest.mark.parametrize("text", ["e6", "1e", "1e-6x", "'1e-6'", "n1e6r2"])
def test_text_is_text(write, text):
    assert read_document(write(f"lr: {text}"))["lr"] == text.strip("'")


def test_a_missing_file(tmp_path):
    assert message(tmp_path / "no.yaml") == f"{tmp_path}/no.yaml: no such file"


def test_a_folder_instead_of_a_file(tmp_path):
    assert message(tmp_path) == f"{tmp_path}: cannot be read: Is a directory"


def test_a_file_that_is_not_text(write):
    path = write(b"name: \xff\xfe")
    assert message(path) == f"{path}: not text in UTF-8 (byte 6)"


def test_a_key_that_appears_twice_is_named_with_both_lines(write):
    path = write("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\na: 4\n")
    assert message(path) == (
        f"{path}:6: key 'a' appears twice, first on line 1\n{path}:5: key 'c' appears twice, first on line 3"
    )


def test_anchors_may_be_merged_and_overridden(write):
    text = "base: &base {lr: 1, epochs: 2}\nrun:\n  <<: *base\n  lr: 3\n"
    assert read_document(write(text))["run"] == {"lr": 3, "epochs": 2}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: [1, 2\nb: 3\n", "2:2: not well-formed YAML: while parsing a flow sequence, "
         "expected ',' or ']', but got ':'"),
        ("a:\n\tb: 1\n", "2:1: not well-formed YAML: while scanning for the next token, found character '\\t' that "
         "cannot start any token; indent with spaces, not tabs"),
        ("a: b: c\n", "1:5: not well-formed YAML: mapping values are not allowed here"),
        ("a: *b\n", "1:4: not well-formed YAML: found undefined alias 'b'"),
        ("a: !!python/object:os.system {}\n", "1:4: not well-formed YAML: could not determine a constructor for the "
         "tag 'tag:yaml.org,2002:python/object:os.system'"),
    ],
)  # fmt: skip
def test_a_mistake_in_yaml_is_named_with_line_and_column(write, text, problem):
    path = write(text)
    assert message(path) == f"{path}:{problem}"


def test_a_character_that_yaml_forbids(write):
    path = write("name: \x00\n")
    assert message(path).startswith(f"{path}: not well-formed YAML: unacceptable character #x0000")


def test_a_mistake_in_json_is_named_with_line_and_column(write):
    path = write('{"a": 1,\n "b": }', "config.json")
    assert message(path) == f"{path}:2:7: not well-formed JSON: Expecting value"


def test_json_is_read_as_json(write):
    assert read_document(write('{"lr": 1e-6}', "config.json")) == {"lr": 1e-6}
