"""Procurement from Python."""

import asyncio
import dataclasses
import json
import os
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal

import pytest

import ayni
from ayni import _reading, records
from conftest import ROOT
from loopback import Server, answer_json

RECORDED = ROOT / "core/conformance/recorded/mercado_publico"


@pytest.fixture
def scripted_records():
    return ayni.Procurement(backend="scripted")


def test_lists_and_records_are_typed(scripted_records):
    listing = scripted_records.tenders_sync(text="ambulancia")
    [row] = listing.rows
    assert type(row) is ayni.TenderRow and listing.source == row.origin.source == "scripted"
    answer = asyncio.run(scripted_records.tender(row.code))
    assert answer.record.row.code == row.code
    assert answer.record.estimated_amount == ayni.Money(Decimal("68900000"), "CLP")
    assert str(answer.record.estimated_amount) == "68900000 CLP"
    assert json.loads(answer.json)["record"]["row"]["code"] == row.code


def test_every_kind_of_record_is_read_awaited_and_synchronous(scripted_records):
    async def awaited(name, *arguments):
        return await getattr(scripted_records, name)(*arguments)

    for one in ("tender", "purchase_order", "quick_purchase"):
        many = f"{one}s"
        listing = getattr(scripted_records, f"{many}_sync")()
        assert asyncio.run(awaited(many)).rows == listing.rows and len(listing.rows) == 3
        for row in listing.rows:
            answer = getattr(scripted_records, f"{one}_sync")(row.code)
            assert asyncio.run(awaited(one, row.code)) == answer
            assert answer.record.row == row
    for many in ("buyers", "suppliers"):
        rows = getattr(scripted_records, f"{many}_sync")().rows
        assert rows and asyncio.run(awaited(many)).rows == rows


def test_pages_follow_each_other(scripted_records):
    async def every():
        return [row.code async for row in scripted_records.each_tender(limit=1)]

    codes = [row.code for row in scripted_records.tenders_sync().rows]
    assert [row.code for row in scripted_records.each_tender_sync(limit=1)] == codes
    assert asyncio.run(every()) == codes
    assert len(scripted_records.tenders_sync(limit=1).rows) == 1


def test_a_plan_costs_nothing(scripted_records):
    plan = scripted_records.plan_sync("tender", on=date(2026, 11, 20))
    assert plan == asyncio.run(scripted_records.plan("tender", from_="2026-11-20", to="2026-11-20"))
    assert plan.record.calls == 0


def test_requests_that_make_no_sense_are_refused(scripted_records):
    with pytest.raises(ayni.InvalidRequest, match="give one of the two"):
        scripted_records.tenders_sync(on="2026-11-20", to="2026-11-21")
    with pytest.raises(TypeError, match="not a datetime"):
        scripted_records.tenders_sync(on=datetime(2026, 11, 20))
    with pytest.raises(ayni.InvalidRequest, match="unknown field `regoin`"):
        scripted_records.tenders_sync(regoin="x")
    with pytest.raises(ayni.InvalidRequest, match="expected one of `tender`, `purchase_order`, `quick_purchase`"):
        ayni.Procurement(backend="mercado_publico", ticket="t", lock=False).sync_sync("tenders", since="2026-11-20")


def test_only_the_source_with_a_quota_has_one(scripted_records):
    with pytest.raises(ayni.Unsupported):
        scripted_records.quota_sync()


def recorded(name):
    return json.loads((RECORDED / name).read_text())


