"""The controller's core on fabrics of thousands of links: no packet is forwarded, connections are counted (docs/scale.md).

Where `topologies.model` is exact to the packet, this is exact only in what the core can see: statistics, link layer frames, port
states, barriers, probes and mirrored resets.
"""
