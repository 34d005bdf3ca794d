"""A missing peer never passes for a comparison that was made."""

import pytest


def test_a_missing_peer_skips_its_test(peer, monkeypatch):
    monkeypatch.delenv("PGREF_REQUIRE_EXTRAS", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no_such_peer is not installed"):
        peer("no_such_peer")


def test_a_missing_peer_fails_where_extras_are_required(peer, monkeypatch):
    monkeypatch.setenv("PGREF_REQUIRE_EXTRAS", "1")
    with pytest.raises(pytest.fail.Exception, match="no_such_peer is not installed"):
        peer("no_such_peer")


def test_a_peer_with_a_missing_part_is_an_error(peer, monkeypatch, tmp_path):
    (tmp_path / "broken_peer.py").write_text("import no_such_part", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_part"):
        peer("broken_peer")


def test_a_missing_peer_that_no_extra_names_skips_its_test_in_any_case(optional_peer, monkeypatch):
    monkeypatch.setenv("PGREF_REQUIRE_EXTRAS", "1")
    with pytest.raises(pytest.skip.Exception, match="no_such_peer is not installed"):
        optional_peer("no_such_peer")
