"""The providers of machines: which ones there are, and what each declares; nothing here asks any of them."""

import sys
import types

import pytest

from hive.costs.prices import offers
from hive.errors import SettingError, UnknownNameError
from hive.providers import provider as registry
from hive.providers.provider import Provider, all_providers, find_provider, open_provider
from hive.settings import load_settings


@pytest.mark.parametrize("name", ["gcp", "digitalocaen", "", "DigitalOcean", "provider", "../aws"])
def test_an_unknown_provider_is_refused_and_never_taken_for_another(tmp_path, name):
    settings = load_settings({"home": tmp_path}, {"DIGITALOCEAN_TOKEN": "x"})
    with pytest.raises(UnknownNameError, match="Known are: aws, digitalocean") as refused:
        open_provider(settings, name, None)
    assert refused.value.exit_code == 2


def test_every_provider_declares_itself_and_has_prices(tmp_path):
    providers = all_providers()
    assert list(providers)[:2] == ["aws", "digitalocean"]
    for name, provider in providers.items():
        assert issubclass(provider, Provider)
        assert (provider.name, find_provider(name)) == (name, provider)
        assert {option.name for option in provider.options} >= {"type"}
        assert provider.options[0].flag in provider.example
    assert {offer.provider for offer in offers(tmp_path)} <= set(providers)


def test_two_providers_of_one_name_are_refused(monkeypatch):
    twin = types.ModuleType("twin")
    twin.Twin = type("Twin", (Provider,), {"__module__": "twin", "name": "aws"})
    monkeypatch.setattr(registry, "_foreign_modules", lambda: [("twin-package (twin)", twin)])
    with pytest.raises(SettingError, match=r"twin-package \(twin\) declares the provider 'aws' once more"):
        all_providers()


def test_listing_providers_imports_none_of_their_libraries():
    assert all_providers()
    for provider in all_providers().values():
        assert not {"boto3", "httpx"} & set(vars(sys.modules[provider.__module__]))
