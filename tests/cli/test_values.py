"""What users type: every parser either gives a value or one line that says what is wrong."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_flow import values
from claude_flow.errors import InputError

PARSERS = [
    values.parse_json,
    values.json_argument,
    values.duration,
    values.size,
    values.number,
    values.share,
    values.shares,
    values.integers,
    values.names,
    values.boolean,
    values.valid_name,
]


@pytest.mark.parametrize("parse", PARSERS, ids=lambda parse: parse.__name__)
@given(
    text=st.text(max_size=60)
    | st.text(max_size=30).map("@".__add__)
    | st.text(alphabet='[]{}",:.-+0123456789eEsmhdkgibKMGNaInfity% @', max_size=40)
)
def test_any_text_is_a_value_or_one_line(parse, text):
    message = "a value"
    try:
        parse(text)
    except InputError as error:
        message = str(error)
    assert len(message.splitlines()) == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON)
def test_valid_json_is_read_as_the_standard_library_reads_it(value):
    assert values.parse_json(json.dumps(value)) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1,\n "b": }', "line 2 column 7: not JSON"),
        ('{"a": NaN}', "line 1 column 7: NaN"),
        ('{"NaN": "NaN",\n"a": -Infinity}', "line 2 column 6: -Infinity"),
        ("[1e999]", "line 1 column 2: 1e999 is too large"),
        ('{"a": {"b": 1},\n "b": 2, "a": 3}', 'line 2 column 10: the key "a" is given twice'),
        ('[{"x": 1, "\\u0078": 2}]', 'line 1 column 11: the key "x" is given twice'),
        ("[" * 100_000, "nested too deeply"),
        ("[" + "1" * 5000 + "]", "too many digits"),
        ("", "line 1 column 1"),
    ],
)
def test_json_errors_say_where(text, message):
    with pytest.raises(InputError, match=message.replace("[", r"\[")):
        values.parse_json(text)


def test_a_json_argument_may_be_text_or_a_file(tmp_path):
    file = tmp_path / "agents.json"
    file.write_bytes(b'\xef\xbb\xbf{"a": 1}')  # with the byte-order mark that some editors write
    for text in ('{"a": 1}', f"@{file}", str(file)):
        assert values.json_argument(text) == {"a": 1}
    file.write_text("{\n oops")
    with pytest.raises(InputError, match=r"agents\.json: line 2 column 2: "):
        values.json_argument(f"@{file}")
    file.write_bytes(b'{"a": "\xff"}')
    with pytest.raises(InputError, match="byte 7: not UTF-8"):
        values.json_argument(str(file))
    with pytest.raises(InputError, match="neither JSON nor a file"):
        values.json_argument("no-such-file.json")
    with pytest.raises(InputError, match="No such file"):
        values.json_argument("@no-such-file.json")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30d", 30 * 86400),
        ("60s", 60),
        ("5m", 300),
        ("250ms", 0.25),
        ("1.5h", 5400),
        ("1w 2d", 9 * 86400),
        ("6 months", 180 * 86400),
        ("6-months", 180 * 86400),
        ("2 years", 730 * 86400),
    ],
)
def test_durations(text, seconds):
    assert values.duration(text) == seconds


@pytest.mark.parametrize("text", ["", "7", "d", "-5m", "0s", "5 fortnights", "5m!", "NaN s", "1e3s", "hourly"])
def test_no_durations(text):
    with pytest.raises(InputError, match="duration"):
        values.duration(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [("4GB", 4 * 10**9), ("16GiB", 16 * 2**30), ("1.5 kib", 1536), ("10M", 10**7), ("7B", 7)],
)
def test_sizes(text, size):
    assert values.size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-4GB", "4 iB", "4XB", "4,5GB"])
def test_no_sizes(text):
    with pytest.raises(InputError, match="size"):
        values.size(text)


def test_shares_are_parts_of_one():
    assert values.shares("80%,95%") == (0.8, 0.95)
    assert values.shares("0.95, 80%, 0.8") == (0.8, 0.95)
    for text in ("80", "101%", "-1%", "NaN%", "", "80%,,95%"):
        with pytest.raises(InputError):
            values.shares(text)


def test_numbers_are_finite_and_in_range():
    assert values.number("0.001") == 0.001
    for text in ("NaN", "inf", "1e999", "", "0x10", "2"):
        with pytest.raises(InputError):
            values.number(text, 0, 1)
    with pytest.raises(InputError, match="0 or more"):
        values.number("-1", 0, math.inf)


def test_lists():
    assert values.integers("50,90,95,99") == (50, 90, 95, 99)
    assert values.integers("[1, 4]") == (1, 4)
    assert values.names('["slack","email"]') == values.names("slack,email") == ("slack", "email")
    for text in ("", "[]", "4-2", "1.5", "-1", "0-99999999", "[true]", '["a"]'):
        with pytest.raises(InputError):
            values.integers(text)
    for text in ("", "a,,b", "a,a", "[1]", '["a",""]', '["a"'):
        with pytest.raises(InputError):
            values.names(text)


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden", "", "a b", "-rf", "é", "a" * 101, "a\n"])
def test_names_cannot_be_paths(name):
    with pytest.raises(InputError, match="name"):
        values.valid_name(name)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_no_part_of_the_json(tmp_path, encoding):
    (tmp_path / "a.json").write_text('{"name": "é"}', encoding)
    for argument in (f"@{tmp_path / 'a.json'}", str(tmp_path / "a.json"), '\ufeff{"name": "é"}'):
        assert values.json_argument(argument) == {"name": "é"}
