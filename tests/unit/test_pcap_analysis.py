"""Conversations as they are met in real traces, whole and in parts: who reset them, and how far they had come."""

import pytest
from pcap_conversation import ACK, FIN, REQUEST, RESPONSE, RST, SYN, Talk, Trace, told


@pytest.fixture
def trace() -> Trace:
    return Trace()


@pytest.fixture
def talk(trace: Trace) -> Talk:
    return Talk(trace)


def test_closed_port(trace: Trace, talk: Talk) -> None:
    talk.refused()
    record = trace.record()
    assert told(record) == ("server", "post-syn", "refused")
    assert (record.client, record.client_port, record.server, record.server_port) == ("10.0.0.1", 40000, "10.0.0.2", 80)
    assert record.time == "1970-01-01T00:16:40.002000Z"
    assert record.cause == "misconfiguration"
    assert 0 < record.confidence < 1
    assert record.reasons


def test_client_that_leaves_after_its_answer(trace: Trace, talk: Talk) -> None:
    talk.opened().served(3).abort(talk.client)
    record = trace.record()
    assert told(record) == ("client", "post-data", "aborted-by-client")
    assert (record.bytes_client, record.bytes_server) == (3 * len(REQUEST), 3 * len(RESPONSE))
    assert record.cause == "benign"


def test_browser_that_resets_after_the_servers_fin(trace: Trace, talk: Talk) -> None:
    talk.opened().served().send(talk.server, FIN | ACK)
    talk.send(talk.client, ACK)
    talk.disown(talk.client)
    record = trace.record()
    assert told(record) == ("client", "after-fin", "after-fin")
    assert record.cause == "benign"
    # The FIN took a sequence number but is no byte.
    assert record.bytes_server == len(RESPONSE)


def test_late_data_after_a_simultaneous_close(trace: Trace, talk: Talk) -> None:
    talk.opened().served().send(talk.client, FIN | ACK)
    talk.send(talk.server, FIN | ACK, ack=talk.client.seq - 1)
    talk.disown(talk.client)
    talk.disown(talk.server)
    assert told(trace.record()) == ("client", "after-fin", "after-fin")


def test_half_open_scan(trace: Trace, talk: Talk) -> None:
    talk.send(talk.client, SYN, ack=0)
    talk.send(talk.server, SYN | ACK)
    talk.disown(talk.client)
    record = trace.record()
    assert told(record) == ("client", "post-syn", "unknown-connection")
    assert record.cause == "hostile"


def test_health_checker_that_resets_instead_of_completing(trace: Trace, talk: Talk) -> None:
    talk.send(talk.client, SYN, ack=0)
    talk.send(talk.server, SYN | ACK)
    talk.abort(talk.client)
    record = trace.record()
    assert told(record) == ("client", "post-syn", "aborted-by-client")
    assert record.cause == "benign"


def test_accept_queue_overflow(trace: Trace, talk: Talk) -> None:
    talk.opened().disown(talk.server)
    record = trace.record()
    assert told(record) == ("server", "post-handshake", "not-accepted")
    assert record.cause == "overload"


def test_server_that_disowns_the_connection_before_the_handshake_ends(trace: Trace, talk: Talk) -> None:
    talk.send(talk.client, SYN, ack=0)
    talk.send(talk.server, SYN | ACK)
    talk.disown(talk.server)
    assert told(trace.record()) == ("server", "post-syn", "not-accepted")


def test_first_of_several_resets_counts(trace: Trace, talk: Talk) -> None:
    talk.opened().served().abort(talk.server)
    talk.disown(talk.server)
    talk.disown(talk.client)
    assert told(trace.record()) == ("server", "post-data", "aborted-by-member")


def test_syn_that_is_sent_again_is_the_same_connection(trace: Trace, talk: Talk) -> None:
    for _ in range(3):
        talk.send(talk.client, SYN, seq=5000, ack=0)
    talk.client.seq = 5001
    talk.send(talk.server, RST | ACK, seq=0, window=0)
    talk.send(talk.client, SYN, seq=5000, ack=0)
    talk.send(talk.server, RST | ACK, seq=0, window=0)
    assert told(trace.record()) == ("server", "post-syn", "refused")


