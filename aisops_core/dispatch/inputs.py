"""Checks a job's input against the JSON Schema its capability publishes.

Schemas come from Runners and are hostile until shown otherwise. One that is malformed, refers to anything outside
itself, needs a backtracking regular expression, or could make checking explode is not used: the input then passes
unchecked here and the sidecar, which knows its own schema, still checks it.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from itertools import islice
from typing import Any, Final

import jsonschema_rs

from aisops_core.dispatch import strict_json
from aisops_core.dispatch.records import UNREAD
from aisops_core.errors import FieldError, InputInvalid
from aisops_protocol.limits import SCHEMA_BYTES
from aisops_protocol.messages import Capability

MAX_ERRORS: Final = 20
MAX_STEPS: Final = 20_000
MAX_PATTERNS: Final = 256
PATTERN_CHARS: Final = 1_024
PATTERN_BYTES: Final = 1 << 20
CACHED_SCHEMAS: Final = 1_024
MESSAGE_CHARS: Final = 300
_REFUSED: Final = frozenset({"$dynamicRef", "$recursiveRef", "$dynamicAnchor", "$recursiveAnchor"})


def digest_of(capability: Capability) -> bytes:
    """SHA-256 of a capability's input schema: its name in caches and in the table of schemas."""
    return hashlib.sha256(capability.input_schema).digest()


class UnusableSchema(ValueError):
    """The schema cannot be used here; the message says why, without quoting it."""


class InputSchemas:
    """Compiled schemas by digest, the least recently used dropped first."""

    def __init__(self) -> None:
        self._compiled: OrderedDict[bytes, jsonschema_rs.Validator | str] = OrderedDict()

    def problem(self, digest: bytes, schema: bytes) -> str:
        """Why this schema cannot be used; "" when it can."""
        found = self._find(digest, schema)
        return found if isinstance(found, str) else ""

    def problems(self, capabilities: Sequence[Capability]) -> dict[bytes, str]:
        """Why schemas cannot be used, by digest; those that can are left out."""
        bodies = {digest_of(capability): capability.input_schema for capability in capabilities}
        found = {digest: self.problem(digest, body) for digest, body in bodies.items()}
        return {digest: why for digest, why in found.items() if why}

    def problems_if_known(self, capabilities: Sequence[Capability]) -> dict[bytes, str] | None:
        """The same without compiling anything: None when one of the schemas was not seen lately."""
        known = self._compiled
        if all(digest_of(capability) in known for capability in capabilities):
            return self.problems(capabilities)
        return None

    def check(self, digest: bytes, schema: bytes, data: bytes, document: object = UNREAD) -> None:
        """Check an input, whose size the caller has capped.

        Args:
            digest: Names the schema in the cache.
            schema: JSON Schema, UTF-8.
            data: The input, UTF-8.
            document: What the input says, from whoever has read it as strict JSON already.

        Raises:
            InputInvalid: Not strict JSON, or against the schema; the errors name places and rules, not values.
        """
        if document is UNREAD:
            try:
                document = strict_json.loads(data)
            except strict_json.NotStrictJson as error:
                raise InputInvalid(f"The input is not valid JSON: {error}.", (FieldError("", str(error)),)) from None
        validator = self._find(digest, schema)
        if isinstance(validator, str) or validator.is_valid(document):
            return
        errors = [_field_error(error) for error in islice(validator.iter_errors(document), MAX_ERRORS)]
        raise InputInvalid("The input breaks the capability's input schema.", errors)

    def _find(self, digest: bytes, schema: bytes) -> jsonschema_rs.Validator | str:
        found = self._compiled.get(digest)
        if found is None:
            try:
                found = compile_schema(schema)
            except UnusableSchema as error:
                found = str(error)
            self._compiled[digest] = found
            if len(self._compiled) > CACHED_SCHEMAS:
                self._compiled.popitem(last=False)
        else:
            self._compiled.move_to_end(digest)
        return found


