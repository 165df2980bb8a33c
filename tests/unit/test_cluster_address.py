"""What `--cluster` means, and that it never shows who we are."""

import pytest
from typer.testing import CliRunner

from controller.cli.app import app
from controller.cluster.address import ClusterAddressError, parse_cluster_address


def test_every_part_is_understood() -> None:
    place = parse_cluster_address("etcds://resetlb:p%40ss:word@10.0.0.1:2379,[fd00::2]:2380,etcd-3/prod")
    assert place.endpoints == (("10.0.0.1", 2379), ("fd00::2", 2380), ("etcd-3", 2379))
    assert (place.tls, place.name, place.user, place.password) == (True, "prod", "resetlb", "p@ss:word")


def test_a_plain_address_has_defaults() -> None:
    place = parse_cluster_address("etcd://10.0.0.1")
    assert (place.endpoints, place.tls, place.name, place.user) == ((("10.0.0.1", 2379),), False, "default", None)


def test_the_password_is_never_shown() -> None:
    place = parse_cluster_address("etcd://resetlb:secret@10.0.0.1:2379/prod")
    assert "secret" not in repr(place)
    assert str(place) == "etcd://10.0.0.1:2379/prod"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("10.0.0.1:2379", "neither etcd:// nor etcds://"),
        ("http://10.0.0.1", "neither etcd:// nor etcds://"),
        ("etcd://", "nothing is not host:port"),
        ("etcd://10.0.0.1,", "nothing is not host:port"),
        ("etcd://10.0.0.1:0", "10.0.0.1:0 is not host:port"),
        ("etcd://10.0.0.1:70000", "10.0.0.1:70000 is not host:port"),
        ("etcd://resetlb@10.0.0.1", "user:password"),
        ("etcd://:secret@10.0.0.1", "user:password"),
        ("etcd://10.0.0.1/a/b", "cluster's name"),
    ],
)
def test_what_is_wrong_is_said_without_the_secret(text: str, said: str) -> None:
    with pytest.raises(ClusterAddressError) as refused:
        parse_cluster_address(text)
    assert said in str(refused.value)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--cluster", "etcd://u:secret@:1"], "--cluster: "),
        (["--cluster-node", "a"], "--cluster-node: needs --cluster"),
        (["--cluster-ca", "ca.pem"], "--cluster-ca: needs --cluster"),
        (["--cluster", "etcd://127.0.0.1", "--cluster-ca", "ca.pem"], "needs TLS"),
        (["--cluster", "etcds://127.0.0.1", "--cluster-key", "key.pem"], "--cluster-key: needs --cluster-cert"),
        (["--cluster", "etcd://127.0.0.1", "--cluster-node", "a/b"], "--cluster-node: "),
    ],
)
def test_options_that_do_not_fit_are_named(options: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["run", *options])
    assert "secret" not in result.output
    assert said in str(result.exception) or said in result.output
