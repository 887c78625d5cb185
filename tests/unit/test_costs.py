"""Prices, the law of a task's history, forecasts and pictures; nothing here needs Redis."""

import json
import random
from datetime import date
from xml.etree import ElementTree

import pytest

from hive.costs.forecast import Past, Workers, fit, forecast, workers_of
from hive.costs.picture import svg
from hive.costs.prices import find_offer, offers, save
from hive.errors import NotFoundError, SettingError
from hive.providers import aws, digitalocean
from hive.settings import load_settings
from hive.store.accounts import Accounts, By, Run, make_report
from hive.worker.starter import Node, _price

TODAY = date(2026, 11, 26)
MIB = 1 << 20


def test_every_price_has_a_date_and_a_source_and_none_is_free(tmp_path):
    shipped = offers(tmp_path)
    assert len(shipped) >= 30
    assert len({one.key for one in shipped}) == len(shipped)
    for one in shipped:
        assert one.price_usd_per_h is None or one.price_usd_per_h > 0
        assert one.source
        assert one.dated <= TODAY
        assert min(one.vcpus, one.memory_gib) > 0
        assert (one.gpus > 0) == bool(one.gpu)


def test_a_type_is_found_in_its_region_or_near_names_are_listed(tmp_path):
    assert find_offer(None, "g4dn.xlarge", home=tmp_path).price_usd_per_h == 0.526
    assert find_offer("aws", "g4dn.xlarge", "eu-west-1", tmp_path).price_usd_per_h == 0.587
    assert find_offer(None, "g-8vcpu-32gb", "ams3", tmp_path).provider == "digitalocean"  # the same everywhere
    with pytest.raises(NotFoundError, match="Similar types: .*g4dn.xlarge"):
        find_offer(None, "g4dn.xlrge", home=tmp_path)
    with pytest.raises(NotFoundError, match="there is one in eu-west-1, us-east-1, us-west-2"):
        find_offer("aws", "g4dn.xlarge", "ap-south-1", tmp_path)


def aws_product(usd, **said):
    """A product as AWS' price list has it (GetProducts, AmazonEC2)."""
    attributes = {
        "instanceType": "g4dn.xlarge", "regionCode": "eu-west-1", "vcpu": "4", "memory": "16 GiB", "gpu": "1",
        "operatingSystem": "Linux", "tenancy": "Shared", "preInstalledSw": "NA", "capacitystatus": "Used",
    }  # fmt: skip
    dimension = {"unit": "Hrs", "pricePerUnit": {"USD": usd}, "description": f"${usd} per On Demand Linux hour"}
    term = {"priceDimensions": {"ABC.JRT.6YS": dimension}, "effectiveDate": "2026-11-01T00:00:00Z"}
    product = {"productFamily": "Compute Instance", "attributes": attributes | said, "sku": "ABC"}
    return json.dumps({"product": product, "serviceCode": "AmazonEC2", "terms": {"OnDemand": {"ABC.JRT": term}}})


def test_prices_of_aws_are_read_and_zero_is_unknown():
    documents = [
        aws_product("0.5870000000"),
        aws_product("0.0000000000", instanceType="m5.xlarge", memory="1,952 GiB"),
        aws_product("0.9", tenancy="Dedicated"),
        aws_product("0.9", instanceType="x]\n[y"),
    ]
    known, unknown = aws.offers_of(documents, TODAY)
    assert (known.type, known.region, known.vcpus, known.memory_gib, known.gpus) == (
        "g4dn.xlarge", "eu-west-1", 4, 16.0, 1,
    )  # fmt: skip
    assert (known.price_usd_per_h, unknown.price_usd_per_h, unknown.memory_gib) == (0.587, None, 1952.0)


def test_what_was_read_goes_before_what_is_shipped(tmp_path):
    size = {"slug": "s-1vcpu-1gb", "memory": 1024, "vcpus": 1, "price_hourly": 0.5, "regions": ["nyc1"]}
    new = [*digitalocean.offers_of([size, size | {"slug": "c-4", "price_hourly": None}], TODAY)]
    new += aws.offers_of([aws_product("0.6")], TODAY)
    assert save(tmp_path, new[:2]) == 2
    assert save(tmp_path, new[2:]) == 3
    assert find_offer(None, "s-1vcpu-1gb", home=tmp_path).price_usd_per_h == 0.5
    assert find_offer(None, "c-4", home=tmp_path).price_usd_per_h is None  # the provider no longer tells it
    assert find_offer(None, "g4dn.xlarge", "eu-west-1", tmp_path).gpu == "T4"  # the price list does not name it
    assert find_offer(None, "g4dn.xlarge", home=tmp_path).dated != TODAY
    (tmp_path / "prices.toml").write_text((tmp_path / "prices.toml").read_text().replace("= 0.5\n", "= 0\n"))
    with pytest.raises(SettingError, match="leave it out if it is unknown"):
        offers(tmp_path)


