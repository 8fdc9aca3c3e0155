"""Anonymization by rules: personal and secret texts become pseudonyms that are stable within one dataset.

A pseudonym is a keyed hash. The key is random, lives as long as the object and is written nowhere: pseudonyms
cannot be looked up by hashing a list of names, nor joined between datasets. Rules know formats, not people: a
bare name in a description is replaced only when something gave it away before: a home path, an account, the
``user`` column, an e-mail address (``jane.doe@``, ``Jane Doe <...>``), a commit's trailer (``Signed-off-by:``), a
greeting (``Hi Jane,``) or an introduction (``my name is Jane Doe``). For other names there is
:class:`claude_flow.data.people.People`, which takes a language model.
"""

from __future__ import annotations

import getpass
import hashlib
import ipaddress
import math
import re
import secrets
from collections import Counter
from typing import Any
from urllib.parse import unquote

from claude_flow.data.events import Record, column_types
from claude_flow.data.people import People

__all__ = ["Anonymizer"]

_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----"
    r".*?(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\Z)",
    re.DOTALL,
)
_URL_LOGIN = re.compile(r"(?<=://)[^\s/@\"'<>]+(?=@)")
_TOKEN = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"sk-[A-Za-z0-9_-]{16,}"  # Anthropic, OpenAI
    r"|[spr]k_(?:live|test)_[A-Za-z0-9]{16,}|whsec_[A-Za-z0-9]{16,}"  # Stripe
    r"|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{16,}"
    r"|(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{16}"  # AWS
    r"|AIza[A-Za-z0-9_-]{30,}|ya29\.[A-Za-z0-9_-]{20,}"  # Google
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,}|xapp-[A-Za-z0-9-]{10,}"  # Slack
    r"|npm_[A-Za-z0-9]{30,}|pypi-[A-Za-z0-9_-]{30,}|hf_[A-Za-z0-9]{20,}|dop_v1_[a-f0-9]{40,}|SG\.[\w-]{16,}\.[\w-]{16,}"
    r"|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?"  # JWT
    r")"
)
_BEARER = re.compile(r"(?i)(?<=\bbearer )[A-Za-z0-9._~+/-]{12,}=*|(?<=\bbasic )[A-Za-z0-9+/]{12,}=*")
_PASSWORD = re.compile(r"(?i)(?:password|passwd|passphrase|\bpwd)[\"']?\s*[:=]\s*[\"']?([^\s\"',;]{4,})")
# Other words in front of a value are common prose ("token: refresh flow"), so their value must hold a digit.
_SECRET = re.compile(
    r"(?i)(?:secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credentials?)[\"']?\s*[:=]\s*[\"']?"
    r"((?=[^\s\"',;]*\d)[^\s\"',;]{8,})"
)
_EMAIL = re.compile(r"[\w.+%-]+@[\w-]+(?:\.[\w-]+)+")
_ACCOUNT = re.compile(r"[\w.+-]+(?=@[\w.-]+\Z)")
_ENCODED = r"%(?:25)*"  # how URLs write a character, once or again
_SLASH = rf"(?:[\\/]{{1,4}}|{_ENCODED}(?:2[Ff]|5[Cc]))"  # also doubled, as in JSON
_DRIVE = rf"[A-Za-z](?:[:$]|{_ENCODED}3[Aa])"
_SETTINGS = rf"Documents(?: |{_ENCODED}20)and(?: |{_ENCODED}20)Settings"
_FOLDER_NAME = r"(?:[^/\\\s:\"'<>|%]|%(?!(?:25)*(?:2[Ff]|5[Cc])))+"
_TWO_WORDS = r"(?<=\\)[A-Z][^/\\\s:\"'<>|%]*(?: [A-Z][^/\\\s:\"'<>|%]*){1,2}(?=\\)"  # C:\\Users\\Ann Lee\\
_HOME = re.compile(
    # /home/ann, /mnt/c/Users/ann, \\wsl$\Ubuntu\home\ann, \\server\Users\ann, file:///C%3A/Users/ann%20lee
    rf"(?:{_SLASH}(?:Users|home)\$?|{_DRIVE}{_SLASH}(?i:users|{_SETTINGS})|\\{{1,4}}(?i:users|home)\$?"
    rf"|(?<![\w:/])//[\w.$-]+/(?:users|home)){_SLASH}({_TWO_WORDS}|{_FOLDER_NAME})"
    # the names that Claude Code makes of paths: -home-ann-shop, C--Users-ann-shop, --wsl--Ubuntu-home-ann-shop
    r"|(?:\A|(?<=[/\\\s\"']))(?:[A-Za-z]-)?-(?:mnt-[a-z]-|-wsl[\w.$-]{0,40}-|-[\w.]+-(?=Users))?"
    r"(?:Users|home)-([^-/\\\s:\"'<>|]+)"
)
_CAPITAL = r"[A-ZÀ-ÖØ-ÞŁŚŞŠŽČĐİ]"
_NAME = rf"{_CAPITAL}(?:[^\W\d_]+|['’]{_CAPITAL}[^\W\d_]+)(?:[-'’]{_CAPITAL}?[^\W\d_]+)*"
_PERSON = rf"(?:{_CAPITAL}\.[ \t]*)*{_NAME}(?:[ \t]+(?:{_CAPITAL}\.|(?:van|von|de|der|den|di|da|la)\b|{_NAME})){{0,3}}"
_INTRODUCED = re.compile(
    rf"(?:(?i:[a-z-]+ed-by|author|committer|assignee|reviewer|owner|cc|on behalf of):[ \t]*)({_PERSON})"
    rf"|(?i:\bmy name is )({_PERSON})"
    rf"|(?:\b(?:Hi|Hello|Hey|Dear|Thanks|Regards|Cheers),?\s+)({_PERSON})(?=[ \t]*(?:[,.!:]|$))"
    rf"|({_PERSON})(?=[ \t]*<[^<>\s]+@[^<>\s]+>)",
    re.MULTILINE,
)
_LOCAL_PART = re.compile(r"(?<![\w.+%-])([A-Za-z]{2,})[._]([A-Za-z]{2,})(?=@[\w-]+\.)")
_IPV4 = re.compile(r"(?<![\d.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\d.]*\d)")
_IPV6 = re.compile(r"(?<![\w:])(?=[\w:.]*:[\w:.]*:)[0-9A-Fa-f:]{2,39}(?:\d{1,3}(?:\.\d{1,3}){3})?(?:%\w+)?(?![\w:])")
_RANDOM = re.compile(r"[A-Za-z0-9+_=]{32,}")
_RANDOM_BITS = 4.2  # per character: base64 secrets of 32 or more have about 4.5, compound names below 4.1

