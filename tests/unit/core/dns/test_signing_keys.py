from __future__ import annotations

import pytest

from shared.core.dkim import DkimAlgorithm
from shared.core.dns.record import text_data
from shared.core.dns.rules.signing_keys import fault_of_records
from shared.mail.dkim import SigningKey
from shared.mail.dkim_keys import make_key, record_text

RSA = make_key("lists.test", "r", DkimAlgorithm.RSA_SHA256)
ED25519 = make_key("lists.test", "e", DkimAlgorithm.ED25519_SHA256)


def test_a_long_record_is_split_into_strings() -> None:
    data = text_data(record_text(RSA))
    strings = data.split('"')[1::2]
    assert data.startswith('( "v=DKIM1; k=rsa; p=')
    assert "".join(strings) == record_text(RSA)
    assert max(map(len, strings)) == 255


@pytest.mark.parametrize("key", [RSA, ED25519])
@pytest.mark.parametrize("change", ["{}", "{};", " {} ; t=s", "{}; h=sha1:sha256; s=email", "{}; n=ours; x=y"])
def test_a_key_is_found_however_its_record_is_written(key: SigningKey, change: str) -> None:
    text = record_text(key)
    assert fault_of_records((change.format(text),), text) is None
    assert fault_of_records((change.format(text.replace("; ", ";\t").replace("p=", "p = ")),), text) is None


@pytest.mark.parametrize(
    ("found", "because"),
    [
        ((), "There is no TXT record at this name."),
        (("a", "b"), "There are 2 TXT records at this name; verifiers want one (RFC 6376 §3.6.2.2)."),
        (("hello",), "The record has no key in p=, which says that the key is revoked."),
        (("v=DKIM1; k=rsa; p=",), "The record has no key in p=, which says that the key is revoked."),
        (("v=DKIM2; k=rsa; p=AAAA",), "The record's v= is not DKIM1."),
        ((record_text(ED25519),), "The record's k= is not rsa."),
        (("v=DKIM1; p=AAAA",), "The record's p= is another key."),
        ((f"{record_text(RSA)}; h=sha1",), "The record's h= does not allow sha256."),
        ((f"{record_text(RSA)}; s=tlsrpt",), "The record's s= does not allow email."),
    ],
)
def test_what_is_wrong_with_a_record_is_said(found: tuple[str, ...], because: str) -> None:
    assert fault_of_records(found, record_text(RSA)) == because
