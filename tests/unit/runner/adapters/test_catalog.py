from aisops_protocol.messages import Capability
from aisops_runner.adapters.catalog import build_catalog


def _offer(plugin: str, *names: str) -> list[Capability]:
    return [Capability(name, plugin, "1") for name in names]


def test_each_capability_has_one_owner() -> None:
    catalog = build_catalog({"a": _offer("a", "a.x"), "b": _offer("b", "b.x")})
    assert (catalog.owner("a.x"), catalog.owner("b.x"), catalog.owner("c.x")) == ("a", "b", None)


def test_two_claimants_get_neither_until_bound() -> None:
    offers = {"a": _offer("a", "x.send", "a.own"), "b": _offer("b", "x.send")}
    catalog = build_catalog(offers)
    assert catalog.owner("x.send") is None
    assert catalog.owner("a.own") == "a"
    assert catalog.conflicts[0].plugins == ("a", "b")
    assert "a and b" in catalog.explain_unknown("x.send")
    bound = build_catalog(offers, {"x.send": "b"})
    assert (bound.owner("x.send"), bound.conflicts) == ("b", ())


def test_a_binding_to_somebody_else_serves_nobody() -> None:
    catalog = build_catalog({"a": _offer("a", "x.send")}, {"x.send": "ghost"})
    assert catalog.owner("x.send") is None


def test_a_typing_error_is_met_with_a_suggestion() -> None:
    assert "slack.send" in build_catalog({"s": _offer("s", "slack.send")}).explain_unknown("slack.sned")


def test_the_owner_is_the_registered_name_whatever_the_capability_says() -> None:
    assert build_catalog({"real": _offer("pretender", "x.y")}).owner("x.y") == "real"