_FIXED = frozenset(("source", "status"))  # our own words
_PROSE = frozenset(("description", "detail", "project"))
_EVERYBODY = frozenset(
    [
        "root",
        "user",
        "users",
        "runner",
        "ubuntu",
        "debian",
        "admin",
        "administrator",
        "home",
        "shared",
        "public",
        "node",
        "vscode",
        "codespace",
        "app",
        "dev",
        "test",
        "git",
        "build",
        "ci",
        "jenkins",
        "actions",
        "default",
        "guest",
        "agent",
        "all",
        "claude",
        "copilot",
        "everyone",
        "folks",
        "team",
        "there",
        "work",
    ]
)


class Anonymizer:
    """Replaces what identifies people or opens doors in every text column; ``replaced`` counts by rule.

    >>> a = Anonymizer(key=b"example")
    >>> a.text("ask eve@example.com about /home/eve/app at 192.0.2.7")
    'ask [email-371496] about /home/[user-587787]/app at [ip-934d22]'
    >>> a.text("eve again")
    '[user-587787] again'

    :param people: also finds names that no rule knows, in prose. What it finds is replaced in that text only: a
        model's false alarm must not spread to the other texts.
    """

    def __init__(self, key: bytes | None = None, people: People | None = None) -> None:
        self._people = people
        self._key = key or secrets.token_bytes(32)
        self._names: set[str] = set()
        self._named: re.Pattern[str] | None = None
        self._known: dict[tuple[str, bool], str] = {}
        self.replaced: Counter[str] = Counter()
        try:
            self._learn(getpass.getuser())
        except (KeyError, OSError, ImportError):
            return  # a container without a user name has none to hide

    def record(self, record: Record) -> None:
        """Rewrite a record's text columns in place."""
        user = getattr(record, "user", None)
        if isinstance(user, str) and not user.isdigit():  # numbers are the archives' own pseudonyms
            self._learn(user)
        for name, kind in column_types(type(record)).items():
            value = getattr(record, name)
            if kind is not str or not isinstance(value, str) or name in _FIXED:
                continue
            if name in ("user", "user_group"):
                setattr(record, name, value if value.isdigit() else self._pseudonym("user", value))
            else:
                setattr(record, name, self.text(value, prose=name in _PROSE))

    def tree(self, value: Any) -> Any:
        """A JSON value with every text rewritten, keys included."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.tree(item) for item in value]
        if isinstance(value, dict):
            return {self.text(str(key)): self.tree(item) for key, item in value.items()}
        return value

    def text(self, value: str, prose: bool = True) -> str:
        """The text with secrets, e-mails, accounts, home paths, user names and addresses replaced.

        ``prose=False`` is for identifiers: there a long random-looking word is an id, not a secret, and the
        part of ``name@place`` before the @ is an account.
        """
        if len(value) < 3 or value.isdigit():
            return value
        if (known := self._known.get((value, prose))) is not None:
            return known
        for match in _HOME.finditer(value):
            name = unquote(unquote(match.group(1) or match.group(2)))
            self._learn(name)
            if " " in name:
                self._learn_person(name.split())
        for match in _INTRODUCED.finditer(value):
            self._learn_person((match.group(match.lastindex or 0)).split())
        for match in _LOCAL_PART.finditer(value):
            self._learn_person([part[:1].upper() + part[1:].lower() for part in match.groups()])
        result = self._replace(value, prose)
        if len(self._known) > 50_000:
            self._known.clear()
        self._known[value, prose] = result
        return result

    def _replace(self, value: str, prose: bool) -> str:
        value = self._rule("private-key", _PRIVATE_KEY, value)
        value = self._rule("login", _URL_LOGIN, value)
        value = self._rule("token", _TOKEN, value)
        for pattern in (_BEARER, _PASSWORD, _SECRET):
            value = self._rule("secret", pattern, value)
        value = self._rule("email", _EMAIL, value)
        if not prose:
            value = self._rule("user", _ACCOUNT, value)
        value = self._rule("user", _HOME, value)
        if self._named is not None:
            value = self._rule("user", self._named, value)
        value = self._rule("ip", _IPV4, value)
        value = self._rule("ip", _IPV6, value, _is_address)
        if not prose:
            return value
        value = self._rule("secret", _RANDOM, value, _is_random)
        for kind, found in self._people.find(value) if self._people is not None else ():
            if "[" not in found:  # a pseudonym may look like a name
                value = self._rule(kind, re.compile(rf"(?<![\w\[]){re.escape(found)}(?!\w)"), value)
        return value

    def _rule(self, kind: str, pattern: re.Pattern[str], value: str, holds: Any = None) -> str:
        def swap(match: re.Match[str]) -> str:
            group = match.lastindex or 0
            found = match.group(group)
            if found.startswith("[") or (holds is not None and not holds(found)):
                return match.group()
            begin, end = match.start(group) - match.start(), match.end(group) - match.start()
            return match.group()[:begin] + self._pseudonym(kind, found) + match.group()[end:]

        return pattern.sub(swap, value)

    def _pseudonym(self, kind: str, value: str) -> str:
        self.replaced[kind] += 1
        digest = hashlib.blake2b(value.encode("utf-8", "replace"), key=self._key[:64], digest_size=8).hexdigest()
        return f"[{kind}-{digest[:6]}]"

    def _learn_person(self, parts: list[str]) -> None:
        """Learn a person's name: whole, and each part that is no initial or particle."""
        if parts[0].lower() in _EVERYBODY:
            return
        self._learn(" ".join(parts))
        for part in parts:
            if part[0].isupper() and len(part) > 3:
                self._learn(part)

    def _learn(self, name: str) -> None:
        if len(name) >= 3 and name.lower() not in _EVERYBODY and name not in self._names and "[" not in name:
            self._names.add(name)
            longest_first = sorted(self._names, key=len, reverse=True)
            # Not inside a pseudonym that an earlier rule wrote.
            self._named = re.compile(
                r"(?<![A-Za-z0-9\[])(?:" + "|".join(map(re.escape, longest_first)) + r")(?![A-Za-z0-9])"
            )
            self._known.clear()


def _is_address(value: str) -> bool:
    if not any(char.isdigit() for char in value) and value.count(":") < 4:
        return False  # a::b is C++
    try:
        return ipaddress.ip_address(value.partition("%")[0]).version == 6
    except ValueError:
        return False


def _is_random(word: str) -> bool:
    has_all = re.search(r"[A-Z]", word) and re.search(r"[a-z]", word) and re.search(r"\d", word)
    if not has_all:
        return False
    shares = (n / len(word) for n in Counter(word).values())
    return -sum(p * math.log2(p) for p in shares) >= _RANDOM_BITS
