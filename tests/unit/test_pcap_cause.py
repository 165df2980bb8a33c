"""What is made of a reset by what happened around it."""

import pytest
from pcap_conversation import ACK, REQUEST, RESPONSE, SYN, Talk, Trace, told


@pytest.fixture
def trace() -> Trace:
    return Trace()


@pytest.fixture
def talk(trace: Trace) -> Talk:
    return Talk(trace)


def test_refused_here_and_accepted_there_is_a_policy(trace: Trace) -> None:
    Talk(trace, client="10.0.0.1").opened().served()
    Talk(trace, client="10.0.0.9").refused()
    Talk(trace, client="10.0.0.1", port=40001).opened().served()
    assert trace.record().cause == "policy"


def test_refusal_from_nearer_than_the_server_is_a_policy(trace: Trace) -> None:
    other = Talk(trace, server_port=443)
    other.server.ttl = 57
    other.opened().served()
    Talk(trace, server_port=80).refused(ttl=63)
    record = trace.record()
    assert record.cause == "policy"
    assert any("1 hops away" in reason for reason in record.reasons)


def test_service_that_stopped_is_a_misconfiguration(trace: Trace) -> None:
    Talk(trace, port=40000).opened().served()
    Talk(trace, port=40001).refused()
    assert trace.record().cause == "misconfiguration"


def test_refusing_and_accepting_by_turns_is_overload(trace: Trace) -> None:
    for port in range(40000, 40006, 2):
        Talk(trace, port=port).opened().served()
        Talk(trace, port=port + 1).refused()
    assert {record.cause for record in trace.records()} == {"overload"}


def test_many_ports_tried_in_vain_is_a_scan(trace: Trace) -> None:
    for port in range(1, 40):
        Talk(trace, server_port=port).refused()
    records = trace.records()
    assert len(records) == 39
    assert {record.cause for record in records} == {"hostile"}


def test_checker_of_many_members_is_no_scanner(trace: Trace) -> None:
    for turn in range(4):
        for member in range(1, 20):
            talk = Talk(trace, port=40000 + turn, server=f"10.0.1.{member}").opened()
            talk.abort(talk.client)
    assert {record.cause for record in trace.records()} == {"benign"}


def test_syn_floods_echo_is_hostile(trace: Trace) -> None:
    for number in range(1, 30):
        talk = Talk(trace, client=f"10.1.0.{number}")
        talk.send(talk.client, SYN, ack=0)
        talk.send(talk.server, SYN | ACK)
        talk.disown(talk.client)
    assert {record.cause for record in trace.records()} == {"hostile"}


def test_one_client_with_the_wrong_protocol_violates_it(trace: Trace) -> None:
    for port in (40000, 40001):
        talk = Talk(trace, port=port, server_port=22).opened()
        talk.send(talk.server, ACK, b"SSH-2.0-x\r\n")
        talk.send(talk.client, ACK, b"SSH-2.0-y\r\n")
    wrong = Talk(trace, client="10.0.0.9", server_port=22).opened()
    wrong.send(wrong.server, ACK, b"SSH-2.0-x\r\n")
    wrong.send(wrong.client, ACK, REQUEST)
    wrong.abort(wrong.server)
    record = trace.record()
    assert record.cause == "protocol-violation"
    assert record.reasons[0] == "HTTP sent to a server that speaks SSH"


def test_every_client_with_the_wrong_protocol_means_the_wrong_service(trace: Trace) -> None:
    for number in range(1, 5):
        talk = Talk(trace, client=f"10.0.0.{number}", server_port=443).opened()
        talk.send(talk.client, ACK, REQUEST)
        talk.abort(talk.server)
    assert {record.cause for record in trace.records()} == {"misconfiguration"}


def test_server_that_aborts_at_one_clients_first_bytes(trace: Trace) -> None:
    Talk(trace, client="10.0.0.1").opened().served()
    talk = Talk(trace, client="10.0.0.9").opened()
    talk.send(talk.client, ACK, b"\x00\x01garbage")
    talk.abort(talk.server)
    assert trace.record().cause == "protocol-violation"


def test_server_that_aborts_at_everyones_first_bytes(trace: Trace) -> None:
    for number in range(1, 5):
        talk = Talk(trace, client=f"10.0.0.{number}").opened()
        talk.send(talk.client, ACK, REQUEST)
        talk.abort(talk.server)
    assert {record.cause for record in trace.records()} == {"misconfiguration"}


def test_some_served_and_some_cut_is_overload(trace: Trace) -> None:
    for number in range(1, 9):
        talk = Talk(trace, client=f"10.0.0.{number}").opened()
        if number % 2:
            talk.served()
        else:
            talk.abort(talk.server)
    assert {record.cause for record in trace.records()} == {"overload"}


def test_request_without_an_answer_for_long_is_overload(trace: Trace, talk: Talk) -> None:
    talk.opened().send(talk.client, ACK, REQUEST)
    talk.send(talk.server, ACK)
    trace.wait(10)
    talk.abort(talk.client)
    record = trace.record()
    assert record.cause == "overload"
    assert "10.0 s" in record.reasons[0]