@pytest.fixture(params=["sqlite", "postgres"])
def store(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:{tmp_path}/records.db"
    assert "AYNI_POSTGRES_URL" in os.environ, "start the tests with scripts/test, or scripts/postgres run"
    return os.environ["AYNI_POSTGRES_URL"]


def test_the_recorded_tender_keeps_every_digit_and_its_zone(store):
    async def answer(writer, body):
        await answer_json(writer, recorded("v1-tender-detail-awarded-clf.json"))

    async def read(client, code):
        return await client.tender(code), await client.quota()

    code = recorded("v1-tender-detail-awarded-clf.json")["Listado"][0]["CodigoExterno"]
    with Server(answer) as server:
        client = ayni.Procurement(
            backend="mercado_publico", ticket="T-1", base_url=server.url, min_gap_seconds=0.0,
            store=store,
        )  # fmt: skip
        tender, quota = asyncio.run(read(client, code))
    record = tender.record
    assert record.row.origin.raw["CodigoExterno"] == record.row.code == code
    assert record.row.closes.tzinfo.key == "America/Santiago"
    assert tender.as_of.utcoffset() in (timedelta(hours=-3), timedelta(hours=-4))
    amounts = [money for money in (record.estimated_amount, *(item.unit_price for item in record.items)) if money]
    assert all(type(money.amount) is Decimal for money in amounts)
    assert (quota.used, quota.left) == (1, quota.limit - 1)


def test_http_options_count_for_every_request():
    async def answer(writer, body):
        await answer_json(writer, recorded("v1-tender-detail-awarded-clf.json"))

    code = recorded("v1-tender-detail-awarded-clf.json")["Listado"][0]["CodigoExterno"]
    with Server(answer) as proxy:
        client = ayni.Procurement(
            backend="mercado_publico", ticket="T-1", base_url="http://api.mercadopublico.invalid", min_gap_seconds=0.0,
            lock=False, policy={"retry": {"max_retries": 0}}, http={"proxy": proxy.url},
        )  # fmt: skip
        assert client.tender_sync(code).record.row.code == code
        # What only this backend does goes the same way.
        client.sync_sync("tender", since=date.today())
        proxy.wait("requests", 2)


def test_amounts_are_converted_by_the_rate_of_a_day():
    async def answer(writer, body):
        await answer_json(writer, {"codigo": "uf", "serie": [{"fecha": "2026-11-20T03:00:00.000Z", "valor": 39643.59}]})

    async def both(client):
        money = ayni.Money(Decimal("12.5"), "CLF")
        return await client.rate("UF", "2026-11-20"), await client.convert(money, date(2026, 11, 20))

    with Server(answer) as server:
        client = ayni.Procurement(backend="mercado_publico", ticket="T-1", lock=False, rates_url=server.url)
        rate, converted = asyncio.run(both(client))
        assert client.rate_sync("CLF", date(2026, 11, 20)) == rate == converted.rate
        assert client.convert_sync(ayni.Money(Decimal("12.5"), "CLF"), "2026-11-20") == converted
    assert (rate.pesos, rate.date, rate.currency) == (Decimal("39643.59"), date(2026, 11, 20), "CLF")
    assert converted.pesos == ayni.Money(Decimal("495544.875"), "CLP")
    with pytest.raises(ayni.InvalidRequest, match="earlier_days"):
        client.rate_sync("CLF", "2026-11-20", earlier_days=99)
    with pytest.raises(ayni.Unsupported):
        ayni.Procurement(backend="scripted").rate_sync("CLF", "2026-11-20")


def test_similar_tenders_are_found_with_any_embedder():
    awarded = recorded("v1-tender-detail-awarded-clf.json")

    async def answer(writer, body):
        await answer_json(writer, awarded)

    code = awarded["Listado"][0]["CodigoExterno"]
    with Server(answer) as server:
        client = ayni.Procurement(
            backend="mercado_publico", ticket="T-1", base_url=server.url, min_gap_seconds=0.0, lock=False, store="memory"
        )
        with pytest.raises(ayni.Unsupported, match="embedder"):
            client.similar_sync(code)
        like = client.with_embedder(ayni.Embedder(backend="scripted"))
        assert like.refresh_similar_sync() == asyncio.run(like.refresh_similar())
        assert like.add_similar_sync([code]).embedded == 1 and asyncio.run(like.add_similar([code])).embedded == 0
    name = awarded["Listado"][0]["Nombre"]
    [found] = like.similar_sync(text=name)
    assert (found.code, found.name, type(found.score)) == (code, name, float)
    assert asyncio.run(like.similar(text=name, k=1)) == (found,)
    assert like.similar_sync(code) == () == like.similar_sync(text=name, states=["publicada"])
    later = datetime(2200, 1, 1, tzinfo=timezone.utc)
    assert like.similar_sync(text=name, closing_after=later) == ()
    for wrong in ({}, {"text": name, "states": ["abierta"]}, {"text": name, "closing_after": datetime(2026, 1, 1)}):
        with pytest.raises(ayni.InvalidRequest):
            like.similar_sync(**wrong)


def test_a_moment_is_the_instant_that_it_says(monkeypatch):
    for text, expected in {
        "2026-10-26T15:30:00-03:00": "2026-10-26T15:30:00-03:00",
        "2026-07-01T15:30:00-04:00": "2026-07-01T15:30:00-04:00",
        "2026-09-28T07:43:50.77-03:00": "2026-09-28T07:43:50.770000-03:00",
        # The fraction that Python does not hold, and the hour that happens twice, both times.
        "2026-04-16T20:20:15.4377723-04:00": "2026-04-16T20:20:15.437772-04:00",
        "2026-04-04T23:30:00-03:00": "2026-04-04T23:30:00-03:00",
        "2026-04-04T23:30:00-04:00": "2026-04-04T23:30:00-04:00",
    }.items():
        assert _reading.moment(text).isoformat() == expected
        assert _reading.moment(text).tzinfo.key == "America/Santiago"
    monkeypatch.setattr(_reading, "santiago", lambda: None)
    fallen_back = _reading.moment("2026-04-04T23:30:00-04:00")
    assert fallen_back.utcoffset() == timedelta(hours=-4) and fallen_back.tzname() == "America/Santiago"


def test_the_classes_have_the_fields_of_the_schema():
    definitions = json.loads((ROOT / "docs/reference/records.schema.json").read_text())["$defs"]
    listed = {name for name in definitions["ListRequest"]["properties"]}
    own = ayni.ListOptions.__annotations__.keys() - ayni.CallOptions.__annotations__.keys() - {"on"}
    assert {name.rstrip("_") for name in own} == listed
    for name in records.__all__:
        fields = [field.name for field in dataclasses.fields(getattr(records, name))]
        assert fields == list(definitions[name]["properties"]), name
