"""A model of the fabric in virtual time: packets, Open vSwitch switches, their connection tracker, hosts and links.

It follows the documents of what it stands for (OpenFlow 1.3.5, `ovs-actions(7)`, `ovs-fields(7)`, RFC 9293) and what Open vSwitch
3.1 was seen to do in its userspace datapath, and knows nothing of how the controller decides: of `controller/` it reads only the
vocabulary (`flows`, `decisions`, `events`). Time is a float in seconds, given by the caller.
"""