def test_retransmissions_into_silence_are_congestion(trace: Trace, talk: Talk) -> None:
    talk.opened().served().send(talk.server, ACK, bytes(1000))
    for wait in (0.2, 0.4, 0.8, 1.6):
        trace.wait(wait)
        talk.send(talk.server, ACK, bytes(1000), seq=talk.server.seq - 1000)
    talk.abort(talk.server)
    record = trace.record()
    assert record.cause == "congestion"
    assert "sent 5 times" in record.reasons[0]


def test_packets_captured_twice_are_no_retransmissions(trace: Trace, talk: Talk) -> None:
    talk.opened()
    for _ in range(4):
        talk.send(talk.client, ACK, REQUEST)
        talk.send(talk.client, ACK, REQUEST, seq=talk.client.seq - len(REQUEST), keep_ip_id=True)
    talk.send(talk.server, ACK, RESPONSE)
    talk.abort(talk.client)
    assert trace.record().cause == "benign"


def test_keepalives_without_an_answer_are_a_lost_path(trace: Trace, talk: Talk) -> None:
    talk.opened().served()
    for _ in range(5):
        trace.wait(10)
        talk.send(talk.server, ACK, seq=talk.server.seq - 1)
    talk.abort(talk.server)
    assert trace.record().cause == "congestion"


def test_synack_repeated_after_the_handshake_is_overload(trace: Trace, talk: Talk) -> None:
    talk.opened().send(talk.client, ACK, REQUEST)
    talk.send(talk.server, SYN | ACK, seq=talk.server.seq - 1)
    talk.disown(talk.server)
    assert trace.record().cause == "overload"


def test_idle_connection_that_the_server_ends_is_benign(trace: Trace, talk: Talk) -> None:
    talk.opened().served()
    trace.wait(120)
    talk.abort(talk.server)
    assert trace.record().cause == "benign"


def test_client_that_gives_up_without_an_answer(trace: Trace, talk: Talk) -> None:
    for _ in range(3):
        talk.send(talk.client, SYN, seq=5000, ack=0)
        trace.wait(1)
    talk.client.seq = 5001
    talk.abort(talk.client)
    record = trace.record()
    assert told(record)[:2] == ("client", "post-syn")
    assert record.cause in ("congestion", "overload")


def test_challenge_ack_for_an_older_connection_is_benign(trace: Trace, talk: Talk) -> None:
    talk.send(talk.client, SYN, ack=0)
    talk.send(talk.server, ACK, ack=2**31)
    talk.disown(talk.client, seq=2**31)
    record = trace.record()
    assert record.stage == "post-syn"
    assert record.cause == "benign"


def test_middleboxs_reset_at_forbidden_content_is_a_policy(trace: Trace, talk: Talk) -> None:
    talk.server.ttl = 45
    talk.opened().send(talk.client, ACK, REQUEST)
    talk.disown(talk.server, ttl=60)
    talk.send(talk.server, ACK, RESPONSE)
    record = trace.record()
    assert told(record) == ("server", "post-data", "injected")
    assert record.cause == "policy"


def test_stack_with_another_initial_ttl_for_resets_is_no_middlebox(trace: Trace, talk: Talk) -> None:
    talk.server.ttl = 64 - 10
    talk.opened().served(4).abort(talk.server, ttl=255 - 10)
    assert trace.record().kind == "aborted-by-member"


def test_blind_reset_outside_the_window_is_hostile(trace: Trace, talk: Talk) -> None:
    talk.opened().served()
    talk.disown(talk.server, seq=talk.server.seq + 2**31)
    talk.served()
    record = trace.record()
    assert record.cause == "hostile"


def test_connection_that_survives_a_forged_reset_is_reported_once(trace: Trace, talk: Talk) -> None:
    talk.opened().served()
    talk.disown(talk.server, seq=talk.server.seq + 2**31)
    for _ in range(20):
        talk.served()
        trace.wait(30)
    talk.abort(talk.client)
    assert len(trace.records()) == 1


def test_server_that_cuts_every_connection_is_misconfigured(trace: Trace) -> None:
    for port in range(40000, 40005):
        talk = Talk(trace, port=port).opened()
        talk.abort(talk.server)
    assert {record.cause for record in trace.records()} == {"misconfiguration"}


def test_server_that_cuts_the_same_client_now_and_then_is_overloaded(trace: Trace) -> None:
    for port in range(40000, 40009):
        talk = Talk(trace, port=port).opened()
        if port % 3:
            talk.served()
        else:
            talk.abort(talk.server)
    assert {record.cause for record in trace.records()} == {"overload"}


def test_client_that_leaves_after_much_loss_left_congestion(trace: Trace, talk: Talk) -> None:
    talk.opened()
    for _ in range(5):
        talk.send(talk.client, ACK, REQUEST)
        talk.send(talk.client, ACK, REQUEST, seq=talk.client.seq - len(REQUEST))
        talk.send(talk.server, ACK, RESPONSE)
    talk.send(talk.client, ACK, REQUEST)
    talk.send(talk.server, ACK)
    trace.wait(1.5)
    talk.abort(talk.client)
    assert trace.record().cause == "congestion"


def test_reasons_name_what_speaks_against(trace: Trace) -> None:
    for port in range(1, 40):
        Talk(trace, server_port=port).refused()
    first = trace.records()[0]
    assert first.reasons[0].startswith("a scan: the client tried 24 or more servers")
    assert first.reasons[1].startswith("but: the SYN was refused")
