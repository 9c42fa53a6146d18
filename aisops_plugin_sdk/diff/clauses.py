"""Takes a schema apart into clauses: alternatives of one type each, whose keywords all hold. Pure.

`anyOf`, `oneOf`, lists of types, references and `allOf` are gone afterwards, so that the rules for one type see plain
keywords only. An instance is valid under the schema when it is valid under one of its clauses.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from aisops_plugin_sdk.diff.gaps import Effort, TooLarge, Undecidable
from aisops_plugin_sdk.diff.keywords import ANNOTATIONS, BEYOND, TYPES, Schema, Term
from aisops_plugin_sdk.diff.same import identity

MAX_CLAUSES = 256
MAX_CHAIN = 64
Part = Mapping[str, Any]
_REFERRING = ANNOTATIONS | {"$ref", "default"}


@dataclass(frozen=True, slots=True)
class Clause:
    """One alternative.

    Attributes:
        type: the JSON type of its instances: one of `keywords.TYPES`, or `integer`.
        parts: the schemas whose plain keywords hold together.
    """

    type: str
    parts: tuple[Part, ...] = ()

    def values(self) -> list[Any] | None:
        """List its instances when `enum`, `const` or the type leave only some; None when there is no such list."""
        pools = [[None]] if self.type == "null" else [[False, True]] if self.type == "boolean" else []
        pools += [part["enum"] for part in self.parts if "enum" in part]
        pools += [[part["const"]] for part in self.parts if "const" in part]
        if not pools:
            return None
        first, *others = pools
        allowed = [{identity(value) for value in pool} for pool in others]
        return [value for value in first if self._typed(value) and all(identity(value) in pool for pool in allowed)]

    def _typed(self, value: Any) -> bool:
        return fits_type(type_of(value), self.type)


def type_of(value: Any) -> str:
    """Name the JSON type of a value; a number without a fraction is an `integer`, as validators have it."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "integer" if value.is_integer() else "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


def fits_type(narrow: str, wide: str) -> bool:
    """Tell whether every instance of one type is one of the other."""
    return narrow == wide or (narrow == "integer" and wide == "number")


OneOf = Callable[[list[list[Clause]]], None]
"""Looks at the alternatives of a `oneOf`, and raises Undecidable when it may not be read as `anyOf`."""


class Reader:
    """Reads one schema document.

    Args:
        document: the whole schema, to which its references refer.
        effort: counts the steps.
    """

    def __init__(self, document: Schema, effort: Effort) -> None:
        self._document = document
        self._effort = effort

    def resolve(self, reference: str) -> Schema:
        """Find what a reference leads to: `#` or `#/` with a JSON pointer.

        Raises:
            Undecidable: it leads to no schema of this document.
        """
        found: Any = self._document
        if reference != "#" and not reference.startswith("#/"):
            raise Undecidable(f"the reference {reference[:60]!r} is none to a place of this schema")
        for name in unquote(reference[1:]).split("/")[1:]:
            key = name.replace("~1", "/").replace("~0", "~")
            if isinstance(found, Mapping) and key in found:
                found = found[key]
            elif isinstance(found, list) and key.isdecimal() and int(key) < len(found):
                found = found[int(key)]
            else:
                raise Undecidable(f"the reference {reference[:60]!r} leads nowhere")
        if not isinstance(found, Mapping | bool):
            raise Undecidable(f"the reference {reference[:60]!r} leads to no schema")
        return found

    def through(self, term: Term) -> Term:
        """Put what it leads to in the place of a mere reference: a schema that refers to itself is then met again."""
        return tuple(self._through(schema) for schema in term)

    def _through(self, schema: Schema) -> Schema:
        for _ in range(MAX_CHAIN):
            if not isinstance(schema, Mapping) or "$ref" not in schema or schema.keys() - _REFERRING:
                return schema
            try:
                schema = self.resolve(schema["$ref"])
            except Undecidable:
                return schema
        return schema

    def clauses(self, term: Term, one_of: OneOf | None = None) -> list[Clause]:
        """Take schemas that hold together apart.

        `oneOf` is read as `anyOf`, which lets more through. That is right for the narrow side; for the wide side
        `one_of` must look whether it is the same.

        Raises:
            Undecidable: a reference or a keyword cannot be followed.
            TooLarge: there are too many alternatives.
        """
        found = [Clause(type_) for type_ in TYPES]
        for schema in term:
            found = self._meet(found, self._split(schema, (), one_of, 0))
        return [clause for clause in found if clause.values() != []]

    def _split(self, schema: Schema, chain: tuple[str, ...], one_of: OneOf | None, depth: int) -> list[Clause]:
        """Take one schema apart. `chain` are the references that led here without going deeper into an instance."""
        self._effort.spend()
        if depth > MAX_CHAIN:
            raise TooLarge(f"more than {MAX_CHAIN} references and combinations stand one in another")
        if not isinstance(schema, Mapping):
            return [Clause(type_) for type_ in TYPES] if schema else []
        self._refuse(schema)
        types = schema.get("type", list(TYPES))
        found = [Clause(type_, (schema,)) for type_ in ([types] if isinstance(types, str) else types)]
        if "$ref" in schema:
            found = self._meet(found, self._follow(schema["$ref"], chain, one_of, depth))
        for part in schema.get("allOf", ()):
            found = self._meet(found, self._split(part, chain, one_of, depth + 1))
        for word in ("anyOf", "oneOf"):
            if word in schema:
                alternatives = [self._split(part, chain, one_of, depth + 1) for part in schema[word]]
                if word == "oneOf" and one_of is not None:
                    one_of(alternatives)
                found = self._meet(found, [clause for clauses in alternatives for clause in clauses])
        return found

    def _follow(self, reference: str, chain: tuple[str, ...], one_of: OneOf | None, depth: int) -> list[Clause]:
        if reference in chain:
            raise Undecidable(f"the reference {reference[:60]!r} leads back to itself without end")
        return self._split(self.resolve(reference), (*chain, reference), one_of, depth + 1)

    def _refuse(self, schema: Part) -> None:
        """Refuse words that are not taken apart."""
        for word in BEYOND:
            if word in schema:
                raise Undecidable(f"{word} is compared only where nothing changed")
        if "$id" in schema and schema is not self._document:
            raise Undecidable("a part with an $id of its own changes what references mean")

    def _meet(self, one: list[Clause], other: list[Clause]) -> list[Clause]:
        """Combine two lists of alternatives that hold together."""
        self._effort.spend(len(one) * len(other))
        found = [both for left in one for right in other if (both := _both(left, right)) is not None]
        if len(found) > MAX_CLAUSES:
            raise TooLarge(f"a schema has more than {MAX_CLAUSES} alternatives")
        return found


def _both(one: Clause, other: Clause) -> Clause | None:
    """Join two clauses, or None when no instance can be in both."""
    if not (fits_type(one.type, other.type) or fits_type(other.type, one.type)):
        return None
    known = {id(part) for part in one.parts}
    type_ = one.type if fits_type(one.type, other.type) else other.type
    return Clause(type_, (*one.parts, *(part for part in other.parts if id(part) not in known)))