def test_port_that_is_used_again_is_another_connection(trace: Trace) -> None:
    Talk(trace, isn=1000).refused()
    second = Talk(trace, isn=90000).opened().served()
    second.abort(second.client)
    third = Talk(trace, isn=5).opened()
    third.abort(third.server)
    assert [told(record)[:2] for record in trace.records()] == [
        ("server", "post-syn"),
        ("client", "post-data"),
        ("server", "post-handshake"),
    ]


def test_syn_and_its_answer_captured_in_the_wrong_order(trace: Trace, talk: Talk) -> None:
    talk.opened().disown(talk.server)
    trace.packets[0], trace.packets[1] = trace.packets[1], trace.packets[0]
    assert told(trace.record()) == ("server", "post-handshake", "not-accepted")


def test_simultaneous_open_is_one_connection_of_the_first_syn(trace: Trace, talk: Talk) -> None:
    talk.send(talk.client, SYN, ack=0)
    talk.send(talk.server, SYN, ack=0)
    talk.send(talk.client, SYN | ACK, seq=talk.client.seq - 1)
    talk.send(talk.server, SYN | ACK, seq=talk.server.seq - 1)
    talk.served().abort(talk.server)
    assert told(trace.record())[:2] == ("server", "post-data")


def test_keepalives_are_no_data(trace: Trace, talk: Talk) -> None:
    talk.opened()
    for payload in (b"", b"\0"):
        talk.send(talk.client, ACK, payload, seq=talk.client.seq - 1)
        talk.send(talk.server, ACK)
    talk.abort(talk.server)
    record = trace.record()
    assert (record.stage, record.bytes_client) == ("post-handshake", 0)


def test_payload_on_a_refused_syn_is_no_data(trace: Trace, talk: Talk) -> None:
    talk.send(talk.client, SYN, REQUEST, ack=0)
    talk.send(talk.server, RST | ACK, seq=0, window=0)
    record = trace.record()
    assert (record.stage, record.bytes_client) == ("post-syn", 0)


def test_payload_of_a_reset_is_no_data(trace: Trace, talk: Talk) -> None:
    talk.opened().send(talk.server, RST | ACK, b"no listener")
    assert trace.record().stage == "post-handshake"


def test_bytes_count_gaps_and_not_retransmissions(trace: Trace, talk: Talk) -> None:
    talk.opened()
    start = talk.client.seq
    talk.send(talk.client, ACK, bytes(100))
    talk.send(talk.client, ACK, bytes(100), seq=start)
    talk.client.seq += 1000
    talk.send(talk.client, ACK, bytes(50))
    talk.abort(talk.client)
    assert trace.record().bytes_client == 1150


def test_capture_that_begins_in_midstream_goes_by_ports(trace: Trace, talk: Talk) -> None:
    talk.served().abort(talk.server)
    assert told(trace.record()) == ("server", "post-data", "aborted-by-member")


def test_capture_that_begins_in_midstream_goes_by_known_servers(trace: Trace) -> None:
    Talk(trace, port=40001, server_port=50123).opened().served()
    later = Talk(trace, port=40000, server_port=50123).served()
    later.abort(later.client)
    assert told(trace.record())[0] == "client"


def test_midstream_between_ports_that_tell_nothing_leaves_the_sender_open(trace: Trace) -> None:
    talk = Talk(trace, port=40000, server_port=50123).served()
    talk.abort(talk.client)
    assert trace.record().sender == "unknown"


def test_lone_refusal_tells_its_roles_itself(trace: Trace) -> None:
    talk = Talk(trace, port=40000, server_port=50123)
    talk.send(talk.server, RST | ACK, seq=0, window=0)
    record = trace.record()
    assert told(record) == ("server", "post-syn", "refused")
    assert (record.client_port, record.server_port) == (40000, 50123)