def compile_schema(schema: bytes) -> jsonschema_rs.Validator:
    """A validator that fetches nothing, matches patterns in linear time and masks values in its messages.

    Raises:
        UnusableSchema: It cannot be used here.
    """
    if len(schema) > SCHEMA_BYTES:
        raise UnusableSchema(f"the schema is larger than {SCHEMA_BYTES} bytes")
    try:
        document = strict_json.loads(schema)
    except strict_json.NotStrictJson as error:
        raise UnusableSchema(f"the schema is not valid JSON: {error}") from None
    _Effort(document).check()
    try:
        return jsonschema_rs.validator_for(
            document,
            mask="the value",
            offline=True,
            validate_formats=False,
            pattern_options=jsonschema_rs.RegexOptions(size_limit=PATTERN_BYTES, dfa_size_limit=PATTERN_BYTES),
        )
    except (ValueError, jsonschema_rs.ReferencingError):
        raise UnusableSchema("the schema is not one of JSON Schema without outside references") from None


def _field_error(error: jsonschema_rs.ValidationError) -> FieldError:
    return FieldError(_pointer(error.instance_path), error.message[:MESSAGE_CHARS])


def _pointer(path: Sequence[str | int]) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


class _Effort:
    """Bounds how many rules checking one place of an input can touch, by following references inside the schema.

    A schema that refers back to itself once is fine (a list in a list); twice could double the work at each level of
    the input, so it is not used, although some such schemas are harmless.
    """

    def __init__(self, document: Any) -> None:
        self._document = document
        self._known: dict[int, int] = {}
        self._open: set[int] = set()
        self._looping: set[int] = set()
        self._loops = 0
        self._patterns = 0

    def check(self) -> None:
        """Raises UnusableSchema when the bound is too high."""
        try:
            steps = self._steps(self._document)
        except RecursionError:
            raise UnusableSchema("the schema's references form too long a chain") from None
        if steps > MAX_STEPS:
            raise UnusableSchema("the schema is too complex to be checked quickly")
        if self._patterns > MAX_PATTERNS:
            raise UnusableSchema(f"the schema has more than {MAX_PATTERNS} patterns")

    def _steps(self, node: Any) -> int:
        if not isinstance(node, (dict, list)):
            return 0
        if id(node) in self._open or id(node) in self._looping:
            self._loops += 1
            if self._loops > 1:
                raise UnusableSchema("the schema refers to itself more than once")
        if id(node) in self._known or id(node) in self._open:
            return self._known.get(id(node), 1)
        loops = self._loops
        self._open.add(id(node))
        steps = 1 + (self._object(node) if isinstance(node, dict) else sum(map(self._steps, node)))
        self._open.discard(id(node))
        self._known[id(node)] = steps
        if self._loops > loops:
            self._looping.add(id(node))
        return steps

    def _object(self, node: dict[str, Any]) -> int:
        if not _REFUSED.isdisjoint(node) or ("$id" in node and node is not self._document):
            raise UnusableSchema("the schema uses dynamic references or nested ids")
        self._count_patterns(node)
        # Definitions cost nothing until something refers to them.
        skipped = ("$defs", "definitions") if node is self._document else ()
        steps = sum(self._steps(part) for key, part in node.items() if key not in skipped)
        reference = node.get("$ref")
        return steps + self._steps(self._resolve(reference)) if isinstance(reference, str) else steps

    def _count_patterns(self, node: dict[str, Any]) -> None:
        several = node.get("patternProperties")
        patterns = [*(several if isinstance(several, dict) else ()), node.get("pattern", "")]
        self._patterns += len(patterns) - (patterns[-1] == "")
        if any(isinstance(pattern, str) and len(pattern) > PATTERN_CHARS for pattern in patterns):
            raise UnusableSchema(f"a pattern is longer than {PATTERN_CHARS} characters")

    def _resolve(self, reference: str) -> Any:
        if reference == "#":
            return self._document
        if not reference.startswith("#/") or "%" in reference:
            raise UnusableSchema("the schema refers to something outside itself or to an anchor")
        node = self._document
        for part in reference[2:].split("/"):
            key = part.replace("~1", "/").replace("~0", "~")
            if isinstance(node, list) and key.isascii() and key.isdigit() and int(key) < len(node):
                node = node[int(key)]
            elif isinstance(node, dict) and key in node:
                node = node[key]
            else:
                raise UnusableSchema("the schema refers to a part that it does not have")
        return node
