"""The providers of machines: which ones there are, and what each declares; nothing here asks any of them."""

import pytest

from hive.errors import UnknownNameError
from hive.providers.provider import open_provider
from hive.settings import load_settings


@pytest.mark.parametrize("name", ["gcp", "digitalocaen", "", "DigitalOcean"])
def test_an_unknown_provider_is_refused_and_never_taken_for_another(tmp_path, name):
    settings = load_settings({"home": tmp_path}, {"DIGITALOCEAN_TOKEN": "x"})
    with pytest.raises(UnknownNameError, match="Known are: aws, digitalocean") as refused:
        open_provider(settings, name, None)
    assert refused.value.exit_code == 2
