"""A small test suite of somebody else's, using requests: of a shop at the URL that SHOP names."""

import json
import os

import requests

SHOP = os.environ["SHOP"]


def test_who_logs_in_is_known():
    with requests.Session() as session:
        assert session.get(f"{SHOP}/me").status_code == 401
        assert session.post(f"{SHOP}/login", data={"user": "ada", "password": "x"}).ok
        assert session.get(f"{SHOP}/me").json() == {"user": "ada"}


def test_a_cart_grows():
    for count in (1, 2, 3):
        answer = requests.post(f"{SHOP}/cart", json={"item": "tea", "nonce": os.urandom(4).hex()})
        assert (answer.status_code, answer.json()) == (201, {"items": count})


def test_a_list_has_pages():
    pages = [requests.get(f"{SHOP}/items", params={"page": page}).json()["page"] for page in (1, 2, 3)]
    assert pages == [1, 2, 3]


def test_a_download_can_be_resumed():
    whole = requests.get(f"{SHOP}/download").content
    rest = requests.get(f"{SHOP}/download", headers={"Range": "bytes=1000-"})
    assert rest.content in (whole, whole[1000:])


def test_an_upload_comes_back():
    files = {"file": ("a.json", json.dumps({"a": 1}), "application/json")}
    assert requests.put(f"{SHOP}/upload", files=files).status_code == 204
