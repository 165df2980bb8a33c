"""Addresses of both families as integers, and the fields that OpenFlow names them by."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller import addresses
from controller.addresses import FAMILIES, V4, V6, families_of, family_of, is_ipv6
from controller.flows import match

IPV4, IPV6 = st.ip_addresses(v=4), st.ip_addresses(v=6).filter(lambda address: int(address) >= 1 << 32)


@given(st.one_of(IPV4, IPV6))
def test_the_family_follows_from_the_value(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    value = addresses.number(str(address))
    assert is_ipv6(value) is (address.version == 6)
    assert family_of(value) is (V6 if address.version == 6 else V4)
    assert addresses.text(value) == str(address)
    assert addresses.octets(value) == address.packed


@pytest.mark.parametrize("disguised", ["::", "::1", "::10.0.0.11", "::ffff:10.0.0.11"])
def test_no_ipv6_address_of_a_packet_passes_for_an_ipv4_one(disguised: str) -> None:
    assert addresses.read(ipaddress.IPv6Address(disguised).packed) is None


@given(st.one_of(IPV4, IPV6))
def test_other_addresses_of_a_packet_are_what_they_are(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    mapped = isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None
    assert addresses.read(address.packed) == (None if mapped else int(address))


@given(st.one_of(IPV4, IPV6), st.one_of(IPV4, IPV6), st.integers(0, 128))
def test_an_address_is_within_a_prefix_as_the_standard_library_says(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
    other: ipaddress.IPv4Address | ipaddress.IPv6Address,
    length: int,
) -> None:
    network = ipaddress.ip_network(f"{other}/{min(length, other.max_prefixlen)}", strict=False)
    assert addresses.within(int(address), str(network)) is (address in network)
    assert addresses.within(int(address), None)


def test_prefixes_say_which_families_are_meant() -> None:
    assert families_of(None, None) == FAMILIES
    assert families_of("10.0.0.0/8", None) == (V4,)
    assert families_of(None, "fd00::/8") == families_of("fd00::1", "::/0") == (V6,)
    assert families_of("10.0.0.1", "fd00::1") == ()


def test_each_family_has_its_own_names() -> None:
    assert V4.match(src=1, icmp_type=8, ip_proto=1) == match(eth_type=0x0800, ipv4_src=1, icmpv4_type=8, ip_proto=1)
    assert V6.match(ct_dst=(1 << 40, 1 << 40)) == match(eth_type=0x86DD, ct_ipv6_dst=(1 << 40, 1 << 40))