def linear(jobs, *, noise=0.0, odd=0, host="server"):
    """Jobs that take 5 s and 0.2 s for each MiB; some are odd."""
    chance = random.Random(7)  # noqa: S311  no secret
    sizes = [chance.randrange(MIB, 200 * MIB) for _ in range(jobs)]
    past = [Past(size, (5 + 0.2 * size / MIB) * (1 + chance.uniform(-noise, noise)), host) for size in sizes]
    return [Past(one.size_bytes, one.seconds * 20, host) for one in past[:odd]] + past[odd:]


@pytest.mark.parametrize(("noise", "odd"), [(0.0, 0), (0.05, 0), (0.05, 9)])
def test_the_law_of_a_history_is_recovered_also_where_a_quarter_is_odd(noise, odd):
    law = fit(linear(40, noise=noise, odd=odd))
    assert law.seconds(100 * MIB) == pytest.approx(25.0, rel=0.03 + noise)
    assert law.error == pytest.approx(0.67 * noise, abs=0.03 + 0.02 * bool(odd))
    assert law.jobs == 40


def test_a_law_never_promises_less_time_for_more_bytes_nor_less_than_none():
    assert fit([]) is None
    falling = fit([Past(1, 10.0, ""), Past(2, 9.0, ""), Past(3, 8.0, "")])
    assert falling.seconds(100) == 9.0
    steep = fit([Past(10, 1.0, ""), Past(20, 3.0, "")])
    assert (steep.seconds(0), steep.error) == (0.0, None)
    same = fit([Past(0, 3.0, ""), Past(0, 4.0, ""), Past(0, 8.0, "")])
    assert same.seconds(0) == 4.0


def test_a_forecast_shares_jobs_among_slots_and_tells_this_machine_from_workers():
    own = [Past(one.size_bytes, 3 * one.seconds, "mac") for one in linear(10)]
    found = forecast(linear(20) + own, [100 * MIB] * 5, Workers(2, 4, 0.36), "mac")
    assert found.own_s == pytest.approx(5 * 75, rel=0.01)
    assert found.workers_s == pytest.approx(50, rel=0.01)  # two rounds
    assert found.run_s == pytest.approx(125, rel=0.01)
    assert found.usd == pytest.approx(0.0125, rel=0.01)
    assert not found.is_beyond
    unknown = forecast(linear(20), [300 * MIB], Workers(1, 1, None), "mac")
    assert (unknown.own_s, unknown.usd, unknown.is_beyond) == (None, None, True)


def test_one_worker_of_unknown_price_makes_the_price_of_all_unknown():
    known = {"capabilities": ["gis"], "slots": 2, "price_usd_per_h": 0.5}
    free = known | {"price_usd_per_h": 0.0}
    assert workers_of([known, free], "gis") == Workers(2, 4, 0.125)
    assert workers_of([known, known | {"price_usd_per_h": None}], "gis").slot_usd_per_h is None
    assert workers_of([known], "gis", 3) == Workers(3, 6, 0.25)
    assert workers_of([], "gis", 3) == Workers(3, 3, None)


def test_a_report_keeps_idle_and_boot_apart_from_the_shares_of_jobs():
    runs = (Run(TODAY, "gis.dtm", "a", 1.0), Run(TODAY, "gis.dtm", "b", 0.5), Run(TODAY, "x.y", "a", 0.25))
    accounts = Accounts(runs, {"a": 2.0, "b": 0.4999}, 0.125, 1)
    report = make_report(accounts, By.TASK)
    assert report.rows == (("gis.dtm", 1.5), ("x.y", 0.25))
    assert (report.jobs_usd, report.idle_usd, report.boot_usd, report.total_usd) == (1.75, 0.75, 0.125, 2.625)
    assert make_report(accounts, By.WORKER).rows == (("a", 1.25), ("b", 0.5))
    assert make_report(accounts, By.DAY).rows == (("2026-11-26", 1.75),)


def test_the_picture_is_svg_and_names_are_only_text():
    text = svg("Cost", [("<script>&\x07", 2.0), ("b", 1.0)], [("idle", 0.0)])
    root = ElementTree.fromstring(text)  # noqa: S314  our own
    bars = [one for one in root.iter("{http://www.w3.org/2000/svg}rect") if "rx" in one.attrib]
    assert [float(one.get("width")) for one in bars] == [360.0, 180.0, 0.0]
    assert "<script>&?" in [one.text for one in root.iter("{http://www.w3.org/2000/svg}text")]
    assert not list(root.iter("{http://www.w3.org/2000/svg}script"))


def test_the_price_of_a_machine_is_shared_by_its_nodes_and_no_price_is_not_zero(tmp_path):
    nodes = [Node("gis", 3), Node("training", 1)]
    assert _price(load_settings({"home": tmp_path}, {"HIVE_PRICE_USD_PER_H": "0.4"}), nodes[0], nodes) == {
        "HIVE_PRICE_USD_PER_H": "0.3"
    }
    assert _price(load_settings({"home": tmp_path}, {}), nodes[0], nodes) == {}
    assert load_settings({"home": tmp_path}, {"HIVE_PRICE_USD_PER_H": "0"}).price_usd_per_h == 0.0
    for name, value in (("HIVE_PRICE_USD_PER_H", "-1"), ("HIVE_PAID_SINCE", "2026-11-26T14:30:00")):
        with pytest.raises(SettingError, match=name):
            load_settings({"home": tmp_path}, {name: value})