def test_lone_reset_is_placed_as_low_as_it_can_be(trace: Trace, talk: Talk) -> None:
    talk.disown(talk.client)
    record = trace.record()
    assert told(record) == ("client", "post-handshake", "unknown-connection")
    assert record.confidence < 0.5
    assert any("only the reset" in reason for reason in record.reasons)


@pytest.mark.parametrize("seen", ["client", "server"])
def test_one_direction_alone_tells_the_stage_and_the_bytes_of_both(trace: Trace, seen: str) -> None:
    talk = Talk(trace).opened().served(2)
    talk.abort(talk.client if seen == "client" else talk.server)
    address = talk.client.address if seen == "client" else talk.server.address
    trace.packets = [(time, packet) for time, packet in trace.packets if packet[12:16] == address]
    record = trace.record()
    assert (record.sender, record.stage) == (seen, "post-data")
    assert (record.bytes_client, record.bytes_server) == (2 * len(REQUEST), 2 * len(RESPONSE))


def test_one_direction_of_a_handshake(trace: Trace, talk: Talk) -> None:
    talk.opened().abort(talk.client)
    trace.packets = [each for each in trace.packets if each[1][12:16] == talk.client.address]
    assert told(trace.record())[:2] == ("client", "post-handshake")


def test_synack_alone_tells_the_roles(trace: Trace) -> None:
    talk = Talk(trace, port=80, server_port=50123).opened()
    talk.abort(talk.client)
    del trace.packets[0]
    record = trace.record()
    assert (record.sender, record.stage, record.server_port) == ("client", "post-handshake", 50123)


def test_time_that_steps_back_is_survived(trace: Trace, talk: Talk) -> None:
    talk.opened()
    trace.wait(-500)
    talk.served().abort(talk.server)
    assert told(trace.record())[:2] == ("server", "post-data")


def test_connection_to_oneself_on_the_same_port(trace: Trace) -> None:
    talk = Talk(trace, client="10.0.0.1", port=80, server="10.0.0.1", server_port=80)
    talk.opened().abort(talk.client)
    assert len(trace.records()) == 1


def test_records_come_by_time_of_the_reset(trace: Trace) -> None:
    talks = [Talk(trace, port=40000 + number).opened() for number in range(5)]
    for talk in reversed(talks):
        talk.abort(talk.client)
        trace.wait(30)
    records = trace.records()
    assert [record.client_port for record in records] == [40004, 40003, 40002, 40001, 40000]


def test_summary_counts_connections_and_resets_by_server(trace: Trace) -> None:
    Talk(trace, port=40000).opened().served()
    left = Talk(trace, port=40001).opened().served()
    left.abort(left.client)
    Talk(trace, port=40002, server_port=81).refused()
    analysis = trace.analysis()
    assert len(list(analysis)) == analysis.resets == 2
    by_port = {server.port: server for server in analysis.servers}
    assert (by_port[80].connections, by_port[80].resets, by_port[80].senders) == (2, 1, {"client": 1})
    assert (by_port[81].connections, by_port[81].causes) == (1, {"misconfiguration": 1})


def test_connection_that_ignores_a_reset_stays_one_connection(trace: Trace, talk: Talk) -> None:
    talk.opened().served().disown(talk.client)
    for _ in range(20):
        trace.wait(20)
        talk.send(talk.server, ACK, seq=talk.server.seq - 1)
        talk.send(talk.client, ACK)
    talk.disown(talk.server)
    assert told(trace.record())[:2] == ("client", "post-data")


def test_fins_and_reset_at_the_same_instant_are_one_end(trace: Trace, talk: Talk) -> None:
    talk.opened().served().send(talk.client, FIN | ACK)
    talk.send(talk.server, FIN | ACK)
    talk.disown(talk.client)
    trace.packets = [(1, packet) for _, packet in trace.packets]
    assert told(trace.record())[:2] == ("client", "after-fin")
